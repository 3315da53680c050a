//! The run token: one thread of a process runs guest code at a time.
//!
//! Recording: a futex lock, released at calls that may block. Replay: a thread runs when the
//! log's head is its own record.
//!
//! Processes that share writable memory have one token together, in the arena; each time it is
//! taken is a record with a number, which replay puts in the same order over processes.

use core::sync::atomic::{AtomicU32, Ordering};

use log_format::arena::{Mode, divergence, proc_state};
use log_format::record::Kind;

use crate::process::Process;
use crate::sys::{futex_wait, futex_wake};
use crate::thread::Thread;
use crate::{arena, record, replay, watchdog};

/// How long a thread waits before it asks the holder to give the token up, milliseconds.
const PATIENCE_MS: u64 = 20;
/// The same once it has asked, or where threads spin.
const NO_PATIENCE_MS: u64 = 1;
const ETIMEDOUT: i64 = -110;
const EINTR: i64 = -4;

/// Gives the token up, in either mode; others may run.
pub fn give_up(t: &mut Thread) {
    let p = t.process();
    if p.mode == Mode::Replay {
        if p.shares() {
            pass_shared(p);
        }
        replay::hand_over(t);
    } else if p.shares() {
        release_shared(p);
    } else {
        release(&p.token, false);
    }
}

/// Takes the token back, in either mode.
pub fn take(t: &mut Thread) {
    let p = t.process();
    if p.mode == Mode::Replay {
        wait_until(t, may_run);
        if p.shares() {
            wait_shared(t);
        }
        return;
    }
    acquire(t);
    p.holder.store(t.real_tid as u32, Ordering::Relaxed);
    p.grants.fetch_add(1, Ordering::Release);
}

/// From here on the process shares memory with others: it takes part in the shared token. On
/// replay this is called where the log has it.
pub fn share(t: &mut Thread) {
    let p = t.process();
    if p.shares() {
        return;
    }
    p.sharing.store(true, Ordering::Release);
    if p.mode == Mode::Replay {
        wait_shared(t);
    } else {
        acquire_shared(t);
        // Threads that wait for the process's own token find out and wait for the shared one.
        release(&p.token, false);
    }
}

/// At a call's end: takes part in the shared token if another process has written to this one's
/// memory meanwhile, so that what follows comes after it.
pub fn share_if_asked(t: &mut Thread) {
    let p = t.process();
    if p.shares() {
        return;
    }
    let asked = match p.mode {
        Mode::Record => {
            let entry = p.entry();
            let written = entry.written.load(Ordering::Acquire);
            written != 0 && written == entry.image_tag()
        }
        Mode::Replay => {
            let next = replay::next_kind(t);
            matches!(next, Some((Kind::Shared, thread, _)) if thread == t.ordinal as u16)
        }
        Mode::Seeded | Mode::Network => false,
    };
    if asked {
        share(t);
    }
}

/// The process ends, or its memory does: others must not wait for it.
pub fn abandon(p: &mut Process) {
    if !p.has_shared {
        return;
    }
    if p.mode == Mode::Replay { pass_shared(p) } else { release_shared(p) }
}

fn acquire(t: &mut Thread) {
    let p = t.process();
    while !p.shares() {
        // Of many waiting threads none needs to ask often.
        let again_ms = NO_PATIENCE_MS * (1 + u64::from(p.threads) / 4);
        let first_ms = if p.spins.load(Ordering::Relaxed) { again_ms } else { PATIENCE_MS };
        lock(&p.token, false, (first_ms, again_ms), || watchdog::waited(p));
        if !p.shares() {
            return;
        }
        release(&p.token, false);
    }
    acquire_shared(t);
}

/// `patience_ms`: how long to wait before `waited` is called, at first and then.
fn lock(
    word: &AtomicU32,
    shared: bool,
    (mut patience_ms, again_ms): (u64, u64),
    mut waited: impl FnMut(),
) {
    if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        while word.swap(2, Ordering::Acquire) != 0 {
            // A thread for which a signal waits is woken by a timer before its time is up.
            if matches!(futex_wait(word, 2, patience_ms, shared), ETIMEDOUT | EINTR) {
                waited();
                patience_ms = again_ms;
            }
        }
    }
}

fn release(word: &AtomicU32, shared: bool) {
    if word.swap(0, Ordering::Release) == 2 {
        futex_wake(word, 1, shared);
    }
}

fn acquire_shared(t: &mut Thread) {
    let header = arena::header();
    lock(&header.shared_token, true, (PATIENCE_MS, PATIENCE_MS), || {
        header.shared_wanted.store(1, Ordering::Release);
        let holder = header.shared_holder.load(Ordering::Acquire);
        if holder != 0
            && !arena::is_foreign()
            && watchdog::is_dead(holder)
            && header
                .shared_holder
                .compare_exchange(holder, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            release(&header.shared_token, true);
        }
    });
    let entry = t.process().entry();
    if entry.state.load(Ordering::Acquire) == proc_state::EXITED {
        // Another thread has ended the process: its log is closed, and this thread's turn would be
        // missing there.
        release(&header.shared_token, true);
        replay::park();
    }
    // A pid of another namespace would be taken for another process.
    let holder = if arena::is_foreign() { 0 } else { t.process().real_pid };
    header.shared_holder.store(holder, Ordering::Release);
    let number = header.shared_seq.fetch_add(1, Ordering::AcqRel);
    t.process().has_shared = true;
    record::words(t, Kind::Shared, 0, &[number]);
}

fn release_shared(p: &mut Process) {
    p.has_shared = false;
    let header = arena::header();
    header.shared_holder.store(0, Ordering::Release);
    release(&header.shared_token, true);
}

/// Replay: waits until the recorded acquisition of the shared token comes.
fn wait_shared(t: &mut Thread) {
    let header = replay::head(t, 0x1_0000 | Kind::Shared as u32, &[0; 6]);
    if header.kind != Kind::Shared {
        let d = crate::diverge::Difference::default();
        crate::diverge::report(t, divergence::CALL, 0x1_0000 | Kind::Shared as u32, &[0; 6], d);
    }
    let number = replay::take_words(t);
    let header = arena::header();
    loop {
        let bell = header.shared_bell.load(Ordering::Acquire);
        if header.shared_seq.load(Ordering::Acquire) >= number {
            t.process().has_shared = true;
            return;
        }
        futex_wait(&header.shared_bell, bell, 1000, true);
        if !arena::host_lives() {
            crate::sys::die(1);
        }
    }
}

fn pass_shared(p: &mut Process) {
    p.has_shared = false;
    let header = arena::header();
    header.shared_seq.fetch_add(1, Ordering::AcqRel);
    header.shared_bell.fetch_add(1, Ordering::AcqRel);
    futex_wake(&header.shared_bell, u32::MAX >> 1, true);
}

/// Replay: whether the log's head is this thread's, and no other runs in its place.
pub fn may_run(p: &Process, ordinal: u32) -> bool {
    p.turn.load(Ordering::Acquire) == ordinal && p.lending.is_idle()
}

/// Replay: waits until this thread may run.
pub fn wait_until(t: &Thread, may_run: impl Fn(&Process, u32) -> bool) {
    // Of many waiting threads none needs to look often.
    const THREADS_PER_PATIENCE: u64 = 64;
    let p = t.process();
    let bell = p.turn_bell(t.ordinal);
    loop {
        let rung = bell.load(Ordering::Acquire);
        if may_run(p, t.ordinal) {
            p.holder.store(t.real_tid as u32, Ordering::Release);
            return;
        }
        let looks = p.lending.is_wanted() || p.preempt_due.load(Ordering::Acquire) != 0;
        let once = if looks { NO_PATIENCE_MS } else { PATIENCE_MS };
        let patience = once * (1 + u64::from(p.threads) / THREADS_PER_PATIENCE);
        futex_wait(bell, rung, patience, false);
        if looks {
            watchdog::kick(p, p.holder.load(Ordering::Relaxed));
        }
    }
}

/// Replay: gives the turn to the thread with this ordinal.
pub fn pass_turn(p: &Process, to: u32) {
    p.turn.store(to, Ordering::Release);
    ring(p, to);
}

/// Replay: has the thread with this ordinal look whether it may run.
pub fn ring(p: &Process, ordinal: u32) {
    let bell = p.turn_bell(ordinal);
    bell.fetch_add(1, Ordering::AcqRel);
    futex_wake(bell, u32::MAX >> 1, false);
}
