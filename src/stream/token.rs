//! Tokens: the pieces a model's output came in.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a token is part of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// The answer's text.
    #[default]
    Text,
    /// Reasoning ("thinking") before the answer, or a summary of it.
    Reasoning,
    /// The text of a refusal.
    Refusal,
    /// A fragment of a tool call's arguments.
    ToolCall,
    /// The data of an event that no dialect knows.
    Event,
}

/// A piece of a model's output as it came: what one event of the stream carried, which may be
/// more or less than what the model counts as a token.
///
/// ```
/// use rr_run::stream::{StreamToken, TokenKind};
/// let token = StreamToken::new("Hel", 12_000_000);
/// assert_eq!((token.kind, token.arrival().as_millis()), (TokenKind::Text, 12));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamToken {
    /// Its place in the stream, from 0.
    pub index: u32,
    /// What it is part of.
    #[serde(default)]
    pub kind: TokenKind,
    /// The output it belongs to, where several were asked for (`n`), from 0.
    #[serde(default)]
    pub output: u32,
    /// The tool call it belongs to, by its place among the output's calls, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call: Option<u32>,
    /// Text.
    pub text: String,
    /// When it came, nanoseconds since the request's first byte.
    pub arrival_ns: u64,
    /// Nanoseconds since the token before; for the first, since the request's first byte.
    pub gap_ns: u64,
    /// Step of the call that brought it; 0 if it was captured outside of a recording.
    #[serde(default)]
    pub step: u64,
}

impl StreamToken {
    /// A token of text that came `arrival_ns` after the request, the first of its stream.
    pub fn new(text: impl Into<String>, arrival_ns: u64) -> StreamToken {
        StreamToken { text: text.into(), arrival_ns, gap_ns: arrival_ns, ..Default::default() }
    }

    /// When it came, since the request's first byte.
    pub fn arrival(&self) -> Duration {
        Duration::from_nanos(self.arrival_ns)
    }

    /// How long after the token before it came.
    pub fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap_ns)
    }
}

/// Something that can be captured as a token and made again from one.
pub trait StreamChunk: Sized {
    /// Its text.
    fn text(&self) -> Cow<'_, str>;

    /// What its text is part of.
    fn kind(&self) -> TokenKind {
        TokenKind::Text
    }

    /// The chunk that this token was made from.
    fn from_token(token: &StreamToken) -> Self;
}

impl StreamChunk for String {
    fn text(&self) -> Cow<'_, str> {
        self.into()
    }

    fn from_token(token: &StreamToken) -> String {
        token.text.clone()
    }
}

/// UTF-8; other bytes are replaced by U+FFFD when captured.
impl StreamChunk for Bytes {
    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self)
    }

    fn from_token(token: &StreamToken) -> Bytes {
        token.text.clone().into()
    }
}

/// A decoded event, kept as JSON text; null if the token's text is none.
impl StreamChunk for serde_json::Value {
    fn text(&self) -> Cow<'_, str> {
        self.to_string().into()
    }

    fn kind(&self) -> TokenKind {
        TokenKind::Event
    }

    fn from_token(token: &StreamToken) -> serde_json::Value {
        serde_json::from_str(&token.text).unwrap_or_default()
    }
}

impl StreamChunk for StreamToken {
    fn text(&self) -> Cow<'_, str> {
        self.text.as_str().into()
    }

    fn kind(&self) -> TokenKind {
        self.kind
    }

    fn from_token(token: &StreamToken) -> StreamToken {
        token.clone()
    }
}

/// What the tokens of one stream amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedStream {
    /// Text of the first output.
    pub text: String,
    /// Reasoning of the first output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Refusal of the first output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// Arguments of the first output's tool calls, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_arguments: Vec<String>,
    /// Data of events that no dialect knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Texts of further outputs (`n` greater than 1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_texts: Vec<String>,
    /// Number of tokens.
    pub tokens: u64,
}

/// Joins the tokens of a stream, each to what it is part of.
///
/// ```
/// use rr_run::stream::{StreamToken, merge_stream_chunks};
/// let tokens = [StreamToken::new("Hello, ", 5), StreamToken::new("you", 9)];
/// let merged = merge_stream_chunks(&tokens);
/// assert_eq!((merged.text.as_str(), merged.tokens), ("Hello, you", 2));
/// ```
pub fn merge_stream_chunks<'a>(tokens: impl IntoIterator<Item = &'a StreamToken>) -> MergedStream {
    /// Tool calls and outputs beyond this are left out: their numbers come from outside.
    const PLACES_MAX: usize = 1024;
    fn place(list: &mut Vec<String>, at: usize) -> Option<&mut String> {
        if at >= PLACES_MAX {
            return None;
        }
        if list.len() <= at {
            list.resize_with(at + 1, String::new);
        }
        list.get_mut(at)
    }
    let mut merged = MergedStream::default();
    for token in tokens {
        merged.tokens += 1;
        let at = match (token.output, token.kind) {
            (_, TokenKind::Event) => {
                merged.events.push(token.text.clone());
                None
            }
            (0, TokenKind::Text) => Some(&mut merged.text),
            (0, TokenKind::Reasoning) => Some(&mut merged.reasoning),
            (0, TokenKind::Refusal) => Some(&mut merged.refusal),
            (0, TokenKind::ToolCall) => {
                place(&mut merged.tool_arguments, token.tool_call.unwrap_or(0) as usize)
            }
            (output, TokenKind::Text) => place(&mut merged.further_texts, output as usize - 1),
            _ => None,
        };
        if let Some(at) = at {
            at.push_str(&token.text);
        }
    }
    merged
}

/// How large the pieces of [`split_content_into_chunks`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkSize {
    /// So many characters.
    Chars(usize),
    /// So many words, each with the white space after it.
    Words(usize),
}

/// Cuts a text into pieces as a model might send it, for simulations. The pieces joined are the
/// text again; a size of 0 counts as 1.
///
/// ```
/// use rr_run::stream::{ChunkSize, split_content_into_chunks};
/// let chunks = split_content_into_chunks("to be,  or\nnot", ChunkSize::Words(2));
/// assert_eq!(chunks, ["to be,  ", "or\nnot"]);
/// assert_eq!(split_content_into_chunks("gr\u{fc}n", ChunkSize::Chars(3)), ["gr\u{fc}", "n"]);
/// ```
pub fn split_content_into_chunks(content: &str, size: ChunkSize) -> Vec<String> {
    let (of_words, size) = match size {
        ChunkSize::Chars(n) => (false, n.max(1)),
        ChunkSize::Words(n) => (true, n.max(1)),
    };
    let mut chunks = Vec::new();
    let mut chunk = String::new();
    let (mut count, mut after_space) = (0, true);
    for c in content.chars() {
        let begins = !of_words || (after_space && !c.is_whitespace());
        if begins && count == size {
            chunks.push(std::mem::take(&mut chunk));
            count = 0;
        }
        count += usize::from(begins);
        after_space = c.is_whitespace();
        chunk.push(c);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_joined_to_what_they_are_part_of() {
        let token = |kind, output, tool_call, text: &str| StreamToken {
            kind,
            output,
            tool_call,
            text: text.into(),
            ..StreamToken::default()
        };
        let tokens = [
            token(TokenKind::Reasoning, 0, None, "hm"),
            token(TokenKind::Text, 0, None, "a"),
            token(TokenKind::ToolCall, 0, Some(1), "{}"),
            token(TokenKind::Text, 1, None, "second"),
            token(TokenKind::Text, 0, None, "b"),
            token(TokenKind::Text, u32::MAX, None, "far"),
            token(TokenKind::ToolCall, 0, Some(u32::MAX), "far"),
        ];
        let merged = merge_stream_chunks(&tokens);
        assert_eq!((merged.text.as_str(), merged.reasoning.as_str()), ("ab", "hm"));
        assert_eq!(merged.tool_arguments, ["", "{}"]);
        assert_eq!((merged.further_texts, merged.tokens), (vec!["second".to_owned()], 7));
    }

    #[test]
    fn pieces_make_up_the_text() {
        for text in ["", " ", "  a b", "one two three ", "\u{1f600}x y"] {
            for size in [ChunkSize::Chars(0), ChunkSize::Chars(2), ChunkSize::Words(1)] {
                let chunks = split_content_into_chunks(text, size);
                assert_eq!(chunks.concat(), text);
                assert!(chunks.iter().all(|c| !c.is_empty()));
            }
        }
        assert_eq!(split_content_into_chunks("a b c", ChunkSize::Words(1)), ["a ", "b ", "c"]);
    }
}
