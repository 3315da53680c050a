//! Whether a thread that makes no call waits for another one, as the watchdog's samples show it.
#![allow(unsafe_code, reason = "reads the clock")]

use crate::sys::sys;
use crate::thread::Regs;

/// How far apart the samples of a spinning thread may be, bytes.
const SPIN_BYTES: u64 = 256;
/// Registers that a spinning loop may change: what it has read, and a count.
const REGISTERS_CHANGED: usize = 2;
/// Samples of such a loop, one after the other, that are believed.
const STILL_SAMPLES: u32 = 3;
/// Time in one place after which any loop is taken for a spinning one, nanoseconds.
const SPIN_NS: u64 = 100_000_000;

/// Samples of the running thread since its last call.
#[derive(Clone, Copy)]
pub struct Samples {
    count: u32,
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
    pub const NONE: Samples = Samples {
        count: 0,
        steps: 0,
        first_ns: 0,
        low: 0,
        high: 0,
        since_ns: 0,
        last: Regs::ZERO,
        still: 0,
    };

    /// Takes another one, after so many steps.
    pub fn take(&mut self, steps: u64, regs: &Regs) -> Seen {
        let now_ns = now_ns();
        if self.count == 0 || self.steps != steps {
            *self = Samples { steps, first_ns: now_ns, ..Samples::NONE };
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
        self.count += 1;
        self.last = *regs;
        let stays = now_ns.saturating_sub(self.since_ns) >= SPIN_NS;
        Seen {
            spins: self.still >= STILL_SAMPLES || stays,
            ns: now_ns.saturating_sub(self.first_ns),
        }
    }
}

/// How many registers differ that a loop computes with.
fn changed(a: &Regs, b: &Regs) -> usize {
    a.computed().iter().zip(b.computed()).filter(|(a, b)| **a != *b).count()
}

fn now_ns() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: own buffer.
    unsafe { sys!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    time[0] * 1_000_000_000 + time[1]
}
