//! All processes' logs as one sequence, in the order of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use log_format::arena::PLAIN_KEY;
use log_format::record::Kind;

use super::assemble::{Assembler, At, Sink};
use super::fds::Table;
use super::{Connection, Lookup};
use crate::error::{Error, Result};
use crate::intercept::plain;
use crate::log::Events;
use crate::log::reader::FramePlace;
use crate::session::{Process, Session, Status};

/// Logs of so many bytes are read ahead.
const LONG: u64 = 4 << 20;
/// So many at most: each takes some threads, and 1 MiB for each of these.
const AHEAD_MAX: usize = 4;

/// What was read.
pub(crate) struct Merged {
    /// All connections.
    pub(crate) connections: Vec<Connection>,
    /// Lookups of names by datagrams.
    pub(crate) lookups: Vec<Lookup>,
    /// Name servers that were to be asked could not be.
    pub(crate) no_lookups: bool,
    /// Where the frames of each process's log stand.
    pub(crate) frames: HashMap<u64, Vec<FramePlace>>,
    /// Bytes that were read beyond the log files, from memory, with their place in the log.
    pub(crate) tails: HashMap<u64, (u64, Vec<u8>)>,
    /// Logs that could not be read to their end: why.
    pub(crate) damage: Vec<String>,
    /// When the last event happened, nanoseconds since the recording's start.
    pub(crate) last_ns: u64,
}

/// A process that is being read.
struct Reader {
    key: u64,
    events: Events,
    table: Table,
    /// When its last event happened.
    time_ns: u64,
    done: bool,
}

/// Reads all processes of a session.
struct Merge<'a> {
    session: &'a Session,
    processes: HashMap<u64, &'a Process>,
    readers: Vec<Reader>,
    /// Time of each reader's next event, and its index.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    assembler: Assembler,
    /// Connections that the log of plaintext has numbered.
    handed_over: HashMap<u32, usize>,
    base_ns: u64,
    live: bool,
    /// Logs that were begun to be read ahead.
    ahead: usize,
    merged: Merged,
}

/// Reads all events of a session; `sink` gets what its connections carry.
///
/// # Errors
/// The system's. Damage is noted, and what can be read is read.
pub(crate) fn merge(session: &Session, sink: &mut dyn Sink) -> Result<Merged> {
    let manifest = session.manifest();
    let mut merge = Merge {
        session,
        processes: manifest.processes.iter().map(|p| (p.key, p)).collect(),
        readers: Vec::new(),
        next: BinaryHeap::new(),
        assembler: Assembler::default(),
        handed_over: HashMap::new(),
        base_ns: manifest.started_mono_ns,
        live: manifest.status == Status::Recording,
        ahead: 0,
        merged: Merged {
            connections: Vec::new(),
            lookups: Vec::new(),
            no_lookups: false,
            frames: HashMap::new(),
            tails: HashMap::new(),
            damage: Vec::new(),
            last_ns: 0,
        },
    };
    merge.begin_plaintext()?;
    for process in &manifest.processes {
        // Most are begun by their parent's log; one whose creation is in no log comes now.
        merge.begin(process.key, Table::default(), 0)?;
        merge.run(sink)?;
    }
    let mut merged = merge.merged;
    merged.no_lookups = merge.assembler.no_lookups;
    (merged.connections, merged.lookups) = merge.assembler.into_parts();
    Ok(merged)
}

impl<'a> Merge<'a> {
    /// Begins to read a process, with the descriptors that it inherits.
    fn begin(&mut self, key: u64, table: Table, time_ns: u64) -> Result<()> {
        let Some(process) = self.processes.remove(&key) else { return Ok(()) };
        self.assembler.copied(&table);
        let mut events = self.session.events(process)?;
        self.read_ahead(&mut events, process.bytes)?;
        self.next.push(Reverse((time_ns, self.readers.len())));
        self.readers.push(Reader { key, events, table, time_ns, done: false });
        Ok(())
    }

    /// Has a long log's frames decompressed by another thread while events are looked at.
    fn read_ahead(&mut self, events: &mut Events, bytes: u64) -> Result<()> {
        if !self.live && bytes >= LONG && self.ahead < AHEAD_MAX {
            self.ahead += 1;
            events.read_ahead()?;
        }
        Ok(())
    }

    /// Begins to read the log of plaintext.
    fn begin_plaintext(&mut self) -> Result<()> {
        let bytes = self.session.manifest().tls.log.bytes;
        let expected = (!self.live).then_some(bytes);
        let mut events = Events::open(self.session.dir(), PLAIN_KEY, self.live, expected)?;
        self.read_ahead(&mut events, bytes)?;
        self.next.push(Reverse((0, self.readers.len())));
        let table = Table::default();
        self.readers.push(Reader { key: PLAIN_KEY, events, table, time_ns: 0, done: false });
        Ok(())
    }

    fn run(&mut self, sink: &mut dyn Sink) -> Result<()> {
        while let Some(Reverse((_, index))) = self.next.pop() {
            let until = self.next.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
            match self.read(index, until, sink) {
                Ok(()) => {}
                Err(e @ (Error::Damaged { .. } | Error::SessionNewer { .. })) => {
                    self.merged.damage.push(e.to_string());
                    self.ended(index, sink);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads a process's events up to this time.
    fn read(&mut self, index: usize, until: u64, sink: &mut dyn Sink) -> Result<()> {
        if self.readers[index].key == PLAIN_KEY {
            return self.read_plaintext(index, until, sink);
        }
        loop {
            let reader = &mut self.readers[index];
            let Some(event) = reader.events.peek()? else {
                self.ended(index, sink);
                return Ok(());
            };
            if let Some(time_ns) = event.time_ns() {
                if self.base_ns == 0 {
                    self.base_ns = time_ns;
                }
                let time_ns = time_ns.saturating_sub(self.base_ns);
                if time_ns > until {
                    self.next.push(Reverse((time_ns, index)));
                    return Ok(());
                }
                // Events without a time of their own take the last one.
                reader.time_ns = reader.time_ns.max(time_ns);
            }
            self.merged.last_ns = self.merged.last_ns.max(reader.time_ns);
            let at = At {
                process: reader.key,
                step: event.step,
                time_ns: reader.time_ns,
                bytes: event.bytes,
                offset: event.offset,
            };
            sink.event(at.process, at.step, at.time_ns, &event.record);
            let mut child = None;
            match event.record.header.kind {
                Kind::Call => {
                    if let Ok(call) = event.record.call() {
                        child = self.assembler.call(&mut reader.table, &call, at, sink);
                    }
                }
                // An image after the first: an exec.
                Kind::Start if event.step > 0 => {
                    let released = reader.table.exec();
                    self.assembler.released(released, at.time_ns, sink);
                }
                Kind::Exit => {
                    let released = reader.table.exit();
                    self.assembler.released(released, at.time_ns, sink);
                }
                _ => {}
            }
            let time_ns = at.time_ns;
            reader.events.pass();
            if let Some(key) = child {
                let table = reader.table.clone();
                self.begin(key, table, time_ns)?;
                self.next.push(Reverse((time_ns, index)));
                return Ok(());
            }
        }
    }

    /// Reads the log of plaintext up to this time.
    fn read_plaintext(&mut self, index: usize, until: u64, sink: &mut dyn Sink) -> Result<()> {
        loop {
            let (before, rest) = self.readers.split_at_mut(index);
            let Some((reader, after)) = rest.split_first_mut() else { return Ok(()) };
            let Some(event) = reader.events.peek()? else {
                self.ended(index, sink);
                return Ok(());
            };
            let Some(plain) = plain::decode(event.step, &event.record) else {
                reader.events.pass();
                continue;
            };
            let time_ns = plain.time_ns.saturating_sub(self.base_ns);
            if time_ns > until {
                self.next.push(Reverse((time_ns, index)));
                return Ok(());
            }
            self.merged.last_ns = self.merged.last_ns.max(time_ns);
            let place = |process: u64, step: u64| At {
                process,
                step,
                time_ns,
                bytes: event.bytes,
                offset: event.offset,
            };
            // The guest's last call before it is the nearest that can be said.
            let last_step = |key: u64| {
                let of = before.iter().chain(after.iter()).find(|r| r.key == key);
                of.map_or(0, |r| r.events.next_step().saturating_sub(1))
            };
            match plain.what {
                plain::What::Opened(opened) => {
                    let of = before.iter().chain(after.iter()).find(|r| r.key == opened.process);
                    let at = place(opened.process, opened.step);
                    let table = of.map(|r| &r.table);
                    let found = self.assembler.handed_over(table, &opened, at, sink);
                    self.handed_over.insert(plain.connection, found);
                }
                plain::What::Data(direction, bytes) => {
                    if let Some(found) = self.handed_over.get(&plain.connection) {
                        let process = self.assembler.connections[*found].process;
                        let at = place(process, last_step(process));
                        self.assembler.plaintext(*found, direction, bytes, at, sink);
                    }
                }
                plain::What::Closed(closed) => {
                    if let Some(found) = self.handed_over.remove(&plain.connection) {
                        self.assembler.plaintext_end(found, closed.end, time_ns, sink);
                    }
                }
                plain::What::Unknown => {}
            }
            reader.events.pass();
        }
    }

    /// A process's log ends.
    fn ended(&mut self, index: usize, sink: &mut dyn Sink) {
        let reader = &mut self.readers[index];
        if std::mem::replace(&mut reader.done, true) {
            return;
        }
        // In a session that goes on, so does the process, unless it has logged its end.
        if !self.live {
            let released = reader.table.exit();
            self.assembler.released(released, reader.time_ns, sink);
        }
        let key = reader.key;
        self.merged.frames.insert(key, reader.events.take_places());
        if let Some(tail) = reader.events.take_tail() {
            self.merged.tails.insert(key, tail);
        }
        reader.events.close();
    }
}
