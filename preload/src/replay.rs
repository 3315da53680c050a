//! Replay: answer a call from the log, and compare it with what was recorded.
#![allow(unsafe_code, reason = "the output ring")]

use core::sync::atomic::Ordering;

use log_format::arena::{OUTPUT_BYTES, divergence, proc_state};
use log_format::record::{
    BUF_INDIRECT, BUF_NOT_COMPARED, Dir, FileId, Header, Kind, MappedWrite, Written, extra, flag,
};
use log_format::table::{Memory, Row, Ty};

use crate::arena;
use crate::diverge::{self, Difference};
use crate::sys::{Guest, futex_wait, sys};
use crate::thread::{SCRATCH_BYTES, Thread};
use crate::{calls, entropy, token};

/// Where in a thread's scratch the path of a script's interpreter is put.
pub const INTERPRETER_AT: usize = SCRATCH_BYTES / 2;

/// The extra buffers of a recorded call, as far as replay needs them.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    /// Key of the created process.
    pub child: Option<u64>,
    /// Identity of a mapped or executed file; its path is in the thread's scratch.
    pub file: Option<(FileId, usize)>,
    /// The same of an executed script's interpreter; its path is at [`INTERPRETER_AT`].
    pub interpreter: Option<(FileId, usize)>,
    /// Number and target of a write to the session's output.
    pub output: Option<(u64, u64)>,
    /// The process whose memory the call has written.
    pub written: Option<Written>,
    /// When the file of a shared mapping was made, nanoseconds since the epoch.
    pub born_ns: u64,
    /// The mapped file that the call has changed.
    pub mapped: Option<MappedWrite>,
}

/// Answers a call of class Recorded, Blocking or Refused.
pub fn call(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let (ret, extras) = expect_call(t, row, args);
    if let Some(written) = extras.written {
        calls::vm::write_again(t, row, args, ret, &written);
    }
    if let Some(mapped) = extras.mapped {
        calls::mapped::change_again(row, args, ret, &mapped);
    }
    ret
}

/// Consumes the records of a call: gives up the turn where the recording did, compares the
/// arguments, fills the out-buffers. Its result and extra buffers.
pub fn expect_call(t: &mut Thread, row: &Row, args: &[u64; 6]) -> (i64, Extras) {
    let mut header = head(t, u32::from(row.nr), args);
    if header.kind == Kind::Yield {
        consume(t, header, row, args);
        token::give_up(t);
        token::take(t);
        header = head(t, u32::from(row.nr), args);
    }
    if header.kind != Kind::Call {
        diverge::report(t, divergence::CALL, u32::from(row.nr), args, Difference::default());
    }
    consume(t, header, row, args)
}

/// Result, and size of the segment, of the shmat at the head; None if another record is there.
pub fn peek_segment(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<(i64, u64)> {
    let header = head(t, u32::from(row.nr), args);
    let words = t.process().cursor.ahead()?;
    let [_, call, ret] = *words.first_chunk()?;
    let (nargs, nbufs) = (usize::from((call >> 16) as u8), (call >> 24) as u16);
    let size = if nbufs == 0 {
        0
    } else if (words.get(3 + nargs)? >> 32) as u8 == extra::SEGMENT {
        *words.get(5 + nargs)?
    } else {
        // Sessions before SEGMENT have all content in one buffer.
        words.get(3 + nargs)? & 0xffff_ffff
    };
    (header.kind == Kind::Call && call as u16 == row.nr).then_some((ret as i64, size))
}

/// Consumes the record that stands before an exec.
pub fn expect_attempt(t: &mut Thread, row: &Row, args: &[u64; 6]) -> (i64, Extras) {
    let header = head(t, u32::from(row.nr), args);
    if header.kind != Kind::Yield {
        diverge::report(t, divergence::CALL, u32::from(row.nr), args, Difference::default());
    }
    consume(t, header, row, args)
}

/// The header of this thread's next record, notes skipped. Does not return at the log's end.
pub fn head(t: &mut Thread, nr: u32, args: &[u64; 6]) -> Header {
    loop {
        skip_notes(t);
        let header = peek(t);
        if header.thread != t.ordinal as u16 {
            diverge::report(t, divergence::THREAD, nr, args, Difference::default());
        }
        if header.kind == Kind::Preempt {
            // The recording took the token away somewhere before this call.
            preempted(t);
            continue;
        }
        if header.kind == Kind::Shared && !t.process().shares() {
            // This call is the first through which the process shares memory.
            token::share(t);
            continue;
        }
        return header;
    }
}

/// Gives the turn up where a `Preempt` record stands, and waits for it.
fn preempted(t: &mut Thread) {
    t.process().preempt_due.store(0, Ordering::Release);
    take_words(t);
    token::give_up(t);
    token::take(t);
    take_words(t);
}

/// Passes over notes at the head.
pub fn skip_notes(t: &mut Thread) {
    while peek(t).kind == Kind::Note {
        take_words(t);
    }
}

/// The head's header, or the end of this process.
pub fn peek(t: &mut Thread) -> Header {
    match t.process().cursor.peek() {
        Some(Ok(header)) => header,
        Some(Err(_)) => {
            diverge::report(t, divergence::LOG, 0, &[0; 6], Difference::default());
        }
        None => end_of_log(t),
    }
}

/// The kind and thread of the next record, if there is one.
pub fn next_kind(t: &mut Thread) -> Option<(Kind, u16, u8)> {
    match t.process().cursor.peek() {
        Some(Ok(h)) => Some((h.kind, h.thread, h.flags)),
        _ => None,
    }
}

/// True if nothing follows in this process's log.
pub fn at_end(t: &mut Thread) -> bool {
    t.process().cursor.peek().is_none()
}

/// The recorded process was killed here, or executed something that was not intercepted.
pub fn end_of_log(t: &mut Thread) -> ! {
    token::abandon(t.process());
    let entry = t.process().entry();
    entry.state.store(proc_state::EXITED, Ordering::Release);
    arena::ring();
    crate::sys::die(0)
}

/// Gives the turn to the thread of the next record.
pub fn hand_over(t: &mut Thread) {
    let next = u32::from(peek(t).thread);
    token::pass_turn(t.process(), next);
}

/// Consumes a record without buffers to apply; its first word.
pub fn take_words(t: &mut Thread) -> u64 {
    let cursor = &mut t.process().cursor;
    let Some(Ok(header)) = cursor.peek() else { return 0 };
    cursor.skip(8);
    let mut first = 0;
    let mut left = header.len as usize - 8;
    if left >= 8 {
        first = cursor.word();
        left -= 8;
    }
    cursor.skip(left);
    step(t);
    first
}

/// Counts a consumed record; stops where `--until` asks for it.
pub fn step(t: &mut Thread) {
    let p = t.process();
    let steps = p.steps.load(Ordering::Relaxed) + 1;
    p.steps.store(steps, Ordering::Relaxed);
    p.entry().steps.store(steps, Ordering::Relaxed);
    let header = arena::header();
    let until = header.until_step.load(Ordering::Relaxed);
    if until != 0
        && steps >= until
        && p.entry().key.load(Ordering::Relaxed) == header.until_key.load(Ordering::Relaxed)
    {
        diverge::report(t, divergence::UNTIL, 0, &[0; 6], Difference::default());
    }
}

/// Consumes the `Call` or `Yield` record at the head.
fn consume(t: &mut Thread, header: Header, row: &Row, args: &[u64; 6]) -> (i64, Extras) {
    let p = t.process();
    let cursor = &mut p.cursor;
    cursor.skip(8);
    let word = cursor.word();
    let ret = cursor.word() as i64;
    let (nr, nargs, nbufs) = (word as u16, (word >> 16) as u8, (word >> 24) as u16);
    let nr_arg = u32::from(row.nr);
    if nr != row.nr {
        diverge::report(t, divergence::CALL, nr_arg, args, Difference::default());
    }
    let mut recorded = [0u64; 6];
    for slot in recorded.iter_mut().take(nargs.into()) {
        *slot = cursor.word();
    }
    for i in 0..row.args.len() {
        let bits = row.compared_bits(i, args);
        let (Some(was), Some(is)) = (recorded.get(i), args.get(i)) else { break };
        if (was ^ is) & bits != 0 {
            let difference = Difference { arg: i as u32, ..Difference::default() };
            diverge::report(t, divergence::ARGUMENT, nr_arg, args, difference);
        }
    }
    let mut extras = Extras::default();
    let mut recorded_bytes = 0;
    cursor.saw_mark = false;
    for _ in 0..nbufs {
        let word = cursor.word();
        let addr = cursor.word();
        let len = word as u32 as usize;
        let (arg, dir, flags) = ((word >> 32) as u8, (word >> 40) as u8, (word >> 48) as u16);
        let base = recorded.get(usize::from(arg)).zip(args.get(usize::from(arg)));
        let here = match base {
            Some((was, is)) if flags & BUF_INDIRECT == 0 => {
                addr.wrapping_sub(*was).wrapping_add(*is)
            }
            _ => addr,
        };
        if dir == Dir::Out as u8 {
            cursor.copy_out(here, len);
        } else if dir == Dir::In as u8 {
            if flags & BUF_NOT_COMPARED != 0 {
                cursor.skip(len);
            } else if let Some(offset) = cursor.differs(here, len, &mut |addr, bytes| {
                note_bytes(&mut t.scratch, &mut recorded_bytes, addr, bytes);
            }) {
                let difference = Difference {
                    arg: arg.into(),
                    offset,
                    addr: here,
                    len: len as u64,
                    ..Difference::default()
                };
                diverge::report(t, divergence::BUFFER, nr_arg, args, difference);
            }
        } else {
            take_extra(t, arg, len, &mut extras);
        }
        let cursor = &mut t.process().cursor;
        cursor.skip(len.next_multiple_of(8) - len);
    }
    if header.flags & flag::SEEDED != 0 {
        entropy::answer(&mut t.rng, row.nr.into(), args);
    }
    if let Some((number, which)) = extras.output {
        if t.process().cursor.saw_mark {
            arena::header().redacted_writes.fetch_add(1, Ordering::Relaxed);
        }
        let recorded = t.scratch.get(..recorded_bytes).unwrap_or_default();
        show(row, args, ret, number, which, recorded);
    }
    step(t);
    (ret, extras)
}

fn take_extra(t: &mut Thread, arg: u8, len: usize, extras: &mut Extras) {
    let cursor = &mut t.process().cursor;
    match arg {
        extra::CHILD if len == 8 => extras.child = Some(cursor.word()),
        extra::OUTPUT if len == 16 => extras.output = Some((cursor.word(), cursor.word())),
        extra::WRITTEN if len == size_of::<Written>() => {
            let [key, steps, addr] = [(); 3].map(|()| cursor.word());
            extras.written = Some(Written { key, steps, addr });
        }
        extra::BORN if len == 8 => extras.born_ns = cursor.word(),
        extra::MAPPED if len == size_of::<MappedWrite>() => {
            let [inode, offset] = [(); 2].map(|()| cursor.word());
            extras.mapped = Some(MappedWrite { inode, offset });
        }
        extra::FILE if len >= log_format::record::FILE_ID_BYTES => {
            let id = crate::files::read_id(cursor);
            let path = len - log_format::record::FILE_ID_BYTES;
            let first = extras.file.is_none();
            let at = if first { 0 } else { INTERPRETER_AT };
            let kept = path.min(crate::files::PATH_BYTES - 1);
            if let Some(to) = t.scratch.get_mut(at..at + kept) {
                cursor.bytes(to);
            }
            cursor.skip(path - kept);
            if let Some(end) = t.scratch.get_mut(at + kept) {
                *end = 0;
            }
            let which = if first { &mut extras.file } else { &mut extras.interpreter };
            *which = Some((id, kept));
        }
        _ => cursor.skip(len),
    }
}

/// Remembers what the recording has at an address of the guest, where that is a placeholder:
/// address, length, bytes. What does not fit stays as the guest has it.
fn note_bytes(scratch: &mut [u8; SCRATCH_BYTES], used: &mut usize, addr: u64, bytes: &[u8]) {
    let head = *used + 16;
    let Some(end) = head.checked_add(bytes.len()) else { return };
    if let Some(to) = scratch.get_mut(head..end) {
        to.copy_from_slice(bytes);
        scratch[*used..*used + 8].copy_from_slice(&addr.to_le_bytes());
        scratch[*used + 8..head].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        *used = end;
    }
}

/// Sends what a write put out to the host, in the order of the recording, with the bytes that are
/// `recorded` where the guest has others.
fn show(row: &Row, args: &[u64; 6], ret: i64, number: u64, which: u64, recorded: &[u8]) {
    let header = arena::header();
    loop {
        let bell = header.output_bell.load(Ordering::Acquire);
        if header.output_seq.load(Ordering::Acquire) >= number {
            break;
        }
        futex_wait(&header.output_bell, bell, 1000, true);
        if !arena::host_lives() {
            crate::sys::die(1);
        }
    }
    if ret > 0 {
        if row.args.get(1).is_some_and(|a| matches!(a.ty, Ty::IovIn(_))) {
            let mut left = ret as u64;
            for i in 0..args[2].min(1024) {
                let at = args[1] + i * 16;
                let (base, len) = (Guest.u64(at).unwrap_or(0), Guest.u64(at + 8).unwrap_or(0));
                let len = len.min(left);
                left -= len;
                frame(which, base, len, recorded);
            }
        } else {
            frame(which, args[1], ret as u64, recorded);
        }
    }
    header.output_seq.store(number + 1, Ordering::Release);
    header.output_bell.fetch_add(1, Ordering::AcqRel);
    crate::sys::futex_wake(&header.output_bell, u32::MAX >> 1, true);
    arena::ring();
}

/// Largest part of one write put into the ring at once.
const FRAME_BYTES_MAX: u64 = OUTPUT_BYTES as u64 / 4;

fn frame(which: u64, mut addr: u64, mut len: u64, recorded: &[u8]) {
    let header = arena::header();
    while len > 0 {
        let part = len.min(FRAME_BYTES_MAX);
        let need = 8 + part.next_multiple_of(8);
        let written = header.output_written.load(Ordering::Acquire);
        loop {
            let bell = header.output_bell.load(Ordering::Acquire);
            let read = header.output_read.load(Ordering::Acquire);
            if written - read + need <= OUTPUT_BYTES as u64 {
                break;
            }
            arena::ring();
            futex_wait(&header.output_bell, bell, 100, true);
            if !arena::host_lives() {
                crate::sys::die(1);
            }
        }
        let word = which | part << 32;
        ring_copy(written, &raw const word as u64, 8);
        ring_copy(written + 8, addr, part);
        put_recorded(written + 8, addr, part, recorded);
        header.output_written.store(written + need, Ordering::Release);
        addr += part;
        len -= part;
    }
}

/// Puts recorded bytes over what was copied from the guest's `addr` to `at` in the ring.
fn put_recorded(at: u64, addr: u64, len: u64, mut recorded: &[u8]) {
    while let Some((head, rest)) = recorded.split_at_checked(16) {
        let [start, count] = [0, 8].map(|i| {
            head.get(i..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
        });
        let Some((bytes, rest)) = rest.split_at_checked(count as usize) else { return };
        let (first, end) = (start.max(addr), (start + count).min(addr + len));
        if first < end {
            let from = bytes.as_ptr() as u64 + (first - start);
            ring_copy(at + (first - addr), from, end - first);
        }
        recorded = rest;
    }
}

fn ring_copy(at: u64, from: u64, len: u64) {
    let start = (at % OUTPUT_BYTES as u64) as usize;
    let first = (len as usize).min(OUTPUT_BYTES - start);
    // SAFETY: both parts lie inside the ring; a fault in the guest's memory is caught.
    unsafe {
        let ring = arena::output();
        crate::sys::copy_checked(ring.add(start), from as *const u8, first);
        crate::sys::copy_checked(ring, (from + first as u64) as *const u8, len as usize - first);
    }
}

/// Waits for ever: the host ends this process.
pub fn park() -> ! {
    loop {
        let second = [1u64, 0];
        // SAFETY: own buffer.
        unsafe { sys!(libc::SYS_nanosleep, second.as_ptr(), 0) };
        if !arena::host_lives() {
            crate::sys::die(1);
        }
    }
}
