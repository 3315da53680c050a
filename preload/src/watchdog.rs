//! Keeps a thread that makes no call from starving the others.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use core::sync::atomic::Ordering;

use log_format::record::{Kind, flag};

use crate::process::Process;
use crate::spin::{self, Samples};
use crate::sys::sys;
use crate::thread::{Regs, Thread};
use crate::{arena, record, token};

/// si_code of the watchdog's own SIGSYS: negative, and none of the kernel's or libc's.
const KICK: i32 = -77;
/// si_code of a POSIX timer's signal.
const SI_TIMER: i32 = -2;
/// How long a queued signal may wait for the guest's next call, milliseconds.
const SIGNAL_PATIENCE_MS: u64 = 20;
/// Time after which a thread gives way in any case, nanoseconds.
const RUN_NS_MAX: u64 = 3_000_000_000;

/// True for addresses where a thread is about to reach, or has just left, a call's boundary.
pub fn ours(rip: u64) -> bool {
    crate::trap::in_shim(rip) || crate::vdso::contains(rip) || crate::patch::contains(rip)
}

/// True for a SIGSYS of the watchdog's.
///
/// # Safety
/// `info` must be a valid siginfo.
pub unsafe fn is_kick(info: *const u8) -> bool {
    // SAFETY: si_code is at 8, as the caller vouches.
    matches!(unsafe { info.add(8).cast::<i32>().read() }, KICK | SI_TIMER)
}

/// Sends a thread of this process the watchdog's signal.
pub fn kick(p: &Process, tid: u32) {
    let mut info = [0i32; 32];
    info[0] = libc::SIGSYS;
    info[2] = KICK;
    // SAFETY: own buffer; the thread belongs to this process.
    unsafe { sys!(libc::SYS_rt_tgsigqueueinfo, p.real_pid, tid, libc::SIGSYS, info.as_ptr()) };
}

/// Called now and then by a thread that waits for the token: the holder gives it up at its next
/// call; if it makes none, it is looked at.
pub fn waited(p: &Process) {
    let steps = p.steps.load(Ordering::Relaxed);
    let holder = p.holder.load(Ordering::Relaxed);
    if p.wanted.swap(1, Ordering::AcqRel) != 0
        && p.seen_steps.swap(steps, Ordering::Relaxed) == steps
        && holder != 0
    {
        kick(p, holder);
    }
}

/// The holder of the token was found in the guest's code: if it spins, or has run very long,
/// others get their turn here. Where exactly is not reproducible, and the log says so.
pub fn kicked(t: &mut Thread, regs: &Regs) {
    let p = t.process();
    if p.wanted.load(Ordering::Relaxed) == 0
        || p.holder.load(Ordering::Relaxed) != t.real_tid as u32
    {
        return;
    }
    let seen = spin::sample(p, regs);
    if seen.spins || seen.ns >= RUN_NS_MAX {
        p.spins.store(seen.spins, Ordering::Relaxed);
        p.samples = Samples::none();
        record::words(t, Kind::Preempt, 0, &[]);
        change(t);
        record::words(t, Kind::Preempt, flag::COMPLETES, &[]);
    }
}

/// A signal was queued and may find no call's end: a timer looks after it.
pub fn signal_waits(t: &mut Thread) {
    const SIGEV_THREAD_ID: i32 = 4;
    let mut event = [0i32; 16];
    // struct sigevent: value, signo, notify, tid.
    event[2] = libc::SIGSYS;
    event[3] = SIGEV_THREAD_ID;
    event[4] = t.real_tid;
    let ns = SIGNAL_PATIENCE_MS * 1_000_000;
    // Again and again, for the thread may be in the shim at the moment.
    let spec = [0u64, ns, 0, ns];
    let mut id = 0i32;
    // SAFETY: own buffers; the signal goes to this thread.
    unsafe {
        if t.timer == 0
            && sys!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, event.as_ptr(), &raw mut id) == 0
        {
            t.timer = id + 1;
            sys!(libc::SYS_timer_settime, id, 0, spec.as_ptr(), 0);
        }
    }
}

/// The queued signal has been delivered.
pub fn signal_delivered(t: &mut Thread) {
    if t.timer != 0 {
        // SAFETY: a timer of the shim's own.
        unsafe { sys!(libc::SYS_timer_delete, t.timer - 1) };
        t.timer = 0;
    }
}

/// True if the holder should let others run at this boundary.
pub fn is_wanted(t: &Thread) -> bool {
    let p = t.process();
    if p.shares() {
        arena::header().shared_wanted.load(Ordering::Relaxed) != 0
    } else {
        p.wanted.load(Ordering::Relaxed) != 0 && p.threads > 1
    }
}

/// At a call's end, when another thread has waited long: gives the token up and takes it again.
pub fn let_others_run(t: &mut Thread) {
    // A body of two words reads as a call without arguments.
    record::words(t, Kind::Yield, flag::FAIRNESS, &[0, 0]);
    change(t);
    record::words(t, Kind::Yield, flag::FAIRNESS | flag::COMPLETES, &[0, 0]);
}

/// Gives the token up, sees to it that another thread has it, and takes it again.
fn change(t: &mut Thread) {
    let p = t.process();
    let word = if p.shares() {
        let header = arena::header();
        header.shared_wanted.store(0, Ordering::Release);
        &header.shared_token
    } else {
        &p.token
    };
    p.wanted.store(0, Ordering::Release);
    token::give_up(t);
    for _ in 0..100 {
        if word.load(Ordering::Relaxed) != 0 {
            break;
        }
        // SAFETY: sched_yield takes no argument.
        unsafe { sys!(libc::SYS_sched_yield) };
    }
    token::take(t);
}

/// True if no process with this pid runs any more (it may still be a zombie).
pub fn is_dead(pid: i32) -> bool {
    match state(pid) {
        Some(state) => matches!(state, b'Z' | b'X'),
        // SAFETY: signal 0 is none.
        None => unsafe { sys!(libc::SYS_kill, pid, 0) == -i64::from(libc::ESRCH) },
    }
}

/// Letter of a process's state (proc_pid_stat(5)); None if it can't be read.
pub fn state(pid: i32) -> Option<u8> {
    let mut path = [0; PROC_PATH_BYTES];
    proc_path(pid, b"/stat", &mut path);
    let mut text = [0u8; 64];
    // SAFETY: own buffers; the descriptor is closed.
    let n = unsafe {
        let fd = sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return None;
        }
        let n = sys!(libc::SYS_read, fd, text.as_mut_ptr(), text.len());
        sys!(libc::SYS_close, fd);
        n
    };
    let text = text.get(..n.max(0) as usize)?;
    let name_end = text.iter().rposition(|b| *b == b')')?;
    text.get(name_end + 2).copied()
}

/// Room for the longest path that [`proc_path`] makes.
pub const PROC_PATH_BYTES: usize = 24;

/// Writes `/proc/<pid><name>` and a NUL; the name has at most five bytes.
pub fn proc_path(pid: i32, name: &[u8], to: &mut [u8; PROC_PATH_BYTES]) {
    let count = pid.checked_ilog10().unwrap_or(0) + 1;
    let digits = (0..count).rev().map(|i| b'0' + (pid as u32 / 10u32.pow(i) % 10) as u8);
    let path = b"/proc/".iter().copied().chain(digits).chain(name.iter().copied());
    for (to, byte) in to.iter_mut().zip(path.chain([0])) {
        *to = byte;
    }
}
