//! The part of Perfetto's trace format that is written here, by its published field numbers
//! (`perfetto/trace/trace_packet.proto` and those that it includes).

use prost::{Message, Oneof};

/// A trace.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    pub(super) packet: Vec<TracePacket>,
}

/// What a packet holds.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Data {
    #[prost(message, tag = "6")]
    ClockSnapshot(ClockSnapshot),
    #[prost(message, tag = "11")]
    TrackEvent(TrackEvent),
    #[prost(message, tag = "60")]
    TrackDescriptor(TrackDescriptor),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    pub(super) trusted_packet_sequence_id: Option<u32>,
    #[prost(uint32, optional, tag = "13")]
    pub(super) sequence_flags: Option<u32>,
    #[prost(oneof = "Data", tags = "6, 11, 60")]
    pub(super) data: Option<Data>,
}

/// Numbers of clocks.
pub(super) mod clock {
    pub(in super::super) const REALTIME: u32 = 1;
    pub(in super::super) const MONOTONIC: u32 = 3;
    /// The clock of times that name none.
    pub(in super::super) const BOOTTIME: u32 = 6;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
}

#[derive(Clone, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

impl ClockSnapshot {
    /// What clocks showed at one moment.
    pub(super) fn of(clocks: &[(u32, u64)]) -> ClockSnapshot {
        let clock = |(id, ns): &(u32, u64)| Clock { clock_id: Some(*id), timestamp: Some(*ns) };
        ClockSnapshot { clocks: clocks.iter().map(clock).collect() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    pub(super) uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) process: Option<ProcessDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    pub(super) counter: Option<CounterDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pub(super) pid: Option<i32>,
    #[prost(string, repeated, tag = "2")]
    pub(super) cmdline: Vec<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CounterDescriptor {}

/// Values of [`TrackEvent`]'s type.
pub(super) mod event_type {
    pub(in super::super) const SLICE_BEGIN: i32 = 1;
    pub(in super::super) const SLICE_END: i32 = 2;
    pub(in super::super) const INSTANT: i32 = 3;
    pub(in super::super) const COUNTER: i32 = 4;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    counter_value: Option<i64>,
}

/// A remark's value.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(uint64, tag = "3")]
    Uint(u64),
    #[prost(string, tag = "6")]
    String(String),
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
    #[prost(oneof = "Value", tags = "3, 6")]
    value: Option<Value>,
}

impl TrackEvent {
    fn new(kind: i32, track: u64) -> TrackEvent {
        TrackEvent { r#type: Some(kind), track_uuid: Some(track), ..TrackEvent::default() }
    }

    fn named(
        kind: i32,
        track: u64,
        name: &str,
        category: &str,
        notes: Vec<(&str, Value)>,
    ) -> TrackEvent {
        let note = |(name, value): (&str, Value)| DebugAnnotation {
            name: Some(name.to_owned()),
            value: Some(value),
        };
        TrackEvent {
            name: Some(name.to_owned()),
            categories: vec![category.to_owned()],
            debug_annotations: notes.into_iter().map(note).collect(),
            ..TrackEvent::new(kind, track)
        }
    }

    /// A slice begins.
    pub(super) fn begin(
        track: u64,
        name: &str,
        category: &str,
        notes: Vec<(&str, Value)>,
    ) -> TrackEvent {
        TrackEvent::named(event_type::SLICE_BEGIN, track, name, category, notes)
    }

    /// The last slice that began on this track ends.
    pub(super) fn end(track: u64) -> TrackEvent {
        TrackEvent::new(event_type::SLICE_END, track)
    }

    /// Something at one moment.
    pub(super) fn instant(
        track: u64,
        name: &str,
        category: &str,
        notes: Vec<(&str, Value)>,
    ) -> TrackEvent {
        TrackEvent::named(event_type::INSTANT, track, name, category, notes)
    }

    /// A counter's new value.
    pub(super) fn counter(track: u64, value: i64) -> TrackEvent {
        let event = TrackEvent::new(event_type::COUNTER, track);
        TrackEvent { counter_value: Some(value), ..event }
    }
}
