//! Traces for Perfetto: processes, connections, exchanges and tokens on a time line.

mod proto;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use log_format::record::{Kind, Record};
use prost::Message as _;

use proto::{
    ClockSnapshot, CounterDescriptor, Data, ProcessDescriptor, Trace, TracePacket, TrackDescriptor,
    TrackEvent, Value, clock,
};

use super::har::url;
use super::unwritten;
use crate::error::Result;
use crate::report::units::clip;
use crate::session::{Manifest, Session};
use crate::stream::connection::{Peer, Sink, merge};
use crate::stream::{
    Connection, Direction, End, Exchange, LlmCall, Segment, Tls, TokenKind, llm_calls,
};

/// The sequence that all packets are of.
const SEQUENCE: u32 = 1;
/// The first packet of a sequence says that nothing before it is needed.
const INCREMENTAL_STATE_CLEARED: u32 = 1;
/// Longest name of a slice, characters.
const NAME_CHARS: usize = 120;

/// Writes a session as a trace; what of it could not be read.
///
/// # Errors
/// The session can't be read, or the writer's.
pub fn write(session: &Session, out: &mut dyn Write) -> Result<Vec<String>> {
    let traffic = session.traffic()?;
    let manifest = session.manifest();
    let mut lives = Lives::default();
    let merged = merge(session, &mut lives)?;
    let mut writer = Writer::new(manifest, out);
    writer.clocks()?;
    let mut tracks = Tracks::default();
    for process in &manifest.processes {
        let track = tracks.process(&mut writer, manifest, process.key)?;
        let Some(life) = lives.of.get(&process.key) else { continue };
        let name = process.argv.first().map_or_else(|| "process".into(), ToString::to_string);
        let notes = [("id", Value::String(process.id.clone())), ("pid", int(process.pid as u64))];
        let events = notes.into_iter().chain([("events", int(process.events))]);
        writer.slice(track, (life.0, life.1), &name, "process", events.collect())?;
    }
    for connection in traffic.connections() {
        let until_ns = connection.closed_ns.unwrap_or(merged.last_ns);
        let span = (connection.opened_ns, until_ns);
        let track = tracks.lane(&mut writer, manifest, connection.process, "connections", span)?;
        let (name, notes) = connection_notes(connection);
        writer.slice(track, span, &name, "connection", notes)?;
    }
    let mut tokens: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for exchange in traffic.exchanges() {
        let exchange = exchange?;
        let process = exchange.request.process;
        let span = (exchange.request.started_ns, exchange.ended_ns);
        let track = tracks.lane(&mut writer, manifest, process, "exchanges", span)?;
        let calls = llm_calls(&exchange)?;
        exchange_events(&mut writer, track, &exchange, &calls)?;
        let arrivals =
            calls.iter().flat_map(|c| c.tokens.iter().map(|t| c.started_ns + t.arrival_ns));
        tokens.entry(process).or_default().extend(arrivals);
    }
    for (process, mut arrivals) in tokens.into_iter().filter(|(_, times)| !times.is_empty()) {
        arrivals.sort_unstable();
        let track = tracks.counter(&mut writer, manifest, process, "tokens")?;
        for (count, time_ns) in (1..).zip(arrivals) {
            writer.event(time_ns, TrackEvent::counter(track, count))?;
        }
    }
    let mut damage = traffic.damage().to_vec();
    damage.extend(merged.damage.into_iter().filter(|d| !traffic.damage().contains(d)));
    Ok(damage)
}

fn int(value: u64) -> Value {
    Value::Uint(value)
}

fn connection_notes(connection: &Connection) -> (String, Vec<(&'static str, Value)>) {
    let peer = match &connection.peer {
        Peer::Inet(peer) => peer.to_string(),
        Peer::Unix(path) => path.clone(),
    };
    let name = match (&connection.host, &connection.peer) {
        (Some(host), Peer::Inet(peer)) => format!("{host}:{}", peer.port()),
        _ => peer.clone(),
    };
    let mut notes = vec![
        ("connection", int(connection.id.into())),
        ("peer", Value::String(peer)),
        ("step", int(connection.step)),
        ("sent_bytes", int(connection.sent_bytes)),
        ("received_bytes", int(connection.received_bytes)),
    ];
    match &connection.tls {
        Tls::None => {}
        Tls::Intercepted { .. } => notes.push(("tls", Value::String("read".into()))),
        Tls::Opaque { reason, .. } => {
            notes.push(("tls", Value::String(format!("not read: {reason}"))));
        }
    }
    (name, notes)
}

/// An exchange, its phases in it, and the pieces of its answers.
fn exchange_events(
    writer: &mut Writer<'_>,
    track: u64,
    exchange: &Exchange,
    calls: &[LlmCall],
) -> Result<()> {
    let Exchange { request, response, .. } = exchange;
    let address = url(request);
    let address = address.split('?').next().unwrap_or_default();
    let name = clip(&format!("{} {address}", request.method), NAME_CHARS);
    let mut notes = vec![
        ("exchange", int(exchange.id.into())),
        ("step", int(request.step)),
        ("request_bytes", int(request.body.len())),
    ];
    if let Some(response) = response {
        notes.push(("status", int(response.status.into())));
        notes.push(("response_bytes", int(response.body.len())));
        notes.push(("chunks", int(response.body.chunks.len() as u64)));
    }
    if exchange.end != End::Complete {
        notes.push(("end", Value::String(format!("{:?}", exchange.end))));
    }
    if let Some(call) = calls.first() {
        let model = call.model().map(|model| ("model", Value::String(model.to_owned())));
        notes.extend(model);
        notes.extend(call.usage.input_tokens.map(|n| ("input_tokens", int(n))));
        notes.extend(call.usage.output_tokens.map(|n| ("output_tokens", int(n))));
    }
    let (start_ns, end_ns) = (request.started_ns, exchange.ended_ns.max(request.started_ns));
    writer.event(start_ns, TrackEvent::begin(track, &name, "exchange", notes))?;
    if let Some(response) = response {
        let inside = |ns: u64| ns.clamp(start_ns, end_ns);
        let answered_ns = inside(response.started_ns);
        let sent_ns = inside(request.ended_ns).min(answered_ns);
        let done_ns = inside(response.ended_ns).max(answered_ns);
        let phases = [
            ("request", start_ns, sent_ns),
            ("waiting", sent_ns, answered_ns),
            ("response", answered_ns, done_ns),
        ];
        for (name, from_ns, to_ns) in phases {
            writer.event(from_ns, TrackEvent::begin(track, name, "phase", Vec::new()))?;
            if name == "response" {
                tokens(writer, track, calls, (from_ns, to_ns))?;
            }
            writer.event(to_ns, TrackEvent::end(track))?;
        }
    }
    writer.event(end_ns, TrackEvent::end(track))
}

/// The pieces of answers, as instants inside of `span`.
fn tokens(writer: &mut Writer<'_>, track: u64, calls: &[LlmCall], span: (u64, u64)) -> Result<()> {
    for call in calls {
        for token in &call.tokens {
            let time_ns = (call.started_ns + token.arrival_ns).clamp(span.0, span.1);
            let kind = match token.kind {
                TokenKind::Text => "text",
                TokenKind::Reasoning => "reasoning",
                TokenKind::Refusal => "refusal",
                TokenKind::ToolCall => "tool call",
                TokenKind::Event => "event",
            };
            let notes = vec![
                ("index", int(token.index.into())),
                ("text", Value::String(token.text.clone())),
                ("gap_ns", int(token.gap_ns)),
                ("step", int(token.step)),
            ];
            writer.event(time_ns, TrackEvent::instant(track, kind, "token", notes))?;
        }
    }
    Ok(())
}

/// When processes lived.
#[derive(Default)]
struct Lives {
    of: HashMap<u64, (u64, u64)>,
}

impl Sink for Lives {
    fn opened(&mut self, _connection: &Connection) {}
    fn segment(&mut self, _connection: u32, _segment: &Segment<'_>) {}
    fn unseen(&mut self, _connection: u32, _direction: Direction, _time_ns: u64) {}
    fn shut(&mut self, _connection: u32, _by: Direction, _time_ns: u64) {}
    fn intercepted(&mut self, _connection: &Connection) {}
    fn closed(&mut self, _connection: u32, _by: Direction, _time_ns: u64) {}

    fn event(&mut self, process: u64, _step: u64, time_ns: u64, record: &Record<'_>) {
        let first_ns = match record.header.kind {
            Kind::Start => record.call().ok().and_then(|c| c.time_ns()).map(|_| time_ns),
            _ => None,
        };
        let life = self.of.entry(process).or_insert((first_ns.unwrap_or(time_ns), time_ns));
        life.1 = life.1.max(time_ns);
    }
}

/// Tracks by what they show.
#[derive(Default)]
struct Tracks {
    processes: HashMap<u64, u64>,
    /// By process and group: tracks, and when the last slice of each ends.
    lanes: HashMap<(u64, &'static str), Vec<(u64, u64)>>,
    next: u64,
}

impl Tracks {
    fn uuid(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The track of a process.
    fn process(&mut self, writer: &mut Writer<'_>, manifest: &Manifest, key: u64) -> Result<u64> {
        if let Some(track) = self.processes.get(&key) {
            return Ok(*track);
        }
        let uuid = self.uuid();
        let process = manifest.processes.iter().find(|p| p.key == key);
        let argv: Vec<String> =
            process.map_or_else(Vec::new, |p| p.argv.iter().map(ToString::to_string).collect());
        let id = process.map_or_else(|| format!("{key:x}"), |p| p.id.clone());
        let program = argv.first().map_or("", |name| name.rsplit('/').next().unwrap_or(name));
        let descriptor = ProcessDescriptor {
            pid: Some(process.map_or(0, |p| p.pid)),
            cmdline: argv.clone(),
            process_name: Some(format!("{id} {program}")),
        };
        writer.track(TrackDescriptor {
            uuid: Some(uuid),
            process: Some(descriptor),
            ..TrackDescriptor::default()
        })?;
        self.processes.insert(key, uuid);
        Ok(uuid)
    }

    /// A track of a group of a process's on which nothing stands at the time of `span`.
    fn lane(
        &mut self,
        writer: &mut Writer<'_>,
        manifest: &Manifest,
        key: u64,
        group: &'static str,
        span: (u64, u64),
    ) -> Result<u64> {
        let parent = self.process(writer, manifest, key)?;
        let lanes = self.lanes.entry((key, group)).or_default();
        if let Some((track, until)) = lanes.iter_mut().find(|(_, until)| *until <= span.0) {
            *until = span.1;
            return Ok(*track);
        }
        let uuid = self.uuid();
        self.lanes.entry((key, group)).or_default().push((uuid, span.1));
        writer.track(TrackDescriptor {
            uuid: Some(uuid),
            name: Some(group.into()),
            parent_uuid: Some(parent),
            ..TrackDescriptor::default()
        })?;
        Ok(uuid)
    }

    fn counter(
        &mut self,
        writer: &mut Writer<'_>,
        manifest: &Manifest,
        key: u64,
        name: &str,
    ) -> Result<u64> {
        let parent = self.process(writer, manifest, key)?;
        let uuid = self.uuid();
        writer.track(TrackDescriptor {
            uuid: Some(uuid),
            name: Some(name.into()),
            parent_uuid: Some(parent),
            counter: Some(CounterDescriptor::default()),
            ..TrackDescriptor::default()
        })?;
        Ok(uuid)
    }
}

struct Writer<'a> {
    manifest: &'a Manifest,
    out: &'a mut dyn Write,
    begun: bool,
}

impl<'a> Writer<'a> {
    fn new(manifest: &'a Manifest, out: &'a mut dyn Write) -> Writer<'a> {
        Writer { manifest, out, begun: false }
    }

    /// Says which moment of the wall clock the trace begins at.
    fn clocks(&mut self) -> Result<()> {
        let snapshot = ClockSnapshot::of(&[
            (clock::REALTIME, self.manifest.started_ns),
            (clock::MONOTONIC, self.manifest.started_mono_ns),
            (clock::BOOTTIME, self.manifest.started_mono_ns),
        ]);
        self.packet(None, Data::ClockSnapshot(snapshot))
    }

    fn track(&mut self, descriptor: TrackDescriptor) -> Result<()> {
        self.packet(None, Data::TrackDescriptor(descriptor))
    }

    fn event(&mut self, time_ns: u64, event: TrackEvent) -> Result<()> {
        let time_ns = self.manifest.started_mono_ns + time_ns;
        self.packet(Some(time_ns), Data::TrackEvent(event))
    }

    fn slice(
        &mut self,
        track: u64,
        span: (u64, u64),
        name: &str,
        category: &str,
        notes: Vec<(&'static str, Value)>,
    ) -> Result<()> {
        let name = clip(name, NAME_CHARS);
        self.event(span.0, TrackEvent::begin(track, &name, category, notes))?;
        self.event(span.1.max(span.0), TrackEvent::end(track))
    }

    /// Writes one packet; a trace is nothing but packets one after another.
    fn packet(&mut self, timestamp: Option<u64>, data: Data) -> Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        let packet = TracePacket {
            timestamp,
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: first.then_some(INCREMENTAL_STATE_CLEARED),
            data: Some(data),
        };
        let bytes = Trace { packet: vec![packet] }.encode_to_vec();
        self.out.write_all(&bytes).map_err(unwritten)
    }
}
