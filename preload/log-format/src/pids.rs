//! Process ids of a recording in a network replay: which process of the kernel's stands for which.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Above all that the kernel gives out (`PID_MAX_LIMIT`): a live process or thread whose id is one
/// of the recording's is shown as so much more.
pub const BESIDE: i32 = 1 << 22;

/// Most processes whose pids are replaced at once.
const PAIRS: usize = 4096;

/// Recorded pids and the live ones that stand for them, for all processes of a run.
#[repr(C)]
pub struct Pids {
    used: AtomicU32,
    /// Recorded pid in the upper half, live one in the lower; 0: unused.
    pairs: [AtomicU64; PAIRS],
}

const fn pair(shown: i32, real: i32) -> u64 {
    (shown as u32 as u64) << 32 | real as u32 as u64
}

impl Pids {
    fn pairs(&self) -> &[AtomicU64] {
        let used = self.used.load(Ordering::Acquire) as usize;
        self.pairs.get(..used).unwrap_or(&self.pairs)
    }

    fn find(&self, half: impl Fn(u64) -> i32, wanted: i32) -> Option<u64> {
        let mut all = self.pairs().iter().map(|pair| pair.load(Ordering::Acquire));
        all.find(|pair| *pair != 0 && half(*pair) == wanted)
    }

    /// The recorded pid that a live process stands for.
    pub fn shown(&self, real: i32) -> Option<i32> {
        self.find(|pair| pair as i32, real).map(|pair| (pair >> 32) as i32)
    }

    /// The live process that stands for a recorded pid.
    pub fn real(&self, shown: i32) -> Option<i32> {
        self.find(|pair| (pair >> 32) as i32, shown).map(|pair| pair as i32)
    }

    /// A live process or thread stands for no recorded one: another may have had its number.
    pub fn forget(&self, real: i32) {
        for place in self.pairs() {
            let old = place.load(Ordering::Acquire);
            if old != 0 && old as i32 == real {
                let _ = place.compare_exchange(old, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// Lets a live process stand for a recorded pid, and no longer for others. Parent and child
    /// may both say so. If there is no room, the pid stays the live one.
    pub fn set(&self, shown: i32, real: i32) {
        let new = pair(shown, real);
        let mut known = false;
        for place in self.pairs() {
            let old = place.load(Ordering::Acquire);
            if old == new {
                known = true;
            } else if old != 0 && ((old >> 32) as i32 == shown || old as i32 == real) {
                let _ = place.compare_exchange(old, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        if known {
            return;
        }
        for (at, place) in self.pairs.iter().enumerate() {
            if place.compare_exchange(0, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.used.fetch_max(at as u32 + 1, Ordering::AcqRel);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Pids {
        Pids { used: AtomicU32::new(0), pairs: [const { AtomicU64::new(0) }; PAIRS] }
    }

    #[test]
    fn a_number_stands_for_one_process() {
        let pids = empty();
        pids.set(100, 7);
        pids.set(101, 8);
        assert_eq!((pids.real(100), pids.shown(8)), (Some(7), Some(101)));
        // The kernel has given 7 to another one, and the recording 101.
        pids.set(102, 7);
        pids.set(101, 9);
        assert_eq!((pids.real(100), pids.shown(7), pids.shown(8)), (None, Some(102), None));
        assert_eq!(pids.real(101), Some(9));
        pids.set(9, 9);
        assert_eq!((pids.shown(9), pids.real(101), pids.real(9)), (Some(9), None, Some(9)));
        pids.forget(9);
        assert_eq!((pids.shown(9), pids.real(9)), (None, None));
    }
}
