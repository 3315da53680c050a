//! A run in short: a hash of each process's events, and all that left it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use log_format::record::{BUF_NOT_COMPARED, Call, Dir, Kind, Record, extra};
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::compare::Bytes;
use super::fds::{Fds, Target};
use super::pids::Pids;
use crate::error::{Error, Result};
use crate::session::{Process, Session};

/// Bytes of an output compared at a time.
const BLOCK: usize = 64 * 1024;
/// Standard output and standard error in [`extra::OUTPUT`], and their names.
const OUTPUTS: [(u64, &str); 2] = [(1, "stdout"), (2, "stderr")];

/// A run in short.
#[derive(Debug)]
pub struct Profile {
    /// By process key, in hex: events and the rolling hash over them.
    pub processes: BTreeMap<u64, Rolling>,
    /// Outputs other than stdout and stderr, by process id and name.
    pub sinks: BTreeMap<(String, String), Sink>,
    /// stdout and stderr.
    pub outputs: [Output; 2],
}

/// Rolling hash over a process's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rolling {
    /// Events.
    pub events: u64,
    /// xxh3 of each event's canonical bytes, seeded with the hash of those before it.
    pub hash: u64,
}

/// Something that a process put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sink {
    /// Bytes.
    pub bytes: u64,
    /// xxh3 of them.
    pub hash: u64,
    /// Step of the first.
    pub step: u64,
}

/// stdout or stderr of a whole session, in the order of its writes.
#[derive(Debug)]
pub struct Output {
    /// `stdout` or `stderr`.
    pub name: &'static str,
    file: File,
    /// Where each write starts, in order.
    writes: Vec<Write1>,
    /// Bytes.
    pub bytes: u64,
}

/// One write to stdout or stderr.
#[derive(Clone, Copy, Debug)]
struct Write1 {
    /// Offset in the output; while gathering, in the spool.
    at: u64,
    len: u64,
    /// Its number over all processes.
    number: u64,
    process: usize,
    step: u64,
}

/// Where two outputs first differ.
#[derive(Clone, Debug, Serialize)]
pub struct OutputDifference {
    /// `stdout` or `stderr`.
    pub name: &'static str,
    /// The bytes, and their offset.
    pub bytes: Bytes,
    /// Which write of the first run that is: index of the process in its manifest, and step.
    pub a: Option<(usize, u64)>,
    /// Which write of the second run.
    pub b: Option<(usize, u64)>,
}

/// What is gathered in one pass over a session.
struct Gather {
    spool: BufWriter<File>,
    spooled: u64,
    writes: [Vec<Write1>; 2],
    sinks: BTreeMap<(String, String), (Xxh3, Sink)>,
}

impl Profile {
    /// Reads all events of a session once.
    ///
    /// # Errors
    /// A log can't be read, or a temporary file not be written.
    pub fn of(session: &Session) -> Result<Profile> {
        let mut gather = Gather {
            spool: BufWriter::new(scratch()?),
            spooled: 0,
            writes: Default::default(),
            sinks: BTreeMap::new(),
        };
        let mut processes = BTreeMap::new();
        for (index, process) in session.manifest().processes.iter().enumerate() {
            processes.insert(process.key, gather.process(session, index, process)?);
        }
        let spool = gather.spool.into_inner().map_err(|e| spooling(e.into_error()))?;
        let [out, err] = gather.writes;
        let outputs = [
            Output::sorted(OUTPUTS[0].1, &spool, out)?,
            Output::sorted(OUTPUTS[1].1, &spool, err)?,
        ];
        let finish = |(hasher, sink): (Xxh3, Sink)| Sink { hash: hasher.digest(), ..sink };
        let sinks = gather.sinks.into_iter().map(|(name, sink)| (name, finish(sink))).collect();
        Ok(Profile { processes, sinks, outputs })
    }
}

fn scratch() -> Result<File> {
    tempfile::tempfile().map_err(Error::io("create a temporary file"))
}

fn spooling(e: std::io::Error) -> Error {
    Error::io("write a temporary file")(e)
}

impl Gather {
    fn process(&mut self, session: &Session, index: usize, process: &Process) -> Result<Rolling> {
        let mut events = session.events(process)?;
        let mut pids = Pids::new(session.manifest());
        let mut fds = Fds::default();
        let mut rolling = Rolling::default();
        let mut canonical = Vec::new();
        while let Some(event) = events.next_event()? {
            pids.canonical(&event.record, event.bytes, &mut canonical);
            rolling.events += 1;
            rolling.hash = xxh3_64_with_seed(&canonical, rolling.hash);
            self.event(process, index, event.step, &event.record, &fds)?;
            if event.record.header.kind == Kind::Call
                && let Ok(call) = event.record.call()
            {
                fds.follow(&call);
            }
        }
        Ok(rolling)
    }

    fn event(
        &mut self,
        process: &Process,
        index: usize,
        step: u64,
        record: &Record,
        fds: &Fds,
    ) -> Result<()> {
        let id = &process.id;
        match record.header.kind {
            Kind::Exit => {
                let status = record.value().unwrap_or(0).to_le_bytes();
                self.sink(id, "exit status".into(), step, &status);
            }
            // An exec does not return: its arguments stand in the yield.
            Kind::Yield => {
                if let Ok(call) = record.call()
                    && let Some(arg) = argv_arg(call.nr)
                {
                    let strings =
                        call.bufs().flatten().filter(|b| b.dir == Dir::In && b.arg == arg);
                    for string in strings {
                        self.sink(id, "arguments of executed programs".into(), step, string.bytes);
                    }
                }
            }
            Kind::Call => {
                if let Ok(call) = record.call()
                    && call.ret > 0
                    && is_write(call.nr)
                {
                    self.write(id, index, step, &call, fds)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, id: &str, index: usize, step: u64, call: &Call, fds: &Fds) -> Result<()> {
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let output = call.buf(extra::OUTPUT, Dir::Extra);
        let output = output.map(|b| (word(b.bytes, 0), word(b.bytes, 8)));
        let name = match (output, fds.get(call.args[0])) {
            (Some(_), _) => String::new(),
            (None, Some(Target::File(path))) => format!("file {path}"),
            (None, Some(Target::Socket(n, None))) => format!("socket {n}"),
            (None, Some(Target::Socket(n, Some(peer)))) => format!("socket {n} to {peer}"),
            // Streams between the session's own processes do not leave it.
            (None, Some(Target::Stream | Target::Random) | None) => return Ok(()),
        };
        let start = self.spooled;
        // Of what was passed, the result says how much was taken.
        let many = matches!(call.nr, SENDMMSG);
        let mut left = if many { u64::MAX } else { call.ret as u64 };
        let data = call
            .bufs()
            .flatten()
            .filter(|b| b.dir == Dir::In && b.arg == 1 && b.flags & BUF_NOT_COMPARED == 0);
        for buf in data {
            let taken = left.min(buf.bytes.len() as u64);
            let bytes = buf.bytes.get(..taken as usize).unwrap_or(buf.bytes);
            left -= taken;
            if output.is_some() {
                self.spool.write_all(bytes).map_err(spooling)?;
                self.spooled += taken;
            } else {
                self.sink(id, name.clone(), step, bytes);
            }
        }
        if let Some((number, which)) = output {
            let list = if which == OUTPUTS[1].0 { 1 } else { 0 };
            let len = self.spooled - start;
            self.writes[list].push(Write1 { at: start, len, number, process: index, step });
        }
        Ok(())
    }

    fn sink(&mut self, id: &str, name: String, step: u64, bytes: &[u8]) {
        let (hasher, sink) = self
            .sinks
            .entry((id.to_owned(), name))
            .or_insert_with(|| (Xxh3::new(), Sink { bytes: 0, hash: 0, step }));
        hasher.update(bytes);
        sink.bytes += bytes.len() as u64;
    }
}

const SENDMMSG: u16 = 307;

/// Calls that pass data out by their second argument.
fn is_write(nr: u16) -> bool {
    // write, pwrite64, writev, sendto, sendmsg, pwritev, pwritev2, sendmmsg
    matches!(nr, 1 | 18 | 20 | 44 | 46 | 296 | 328 | SENDMMSG)
}

/// Which argument of an exec is argv.
fn argv_arg(nr: u16) -> Option<u8> {
    match nr {
        59 => Some(1),
        322 => Some(2),
        _ => None,
    }
}

impl Output {
    /// Copies the writes from the spool in the order of their numbers.
    fn sorted(name: &'static str, mut spool: &File, mut writes: Vec<Write1>) -> Result<Output> {
        writes.sort_by_key(|w| w.number);
        let mut file = BufWriter::new(scratch()?);
        let mut bytes = 0;
        for write in &mut writes {
            spool.seek(SeekFrom::Start(write.at)).map_err(spooling)?;
            std::io::copy(&mut spool.take(write.len), &mut file).map_err(spooling)?;
            write.at = bytes;
            bytes += write.len;
        }
        let file = file.into_inner().map_err(|e| spooling(e.into_error()))?;
        Ok(Output { name, file, writes, bytes })
    }

    /// What was captured of a run in a file: no write is known.
    ///
    /// # Errors
    /// The system's.
    pub fn captured(name: &'static str, file: File) -> Result<Output> {
        let bytes = file.metadata().map_err(Error::io("read a temporary file"))?.len();
        Ok(Output { name, file, writes: Vec::new(), bytes })
    }

    /// The first difference of two outputs; none if they are equal.
    ///
    /// # Errors
    /// A temporary file can't be read.
    pub fn difference(&self, other: &Output) -> Result<Option<OutputDifference>> {
        let reading = || Error::io("read a temporary file");
        let open = |file: &File| -> Result<BufReader<File>> {
            let mut file = file.try_clone().map_err(reading())?;
            file.rewind().map_err(reading())?;
            Ok(BufReader::new(file))
        };
        let (mut one, mut two) = (open(&self.file)?, open(&other.file)?);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        // A piece of the block before is kept, as context of a difference at a block's start.
        let (mut base, mut old_len) = (0, 0);
        loop {
            let read = |from: &mut BufReader<File>, into: &mut Vec<u8>| {
                from.by_ref().take(BLOCK as u64).read_to_end(into).map_err(reading())
            };
            let (more_a, more_b) = (read(&mut one, &mut a)?, read(&mut two, &mut b)?);
            if let Some(mut bytes) = Bytes::between(&a, &b) {
                bytes.offset += base;
                bytes.from += base;
                let at = bytes.offset as u64;
                let name = self.name;
                let (a, b) = (self.write_at(at), other.write_at(at));
                return Ok(Some(OutputDifference { name, bytes, a, b }));
            }
            if more_a == 0 && more_b == 0 {
                return Ok(None);
            }
            base += old_len;
            old_len = more_a;
            let keep = a.len() - more_a;
            a.drain(..keep);
            b.drain(..keep);
        }
    }

    /// The write that holds a byte, or the last: index of the process, and step.
    fn write_at(&self, at: u64) -> Option<(usize, u64)> {
        let after = self.writes.partition_point(|w| w.at <= at);
        let write = self.writes.get(after.checked_sub(1)?)?;
        Some((write.process, write.step))
    }
}
