//! Calls of language models, decoded: what was asked, what came back and when.
//!
//! Names follow OpenTelemetry's semantic conventions for generative AI: the parts of messages,
//! the providers, the operations and how usage is counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::timing::StreamTiming;
use super::token::{StreamToken, TokenKind};

/// Which call: an exchange, and which call of it (over a WebSocket there can be several).
///
/// ```
/// use rr_run::stream::CallId;
/// let id: CallId = "7.2".parse().unwrap();
/// assert_eq!((id.exchange, id.turn, id.to_string()), (7, 2, "7.2".to_owned()));
/// assert_eq!(CallId::from(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CallId {
    /// [`super::Exchange::id`].
    pub exchange: u32,
    /// Number of the call in its exchange, from 1.
    pub turn: u32,
}

impl From<u32> for CallId {
    /// The first call of an exchange.
    fn from(exchange: u32) -> CallId {
        CallId { exchange, turn: 1 }
    }
}

impl From<CallId> for String {
    fn from(id: CallId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for CallId {
    type Error = String;

    fn try_from(text: String) -> Result<CallId, String> {
        text.parse()
    }
}

impl FromStr for CallId {
    type Err = String;

    fn from_str(text: &str) -> Result<CallId, String> {
        let (exchange, turn) = text.split_once('.').unwrap_or((text, "1"));
        match (exchange.parse(), turn.parse()) {
            (Ok(exchange), Ok(turn)) if exchange > 0 && turn > 0 => Ok(CallId { exchange, turn }),
            _ => Err(format!("'{text}' is no number of an exchange (7, or 7.2)")),
        }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.turn {
            1 => write!(f, "{}", self.exchange),
            turn => write!(f, "{}.{turn}", self.exchange),
        }
    }
}

/// The interface that was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Api {
    /// OpenAI chat completions, completions and embeddings, and what imitates them.
    #[serde(rename = "openai.chat")]
    OpenaiChat,
    /// OpenAI Responses, by SSE or WebSocket.
    #[serde(rename = "openai.responses")]
    OpenaiResponses,
    /// Anthropic Messages.
    #[serde(rename = "anthropic")]
    Anthropic,
    /// Gemini generateContent and streamGenerateContent.
    #[serde(rename = "gemini")]
    Gemini,
    /// Ollama chat and generate.
    #[serde(rename = "ollama")]
    Ollama,
    /// Amazon Bedrock Converse and InvokeModel.
    #[serde(rename = "bedrock")]
    Bedrock,
    /// Events or JSON that no dialect knows.
    #[serde(rename = "unknown")]
    Unknown,
}

/// What kind of call it is: `gen_ai.operation.name`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A conversation's next message.
    #[default]
    Chat,
    /// The continuation of a text.
    TextCompletion,
    /// Content of several modes (Gemini).
    GenerateContent,
    /// Vectors for texts.
    Embeddings,
}

impl Operation {
    /// Its name in the conventions.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::TextCompletion => "text_completion",
            Operation::GenerateContent => "generate_content",
            Operation::Embeddings => "embeddings",
        }
    }
}

/// A part of a message, as the conventions' JSON schema for messages has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        content: String,
    },
    /// Reasoning.
    Reasoning {
        /// The text.
        content: String,
    },
    /// A refusal.
    Refusal {
        /// The text.
        content: String,
    },
    /// The model asks for a tool to be called.
    ToolCall(ToolCall),
    /// What a tool answered.
    ToolCallResponse {
        /// Id of the call.
        id: Option<String>,
        /// The answer.
        response: Value,
    },
    /// An image, sound or file: bytes in the request.
    Blob {
        /// Media type, if named.
        mime_type: Option<String>,
        /// Length of what was sent (as base64).
        encoded_bytes: u64,
    },
    /// An image, sound or file: by its address.
    Uri {
        /// The address.
        uri: String,
    },
    /// Something else, as it came.
    Other {
        /// The JSON.
        value: Value,
    },
}

/// A model's call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Id that the answer refers to.
    pub id: Option<String>,
    /// Name of the tool.
    pub name: String,
    /// Its arguments, JSON as a text: all fragments joined.
    pub arguments: String,
}

impl ToolCall {
    /// The arguments as JSON; none if they are not (yet) whole.
    pub fn arguments_json(&self) -> Option<Value> {
        serde_json::from_str(&self.arguments).ok()
    }
}

/// A message of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputMessage {
    /// `user`, `assistant`, `tool`, `system`, `developer` ...
    pub role: String,
    /// What it consists of.
    pub parts: Vec<Part>,
}

/// A tool that was offered to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name, or its type where it has none (`web_search` ...).
    pub name: String,
    /// What the model is told about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmRequest {
    /// Model that was asked for.
    pub model: Option<String>,
    /// Whether the answer was to be streamed.
    pub stream: bool,
    /// Instructions apart from the conversation (`system`, `instructions`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system_instructions: Vec<Part>,
    /// The conversation.
    pub messages: Vec<InputMessage>,
    /// Tools on offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Most tokens that the answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Sampling temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sampling among the k most likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<f64>,
    /// Penalty on frequent tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Penalty on tokens that were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Texts that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    /// Seed of the sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// How many outputs were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice_count: Option<u64>,
    /// Conversation or response that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
}

impl LlmRequest {
    /// The last text that a user (or a tool) sent: what the call is about, for a list.
    pub fn prompt(&self) -> Option<&str> {
        let texts = |m: &'_ InputMessage| m.role != "assistant" && m.role != "model";
        let message = self.messages.iter().rev().find(|m| texts(m))?;
        message.parts.iter().rev().find_map(|part| match part {
            Part::Text { content } => Some(content.as_str()),
            _ => None,
        })
    }
}

/// One answer: a request can ask for several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// What it consists of, in order; neighbouring pieces of text are one part.
    pub parts: Vec<Part>,
    /// Why it ended, in the dialect's own word.
    pub finish_reason: Option<String>,
}

impl Output {
    /// All its text.
    pub fn text(&self) -> String {
        self.joined(|part| match part {
            Part::Text { content } => Some(content),
            _ => None,
        })
    }

    /// All its reasoning.
    pub fn reasoning(&self) -> String {
        self.joined(|part| match part {
            Part::Reasoning { content } => Some(content),
            _ => None,
        })
    }

    /// Its tool calls, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    fn joined(&self, text: impl Fn(&Part) -> Option<&String>) -> String {
        self.parts.iter().filter_map(text).map(String::as_str).collect()
    }
}

/// Tokens that a call cost, as its provider counted them.
///
/// Counted as the conventions ask: `input_tokens` holds the cached ones too, `output_tokens` the
/// reasoning too, whatever the provider's own sums are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// Those of the prompt that a cache had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_input_tokens: Option<u64>,
    /// Those of the prompt that a cache took in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_input_tokens: Option<u64>,
    /// Those of the answer that were reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_output_tokens: Option<u64>,
}

/// An error that the service told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// Its kind in the service's word (`overloaded_error`), or the HTTP status.
    pub kind: String,
    /// What it says.
    pub message: String,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum CallEnd {
    /// The answer is whole.
    Complete,
    /// It goes on: the recording is running, or ended inside it.
    Open,
    /// The service told an error.
    Failed,
    /// It broke off: how.
    Cut(String),
}

/// One call of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmCall {
    /// Which.
    pub id: CallId,
    /// Interface.
    pub api: Api,
    /// Provider in the conventions' name (`openai`, `anthropic`, `gcp.gemini`, `aws.bedrock` ...).
    pub provider: String,
    /// Operation.
    pub operation: Operation,
    /// Key of the process that called.
    pub process: u64,
    /// Step of the call that wrote the request's first byte.
    pub step: u64,
    /// Host and port that were asked.
    pub authority: String,
    /// Path that was asked, without its query.
    pub path: String,
    /// When the request's first byte was written, nanoseconds since the recording's start.
    pub started_ns: u64,
    /// When the answer's last byte came (or it was cut off).
    pub ended_ns: u64,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// What was asked.
    pub request: LlmRequest,
    /// Whether the answer came as a stream of events.
    pub streamed: bool,
    /// The answer's id.
    pub response_id: Option<String>,
    /// Model that answered.
    pub response_model: Option<String>,
    /// The answers.
    pub outputs: Vec<Output>,
    /// What it cost.
    pub usage: Usage,
    /// Error the service told.
    pub error: Option<CallError>,
    /// How it ended.
    pub end: CallEnd,
    /// The pieces of the answer, as they came.
    pub tokens: Vec<StreamToken>,
    /// Their times, in sum.
    pub timing: StreamTiming,
    /// What else is to be said: events that are not understood, damage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl LlmCall {
    /// Text of the first answer.
    pub fn text(&self) -> String {
        self.outputs.first().map(Output::text).unwrap_or_default()
    }

    /// Reasoning of the first answer.
    pub fn reasoning(&self) -> String {
        self.outputs.first().map(Output::reasoning).unwrap_or_default()
    }

    /// Tool calls of the first answer.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.outputs.first().into_iter().flat_map(Output::tool_calls)
    }

    /// Why the answers ended, in the dialect's own words.
    pub fn finish_reasons(&self) -> Vec<&str> {
        self.outputs.iter().filter_map(|output| output.finish_reason.as_deref()).collect()
    }

    /// The model that answered, or else the one asked for.
    pub fn model(&self) -> Option<&str> {
        self.response_model.as_deref().or(self.request.model.as_deref())
    }

    /// Output tokens for each second between the first token and the last: the provider's count
    /// if it told one, else the pieces. None unless at least two pieces came at different times.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seen = |kind| self.tokens.iter().any(|token| token.kind == kind);
        let counted = self.usage.output_tokens.map(|all| {
            // Reasoning that was counted but not sent took place before the first piece.
            let hidden = self.usage.reasoning_output_tokens.unwrap_or(0);
            if seen(TokenKind::Reasoning) { all } else { all.saturating_sub(hidden) }
        });
        let count = counted.filter(|n| *n > 1).unwrap_or(self.tokens.len() as u64);
        let (first, last) = (self.tokens.first()?, self.tokens.last()?);
        let ns = last.arrival_ns.checked_sub(first.arrival_ns).filter(|ns| *ns > 0)?;
        Some(count.saturating_sub(1) as f64 * 1e9 / ns as f64)
    }
}
