//! Dialects: what requests and events of each interface mean, one file each.
//!
//! A dialect has no state. It turns one request into an [`LlmRequest`] and one event of a
//! response into [`Delta`]s; [`super::decoder`] keeps what was collected, whatever the dialect.

pub mod anthropic;
pub mod bedrock;
pub mod gemini;
pub mod ollama;
pub mod openai_chat;
pub mod openai_responses;
mod values;

use serde_json::Value;

use super::call::{Api, CallError, LlmRequest, Operation, Part, Usage};
use super::exchange::Header;
use super::framing::FrameKind;
use super::token::TokenKind;

/// What a dialect sees of a request besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Method.
    pub method: &'a str,
    /// Host and port.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Fields.
    pub headers: &'a [Header],
}

impl<'a> Head<'a> {
    /// The target without its query.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Host without port.
    pub fn host(&self) -> &'a str {
        let host = self.authority.rsplit_once(':').map_or(self.authority, |(host, _)| host);
        if self.authority.ends_with(']') { self.authority } else { host }
    }

    /// Whether there is a field of this name.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// An event of a response, its data parsed.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What kind of frame it came in.
    pub kind: FrameKind,
    /// Name of the frame; empty if it had none.
    pub name: &'a str,
    /// Its data.
    pub json: &'a Value,
}

/// What an event adds to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Who answers.
    Response {
        /// The answer's id.
        id: Option<String>,
        /// Model.
        model: Option<String>,
    },
    /// A piece of text, reasoning or refusal.
    Text {
        /// Which output, from 0.
        output: u32,
        /// What it is part of.
        kind: TokenKind,
        /// The piece.
        text: String,
    },
    /// A piece of a tool call. The first one with a new key begins a call.
    ToolCall {
        /// Which output, from 0.
        output: u32,
        /// What the dialect tells the calls of one output apart by; none if this is a whole one.
        key: Option<u64>,
        /// Id, if it is told here.
        id: Option<String>,
        /// Name, if it is told here.
        name: Option<String>,
        /// The next piece of the arguments.
        arguments: String,
    },
    /// A part of the answer that comes in one piece and is no text.
    Part {
        /// Which output, from 0.
        output: u32,
        /// The part.
        part: Part,
    },
    /// Token counts as the provider gives them: an object whose members replace those before.
    Usage(Value),
    /// An output has ended.
    Finish {
        /// Which output, from 0.
        output: u32,
        /// Why, in the dialect's word.
        reason: String,
    },
    /// The answer has ended as the dialect has it end.
    Done,
    /// The service tells an error.
    Error(CallError),
    /// The whole answer over again, at its end: counts if no piece of it came before.
    Again(Vec<Delta>),
}

/// One interface of a language model.
pub trait Dialect: Send + Sync + std::fmt::Debug {
    /// Which it is.
    fn api(&self) -> Api;

    /// Whether a request is one of this dialect. `body` is null if it is no JSON.
    fn claims(&self, head: &Head<'_>, body: &Value) -> bool;

    /// Whether this event can only be of this dialect: for services at unusual addresses.
    fn recognises(&self, event: &Event<'_>) -> bool;

    /// The provider's name in the conventions, where the host does not tell another.
    fn provider(&self, head: &Head<'_>) -> &'static str;

    /// What is asked for.
    fn operation(&self, head: &Head<'_>) -> Operation {
        let _ = head;
        Operation::Chat
    }

    /// Reads a request.
    fn request(&self, head: &Head<'_>, body: &Value) -> LlmRequest;

    /// Reads an event of a streamed answer. False if it is not understood.
    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool;

    /// Reads an answer that comes in one piece. False if it is not understood.
    fn whole(&self, body: &Value, out: &mut Vec<Delta>) -> bool {
        self.event(&Event { kind: FrameKind::Data, name: "", json: body }, out)
    }

    /// Token counts by the conventions, from all [`Delta::Usage`] merged.
    fn usage(&self, merged: &Value) -> Usage;
}

/// All of them. The more telling paths come first.
pub fn dialects() -> [&'static dyn Dialect; 6] {
    [
        &openai_chat::OpenaiChat,
        &openai_responses::OpenaiResponses,
        &bedrock::Bedrock,
        &gemini::Gemini,
        &ollama::Ollama,
        &anthropic::Anthropic,
    ]
}

/// The dialect of a request.
pub fn of_request(head: &Head<'_>, body: &Value) -> Option<&'static dyn Dialect> {
    dialects().into_iter().find(|dialect| dialect.claims(head, body))
}

/// The dialect of an event.
pub fn of_event(event: &Event<'_>) -> Option<&'static dyn Dialect> {
    dialects().into_iter().find(|dialect| dialect.recognises(event))
}

/// Providers by the end of their hosts' names.
const PROVIDERS: [(&str, &str); 19] = [
    ("api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    (".openai.azure.com", "azure.ai.openai"),
    (".cognitiveservices.azure.com", "azure.ai.openai"),
    (".models.ai.azure.com", "azure.ai.inference"),
    (".services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("cloudcode-pa.googleapis.com", "gcp.gen_ai"),
    (".amazonaws.com", "aws.bedrock"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.cohere.com", "cohere"),
    ("openrouter.ai", "openrouter"),
];

/// The provider's name in the conventions, by the host or else by the dialect.
pub fn provider(dialect: &dyn Dialect, head: &Head<'_>) -> &'static str {
    let host = head.host();
    let known = PROVIDERS.iter().find(|(end, _)| match end.strip_prefix('.') {
        Some(_) => host.ends_with(end),
        None => host == *end || host.strip_suffix(end).is_some_and(|h| h.ends_with(['.', '-'])),
    });
    known.map_or_else(|| dialect.provider(head), |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(authority: &'a str, target: &'a str) -> Head<'a> {
        Head { method: "POST", authority, target, headers: &[] }
    }

    #[test]
    fn requests_are_known_by_their_paths() {
        let of = |target| {
            let body = serde_json::json!({ "model": "m", "messages": [], "input": "x" });
            of_request(&head("localhost:80", target), &body).map(|dialect| dialect.api())
        };
        assert_eq!(of("/v1/chat/completions"), Some(Api::OpenaiChat));
        assert_eq!(
            of("/openai/deployments/d/chat/completions?api-version=1"),
            Some(Api::OpenaiChat)
        );
        assert_eq!(of("/v1/responses"), Some(Api::OpenaiResponses));
        assert_eq!(of("/backend-api/codex/responses"), Some(Api::OpenaiResponses));
        assert_eq!(of("/v1/messages?beta=true"), Some(Api::Anthropic));
        assert_eq!(of("/v1/messages/count_tokens"), None);
        assert_eq!(of("/v1beta/models/g:streamGenerateContent?alt=sse"), Some(Api::Gemini));
        assert_eq!(of("/v1beta/models/g:countTokens"), None);
        assert_eq!(of("/api/chat"), Some(Api::Ollama));
        assert_eq!(of("/model/anthropic.claude/converse-stream"), Some(Api::Bedrock));
        assert_eq!(of("/"), None);
    }

    #[test]
    fn providers_are_known_by_their_hosts() {
        let of = |authority| provider(&openai_chat::OpenaiChat, &head(authority, "/"));
        assert_eq!(of("api.groq.com:443"), "groq");
        assert_eq!(of("eu.api.openai.com"), "openai");
        assert_eq!(of("me.openai.azure.com"), "azure.ai.openai");
        assert_eq!(of("evilapi.groq.com"), "openai");
        assert_eq!(of("127.0.0.1:8080"), "openai");
        assert_eq!(head("[::1]", "/").host(), "[::1]");
    }
}
