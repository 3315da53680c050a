//! Where calls have ids of processes, threads and process groups.

use super::types::{Len, Shape, Ty};
use super::{Ret, Row};

const SIGCHLD: i32 = 17;
/// Offsets in `siginfo_t`.
const SI_CODE: usize = 8;
const SI_PID: usize = 16;
const SI_USER: i32 = 0;
const SI_QUEUE: i32 = -1;
const SI_TKILL: i32 = -6;
const FCNTL: u16 = 72;
const F_GETOWN: u64 = 9;

impl Row {
    /// Whether an argument is an id, or negative for a process group's.
    pub fn is_pid(&self, index: usize, args: &[u64; 6]) -> bool {
        self.args.get(index).is_some_and(|arg| arg.ty.resolve(args) == Ty::Pid)
    }

    /// Whether the result is an id, if it is positive.
    pub fn gives_pid(&self, args: &[u64; 6]) -> bool {
        self.ret == Ret::Pid || self.nr == FCNTL && args[1] & 0xffff_ffff == F_GETOWN
    }

    /// Whether the buffer that an argument leads to is an id (`i32`).
    pub fn holds_pid(&self, index: usize, args: &[u64; 6]) -> bool {
        let ty = self.args.get(index).map(|arg| arg.ty.resolve(args));
        matches!(
            ty,
            Some(Ty::In(Len::Fixed(4), Shape::PidWord) | Ty::Out(Len::Fixed(4), Shape::PidWord))
        )
    }

    /// Whether the buffer that an argument leads to is a `siginfo_t` from the kernel.
    pub fn holds_siginfo(&self, index: usize, args: &[u64; 6]) -> bool {
        let ty = self.args.get(index).map(|arg| arg.ty.resolve(args));
        matches!(ty, Some(Ty::Out(Len::Fixed(_), Shape::Siginfo)))
    }
}

/// Offset of the sender's id in a `siginfo_t`, if the signal has a sender (sigaction(2)).
pub fn siginfo_pid(info: &[u8]) -> Option<usize> {
    let word = |at: usize| info.get(at..)?.first_chunk::<4>().map(|w| i32::from_le_bytes(*w));
    let has_sender = word(0)? == SIGCHLD || matches!(word(SI_CODE)?, SI_USER | SI_QUEUE | SI_TKILL);
    (has_sender && info.len() >= SI_PID + 4).then_some(SI_PID)
}
