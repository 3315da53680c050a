//! The clock of a network replay: readings of the recording by process, clock and ordinal while
//! they last, so that what a program prints of the time it prints again; after them a clock that
//! runs on from the last one.
//!
//! Deadlines that the guest computes from such readings are brought back to the real clock before
//! the kernel sees them.
#![allow(unsafe_code, reason = "reads a file of the host's that is mapped")]

use core::sync::atomic::{AtomicU64, Ordering};

use log_format::arena::{Mode, option};
use log_format::clocks::{self, BETWEEN, SOURCES_MAX, is_read};
use log_format::record::clock;
use log_format::table::Memory;

use crate::arena;
use crate::fds::What;
use crate::process::Process;
use crate::sockets;
use crate::sys::{Guest, map_file, write_guest};
use crate::thread::Thread;

const NS: u64 = 1_000_000_000;
/// Where the readings of the present image are mapped: behind the threads' blocks.
const AT: u64 = log_format::arena::BASE + 0x1_0000_0000;
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Readings not yet given to this image.
pub struct Recorded {
    /// Bytes mapped at [`AT`]; 0: none.
    len: usize,
    /// By place in the file's table of sources: how many were given.
    given: [u32; SOURCES_MAX],
    /// By the same place: the last one given of a clock that never goes back.
    latest: [u64; SOURCES_MAX],
    /// The exchange whose answer the readings were lined up with last.
    answered: u32,
    /// Last reading given, and the real time then: wall clock, monotonic clock.
    last: [(u64, u64); 2],
    /// Latest reading that was not recorded: wall clock, monotonic clock.
    ran_on: [u64; 2],
    /// What waits that have timed out say that it is at least: wall clock, monotonic clock.
    floor: [u64; 2],
}

impl Recorded {
    /// No readings.
    pub const NONE: Recorded = Recorded {
        len: 0,
        given: [0; SOURCES_MAX],
        latest: [0; SOURCES_MAX],
        answered: 0,
        last: [(0, 0); 2],
        ran_on: [0; 2],
        floor: [0; 2],
    };

    fn words(&self) -> &'static [u64] {
        // SAFETY: `open` has mapped `len` bytes there, read-only, and they stay mapped as long as
        // this image runs.
        unsafe { core::slice::from_raw_parts(AT as *const u64, self.len / 8) }
    }

    /// The next reading that is at least `floor`: those before it were taken during a wait that
    /// was shorter then.
    fn next(&mut self, source: u8, floor: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let (place, values) = clocks::find(self.words(), source)?;
        let given = self.given.get_mut(place)?;
        let latest = self.latest.get_mut(place)?;
        loop {
            let value = *values.get(*given as usize)?;
            *given += 1;
            if value >= floor {
                if class_of(source) == MONOTONIC {
                    *latest = value.max(*latest);
                    return Some(*latest);
                }
                return Some(value);
            }
        }
    }

    /// Goes on with the readings that followed the answer of this exchange: what a program does
    /// until an answer has come may take more of them, or fewer, than in the recording. The wall
    /// clock may go back by that; the others stand still until they have caught up.
    fn line_up(&mut self, exchange: u32) {
        let Some(counts) = clocks::at_answer(self.words(), exchange) else { return };
        let again = self.answered == exchange;
        // Answers in flight at the same time come in any order: none brings back an earlier one's.
        let latest = clocks::at_answer(self.words(), self.answered).unwrap_or_default();
        if counts.iter().zip(latest).any(|(count, latest)| count < latest) {
            return;
        }
        self.answered = exchange;
        let mut both = self.given.iter().zip(counts);
        let near =
            |(given, count): (&u32, &u64)| (*count..=count + BETWEEN).contains(&u64::from(*given));
        // The last part of it may come only now; or that was no part of it any more.
        if again && !both.all(near) {
            return;
        }
        for (given, count) in self.given.iter_mut().zip(counts) {
            *given = *count as u32;
        }
        self.floor = [0; 2];
        self.ran_on = [0; 2];
    }
}

/// True if the guest's clock is not the real one.
pub fn is_virtual(p: &Process) -> bool {
    p.mode == Mode::Network && !p.option(option::LIVE_CLOCK)
}

/// Maps the readings of an image or forked child that begins.
pub fn open(p: &mut Process) {
    p.clocks = Recorded::NONE;
    if !is_virtual(p) {
        return;
    }
    let mut path = [0u8; 1100];
    let dir = arena::string(&arena::header().net.clocks_dir, &mut path);
    let entry = p.entry();
    let mut name = [0u8; clocks::NAME_BYTES + 1];
    clocks::name(
        entry.key.load(Ordering::Relaxed),
        entry.generation.load(Ordering::Relaxed),
        &mut name,
    );
    let Some(rest) = path.get_mut(dir..dir + 1 + name.len()) else { return };
    let Some((slash, file)) = rest.split_first_mut() else { return };
    *slash = b'/';
    file.copy_from_slice(&name);
    p.clocks.len = map_file(&path, AT, FILE_BYTES_MAX).unwrap_or(0);
}

/// After a read: the player may have sent the end of an answer.
pub fn after_read(t: &mut Thread, nr: u64, args: &[u64; 6], ret: i64) {
    let p = t.process();
    if ret > 0
        && p.clocks.len != 0
        && is_read(nr as u16)
        && p.fds.get(args[0]) == What::Answered
        && let Some(socket) = sockets::entry_of(args[0])
    {
        let exchange = socket.answered.load(Ordering::Acquire);
        if exchange != 0 {
            p.clocks.line_up(exchange);
        }
    }
}

/// 0 for clocks that count from the epoch, 1 for those that count from the machine's start.
fn class_of(source: u8) -> usize {
    if matches!(source, 1 | 4 | 6 | 7) { MONOTONIC } else { 0 }
}

/// Class of the clocks that count from the machine's start.
const MONOTONIC: usize = 1;

/// How far a clock may be behind others that count from the same moment, nanoseconds.
fn behind(source: u8) -> u64 {
    const CLOCK_REALTIME_COARSE: u8 = libc::CLOCK_REALTIME_COARSE as u8;
    const CLOCK_MONOTONIC_COARSE: u8 = libc::CLOCK_MONOTONIC_COARSE as u8;
    match source {
        clock::TIME => NS,
        clock::TIMEOFDAY => 1000,
        // A tick of the slowest kernels.
        CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => NS / 100,
        _ => 0,
    }
}

fn offset(class: usize) -> &'static AtomicU64 {
    let net = &arena::header().net;
    if class == 0 { &net.wall_offset_ns } else { &net.mono_offset_ns }
}

/// The reading of a clock (its id, or one of [`clock`]'s values) that the guest gets, nanoseconds.
pub fn read(p: &mut Process, source: u8) -> u64 {
    let class = class_of(source);
    let id = match source {
        clock::TIMEOFDAY | clock::TIME => libc::CLOCK_REALTIME as u64,
        id => id.into(),
    };
    let now = crate::vdso::read_ns(p, id);
    let ahead = offset(class);
    let ran_on = p.clocks.ran_on.get(class).copied().unwrap_or(0);
    let floor = p.clocks.floor.get(class).copied().unwrap_or(0);
    let value = match p.clocks.next(source, floor.saturating_sub(behind(source))) {
        Some(value) => {
            // A clock that had fewer readings runs on already: this one does not fall behind it.
            let value = value.max(ran_on.saturating_sub(behind(source)));
            // All that run on, in other processes too, go on from the latest reading given.
            let beyond = value.wrapping_sub(now) as i64;
            let mut old = ahead.load(Ordering::Relaxed);
            while beyond > old as i64 {
                let new = beyond as u64;
                match ahead.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(other) => old = other,
                }
            }
            value
        }
        None => {
            let value = now.wrapping_add(ahead.load(Ordering::Relaxed));
            if let Some(ran_on) = p.clocks.ran_on.get_mut(class) {
                *ran_on = value.max(*ran_on);
            }
            value
        }
    };
    if let Some(last) = p.clocks.last.get_mut(class) {
        *last = (value, now);
    }
    value
}

/// The real time of a deadline on the guest's clock.
fn deadline(p: &Process, class: usize, at: u64) -> u64 {
    let (value, then) = p.clocks.last.get(class).copied().unwrap_or_default();
    let ahead =
        if value == 0 { offset(class).load(Ordering::Relaxed) } else { value.wrapping_sub(then) };
    at.wrapping_sub(ahead)
}

/// What the clocks are at least once a wait has timed out: wall clock, monotonic clock.
pub struct Wait {
    floor: [u64; 2],
    timed_out: i64,
}

/// The wait that a call is, if it has an end and the guest's clock is a recorded one: without it a
/// wait that timed out earlier or later than in the recording would be waited for again and again,
/// because readings come by their ordinals.
pub fn wait(p: &Process, nr: u64, args: &[u64; 6]) -> Option<Wait> {
    if !is_virtual(p) || p.clocks.len == 0 {
        return None;
    }
    const ABSOLUTE: u64 = 1;
    const TIMED_OUT: i64 = -(libc::ETIMEDOUT as i64);
    let ms = |arg: u64| u64::try_from(arg as i32).ok().map(|ms| ms * (NS / 1000));
    let spec = |at: u64, unit: u64| {
        let seconds = if at == 0 { None } else { Guest.u64(at) }?;
        seconds.checked_mul(NS)?.checked_add(word(at + 8).checked_mul(unit)?)
    };
    let (span, timed_out) = match nr as i64 {
        libc::SYS_poll => (ms(args[2])?, 0),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => (ms(args[3])?, 0),
        libc::SYS_ppoll => (spec(args[2], 1)?, 0),
        libc::SYS_epoll_pwait2 => (spec(args[3], 1)?, 0),
        libc::SYS_pselect6 => (spec(args[4], 1)?, 0),
        libc::SYS_select => (spec(args[4], 1000)?, 0),
        libc::SYS_nanosleep => (spec(args[0], 1)?, 0),
        libc::SYS_clock_nanosleep if args[1] & ABSOLUTE == 0 => (spec(args[2], 1)?, 0),
        libc::SYS_rt_sigtimedwait => (spec(args[2], 1)?, -i64::from(libc::EAGAIN)),
        libc::SYS_futex if args[1] & FUTEX_COMMAND == FUTEX_WAIT => (spec(args[3], 1)?, TIMED_OUT),
        // Until a time of the guest's own clock.
        libc::SYS_futex if args[1] & FUTEX_COMMAND == FUTEX_WAIT_BITSET => {
            let class = usize::from(args[1] & FUTEX_CLOCK_REALTIME == 0);
            return until(p, class, spec(args[3], 1)?, TIMED_OUT);
        }
        libc::SYS_clock_nanosleep => {
            return until(p, class_of(args[0] as u8), spec(args[2], 1)?, 0);
        }
        _ => return None,
    };
    Some(Wait { floor: later(p, span), timed_out })
}

/// What the clocks say when they have gone on for so long, where they were read.
fn later(p: &Process, span: u64) -> [u64; 2] {
    p.clocks.last.map(|(value, _)| if value == 0 { 0 } else { value.saturating_add(span) })
}

fn until(p: &Process, class: usize, time: u64, timed_out: i64) -> Option<Wait> {
    let (last, _) = *p.clocks.last.get(class)?;
    let mut floor = if last == 0 { [0; 2] } else { later(p, time.saturating_sub(last)) };
    *floor.get_mut(class)? = time;
    Some(Wait { floor, timed_out })
}

/// Notes that a wait has ended, with this result of its call.
pub fn waited(p: &mut Process, wait: &Wait, ret: i64) {
    if ret != wait.timed_out {
        return;
    }
    for (floor, reached) in p.clocks.floor.iter_mut().zip(wait.floor) {
        *floor = reached.max(*floor);
    }
}

const FUTEX_WAIT: u64 = 0;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_CLOCK_REALTIME: u64 = 256;
const FUTEX_COMMAND: u64 = 0x7f;

/// Answers the calls that read a clock, and turns the deadlines of others into real ones.
pub fn call(t: &mut Thread, nr: u64, args: &mut [u64; 6]) -> Option<i64> {
    if !is_virtual(t.process()) {
        return None;
    }
    const ABSOLUTE: u64 = 1;
    const FUTEX_WAIT_REQUEUE_PI: u64 = 11;
    const FUTEX_LOCK_PI: u64 = 6;
    const FUTEX_LOCK_PI2: u64 = 13;
    match nr as i64 {
        libc::SYS_clock_gettime if super::time::in_vdso(args[0]) => {
            let value = read(t.process(), args[0] as u8);
            Some(super::time::store(args[1], [value / NS, value % NS]))
        }
        libc::SYS_gettimeofday => {
            let value = read(t.process(), clock::TIMEOFDAY);
            Some(super::time::store(args[0], [value / NS, value % NS / 1000]))
        }
        libc::SYS_time => {
            let seconds = read(t.process(), clock::TIME) / NS;
            if args[0] != 0 {
                write_guest(args[0], &seconds.to_le_bytes());
            }
            Some(seconds as i64)
        }
        libc::SYS_futex if args[3] != 0 => {
            let wall = match args[1] & FUTEX_COMMAND {
                FUTEX_LOCK_PI => true,
                FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2 => {
                    args[1] & FUTEX_CLOCK_REALTIME != 0
                }
                _ => return None,
            };
            rewrite(t, usize::from(!wall), &mut args[3], 2);
            None
        }
        libc::SYS_clock_nanosleep if args[1] & ABSOLUTE != 0 => {
            let class = class_of(args[0] as u8);
            rewrite(t, class, &mut args[2], 2);
            None
        }
        libc::SYS_timerfd_settime if args[1] & ABSOLUTE != 0 => {
            // The descriptor's clock is not known here: wall clock deadlines are beyond any
            // machine's uptime.
            const YEARS: u64 = 20 * 365 * 24 * 3600;
            let seconds = word(args[2] + 16);
            rewrite(t, usize::from(seconds < YEARS), &mut args[2], 4);
            None
        }
        _ => None,
    }
}

fn word(at: u64) -> u64 {
    let mut bytes = [0u8; 8];
    if Guest.read(at, &mut bytes) { u64::from_le_bytes(bytes) } else { 0 }
}

/// Replaces the guest's `timespec` (2 words) or `itimerspec` (4 words, the second half is the
/// deadline) by one in the thread's block.
fn rewrite(t: &mut Thread, class: usize, at: &mut u64, words: usize) {
    let mut spec = [0u64; 4];
    for (i, to) in spec.iter_mut().enumerate().take(words) {
        *to = word(*at + i as u64 * 8);
    }
    let from = words - 2;
    let (Some(seconds), Some(ns)) = (spec.get(from).copied(), spec.get(from + 1).copied()) else {
        return;
    };
    // Zero disarms a timer; what the kernel would refuse it is to refuse.
    if (seconds, ns) == (0, 0) || ns >= NS || seconds as i64 <= 0 || seconds > u64::MAX / NS - 1 {
        return;
    }
    let real = deadline(t.process(), class, seconds * NS + ns) as i64;
    let real = real.max(1) as u64;
    for (to, value) in spec.iter_mut().skip(from).zip([real / NS, real % NS]) {
        *to = value;
    }
    t.deadline = spec;
    *at = t.deadline.as_ptr() as u64;
}
