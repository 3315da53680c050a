//! Whether a thread that makes no call waits for another one, as the watchdog's samples show it.

use core::sync::atomic::Ordering;

use crate::process::Process;
use crate::thread::Regs;
use crate::vdso;

/// How far apart the samples of a spinning thread may be, bytes.
const SPIN_BYTES: u64 = 256;
/// Registers that a spinning loop may change: what it has read, and a count.
const REGISTERS_CHANGED: usize = 2;
/// Samples of such a loop, one after the other, that are believed.
const STILL_SAMPLES: u32 = 3;
/// Time in one place after which any loop is taken for a spinning one, nanoseconds.
const SPIN_NS: u64 = 100_000_000;

/// The steps of no sample.
const NO_STEPS: u64 = u64::MAX;

/// Samples of the running thread since its last call.
#[derive(Default)]
pub struct Samples {
    /// The process's steps at the first one.
    steps: u64,
    /// When that was, CLOCK_MONOTONIC.
    first_ns: u64,
    /// Where it has stayed since when.
    low: u64,
    high: u64,
    since_ns: u64,
    /// The registers at the last one.
    last: Regs,
    /// Samples before it that were like it.
    still: u32,
}

/// What samples tell.
#[derive(Clone, Copy)]
pub struct Seen {
    /// It seems to wait for something that another thread does.
    pub spins: bool,
    /// Time since the first sample, nanoseconds.
    pub ns: u64,
}

impl Samples {
    /// None.
    pub fn none() -> Samples {
        Samples { steps: NO_STEPS, ..Samples::default() }
    }

    fn take(&mut self, now_ns: u64, steps: u64, regs: &Regs) -> Seen {
        if self.steps != steps {
            *self = Samples { steps, first_ns: now_ns, ..Samples::default() };
        }
        let (low, high) = (self.low.min(regs.rip), self.high.max(regs.rip));
        if high - low <= SPIN_BYTES {
            let is_still = changed(&self.last, regs) <= REGISTERS_CHANGED;
            self.still = if is_still { self.still + 1 } else { 0 };
            (self.low, self.high) = (low, high);
        } else {
            self.still = 0;
            (self.low, self.high, self.since_ns) = (regs.rip, regs.rip, now_ns);
        }
        self.last = *regs;
        let stays = now_ns.saturating_sub(self.since_ns) >= SPIN_NS;
        Seen {
            spins: self.still >= STILL_SAMPLES || stays,
            ns: now_ns.saturating_sub(self.first_ns),
        }
    }
}

/// Takes another sample of the running thread.
pub fn sample(p: &mut Process, regs: &Regs) -> Seen {
    let now_ns = vdso::monotonic_ns(p);
    let steps = p.steps.load(Ordering::Relaxed);
    p.samples.take(now_ns, steps, regs)
}

/// How many registers differ that a loop computes with.
fn changed(a: &Regs, b: &Regs) -> usize {
    a.computed().iter().zip(b.computed()).filter(|(a, b)| **a != *b).count()
}
