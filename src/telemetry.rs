//! Telemetry: what happens in a recording or replay, as events for other programs.
//!
//! 1. [`event`]: the schema, as types; [`schema`] gives it as JSON Schema, `create` makes events.
//! 2. [`source`]: the events of a session, of a finished one or of one that is being recorded.
//! 3. [`watch`]: follows a recording while it goes on, in a thread of the host. The guest does
//!    nothing for it, and without it nothing runs.
//! 4. [`trace`]: trace and span ids, from the guest's own traceparent where there is one.
//! 5. `otlp`: spans and metrics for OpenTelemetry's collectors.
//!
//! What was said to a model and what it answered is left out unless it is asked for.

mod create;
pub mod event;
pub mod lines;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod replaying;
pub mod source;
pub mod trace;
pub mod watch;

pub use create::{
    EventContext, create_recording_checkpoint_event, create_recording_start_event,
    create_recording_stop_event, create_replay_mismatch_event, create_replay_start_event,
    create_replay_stop_event, create_streaming_llm_chunk_event, create_streaming_llm_finish_event,
    create_streaming_llm_start_event,
};
pub use event::{
    DeterminismEvent, EventDetail, IoEvent, RecordingEvent, ReplayEvent, ReplayMode,
    SCHEMA_VERSION, StreamingLlmEvent, TelemetryEvent, schema,
};
pub use source::{Observer, Options, Seen, events, observe};
