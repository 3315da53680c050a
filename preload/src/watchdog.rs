//! Keeps a thread that makes no call from starving the others.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use core::sync::atomic::Ordering;

use log_format::record::{Kind, flag};

use crate::process::Process;
use crate::sys::sys;
use crate::thread::Thread;
use crate::{arena, record, token};

/// Called by a thread that has waited long for the token: the holder gives it up at its next
/// call.
pub fn waited(p: &Process) {
    p.wanted.store(1, Ordering::Release);
}

/// True if the holder should let others run at this boundary.
pub fn is_wanted(t: &Thread) -> bool {
    let p = t.process();
    if p.shares {
        arena::header().shared_wanted.load(Ordering::Relaxed) != 0
    } else {
        p.wanted.load(Ordering::Relaxed) != 0 && p.threads > 1
    }
}

/// At a call's end, when another thread has waited long: gives the token up and takes it again.
pub fn let_others_run(t: &mut Thread) {
    let p = t.process();
    p.wanted.store(0, Ordering::Release);
    let taken = if p.shares {
        let header = arena::header();
        header.shared_wanted.store(0, Ordering::Release);
        header.shared_token.as_ptr()
    } else {
        p.token.as_ptr()
    };
    // A body of two words reads as a call without arguments.
    record::words(t, Kind::Yield, flag::FAIRNESS, &[0, 0]);
    token::give_up(t);
    for _ in 0..100 {
        // SAFETY: the word lies in the process's block or the arena; sched_yield takes nothing.
        unsafe {
            if taken.read_volatile() != 0 {
                break;
            }
            sys!(libc::SYS_sched_yield);
        }
    }
    token::take(t);
    record::words(t, Kind::Yield, flag::FAIRNESS | flag::COMPLETES, &[0, 0]);
}

/// True if no process with this pid runs any more (it may still be a zombie).
pub fn is_dead(pid: i32) -> bool {
    let mut path = *b"/proc/0000000000/stat\0";
    let mut n = pid as u32;
    for digit in path[6..16].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    // Leading zeros are not accepted by procfs: start behind them.
    let zeros = path[6..16].iter().take_while(|d| **d == b'0').count();
    let mut short = *b"/proc/\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (to, from) in short[6..].iter_mut().zip(&path[6 + zeros..]) {
        *to = *from;
    }
    let mut text = [0u8; 64];
    // SAFETY: own buffers; the descriptor is closed.
    let n = unsafe {
        let fd = sys!(libc::SYS_open, short.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return fd == -i64::from(libc::ENOENT);
        }
        let n = sys!(libc::SYS_read, fd, text.as_mut_ptr(), text.len());
        sys!(libc::SYS_close, fd);
        n
    };
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    let state = text.iter().rposition(|b| *b == b')').and_then(|at| text.get(at + 2));
    matches!(state, Some(b'Z' | b'X'))
}
