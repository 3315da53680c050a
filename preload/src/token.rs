//! The run token: one thread of a process runs guest code at a time.
//!
//! Recording: a futex lock, released at calls that may block. Replay: a thread runs when the
//! log's head is its own record.

use core::sync::atomic::Ordering;

use crate::process::Process;
use crate::sys::{futex_wait, futex_wake};
use crate::thread::Thread;

/// How long a thread waits before it asks the holder to give the token up, milliseconds.
const PATIENCE_MS: u64 = 20;

/// Waits for the token while recording.
pub fn acquire(t: &Thread) {
    let p = t.process();
    if p.token.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        while p.token.swap(2, Ordering::Acquire) != 0 {
            const ETIMEDOUT: i64 = -110;
            if futex_wait(&p.token, 2, PATIENCE_MS, false) == ETIMEDOUT {
                crate::watchdog::waited(t);
            }
        }
    }
    p.holder.store(t.real_tid as u32, Ordering::Relaxed);
    p.grants.fetch_add(1, Ordering::Release);
}

/// Gives the token up while recording.
pub fn release(p: &Process) {
    if p.token.swap(0, Ordering::Release) == 2 {
        futex_wake(&p.token, 1, false);
    }
}

/// Replay: waits until the log's head is this thread's.
pub fn wait_turn(t: &Thread) {
    let p = t.process();
    loop {
        let bell = p.turn_bell.load(Ordering::Acquire);
        if p.turn.load(Ordering::Acquire) == t.ordinal {
            return;
        }
        futex_wait(&p.turn_bell, bell, 1000, false);
    }
}

/// Replay: gives the turn to the thread with this ordinal.
pub fn pass_turn(p: &Process, to: u32) {
    p.turn.store(to, Ordering::Release);
    p.turn_bell.fetch_add(1, Ordering::AcqRel);
    futex_wake(&p.turn_bell, u32::MAX >> 1, false);
}
