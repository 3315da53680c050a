//! The table: one [`Row`] for every x86-64 syscall number.
//!
//! Recorder, replayer, decoder and docs/CALLS.md all read it; nothing else lists calls. A call's
//! buffers are found from its row by [`buffers()`], after the call has returned.

mod blocking;
mod buffers;
mod effect;
mod flags;
mod ioctl;
mod pids;
mod rows;
mod types;

pub use buffers::{BufAt, Memory, buffers};
pub use effect::{Act, Effect, OpenFlags, open, opens_for_writing};
pub use flags::{FlagName, FlagSet, errno_name};
pub use ioctl::{IOCTLS, IoctlRow, ioctl};
pub use pids::siginfo_pid;
pub use rows::ROWS;
pub use types::{By, Len, Shape, Ty};

/// What recorder and replayer do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Performed in both modes (memory, own threads); the result is compared.
    Local,
    /// Performed while recording; answered from the log on replay.
    Recorded,
    /// As `Recorded`, and gives up the run token while it waits.
    Blocking,
    /// Has code of its own in the shim (clone, exec, signals, mmap ...).
    Own,
    /// Answered with ENOSYS in both modes, and noted.
    Refused,
}

/// One syscall.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Number on x86-64.
    pub nr: u16,
    /// Name as in the kernel's table.
    pub name: &'static str,
    /// What is done with it; see [`Row::class_of`] for a call with known arguments.
    pub class: Class,
    /// Its arguments.
    pub args: &'static [Arg],
    /// How its result is shown.
    pub ret: Ret,
    /// What it does to files and the network.
    pub effect: Effect,
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Name as in the man page.
    pub name: &'static str,
    /// Type.
    pub ty: Ty,
}

/// How a result is shown (an error is shown as its errno in any case).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// A signed number.
    Int,
    /// Id of a process, thread or process group.
    Pid,
    /// A file descriptor.
    Fd,
    /// An address.
    Addr,
    /// A bit mask.
    Hex,
}

/// The row of a syscall number.
pub fn row(nr: u64) -> Option<&'static Row> {
    ROWS.get(index_of(nr)).filter(|row| u64::from(row.nr) == nr)
}

/// Numbers without a call: from here ...
const GAP_START: u64 = 337;
/// ... up to before here (pidfd_send_signal).
const GAP_END: u64 = 424;

/// Place of a number in [`ROWS`].
const fn index_of(nr: u64) -> usize {
    (if nr < GAP_START {
        nr
    } else if nr >= GAP_END {
        nr - GAP_END + GAP_START
    } else {
        u64::MAX
    }) as usize
}

// Every number has its row, at the place where `row` looks.
const _: () = {
    let mut i = 0;
    while i < ROWS.len() {
        assert!(index_of(ROWS[i].nr as u64) == i, "a syscall number without a row");
        i += 1;
    }
    assert!(ROWS[ROWS.len() - 1].nr >= 469);
};

impl Row {
    /// Bits of argument `index` that replay compares in a call with these arguments.
    pub fn compared_bits(&self, index: usize, args: &[u64; 6]) -> u64 {
        // The size of a signal mask that is not given is not looked at by the kernel either.
        let mask = match (self.name, index) {
            ("ppoll", 4) => args[3],
            ("epoll_pwait" | "epoll_pwait2", 5) => args[4],
            _ => 1,
        };
        if mask == 0 {
            return 0;
        }
        self.args.get(index).map_or(0, |arg| arg.ty.resolve(args).compared_bits())
    }
}
