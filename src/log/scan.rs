//! What the manifest says of a process, gathered from its log while it passes by.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use log_format::processes::arguments_at;
use log_format::record::{
    self, Dir, FILE_ID_BYTES, FileId, Header, Kind, Record, extra, flag, note,
};

use crate::intercept::plain;

/// Larger records are counted by their header only: they carry data, not files or arguments.
const RECORD_BYTES_PARSED: usize = 4 << 20;
/// connect, accept and accept4.
const CONNECTS: [u16; 3] = [42, 43, 288];
const EINPROGRESS: i64 = 115;

/// Gathers facts from one process's stream, given piece by piece.
#[derive(Debug, Default)]
pub struct Scan {
    /// Bytes of a record whose rest has not come yet.
    carry: Vec<u8>,
    /// Bytes still to pass over.
    skip: u64,
    /// Whether the stream made no sense at some point; nothing is gathered after it.
    pub broken: bool,
    /// Complete records.
    pub events: u64,
    /// Complete records by the number of their kind, which is counted often.
    kinds: [u64; Kind::ALL.len() + 1],
    /// Signals delivered where no call was made.
    pub inexact_signals: u64,
    /// Connections that it made or accepted.
    pub connections: u64,
    /// Notes by code.
    pub notes: BTreeMap<&'static str, u64>,
    /// Files mapped or executed, by identity.
    pub files: HashMap<u64, SeenFile>,
    /// Arguments of each program executed, in order.
    pub programs: Vec<Vec<Vec<u8>>>,
    /// Children by key: how many programs had been executed when they were created.
    pub children: HashMap<u64, usize>,
    /// Arguments of an exec that was begun: the program's if an image starts next.
    exec_argv: Option<Vec<Vec<u8>>>,
    /// Why the program of that exec can't be intercepted.
    exec_opaque: Option<String>,
    /// Pid, parent's key and ordinal, of the first start.
    pub start: Option<Start>,
    /// Identity of the first image's program, which lies below its libraries in memory.
    pub image: Option<u64>,
    /// Images started after the first.
    pub execs: u32,
    /// Status of the exit record, as wait(2) gives it.
    pub exit: Option<i32>,
    /// Last output number logged.
    pub last_output: Option<u64>,
    /// TLS connections in the log of plaintext.
    pub tls: TlsSeen,
}

/// An exec after which nothing is logged.
#[derive(Clone, Copy, Debug)]
pub struct LastExec<'a> {
    /// The program's arguments.
    pub argv: &'a [Vec<u8>],
    /// Why the program can't be intercepted, where that was known before.
    pub opaque: Option<&'a str>,
}

/// TLS connections that a log of plaintext tells of.
#[derive(Debug, Default)]
pub struct TlsSeen {
    /// Those with plaintext.
    pub intercepted: u64,
    /// The others, counted by host, port and reason.
    pub opaque: BTreeMap<(String, u16, String), u64>,
}

/// A file named in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFile {
    /// Its identity; flags are those of all mentions together.
    pub id: FileId,
    /// Its path.
    pub path: Vec<u8>,
    /// Names by which the loader opened it before the shim was there.
    pub names: BTreeSet<Vec<u8>>,
}

impl SeenFile {
    /// Adds what another mention of the same file says.
    pub fn merge(&mut self, other: SeenFile) {
        self.id.flags |= other.id.flags;
        self.names.extend(other.names);
    }
}

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Recorded pid.
    pub pid: i32,
    /// The parent's recorded pid.
    pub ppid: i32,
    /// Parent's key.
    pub parent_key: u64,
    /// Which child of the parent.
    pub ordinal: u32,
}

/// A kind's name in manifests and reports.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Start => "start",
        Kind::Call => "call",
        Kind::Yield => "yield",
        Kind::Clock => "clock",
        Kind::Tsc => "tsc",
        Kind::Signal => "signal",
        Kind::ThreadStart => "thread_start",
        Kind::ThreadExit => "thread_exit",
        Kind::Exit => "exit",
        Kind::Preempt => "preempt",
        Kind::Note => "note",
        Kind::Shared => "shared",
        Kind::Plain => "plain",
    }
}

/// A note's name in manifests and reports.
pub fn note_name(code: u32) -> &'static str {
    match code {
        note::REFUSED => "refused",
        note::OPAQUE => "opaque",
        note::UNKNOWN => "unknown",
        note::NOT_KEPT => "not_kept",
        note::SHARED_MEMORY => "shared_memory",
        note::UNSUPPORTED => "unsupported",
        note::TLS_OPAQUE => "tls_opaque",
        note::DENIED => "denied",
        note::COPIED => "copied",
        note::RANDOM => "random_instructions",
        note::SECCOMP => "seccomp",
        _ => "other",
    }
}

impl Scan {
    /// Takes the next piece of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() as u64);
                self.skip -= passed;
                bytes = &bytes[passed as usize..];
                self.events += u64::from(self.skip == 0);
                continue;
            }
            if !self.carry.is_empty() {
                bytes = self.complete_carry(bytes);
                continue;
            }
            match whole_record(bytes) {
                Ok(Some(header)) => {
                    let (record, rest) = bytes.split_at(header.len as usize);
                    self.record(header, record);
                    bytes = rest;
                }
                Ok(None) => {
                    self.hold(bytes);
                    return;
                }
                Err(record::Malformed::Incomplete) => {
                    self.carry.extend_from_slice(bytes);
                    return;
                }
                Err(_) => self.broken = true,
            }
        }
    }

    /// Complete records by kind, for those kinds that there are.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Kind::ALL.into_iter().map(|kind| (kind_name(kind), self.kinds[kind as usize]));
        all.filter(|(_, n)| *n > 0)
    }

    /// The exec at the log's end after which no image has started.
    pub fn last_exec(&self) -> Option<LastExec<'_>> {
        let argv = self.exec_argv.as_deref()?;
        Some(LastExec { argv, opaque: self.exec_opaque.as_deref() })
    }

    /// Bytes of an incomplete record at the end of what was fed.
    pub fn cut_bytes(&self) -> u64 {
        self.carry.len() as u64 + u64::from(self.skip > 0)
    }

    /// Adds bytes to the incomplete record; what is left of them.
    fn complete_carry<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let wanted =
            match self.carry.first_chunk().map(|w| Header::from_word(u64::from_le_bytes(*w))) {
                None => record::HEADER_BYTES,
                Some(Ok(header)) => header.len as usize,
                Some(Err(_)) => {
                    self.broken = true;
                    return &[];
                }
            };
        let missing = wanted.saturating_sub(self.carry.len()).min(bytes.len());
        let (now, rest) = bytes.split_at(missing);
        self.carry.extend_from_slice(now);
        let carry = std::mem::take(&mut self.carry);
        match whole_record(&carry) {
            Ok(Some(header)) => self.record(header, &carry),
            Ok(None) => self.hold(&carry),
            Err(record::Malformed::Incomplete) => self.carry = carry,
            Err(_) => self.broken = true,
        }
        rest
    }

    /// Keeps the beginning of a record, or passes over it if it is too large to matter.
    fn hold(&mut self, bytes: &[u8]) {
        let header = bytes.first_chunk().map(|w| Header::from_word(u64::from_le_bytes(*w)));
        let Some(Ok(header)) = header else {
            self.broken = true;
            return;
        };
        if header.len as usize <= RECORD_BYTES_PARSED {
            self.carry.extend_from_slice(bytes);
        } else {
            self.kinds[header.kind as usize] += 1;
            self.skip = u64::from(header.len) - bytes.len() as u64;
        }
    }

    fn record(&mut self, header: Header, bytes: &[u8]) {
        self.events += 1;
        self.kinds[header.kind as usize] += 1;
        if header.kind == Kind::Signal && header.flags & flag::INEXACT != 0 {
            self.inexact_signals += 1;
        }
        match header.kind {
            Kind::Start | Kind::Call | Kind::Yield | Kind::Exit | Kind::Note | Kind::Plain => {}
            Kind::Clock
            | Kind::Tsc
            | Kind::Signal
            | Kind::ThreadStart
            | Kind::ThreadExit
            | Kind::Preempt
            | Kind::Shared => return,
        }
        let Ok(record) = Record::parse(bytes) else {
            self.broken = true;
            return;
        };
        match header.kind {
            Kind::Exit => self.exit = record.value().map(|v| v as i32),
            Kind::Note => {
                if let Some((code, text)) = record.note() {
                    *self.notes.entry(note_name(code)).or_default() += 1;
                    if code == note::OPAQUE {
                        self.exec_opaque = Some(String::from_utf8_lossy(text).into_owned());
                    }
                }
            }
            Kind::Plain => self.plain(&record),
            _ => self.call(&record),
        }
    }

    fn plain(&mut self, record: &Record<'_>) {
        if let Some(plain::Event { what: plain::What::Opened(opened), .. }) =
            plain::decode(0, record)
        {
            match opened.opaque {
                None => self.tls.intercepted += 1,
                Some(reason) => {
                    let host = opened.sni.unwrap_or_else(|| opened.peer.ip().to_string());
                    let key = (host, opened.peer.port(), reason);
                    *self.tls.opaque.entry(key).or_default() += 1;
                }
            }
        }
    }

    fn call(&mut self, record: &Record<'_>) {
        let Ok(call) = record.call() else { return };
        if record.header.kind == Kind::Call && CONNECTS.contains(&call.nr) {
            self.connections += u64::from(call.ret >= 0 || call.ret == -EINPROGRESS);
        }
        if record.header.kind == Kind::Start && self.start.is_some() {
            self.execs += 1;
            if let Some(argv) = self.exec_argv.take() {
                self.programs.push(argv);
            }
        }
        for buf in call.bufs().flatten().filter(|b| b.dir == Dir::Extra) {
            match buf.arg {
                extra::FILE => {
                    if record.header.kind == Kind::Start && self.execs == 0 {
                        self.image = self.image.or(file_id(buf.bytes).map(|(id, _)| id.identity));
                    }
                    self.file(buf.bytes);
                }
                extra::OUTPUT => {
                    self.last_output = buf.bytes.first_chunk().map(|w| u64::from_le_bytes(*w));
                }
                extra::CHILD => {
                    if let Some(word) = buf.bytes.first_chunk() {
                        self.children.insert(u64::from_le_bytes(*word), self.programs.len());
                    }
                }
                extra::START if self.start.is_none() => self.start = start(buf.bytes),
                _ => {}
            }
        }
        if let Some(argv) = arguments(record.header.kind, &call) {
            self.exec_opaque = None;
            let argv = argv.map(|arg| arg.strip_suffix(b"\0").unwrap_or(arg).to_vec());
            self.exec_argv = Some(argv.collect());
        } else if record.header.kind == Kind::Call && arguments_at(call.nr).is_some() {
            // It failed.
            self.exec_argv = None;
        }
    }

    fn file(&mut self, bytes: &[u8]) {
        let Some((id, path)) = file_id(bytes) else { return };
        let name = bytes.get(FILE_ID_BYTES + path.len() + 1..).filter(|name| !name.is_empty());
        let names = name.map(<[u8]>::to_vec).into_iter().collect();
        let seen = SeenFile { id, path: path.to_vec(), names };
        match self.files.entry(id.identity) {
            Entry::Occupied(known) => known.into_mut().merge(seen),
            Entry::Vacant(place) => {
                place.insert(seen);
            }
        }
    }
}

/// Length of the record at the start of `bytes` if it is there as a whole.
fn whole_record(bytes: &[u8]) -> Result<Option<Header>, record::Malformed> {
    let word = bytes.first_chunk().ok_or(record::Malformed::Incomplete)?;
    let header = Header::from_word(u64::from_le_bytes(*word))?;
    Ok((header.len as usize <= bytes.len()).then_some(header))
}

/// Reads a [`FileId`] and the path that follows it.
pub fn file_id(bytes: &[u8]) -> Option<(FileId, &[u8])> {
    let word = |i: usize| Some(u64::from_le_bytes(bytes.get(i * 8..i * 8 + 8)?.try_into().ok()?));
    let last = word(6)?;
    let id = FileId {
        identity: word(0)?,
        dev: word(1)?,
        ino: word(2)?,
        size: word(3)?,
        mtime_ns: word(4)?,
        ctime_ns: word(5)?,
        mode: last as u32,
        flags: (last >> 32) as u32,
    };
    let path = bytes.get(FILE_ID_BYTES..)?;
    Some((id, path.split(|b| *b == 0).next().unwrap_or(path)))
}

/// Arguments of the program that a record's call is about to execute, each with its NUL.
pub fn arguments<'r>(
    kind: Kind,
    call: &record::Call<'r>,
) -> Option<impl Iterator<Item = &'r [u8]> + use<'r>> {
    // An exec gives up the token, and does not return: its arguments stand in the yield.
    let argv = arguments_at(call.nr).filter(|_| kind == Kind::Yield)?;
    let strings = call.bufs().flatten().filter(move |b| b.dir == Dir::In && b.arg == argv);
    Some(strings.map(|b| b.bytes))
}

/// Who a process is, from its start record.
pub fn start_of(record: &Record<'_>) -> Option<Start> {
    start(record.call().ok()?.buf(extra::START, Dir::Extra)?.bytes)
}

/// Reads what matters of a `StartInfo`: parent key at 8, pid at 16, parent's at 20, ordinal
/// at 28.
fn start(bytes: &[u8]) -> Option<Start> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some(Start {
        parent_key: u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
        pid: u32_at(16)? as i32,
        ppid: u32_at(20)? as i32,
        ordinal: u32_at(28)?,
    })
}
