//! Clocks and counters: read without a syscall, logged in sixteen bytes.
#![allow(unsafe_code, reason = "calls into the moved vDSO; rdtsc")]

use core::sync::atomic::Ordering;

use log_format::arena::{Mode, option};
use log_format::record::{HEADER_BYTES, Header, Kind, clock};

use super::clocks;
use crate::dispatch::{Outcome, pseudo};
use crate::sys::{sys, write_guest};
use crate::thread::{Regs, Thread, current, entry};
use crate::{arena, record, replay, trap, vdso};

const NS: u64 = 1_000_000_000;
const RECORD_BYTES: usize = HEADER_BYTES + 8;

/// Clocks that the vDSO reads without a syscall: REALTIME, MONOTONIC, MONOTONIC_RAW, the two
/// COARSE ones, BOOTTIME, TAI.
pub fn in_vdso(clock: u64) -> bool {
    matches!(clock, 0 | 1 | 4..=7 | 11)
}

/// clock_gettime on the guest's own stack: true if done, false if the long way is needed.
pub extern "C" fn rr_fast_clock(clock: u64, to: *mut [u64; 2]) -> bool {
    // SAFETY: called only once the shim is ready, on threads with %gs set.
    let t = unsafe { &mut *current() };
    let p = t.process();
    if p.mode == Mode::Replay
        || !in_vdso(clock)
        || t.pending.load(Ordering::Relaxed) != 0
        || p.wanted.load(Ordering::Relaxed) != 0
        || p.option(option::TIME_FROZEN)
        || p.trap_tsc
    {
        return false;
    }
    if clocks::is_virtual(p) {
        let value = clocks::read(p, clock as u8);
        // SAFETY: the guest's own pointer, which the vDSO would write to as well.
        unsafe { to.write([value / NS, value % NS]) };
        return true;
    }
    let Some(read) = vdso::clock_gettime() else { return false };
    // SAFETY: the vDSO's own function with the guest's pointer, as the guest would call it.
    if unsafe { read(clock, to) } != 0 {
        return false;
    }
    // SAFETY: the vDSO has just written there.
    let [seconds, ns] = unsafe { *to };
    log(t, clock as u8, seconds * NS + ns);
    true
}

#[inline(always)]
fn log(t: &mut Thread, source: u8, value: u64) {
    let p = t.process();
    let step = p.steps.load(Ordering::Relaxed);
    if !p.logging {
        return;
    }
    let header = Header {
        kind: Kind::Clock,
        flags: source,
        thread: t.ordinal as u16,
        len: RECORD_BYTES as u32,
    };
    let words = [header.to_word(), value];
    if !p.writer.append_pair(words) {
        if !p.writer.begin(step, RECORD_BYTES) {
            return;
        }
        p.writer.words(&words);
        p.writer.commit();
    }
    p.steps.store(step + 1, Ordering::Relaxed);
    p.entry().steps.store(step + 1, Ordering::Relaxed);
}

/// What came the long way and is no syscall.
pub fn pseudo(t: &mut Thread, nr: u64, args: &[u64; 6]) -> Outcome {
    match nr {
        pseudo::CLOCK if !in_vdso(args[0]) => {
            let Some(row) = log_format::table::row(libc::SYS_clock_gettime as u64) else {
                return Outcome::Returns(-38);
            };
            Outcome::Returns(super::generic(t, row, args))
        }
        pseudo::CLOCK => {
            let value = read(t, args[0] as u8, args[0]);
            Outcome::Returns(store(args[1], [value / NS, value % NS]))
        }
        pseudo::TIMEOFDAY => {
            let value = read(t, clock::TIMEOFDAY, 0);
            if args[1] != 0 {
                // The time zone: zero in every configuration of today.
                write_guest(args[1], &[0; 8]);
            }
            Outcome::Returns(store(args[0], [value / NS, value % NS / 1000]))
        }
        pseudo::TIME => {
            let seconds = read(t, clock::TIME, 0) / NS;
            if args[0] != 0 {
                write_guest(args[0], &seconds.to_le_bytes());
            }
            Outcome::Returns(seconds as i64)
        }
        pseudo::TSC => {
            let value = if t.process().mode == Mode::Replay {
                expect(t, Kind::Tsc, None)
            } else {
                // SAFETY: counting was allowed for this read by `trapped_tsc`'s caller.
                let value = allowed_rdtsc();
                record::words(t, Kind::Tsc, 0, &[value]);
                value
            };
            t.regs.rdx = value >> 32;
            Outcome::Returns((value & 0xffff_ffff) as i64)
        }
        _ => Outcome::Returns(-38),
    }
}

pub fn store(to: u64, words: [u64; 2]) -> i64 {
    let ok = to == 0
        || write_guest(to, &words[0].to_le_bytes()) && write_guest(to + 8, &words[1].to_le_bytes());
    if ok { 0 } else { -14 }
}

/// A clock's value in nanoseconds: recorded, or read and recorded.
fn read(t: &mut Thread, source: u8, clock: u64) -> u64 {
    if t.process().mode == Mode::Replay {
        return expect(t, Kind::Clock, Some(source));
    }
    if clocks::is_virtual(t.process()) {
        return clocks::read(t.process(), source);
    }
    let value = if t.process().option(option::TIME_FROZEN) {
        let header = arena::header();
        let monotonic = matches!(clock, 1 | 4 | 6 | 7);
        let at = if monotonic { &header.frozen_mono_ns } else { &header.frozen_ns };
        at.load(Ordering::Relaxed)
    } else {
        let mut now = [0u64; 2];
        // SAFETY: `now` is valid for the call.
        unsafe { sys!(libc::SYS_clock_gettime, clock, now.as_mut_ptr()) };
        now[0] * NS + now[1]
    };
    // time() has whole seconds; its record too, so that both runs agree whatever came between.
    log(t, source, value);
    value
}

fn expect(t: &mut Thread, kind: Kind, source: Option<u8>) -> u64 {
    let nr = 0x1_0000 | kind as u32;
    let args = [source.unwrap_or(0).into(), 0, 0, 0, 0, 0];
    let header = replay::head(t, nr, &args);
    if header.kind != kind || source.is_some_and(|s| s != header.flags) {
        let d = crate::diverge::Difference::default();
        crate::diverge::report(t, log_format::arena::divergence::CALL, nr, &args, d);
    }
    replay::take_words(t)
}

const PR_SET_TSC: u64 = 26;
const PR_TSC_ENABLE: u64 = 1;
const PR_TSC_SIGSEGV: u64 = 2;

/// Makes rdtsc of the calling thread raise SIGSEGV.
pub fn trap_tsc() {
    // SAFETY: only affects this thread's own instruction.
    unsafe { sys!(libc::SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV) };
}

/// Lets rdtsc be: the setting outlives an exec, and the loader reads the counter before there is
/// a handler.
pub fn let_tsc_be() {
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_prctl, PR_SET_TSC, PR_TSC_ENABLE) };
}

fn allowed_rdtsc() -> u64 {
    // SAFETY: enables the instruction for this thread around one read.
    unsafe {
        sys!(libc::SYS_prctl, PR_SET_TSC, PR_TSC_ENABLE);
        let value = core::arch::x86_64::_rdtsc();
        sys!(libc::SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV);
        value
    }
}

/// If a SIGSEGV was raised by rdtsc or rdtscp: sends the thread into the shim for it.
///
/// # Safety
/// Must be called from the signal handler, with the interrupted registers.
pub unsafe fn trapped_tsc(t: &mut Thread, sig: i32, gregs: &mut Regs) -> bool {
    let mut code = [0u8; 3];
    // SAFETY: `code` is ours; a fault at the guest's rip is caught.
    let readable =
        unsafe { crate::sys::copy_checked(code.as_mut_ptr(), gregs.rip as *const u8, code.len()) };
    if sig != libc::SIGSEGV || !readable || !t.process().trap_tsc {
        return false;
    }
    let len = match code {
        [0x0f, 0x31, _] => 2,
        [0x0f, 0x01, 0xf9] => {
            gregs.rcx = 0;
            3
        }
        _ => return false,
    };
    gregs.rip += len;
    t.regs = *gregs;
    t.regs.rax = pseudo::TSC;
    t.entry = entry::TRAP;
    gregs.rip = trap::trap_entry();
    gregs.rsp = t.shim_sp;
    true
}
