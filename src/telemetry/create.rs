//! Making events.

use serde_json::json;

use super::event::{
    EventDetail, RecordingEvent, ReplayEvent, ReplayMode, StreamingLlmEvent, TelemetryEvent,
};
use super::trace::{SessionTrace, TraceContext};
use crate::player::key::Canonical;
use crate::report::units;
use crate::session::Manifest;
use crate::stream::{CallEnd, Exchange, LlmCall, StreamToken};

/// What all events of one recording or replay share.
///
/// ```
/// use rr_run::session::Manifest;
/// use rr_run::telemetry::{EventContext, create_replay_mismatch_event};
/// let manifest = Manifest { name: "nightly".into(), ..Manifest::default() };
/// let context = EventContext::new(&manifest);
/// let event = create_replay_mismatch_event(&context, 5, "another call", Some(17));
/// assert_eq!((event.recording_session.as_str(), event.step), ("nightly", Some(17)));
/// assert_eq!(event.detail.name(), "REPLAY_MISMATCH");
/// ```
#[derive(Clone, Debug)]
pub struct EventContext {
    /// Name of the session.
    pub session: String,
    /// Start of the recording (or replay), nanoseconds since the epoch.
    pub started_ns: u64,
    /// How the session is replayed, if it is.
    pub replay_mode: Option<ReplayMode>,
    /// Trace and span of the session.
    pub trace: SessionTrace,
    /// Whether events say what was asked and answered.
    pub content: bool,
}

impl EventContext {
    /// The context of a session's recording.
    pub fn new(manifest: &Manifest) -> EventContext {
        EventContext {
            session: manifest.name.clone(),
            started_ns: manifest.started_ns,
            replay_mode: None,
            trace: SessionTrace::of(manifest),
            content: false,
        }
    }

    /// An event of the session as a whole.
    pub fn event(&self, time_ns: u64, detail: EventDetail) -> TelemetryEvent {
        let event = TelemetryEvent::at(self.started_ns, time_ns, &self.session, detail);
        self.within(event, self.trace.own, self.trace.parent)
    }

    /// An event of a part of it.
    pub(super) fn part(&self, time_ns: u64, detail: EventDetail) -> TelemetryEvent {
        let event = TelemetryEvent::at(self.started_ns, time_ns, &self.session, detail);
        let TraceContext { trace_id, span_id } = self.trace.own;
        TelemetryEvent {
            replay_mode: self.replay_mode,
            trace_id: Some(format!("{trace_id:032x}")),
            parent_span_id: Some(format!("{span_id:016x}")),
            ..event
        }
    }

    fn within(
        &self,
        event: TelemetryEvent,
        own: TraceContext,
        parent: Option<u64>,
    ) -> TelemetryEvent {
        TelemetryEvent {
            replay_mode: self.replay_mode,
            trace_id: Some(format!("{:032x}", own.trace_id)),
            span_id: Some(format!("{:016x}", own.span_id)),
            parent_span_id: parent.map(|id| format!("{id:016x}")),
            ..event
        }
    }
}

fn argv(manifest: &Manifest) -> Vec<String> {
    manifest.program.argv.iter().map(ToString::to_string).collect()
}

/// `RECORDING_START`.
pub fn create_recording_start_event(context: &EventContext, manifest: &Manifest) -> TelemetryEvent {
    let detail = RecordingEvent {
        argv: argv(manifest),
        rr_run: Some(manifest.rr_run.clone()),
        ..RecordingEvent::default()
    };
    context.event(0, EventDetail::RecordingStart(detail))
}

fn so_far(manifest: &Manifest) -> RecordingEvent {
    let sum = |of: fn(&crate::session::Process) -> u64| manifest.processes.iter().map(of).sum();
    RecordingEvent {
        processes: Some(manifest.processes.len() as u64),
        events: Some(sum(|p| p.events)),
        stored_bytes: Some(sum(|p| p.stored_bytes) + manifest.tls.log.stored_bytes),
        ..RecordingEvent::default()
    }
}

/// `RECORDING_CHECKPOINT`: how far a recording is at `time_ns`.
pub fn create_recording_checkpoint_event(
    context: &EventContext,
    manifest: &Manifest,
    time_ns: u64,
) -> TelemetryEvent {
    context.event(time_ns, EventDetail::RecordingCheckpoint(so_far(manifest)))
}

/// `RECORDING_STOP`; `last_ns` is when the last event happened.
pub fn create_recording_stop_event(
    context: &EventContext,
    manifest: &Manifest,
    last_ns: u64,
) -> TelemetryEvent {
    let detail = RecordingEvent {
        status: Some(units::status(&manifest.status)),
        exit_code: manifest.exit_code,
        ..so_far(manifest)
    };
    let ended_ns = manifest.ended_ns.saturating_sub(manifest.started_ns).max(last_ns);
    context.event(ended_ns, EventDetail::RecordingStop(detail))
}

/// `REPLAY_START`.
pub fn create_replay_start_event(context: &EventContext, manifest: &Manifest) -> TelemetryEvent {
    let detail = ReplayEvent { argv: argv(manifest), ..ReplayEvent::default() };
    context.event(0, EventDetail::ReplayStart(detail))
}

/// `REPLAY_MISMATCH` at `time_ns` of the replay; `step` is that of the recording.
pub fn create_replay_mismatch_event(
    context: &EventContext,
    time_ns: u64,
    mismatch: &str,
    step: Option<u64>,
) -> TelemetryEvent {
    let detail = ReplayEvent { mismatch: Some(mismatch.into()), ..ReplayEvent::default() };
    let event = context.event(time_ns, EventDetail::ReplayMismatch(detail));
    TelemetryEvent { step, ..event }
}

/// `REPLAY_STOP`.
pub fn create_replay_stop_event(
    context: &EventContext,
    time_ns: u64,
    detail: ReplayEvent,
) -> TelemetryEvent {
    context.event(time_ns, EventDetail::ReplayStop(detail))
}

/// A serde name of a unit variant.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// What all events of a call share.
fn call_event(
    context: &EventContext,
    exchange: &Exchange,
    call: &LlmCall,
    call_index: u64,
    time_ns: u64,
    detail: EventDetail,
) -> TelemetryEvent {
    let (own, parent) = context.trace.of_exchange(exchange, call.id.turn);
    let event = TelemetryEvent::at(context.started_ns, time_ns, &context.session, detail);
    let method = &exchange.request.method;
    TelemetryEvent {
        call_index: Some(call_index),
        io_key: Some(format!("{method} {}{}", call.authority, call.path)),
        ..context.within(event, own, Some(parent))
    }
}

fn call_detail(call: &LlmCall) -> StreamingLlmEvent {
    StreamingLlmEvent {
        call: call.id.to_string(),
        provider: call.provider.clone(),
        api: name(&call.api),
        operation: call.operation.name().into(),
        model: call.model().map(str::to_owned),
        ..StreamingLlmEvent::default()
    }
}

/// `LLM_CALL_START`: the request of a call.
pub fn create_streaming_llm_start_event(
    context: &EventContext,
    exchange: &Exchange,
    call: &LlmCall,
    call_index: u64,
) -> TelemetryEvent {
    let detail = StreamingLlmEvent {
        model: call.request.model.clone(),
        stream: Some(call.request.stream),
        messages: context.content.then(|| json!(call.request.messages)),
        ..call_detail(call)
    };
    let detail = EventDetail::LlmCallStart(detail);
    let canonical = Canonical::new(&exchange.request, &[]).ok();
    TelemetryEvent {
        step: Some(call.step),
        input_fingerprint: canonical.map(|c| format!("{:?}", c.fingerprint())),
        ..call_event(context, exchange, call, call_index, call.started_ns, detail)
    }
}

/// `LLM_CALL_CHUNK`: a piece of an answer.
pub fn create_streaming_llm_chunk_event(
    context: &EventContext,
    exchange: &Exchange,
    call: &LlmCall,
    call_index: u64,
    token: &StreamToken,
) -> TelemetryEvent {
    let detail = StreamingLlmEvent {
        chunk_index: Some(token.index),
        kind: Some(name(&token.kind)),
        text_bytes: Some(token.text.len() as u64),
        text: context.content.then(|| token.text.clone()),
        arrival_ns: Some(token.arrival_ns),
        gap_ns: Some(token.gap_ns),
        ..call_detail(call)
    };
    let detail = EventDetail::LlmCallChunk(detail);
    let time_ns = call.started_ns + token.arrival_ns;
    TelemetryEvent {
        step: Some(token.step),
        parent_step: Some(call.step),
        ..call_event(context, exchange, call, call_index, time_ns, detail)
    }
}

/// `LLM_CALL_FINISH`: the end of an answer, or of what there is of it.
pub fn create_streaming_llm_finish_event(
    context: &EventContext,
    exchange: &Exchange,
    call: &LlmCall,
    call_index: u64,
) -> TelemetryEvent {
    let end = match &call.end {
        CallEnd::Complete => "complete",
        CallEnd::Open => "open",
        CallEnd::Failed => "failed",
        CallEnd::Cut(_) => "cut",
    };
    let detail = StreamingLlmEvent {
        stream: Some(call.streamed),
        status: call.status,
        text: context.content.then(|| call.text()),
        duration_ns: Some(call.ended_ns.saturating_sub(call.started_ns)),
        time_to_first_chunk_ns: call.timing.time_to_first_token_ns,
        chunks: Some(call.tokens.len() as u64),
        input_tokens: call.usage.input_tokens,
        output_tokens: call.usage.output_tokens,
        finish_reasons: call.finish_reasons().into_iter().map(str::to_owned).collect(),
        error: call.error.as_ref().map(|error| error.kind.clone()),
        end: Some(end.into()),
        ..call_detail(call)
    };
    let detail = EventDetail::LlmCallFinish(detail);
    TelemetryEvent {
        step: call.tokens.last().map(|token| token.step).or(Some(call.step)),
        parent_step: Some(call.step),
        ..call_event(context, exchange, call, call_index, call.ended_ns, detail)
    }
}
