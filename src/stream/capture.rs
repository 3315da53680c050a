//! Capturing a stream of chunks as it comes, for programs that call a model themselves.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Instant;

use futures_core::Stream;

use super::replay::{ReplayTiming, StreamReplay};
use super::timing::{StreamTiming, analyze_stream_timing};
use super::token::{MergedStream, StreamChunk, StreamToken, TokenKind, merge_stream_chunks};

/// The tokens of a stream with their times, as they come.
///
/// ```
/// use rr_run::stream::{StreamCapture, TokenKind};
/// let mut capture = StreamCapture::new();
/// capture.push("Hello, ", TokenKind::Text);
/// capture.push("you", TokenKind::Text);
/// assert_eq!(capture.merged().text, "Hello, you");
/// assert_eq!(capture.timing().tokens, 2);
/// ```
#[derive(Clone, Debug)]
pub struct StreamCapture {
    started: Instant,
    tokens: Vec<StreamToken>,
}

impl Default for StreamCapture {
    fn default() -> StreamCapture {
        StreamCapture::new()
    }
}

impl StreamCapture {
    /// Begins now: make it just before the request is sent, since times count from here.
    pub fn new() -> StreamCapture {
        StreamCapture { started: Instant::now(), tokens: Vec::new() }
    }

    /// Adds a token that has come now.
    pub fn push(&mut self, text: impl Into<String>, kind: TokenKind) -> &StreamToken {
        let arrival_ns = self.started.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
        self.push_at(text, kind, arrival_ns)
    }

    /// Adds a token that came `arrival_ns` nanoseconds after the request. A time before the last
    /// token's counts as that token's.
    pub fn push_at(
        &mut self,
        text: impl Into<String>,
        kind: TokenKind,
        arrival_ns: u64,
    ) -> &StreamToken {
        let before = self.tokens.last().map_or(0, |token| token.arrival_ns);
        let arrival_ns = arrival_ns.max(before);
        let token = StreamToken {
            index: self.tokens.len().try_into().unwrap_or(u32::MAX),
            kind,
            gap_ns: arrival_ns - before,
            ..StreamToken::new(text, arrival_ns)
        };
        let at = self.tokens.len();
        self.tokens.push(token);
        &self.tokens[at]
    }

    /// Adds a chunk that has come now.
    pub fn push_chunk(&mut self, chunk: &impl StreamChunk) -> &StreamToken {
        self.push(chunk.text(), chunk.kind())
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[StreamToken] {
        &self.tokens
    }

    /// The tokens, for keeping (they are serde's).
    pub fn into_tokens(self) -> Vec<StreamToken> {
        self.tokens
    }

    /// What the tokens amount to so far.
    pub fn merged(&self) -> MergedStream {
        merge_stream_chunks(&self.tokens)
    }

    /// Their times so far.
    pub fn timing(&self) -> StreamTiming {
        analyze_stream_timing(&self.tokens)
    }

    /// The same stream over again.
    pub fn replay(&self, timing: ReplayTiming) -> StreamReplay {
        StreamReplay::new(self.tokens.clone(), timing)
    }
}

/// Reads a stream to its end and captures it.
///
/// ```
/// let chunks = ["to ", "be"].map(String::from);
/// let capture = rr_run::stream::capture_stream(chunks);
/// assert_eq!(capture.merged().text, "to be");
/// ```
pub fn capture_stream<C: StreamChunk>(chunks: impl IntoIterator<Item = C>) -> StreamCapture {
    let mut capture = StreamCapture::new();
    for chunk in chunks {
        capture.push_chunk(&chunk);
    }
    capture
}

/// Reads an asynchronous stream to its end and captures it.
///
/// ```
/// use rr_run::stream::{ReplayTiming, StreamReplay, StreamToken, capture_stream_async};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let chunks = StreamReplay::new(vec![StreamToken::new("hi", 0)], ReplayTiming::Instant);
/// let capture = capture_stream_async(chunks).await;
/// assert_eq!(capture.merged().text, "hi");
/// # });
/// ```
pub async fn capture_stream_async<C: StreamChunk>(chunks: impl Stream<Item = C>) -> StreamCapture {
    let mut capture = StreamCapture::new();
    let mut chunks = pin!(chunks);
    while let Some(chunk) = poll_fn(|context| chunks.as_mut().poll_next(context)).await {
        capture.push_chunk(&chunk);
    }
    capture
}
