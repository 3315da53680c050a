//! Replay: threads that were preempted between two of their calls.
//!
//! The recording says that one gave way, not at which instruction. A replay that takes its turn
//! away elsewhere may leave the others spinning for something that it had done by then. So the
//! thread whose turn it is lends its place, where it spins, to those that wait in their own code:
//! they run until they come to a call, whose record is not next, or spin themselves. One thread
//! runs at a time all the same.

use core::sync::atomic::{AtomicU32, Ordering};

use log_format::record::Kind;

use crate::process::Process;
use crate::spin::{self, Samples};
use crate::thread::{Regs, Thread};
use crate::{replay, token};

/// Most threads that can wait in their own code for a place; further ones wait for their turn.
const READY_MAX: usize = 64;
/// Time after which a thread gives way where the recording has it, though it does not spin,
/// nanoseconds.
const RUN_NS_MAX: u64 = 200_000_000;

/// Who runs in the place of whom.
pub struct Lending {
    /// Ordinal + 1 of the thread that runs; 0: the one whose turn it is.
    to: AtomicU32,
    /// Ordinals + 1 of those that could; 0 where there is none.
    ready: [AtomicU32; READY_MAX],
}

impl Lending {
    /// Nobody waits.
    pub const fn none() -> Lending {
        Lending { to: AtomicU32::new(0), ready: [const { AtomicU32::new(0) }; READY_MAX] }
    }

    /// Whether somebody waits in its own code.
    pub fn is_wanted(&self) -> bool {
        self.ordinals().next().is_some()
    }

    /// Whether the thread whose turn it is runs itself.
    pub fn is_idle(&self) -> bool {
        self.to.load(Ordering::Acquire) == 0
    }

    fn ordinals(&self) -> impl Iterator<Item = u32> + '_ {
        self.ready.iter().filter_map(|place| place.load(Ordering::Acquire).checked_sub(1))
    }

    fn enter(&self, ordinal: u32) {
        for place in &self.ready {
            let free = place.compare_exchange(0, ordinal + 1, Ordering::AcqRel, Ordering::Relaxed);
            if free.is_ok() {
                return;
            }
        }
    }

    fn leave(&self, ordinal: u32) {
        for place in &self.ready {
            let _ = place.compare_exchange(ordinal + 1, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// The watchdog found this thread in its own code: it gives way if the recording has
/// that next, and lends its place if it spins.
pub fn kicked(t: &mut Thread, regs: &Regs) {
    let p = t.process();
    let runner = p.lending.to.load(Ordering::Acquire);
    let has_turn = p.turn.load(Ordering::Acquire) == t.ordinal;
    if runner != t.ordinal + 1 && !(runner == 0 && has_turn) {
        return;
    }
    let seen = spin::sample(p, regs);
    if runner == 0 && is_preempted_next(t) {
        if seen.spins || seen.ns >= RUN_NS_MAX {
            replay::take_words(t);
            t.owes = true;
            p.samples = Samples::none();
            p.lending.enter(t.ordinal);
            token::give_up(t);
            wait(t);
        }
    } else if seen.spins {
        lend(t);
    }
}

/// Whether the recording preempts this thread before its next call.
fn is_preempted_next(t: &mut Thread) -> bool {
    let next = replay::next_kind(t);
    matches!(next, Some((Kind::Preempt, thread, _)) if thread == t.ordinal as u16)
}

/// Lets another thread run in this one's place, until that one stops.
fn lend(t: &mut Thread) {
    let p = t.process();
    // The thread whose turn it is waits for its place, too.
    let turn = t.owes.then(|| p.turn.load(Ordering::Acquire));
    let others = || p.lending.ordinals().chain(turn).filter(|ordinal| *ordinal != t.ordinal);
    let behind = others().filter(|ordinal| *ordinal > t.ordinal).min();
    let Some(next) = behind.or_else(|| others().min()) else { return };
    p.samples = Samples::none();
    if t.owes {
        p.lending.enter(t.ordinal);
    }
    let to = if Some(next) == turn { 0 } else { next + 1 };
    p.lending.to.store(to, Ordering::Release);
    token::ring(p, next);
    wait(t);
}

/// Waits, in the thread's own code, until it may run on.
fn wait(t: &mut Thread) {
    let lent = t.ordinal + 1;
    token::wait_until(t, |p, ordinal| {
        p.lending.to.load(Ordering::Acquire) == lent || token::may_run(p, ordinal)
    });
    let p = t.process();
    p.lending.leave(t.ordinal);
    if p.lending.is_idle() && t.owes {
        repay(t);
    }
}

/// The turn has come to a thread that was preempted: the recording has it go on here.
fn repay(t: &mut Thread) {
    t.owes = false;
    token::take(t);
    replay::take_words(t);
    if is_preempted_next(t) {
        t.process().preempt_due.store(1, Ordering::Release);
    }
}

/// Before a call: a thread that runs in another's place gives it back and waits for its turn.
pub fn settle(t: &mut Thread) {
    if t.owes {
        let p = t.process();
        p.lending.to.store(0, Ordering::Release);
        token::ring(p, p.turn.load(Ordering::Acquire));
        repay(t);
    }
}

/// The only thread of a new process.
pub fn reset(t: &mut Thread, p: &mut Process) {
    t.owes = false;
    p.lending = Lending::none();
}
