//! The end of threads and processes.
#![allow(unsafe_code, reason = "the thread's last steps")]

use core::sync::atomic::Ordering;

use log_format::arena::{Mode, proc_state};
use log_format::record::Kind;
use log_format::table::Memory;

use crate::sys::{Guest, sys, write_guest_u32};
use crate::thread::Thread;
use crate::{arena, record, replay, token};

/// exit_group.
pub fn exit(t: &mut Thread, code: u64) -> ! {
    let status = (code & 0xff) << 8;
    end(t, Kind::Exit, status);
    let entry = t.process().entry();
    entry.status.store(status as u32, Ordering::Release);
    entry.state.store(proc_state::EXITED, Ordering::Release);
    token::abandon(t.process());
    arena::ring();
    crate::sys::die(code as u32)
}

/// exit: of one thread, or of the process with its last.
pub fn exit_thread(t: &mut Thread, code: u64) -> ! {
    let p = t.process();
    if p.threads <= 1 {
        exit(t, code);
    }
    end(t, Kind::ThreadExit, code);
    p.threads -= 1;
    p.ordinals.set(t.ordinal, false);
    end_robust_list(t);
    // What the kernel would do after the token is gone, and a joiner could see either way.
    if t.clear_tid != 0 && write_guest_u32(t.clear_tid, 0) {
        // SAFETY: wakes waiters of the guest's word, as the kernel does at a thread's end.
        unsafe { sys!(libc::SYS_futex, t.clear_tid, libc::FUTEX_WAKE, 1) };
    }
    // No signal may find this thread after it gave the token up.
    let all = u64::MAX;
    // SAFETY: own signal state; the word for the kernel to clear lies in the thread's block,
    // which is used again only after that.
    unsafe {
        sys!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8);
        sys!(libc::SYS_set_tid_address, t.kernel_tid.as_ptr());
    }
    // The block is used again only once the kernel has cleared `kernel_tid`, so this thread may
    // go on after it gave the token up; it does not touch the guest's memory any more.
    token::give_up(t);
    // SAFETY: ends the calling thread.
    unsafe { sys!(libc::SYS_exit, code) };
    crate::sys::die(125)
}

fn end(t: &mut Thread, kind: Kind, status: u64) {
    if t.process().mode != Mode::Replay {
        record::words(t, kind, 0, &[status]);
        return;
    }
    let nr = 0x1_0000 | kind as u32;
    let header = replay::head(t, nr, &[status, 0, 0, 0, 0, 0]);
    let recorded = if header.kind == kind { replay::take_words(t) } else { u64::MAX };
    if recorded != status {
        let d = crate::diverge::Difference::default();
        let args = [status, 0, 0, 0, 0, 0];
        crate::diverge::report(t, log_format::arena::divergence::CALL, nr, &args, d);
    }
}

/// A thread begins: waits for its turn and logs itself.
pub fn begin_thread(t: &mut Thread) {
    token::take(t);
    if t.process().mode == Mode::Replay {
        let header = replay::head(t, 0x1_0000 | Kind::ThreadStart as u32, &[0; 6]);
        if header.kind == Kind::ThreadStart {
            replay::take_words(t);
        }
    } else {
        record::words(t, Kind::ThreadStart, 0, &[t.tid as u64]);
    }
}

/// Marks the robust mutexes that an ending thread holds (set_robust_list(2)), which the kernel
/// would do after the token is gone.
fn end_robust_list(t: &Thread) {
    const TID_MASK: u32 = 0x3fff_ffff;
    const OWNER_DIED: u32 = 0x4000_0000;
    const WAITERS: u32 = 0x8000_0000;
    const ENTRIES_MAX: u32 = 2048;
    let (mut head, mut len) = (0u64, 0u64);
    // SAFETY: own buffers; the list is the calling thread's.
    unsafe {
        sys!(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len);
        sys!(libc::SYS_set_robust_list, 0, 24);
    }
    let (Some(first), Some(offset)) = (Guest.u64(head), Guest.u64(head + 8)) else { return };
    let mark = |entry: u64| {
        let word = (entry & !1).wrapping_add(offset);
        let Some(value) = Guest.u32(word) else { return };
        if value & TID_MASK == t.tid as u32 {
            write_guest_u32(word, value & WAITERS | OWNER_DIED);
            if value & WAITERS != 0 {
                // SAFETY: wakes one waiter of the guest's word.
                unsafe { sys!(libc::SYS_futex, word, libc::FUTEX_WAKE, 1) };
            }
        }
    };
    let mut entry = first;
    for _ in 0..ENTRIES_MAX {
        if entry & !1 == head {
            break;
        }
        let Some(next) = Guest.u64(entry & !1) else { break };
        mark(entry);
        entry = next;
    }
    if let Some(pending) = Guest.u64(head + 16).filter(|at| *at != 0) {
        mark(pending);
    }
}
