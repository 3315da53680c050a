//! The schema of events. `docs/telemetry.schema.json` is made from these types.
//!
//! The version's first number changes when a field changes its meaning or goes away, the second
//! when fields or events are added: readers ignore what they do not know.

use std::time::{Duration, UNIX_EPOCH};

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the schema.
pub const SCHEMA_VERSION: &str = "1.0";

/// One event: a line of a telemetry file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TelemetryEvent {
    /// Version of this schema.
    pub schema_version: String,
    /// What happened.
    #[serde(flatten)]
    pub detail: EventDetail,
    /// When, in UTC (RFC 3339, nanoseconds).
    pub time: String,
    /// When, nanoseconds since the start of the recording (or replay).
    pub time_ns: u64,
    /// Name of the session.
    pub recording_session: String,
    /// How the session is replayed; not there in what a recording tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_mode: Option<ReplayMode>,
    /// Id of the process: `1` for the root, `1.2` for its second child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Step of that process: the number that `rr-run show` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Step that this one belongs to: of a connection's open, of a request's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_step: Option<u64>,
    /// Number of the model's call in the session, from 1, by the time of its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_index: Option<u64>,
    /// What is done to what: the same in every run (`POST api.example.org/v1/messages`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_key: Option<String>,
    /// Hash of the request in its canonical form: equal requests have equal ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_fingerprint: Option<String>,
    /// W3C trace id, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// W3C span id, 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Span id of what this is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
}

/// What happened: the event's name and what only it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventDetail {
    /// A recording begins.
    RecordingStart(RecordingEvent),
    /// How far a recording is.
    RecordingCheckpoint(RecordingEvent),
    /// A recording has ended.
    RecordingStop(RecordingEvent),
    /// A replay begins.
    ReplayStart(ReplayEvent),
    /// A replay differs from its recording.
    ReplayMismatch(ReplayEvent),
    /// A replay has ended.
    ReplayStop(ReplayEvent),
    /// A model is asked.
    LlmCallStart(StreamingLlmEvent),
    /// A piece of its answer has come.
    LlmCallChunk(StreamingLlmEvent),
    /// Its answer has ended.
    LlmCallFinish(StreamingLlmEvent),
    /// Bytes were read from a file, pipe or terminal.
    IoRead(IoEvent),
    /// Bytes were written to one.
    IoWrite(IoEvent),
    /// A connection was opened or closed, or bytes went over it.
    IoNetwork(IoEvent),
    /// What randomness comes from.
    DeterminismSeed(DeterminismEvent),
    /// Clocks were read.
    DeterminismTime(DeterminismEvent),
    /// Random bytes were given.
    DeterminismRandom(DeterminismEvent),
}

impl EventDetail {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            EventDetail::RecordingStart(_) => "RECORDING_START",
            EventDetail::RecordingCheckpoint(_) => "RECORDING_CHECKPOINT",
            EventDetail::RecordingStop(_) => "RECORDING_STOP",
            EventDetail::ReplayStart(_) => "REPLAY_START",
            EventDetail::ReplayMismatch(_) => "REPLAY_MISMATCH",
            EventDetail::ReplayStop(_) => "REPLAY_STOP",
            EventDetail::LlmCallStart(_) => "LLM_CALL_START",
            EventDetail::LlmCallChunk(_) => "LLM_CALL_CHUNK",
            EventDetail::LlmCallFinish(_) => "LLM_CALL_FINISH",
            EventDetail::IoRead(_) => "IO_READ",
            EventDetail::IoWrite(_) => "IO_WRITE",
            EventDetail::IoNetwork(_) => "IO_NETWORK",
            EventDetail::DeterminismSeed(_) => "DETERMINISM_SEED",
            EventDetail::DeterminismTime(_) => "DETERMINISM_TIME",
            EventDetail::DeterminismRandom(_) => "DETERMINISM_RANDOM",
        }
    }
}

/// How a session is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// Every call answered from the log.
    Process,
    /// The program live, its network answered from the session.
    Network,
}

/// A recording's start, state or end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingEvent {
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Version of the rr-run that records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rr_run: Option<String>,
    /// Processes so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Events logged so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Bytes of the log files so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// `complete`, or why the session ends early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Exit code of the program; 128 + n for signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

/// A replay's start, mismatch or end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayEvent {
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// What differs, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
    /// What was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// Requests that were answered from the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<u64>,
    /// Requests, or calls, that differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatched: Option<u64>,
    /// Exit code of rr-run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

/// A call of a model: its start, a piece of its answer, or its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamingLlmEvent {
    /// Id of the call, as `rr-run streams` numbers it: `7`, or `7.2` over a WebSocket.
    pub call: String,
    /// Provider, as OpenTelemetry's conventions name it.
    pub provider: String,
    /// Interface: `openai.chat`, `anthropic` ...
    pub api: String,
    /// Operation: `chat`, `embeddings` ...
    pub operation: String,
    /// Model that answers, or else the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether the answer was to be streamed (start), or came as a stream (finish).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Chunk: its number in the answer, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_index: Option<u32>,
    /// Chunk: `text`, `reasoning`, `refusal`, `tool_call`, `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Chunk: bytes of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_bytes: Option<u64>,
    /// Chunk: its text; finish: the whole answer's. Only if content was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Start: what was asked, as the conventions' JSON schema for input messages has it. Only if
    /// content was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Value>,
    /// Chunk: nanoseconds since the request's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival_ns: Option<u64>,
    /// Chunk: nanoseconds since the chunk before; of the first, since the request's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_ns: Option<u64>,
    /// Finish: HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Finish: from the request's first byte to the answer's end, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// Finish: from the request's first byte to the first chunk, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk_ns: Option<u64>,
    /// Finish: chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u64>,
    /// Finish: tokens of the prompt, as the provider counted, those of a cache among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Finish: tokens of the answer, as the provider counted, those of reasoning among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Finish: why the answers ended, in the interface's own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// Finish: kind of the error that the service told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Finish: `complete`, `open`, `failed` or `cut`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// Input or output of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IoEvent {
    /// `read`, `write`; of a connection `connect`, `accept`, `send`, `receive`, `close`.
    pub operation: String,
    /// Descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
    /// Path of the file, as it was opened; `stdin`, `stdout`, `stderr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes moved; of a closed connection, in both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Number of the connection in the session, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u32>,
    /// Address of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Name of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// TLS on it: `none`, `intercepted` (bytes are of plaintext), `opaque`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}

/// Something that would differ from run to run, and is recorded therefore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeterminismEvent {
    /// `seeded`, `os`; of time: `real`, `frozen`; of a counter: `tsc`.
    pub source: String,
    /// Hash of the seed. The seed itself would tell all randomness of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_fingerprint: Option<String>,
    /// Random bytes given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Readings of clocks that follow each other and stand in this event together; `step` is
    /// that of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<u64>,
}

impl TelemetryEvent {
    /// An event of a moment: `started_ns` since the epoch, `time_ns` after it.
    pub fn at(started_ns: u64, time_ns: u64, session: &str, detail: EventDetail) -> TelemetryEvent {
        let time = UNIX_EPOCH + Duration::from_nanos(started_ns.saturating_add(time_ns));
        TelemetryEvent {
            schema_version: SCHEMA_VERSION.into(),
            detail,
            time: humantime::format_rfc3339_nanos(time).to_string(),
            time_ns,
            recording_session: session.to_owned(),
            replay_mode: None,
            process: None,
            step: None,
            parent_step: None,
            call_index: None,
            io_key: None,
            input_fingerprint: None,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
        }
    }
}

/// The schema as JSON Schema (2020-12).
pub fn schema() -> Schema {
    schemars::schema_for!(TelemetryEvent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RR_RUN_WRITE_SCHEMA=1 cargo test schema` writes the file anew.
    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.schema.json");
        let made = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("RR_RUN_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), made);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let detail =
            EventDetail::IoRead(IoEvent { operation: "read".into(), ..IoEvent::default() });
        let event = TelemetryEvent { step: Some(4), ..TelemetryEvent::at(0, 1, "s", detail) };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["event"], &json["step"]), (&"IO_READ".into(), &4.into()));
        assert_eq!(
            (&json["operation"], &json["time"]),
            (&"read".into(), &"1970-01-01T00:00:00.000000001Z".into())
        );
        assert_eq!(event.detail.name(), "IO_READ");
        assert_eq!(serde_json::from_value::<TelemetryEvent>(json).unwrap(), event);
    }
}
