//! Input, output, clocks and randomness, from the events of all processes.

use std::collections::HashMap;

use log_format::record::{Call, Dir, Kind, Record, extra, flag};

use super::{Observer, Seen, Waiting};
use crate::audit::fds::{Fds, Target};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::session::manifest::Time;
use crate::stream::connection::{Cleartext, Peer, Sink};
use crate::stream::{Connection, Direction, Segment, Tls, Traffic};
use crate::telemetry::create::EventContext;
use crate::telemetry::event::{DeterminismEvent, EventDetail, IoEvent, TelemetryEvent};

/// Readings of clocks that are not told yet.
struct Readings {
    source: &'static str,
    count: u64,
    step: u64,
    time_ns: u64,
}

/// A connection while it is read.
struct Line<'a> {
    connection: std::borrow::Cow<'a, Connection>,
    cleartext: Cleartext,
    /// Segments so far.
    segments: u64,
}

/// Makes events while the logs are read.
pub(super) struct Teller<'a> {
    context: &'a EventContext,
    observer: &'a mut dyn Observer,
    seen: &'a mut Seen,
    /// Ids of processes by their keys.
    ids: HashMap<u64, &'a str>,
    clock: &'static str,
    /// Steps before which all is told, by process.
    steps: HashMap<u64, u64>,
    fds: HashMap<u64, Fds>,
    readings: HashMap<u64, Readings>,
    /// What the whole session tells of each connection.
    known: HashMap<u32, &'a Connection>,
    lines: HashMap<u32, Line<'a>>,
    /// Events of calls, by time.
    waiting: Waiting,
    failure: Option<Error>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        session: &'a Session,
        context: &'a EventContext,
        seen: &'a mut Seen,
        traffic: &'a Traffic,
        observer: &'a mut dyn Observer,
        waiting: Waiting,
    ) -> Teller<'a> {
        let manifest = session.manifest();
        Teller {
            context,
            observer,
            steps: seen.steps.clone(),
            seen,
            ids: manifest.processes.iter().map(|p| (p.key, p.id.as_str())).collect(),
            clock: if manifest.options.time == Time::Frozen { "frozen" } else { "real" },
            fds: HashMap::new(),
            readings: HashMap::new(),
            known: traffic.connections().iter().map(|c| (c.id, c)).collect(),
            lines: HashMap::new(),
            waiting,
            failure: None,
        }
    }

    /// Tells what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        let mut processes: Vec<u64> = self.readings.keys().copied().collect();
        processes.sort_unstable();
        for process in processes {
            self.tell_readings(process);
        }
        self.tell_until(u64::MAX);
        self.seen.steps = self.steps;
        self.failure.map_or(Ok(()), Err)
    }

    /// Tells what waits for this time.
    fn tell_until(&mut self, time_ns: u64) {
        while self.failure.is_none()
            && let Some(event) = self.waiting.pop_front_if(|event| event.time_ns <= time_ns)
        {
            self.failure = self.observer.event(event).err();
        }
    }

    fn tell(&mut self, process: u64, step: u64, time_ns: u64, detail: EventDetail) -> Told<'_> {
        self.tell_readings(process);
        self.tell_until(time_ns);
        let event = TelemetryEvent {
            process: self.ids.get(&process).map(|id| (*id).to_owned()),
            step: Some(step),
            ..self.context.part(time_ns, detail)
        };
        Told { event: Some(event), observer: self.observer, failure: &mut self.failure }
    }

    fn tell_readings(&mut self, process: u64) {
        let Some(Readings { source, count, step, time_ns }) = self.readings.remove(&process) else {
            return;
        };
        let detail = DeterminismEvent {
            source: source.into(),
            readings: Some(count),
            ..DeterminismEvent::default()
        };
        self.tell(process, step, time_ns, EventDetail::DeterminismTime(detail));
    }

    fn reading(&mut self, process: u64, step: u64, time_ns: u64, source: &'static str) {
        if self.readings.get(&process).is_some_and(|known| known.source != source) {
            self.tell_readings(process);
        }
        let fresh = || Readings { source, count: 0, step, time_ns };
        let readings = self.readings.entry(process).or_insert_with(fresh);
        readings.count += 1;
        (readings.step, readings.time_ns) = (step, time_ns);
    }

    fn random(&mut self, process: u64, step: u64, time_ns: u64, bytes: u64, seeded: bool) {
        let detail = DeterminismEvent {
            source: if seeded { "seeded" } else { "os" }.into(),
            bytes: Some(bytes),
            ..DeterminismEvent::default()
        };
        self.tell(process, step, time_ns, EventDetail::DeterminismRandom(detail));
    }

    /// A completed call that was not told yet.
    fn call(&mut self, process: u64, step: u64, time_ns: u64, record: &Record<'_>, call: &Call) {
        let Ok(bytes) = u64::try_from(call.ret) else { return };
        let seeded = record.header.flags & flag::SEEDED != 0;
        let reads = match i64::from(call.nr) {
            libc::SYS_getrandom => return self.random(process, step, time_ns, bytes, seeded),
            libc::SYS_read
            | libc::SYS_pread64
            | libc::SYS_readv
            | libc::SYS_preadv
            | libc::SYS_preadv2 => true,
            libc::SYS_write
            | libc::SYS_pwrite64
            | libc::SYS_writev
            | libc::SYS_pwritev
            | libc::SYS_pwritev2 => false,
            _ => return,
        };
        let fd = call.args[0] as u32 as i32;
        let path = match self.fds.get(&process).and_then(|fds| fds.get(call.args[0])) {
            // What goes over them is told by connections.
            Some(Target::Socket(..)) => return,
            Some(Target::Random) => return self.random(process, step, time_ns, bytes, seeded),
            Some(Target::File(path)) => Some(path.clone()),
            Some(Target::Stream) => None,
            None => match (fd, call.buf(extra::OUTPUT, Dir::Extra)) {
                (0, _) => Some("stdin".to_owned()),
                (1, Some(_)) => Some("stdout".to_owned()),
                (2, Some(_)) => Some("stderr".to_owned()),
                _ => None,
            },
        };
        let operation = if reads { "read" } else { "write" };
        let key = path.as_ref().map(|path| format!("{operation} {path}"));
        let detail = IoEvent {
            operation: operation.into(),
            fd: Some(fd),
            path,
            bytes: Some(bytes),
            ..IoEvent::default()
        };
        let detail = if reads { EventDetail::IoRead(detail) } else { EventDetail::IoWrite(detail) };
        self.tell(process, step, time_ns, detail).event(|event| event.io_key = key);
    }

    /// Something about a connection.
    fn network(
        &mut self,
        id: u32,
        (process, step, time_ns): (u64, u64, u64),
        operation: &str,
        bytes: Option<u64>,
    ) {
        let Some(line) = self.lines.get(&id) else { return };
        let connection = &line.connection;
        let (peer, port) = match &connection.peer {
            Peer::Inet(peer) => (peer.to_string(), format!(":{}", peer.port())),
            Peer::Unix(path) => (path.clone(), String::new()),
        };
        let target = match &connection.host {
            Some(host) => format!("{host}{port}"),
            None => peer.clone(),
        };
        let detail = IoEvent {
            operation: operation.into(),
            fd: Some(connection.fd),
            path: None,
            bytes,
            connection: Some(id),
            peer: Some(peer),
            host: connection.host.clone(),
            tls: Some(
                match connection.tls {
                    Tls::None => "none",
                    Tls::Intercepted { .. } => "intercepted",
                    Tls::Opaque { .. } => "opaque",
                }
                .into(),
            ),
        };
        let opened = connection.step;
        let key = format!("{operation} {target}");
        let mut told = self.tell(process, step, time_ns, EventDetail::IoNetwork(detail));
        told.event(|event| {
            event.io_key = Some(key);
            event.parent_step = (step != opened).then_some(opened);
        });
    }
}

/// An event that may be added to before it is told.
struct Told<'a> {
    event: Option<TelemetryEvent>,
    observer: &'a mut dyn Observer,
    failure: &'a mut Option<Error>,
}

impl Told<'_> {
    fn event(&mut self, change: impl FnOnce(&mut TelemetryEvent)) {
        self.event.as_mut().map(change);
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take()
            && self.failure.is_none()
        {
            *self.failure = self.observer.event(event).err();
        }
    }
}

fn name(connection: &Connection) -> (u64, u64, i32) {
    (connection.process, connection.step, connection.fd)
}

impl Sink for Teller<'_> {
    fn event(&mut self, process: u64, step: u64, time_ns: u64, record: &Record<'_>) {
        let new = self.seen.steps.get(&process).is_none_or(|told| step >= *told);
        self.steps.insert(process, step + 1);
        match record.header.kind {
            Kind::Clock if new => self.reading(process, step, time_ns, self.clock),
            Kind::Tsc if new => self.reading(process, step, time_ns, "tsc"),
            Kind::Call => {
                let Ok(call) = record.call() else { return };
                if new {
                    self.call(process, step, time_ns, record, &call);
                }
                let child = call.buf(extra::CHILD, Dir::Extra).and_then(|b| b.bytes.first_chunk());
                let fds = self.fds.entry(process).or_default();
                fds.follow(&call);
                if let Some(key) = child.map(|bytes| u64::from_le_bytes(*bytes)) {
                    let inherited = fds.clone();
                    self.fds.insert(key, inherited);
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, connection: &Connection) {
        use std::borrow::Cow;
        let id = connection.id;
        // By now it may be known better than when it was opened.
        let connection = match self.known.get(&id) {
            Some(known) => Cow::Borrowed(*known),
            None => Cow::Owned(connection.clone()),
        };
        let at = (connection.process, connection.step, connection.opened_ns);
        let operation = if connection.accepted { "accept" } else { "connect" };
        let told = self.seen.connections.contains_key(&name(&connection));
        self.seen.connections.entry(name(&connection)).or_default();
        let cleartext = Cleartext::of(&connection);
        self.lines.insert(id, Line { connection, cleartext, segments: 0 });
        if !told {
            self.network(id, at, operation, None);
        }
    }

    fn segment(&mut self, connection: u32, segment: &Segment<'_>) {
        let Some(line) = self.lines.get_mut(&connection) else { return };
        if !line.cleartext.passes(segment) {
            return;
        }
        line.segments += 1;
        let segments = line.segments;
        let told = self.seen.connections.entry(name(&line.connection)).or_default();
        if segments <= told.0 {
            return;
        }
        told.0 = segments;
        let operation = match segment.direction {
            Direction::Sent => "send",
            Direction::Received => "receive",
        };
        let at = (segment.process, segment.step, segment.time_ns);
        self.network(connection, at, operation, Some(segment.bytes.len() as u64));
    }

    fn unseen(&mut self, _connection: u32, _direction: Direction, _time_ns: u64) {}

    fn shut(&mut self, _connection: u32, _by: Direction, _time_ns: u64) {}

    fn intercepted(&mut self, _connection: &Connection) {}

    fn closed(&mut self, connection: u32, _by: Direction, time_ns: u64) {
        let Some(line) = self.lines.get(&connection) else { return };
        let told = self.seen.connections.entry(name(&line.connection)).or_default();
        if std::mem::replace(&mut told.1, true) {
            return;
        }
        let process = line.connection.process;
        let step = self.steps.get(&process).map_or(0, |next| next.saturating_sub(1));
        let bytes = line.connection.sent_bytes + line.connection.received_bytes;
        self.network(connection, (process, step, time_ns), "close", Some(bytes));
        self.lines.remove(&connection);
    }
}
