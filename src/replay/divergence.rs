//! The report of a divergence: the first point where a replay and its recording differ.

mod causes;
mod render;

use std::sync::atomic::Ordering;

use log_format::arena::{DivergenceEntry, ROOT_KEY, divergence};
use log_format::record::{
    BUF_INDIRECT, Dir, HEADER_BYTES, Header, Kind, Record, buf_words, call_words,
};
use log_format::table::{self, Memory};
use serde::Serialize;

use super::stack::{Frame, Remote, stack};
use crate::decode;
use crate::error::Result;
use crate::log::map::ArenaMap;
use crate::session::Session;
use crate::session::manifest::ByteText;

/// Events shown before the one that differs.
const BEFORE: usize = 10;
/// Bytes of a differing buffer shown on each side, before and after the difference.
const CONTEXT_BYTES: usize = 48;
/// Bytes of one buffer read from the guest for showing its call.
const BUFFER_BYTES_MAX: u32 = 4096;
/// Buffers of the guest's call that are shown.
const BUFFERS_MAX: usize = 64;
/// In `DivergenceEntry::actual_nr`: not a syscall but a record kind.
const PSEUDO: u32 = 0x1_0000;

/// write(2).
const WRITE: u32 = 1;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Another call than the recorded one.
    Call,
    /// The same call with another argument.
    Argument,
    /// The same call with other bytes in a buffer.
    Buffer,
    /// A memory call gave another address.
    Result,
    /// Another thread made the next call.
    Thread,
    /// A call after the end of the log.
    PastEnd,
    /// A file is missing or another one.
    File,
    /// The log makes no sense.
    Log,
    /// A process that was not recorded.
    Process,
    /// No divergence: the step of `--until`.
    Until,
    /// The guest ended otherwise, or earlier, than recorded.
    End,
    /// No process goes on, and some have not ended.
    Standstill,
}

impl What {
    fn from_u32(kind: u32) -> What {
        match kind {
            divergence::CALL => What::Call,
            divergence::ARGUMENT => What::Argument,
            divergence::BUFFER => What::Buffer,
            divergence::RESULT => What::Result,
            divergence::THREAD => What::Thread,
            divergence::PAST_END => What::PastEnd,
            divergence::FILE => What::File,
            divergence::PROCESS => What::Process,
            divergence::UNTIL => What::Until,
            _ => What::Log,
        }
    }
}

/// A step of the log, as text and in full.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its number.
    pub step: u64,
    /// As `show` writes it.
    pub text: String,
    /// All of it.
    pub record: serde_json::Value,
}

/// The bytes of one buffer on both sides, around the first difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Offset in the buffer of the first byte that differs.
    pub offset: u64,
    /// Offset in the buffer of the first byte shown.
    pub shown_from: u64,
    /// Recorded bytes.
    pub recorded: ByteText,
    /// The replay's.
    pub actual: ByteText,
}

/// One difference in an argument.
#[derive(Clone, Debug, Serialize)]
pub struct Argument {
    /// Its position, from 0.
    pub index: u32,
    /// Its name, if the call is the recorded one.
    pub name: Option<String>,
    /// Recorded value.
    pub recorded: Option<u64>,
    /// The replay's.
    pub actual: Option<u64>,
}

/// Everything known of a divergence.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the session.
    pub session: String,
    /// What differs.
    pub what: What,
    /// Step of the process that differs.
    pub step: u64,
    /// Id of the process in the session, such as `1.2`.
    pub process: String,
    /// What it runs.
    pub program: String,
    /// Pid of the replaying process.
    pub pid: i32,
    /// Ordinal of the replaying thread.
    pub thread: u32,
    /// The recorded event, if there is one.
    pub recorded: Option<Step>,
    /// Thread of the recorded event.
    pub recorded_thread: Option<u16>,
    /// What the replay did.
    pub actual: String,
    /// The argument that differs.
    pub argument: Option<Argument>,
    /// The bytes that differ.
    pub bytes: Option<Bytes>,
    /// The last events before it.
    pub before: Vec<Step>,
    /// The guest's stack, innermost first.
    pub stack: Vec<Frame>,
    /// What commonly causes such a difference.
    pub causes: Vec<String>,
}

impl Report {
    /// Collects the report of what the shim has told in the arena; the guest must still live for
    /// its stack and the strings its call points to.
    pub fn collect(session: &Session, arena: &ArenaMap) -> Report {
        let entry = &arena.header().divergence;
        let word = |value: &std::sync::atomic::AtomicU32| value.load(Ordering::Acquire);
        let what = What::from_u32(word(&entry.kind));
        let step = entry.step.load(Ordering::Acquire);
        let guest = arena.procs().get(word(&entry.proc) as usize);
        let key = guest.map_or(ROOT_KEY, |g| g.key.load(Ordering::Acquire));
        let pid = entry.pid.load(Ordering::Acquire);
        let mut report = Report::empty(session, key, what, step);
        report.pid = pid;
        report.thread = word(&entry.thread);
        let mut recorded_bytes = None;
        // A damaged log has told its damage already; the report is made of what can be read.
        let _ = report.read_log(session, key, &mut recorded_bytes);
        let nr = word(&entry.actual_nr);
        if matches!(what, What::Result | What::File) && step > 0 {
            // Such a call is performed before it is compared: its record may have been consumed.
            let is_it = |bytes: &Option<Vec<u8>>| {
                let record = bytes.as_deref().and_then(|b| Record::parse(b).ok());
                record.and_then(|r| r.call().ok()).is_some_and(|call| u32::from(call.nr) == nr)
            };
            if !is_it(&recorded_bytes) {
                report.step = step - 1;
                recorded_bytes = None;
                let _ = report.read_log(session, key, &mut recorded_bytes);
            }
        }
        let record = recorded_bytes.as_deref().and_then(|b| Record::parse(b).ok());
        report.actual = actual(entry, pid, record.as_ref());
        report.compare(entry, record.as_ref());
        let regs = [0, 1, 2].map(|i| entry.regs.get(i).map_or(0, |r| r.load(Ordering::Acquire)));
        report.stack = stack(pid, regs);
        report.causes = causes::find(&report, session, key, record.as_ref());
        report
    }

    /// A report of a process that ended otherwise than recorded, or that does not end.
    pub fn of_end(session: &Session, key: u64, what: What, step: u64, actual: String) -> Report {
        let mut report = Report::empty(session, key, what, step);
        let _ = report.read_log(session, key, &mut None);
        report.actual = actual;
        report.causes = causes::find(&report, session, key, None);
        report
    }

    fn empty(session: &Session, key: u64, what: What, step: u64) -> Report {
        let process = session.manifest().processes.iter().find(|p| p.key == key);
        let words = process.map(|p| p.argv.iter().map(ToString::to_string).collect::<Vec<_>>());
        Report {
            session: session.name().to_owned(),
            what,
            step,
            process: process.map_or_else(|| format!("{key:016x}"), |p| p.id.clone()),
            program: words.unwrap_or_default().join(" "),
            pid: 0,
            thread: 0,
            recorded: None,
            recorded_thread: None,
            actual: String::new(),
            argument: None,
            bytes: None,
            before: Vec::new(),
            stack: Vec::new(),
            causes: Vec::new(),
        }
    }

    /// Reads the recorded event and those before it.
    fn read_log(
        &mut self,
        session: &Session,
        key: u64,
        recorded_bytes: &mut Option<Vec<u8>>,
    ) -> Result<()> {
        let manifest = session.manifest();
        let Some(process) = manifest.processes.iter().find(|p| p.key == key) else {
            return Ok(());
        };
        let mut events = session.events(process)?;
        let mut tail = std::collections::VecDeque::new();
        events.seek(self.step.saturating_sub(BEFORE as u64))?;
        while let Some(event) = events.next_event()? {
            if event.step >= self.step {
                self.recorded_thread = Some(event.record.header.thread);
                self.recorded = Some(step_of(event.step, &event.record));
                *recorded_bytes = Some(event.bytes.to_vec());
                break;
            }
            if tail.len() == BEFORE {
                tail.pop_front();
            }
            tail.push_back(step_of(event.step, &event.record));
        }
        self.before = tail.into();
        Ok(())
    }

    fn compare(&mut self, entry: &DivergenceEntry, record: Option<&Record<'_>>) {
        let index = entry.arg.load(Ordering::Acquire);
        let call = record.and_then(|r| r.call().ok());
        let actual_arg =
            entry.actual_args.get(index as usize).map(|arg| arg.load(Ordering::Acquire));
        let row = call.and_then(|c| table::row(c.nr.into()));
        if self.what == What::Result {
            let recorded = call.map(|c| c.ret as u64);
            let actual = Some(entry.actual_ret.load(Ordering::Acquire));
            let name = Some("result".into());
            self.argument = Some(Argument { index, name, recorded, actual });
            return;
        }
        if actual_arg.is_none() {
            return;
        }
        self.argument = Some(Argument {
            index,
            name: row.and_then(|r| r.args.get(index as usize)).map(|a| a.name.to_owned()),
            recorded: call.and_then(|c| c.args.get(index as usize).copied()),
            actual: actual_arg,
        });
        if self.what != What::Buffer {
            return;
        }
        let at = entry.actual_at.load(Ordering::Acquire);
        let len = entry.actual_len.load(Ordering::Acquire) as usize;
        let actual: Vec<u8> =
            entry.actual_bytes.iter().take(len).map(|b| b.load(Ordering::Acquire)).collect();
        let offset = entry.offset.load(Ordering::Acquire);
        let mut bufs = call.iter().flat_map(|c| c.bufs().flatten()).filter(|b| {
            b.dir == Dir::In && u32::from(b.arg) == index && b.bytes.len() as u64 > offset
        });
        // Of several buffers of one argument (an iovec), the first that differs there.
        let differs = |b: &log_format::record::Buf<'_>| {
            let mine = offset.checked_sub(at).and_then(|i| actual.get(i as usize));
            b.bytes.get(offset as usize) != mine
        };
        let recorded = bufs.find(differs).map_or(&[][..], |b| b.bytes);
        let from = (offset as usize).saturating_sub(CONTEXT_BYTES).max(at as usize);
        let to = offset as usize + CONTEXT_BYTES;
        let cut = |bytes: &[u8], base: usize| {
            let start = from.saturating_sub(base).min(bytes.len());
            bytes[start..to.saturating_sub(base).clamp(start, bytes.len())].to_vec()
        };
        self.bytes = Some(Bytes {
            offset,
            shown_from: from as u64,
            recorded: ByteText(cut(recorded, 0)),
            actual: ByteText(cut(&actual, at as usize)),
        });
    }

    /// The report for people.
    pub fn text(&self) -> String {
        render::text(self)
    }
}

fn step_of(step: u64, record: &Record<'_>) -> Step {
    let text = decode::record(record, &decode::Options::default());
    Step { step, text, record: decode::json(record) }
}

/// What the replaying thread did, with the strings that its arguments point to.
fn actual(entry: &DivergenceEntry, pid: i32, recorded: Option<&Record<'_>>) -> String {
    let nr = entry.actual_nr.load(Ordering::Acquire);
    if nr & PSEUDO != 0 {
        return pseudo(Kind::from_u8(nr as u8)).into();
    }
    let mut args = [0; 6];
    for (to, from) in args.iter_mut().zip(&entry.actual_args) {
        *to = from.load(Ordering::Acquire);
    }
    let options = decode::Options::default();
    let plain = || decode::registers(nr.into(), &args, None, &options);
    let (Some(row), Ok(memory)) = (table::row(nr.into()), Remote::open(pid)) else {
        return plain();
    };
    // Lengths that follow from the result: the recorded one's, if it is the same call.
    let call = recorded.and_then(|r| r.call().ok()).filter(|c| u32::from(c.nr) == nr);
    // Where a buffer's length is the result (write), the third argument limits it.
    let limit = args[2] as i64 & 0x7fff_ffff;
    let ret = call.map_or(limit, |c| if nr == WRITE { c.ret.min(limit) } else { c.ret });
    let mut bufs = Vec::new();
    table::buffers(row, &args, ret, &memory, &mut |at| {
        if at.dir == Dir::In && bufs.len() < BUFFERS_MAX {
            let mut bytes = vec![0; at.len.min(BUFFER_BYTES_MAX) as usize];
            if memory.read(at.addr, &mut bytes) {
                bufs.push((at, bytes));
            }
        }
    });
    let nargs = row.args.len().min(6) as u8;
    let mut words = call_words(nr as u16, nargs, bufs.len() as u16, ret).to_vec();
    words.extend(args.iter().take(nargs.into()));
    let mut body: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    for (at, bytes) in &bufs {
        let flags = at.flags & BUF_INDIRECT;
        let head = buf_words(bytes.len() as u32, at.arg, Dir::In, flags, at.addr);
        body.extend(head.iter().flat_map(|w| w.to_le_bytes()));
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let len = (HEADER_BYTES + body.len()) as u32;
    let header = Header { kind: Kind::Call, flags: 0, thread: 0, len };
    let bytes = [&header.to_word().to_le_bytes()[..], &body].concat();
    let record = Record::parse(&bytes).ok();
    let call = record.and_then(|r| r.call().ok());
    call.map_or_else(plain, |call| decode::unfinished(&call, &options))
}

fn pseudo(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Start) => "the start of a program",
        Some(Kind::Clock) => "a clock read through the vDSO",
        Some(Kind::Tsc) => "rdtsc()",
        Some(Kind::Signal) => "a signal",
        Some(Kind::ThreadStart) => "the start of a thread",
        Some(Kind::ThreadExit) => "the end of a thread",
        Some(Kind::Exit) => "the end of the process",
        Some(Kind::Shared) => "the shared token taken",
        Some(Kind::Call | Kind::Yield | Kind::Preempt | Kind::Note | Kind::Plain) | None => {
            "another event"
        }
    }
}
