//! Per-process state: what fork copies and vfork must not share.
#![allow(unsafe_code, reason = "kernel signal actions are plain memory")]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use log_format::arena::{Mode, ProcEntry};

use crate::arena;
use crate::cursor::Cursor;
use crate::writer::Writer;

/// The kernel's `struct sigaction`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SigAction {
    /// SIG_DFL (0), SIG_IGN (1) or the handler's address.
    pub handler: u64,
    /// SA_* flags.
    pub flags: u64,
    /// Restorer.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// State of one guest process.
#[repr(C)]
pub struct Process {
    /// Index of its entry in the arena.
    pub index: u32,
    /// What the shim does with calls.
    pub mode: Mode,
    /// Options of the session ([`log_format::arena::option`]).
    pub options: u32,
    /// False: calls are not logged (seeded runs, and after recording stopped).
    pub logging: bool,
    /// Threads alive.
    pub threads: u32,
    /// Ordinals given to threads so far.
    pub threads_started: u32,
    /// Pid as recorded.
    pub pid: i32,
    /// Pid in this run.
    pub real_pid: i32,
    /// The run token while recording: 0 free, 1 held, 2 held and waited for.
    pub token: AtomicU32,
    /// Recording: 0, or a thread writes to the session's output; 2 if others wait to do so.
    pub output: AtomicU32,
    /// Takes part in the shared token instead of its own.
    pub sharing: AtomicBool,
    /// rdtsc is trapped; the clock is read by syscalls, for the vDSO uses the instruction too.
    pub trap_tsc: bool,
    /// One of its threads holds the shared token.
    pub has_shared: bool,
    /// Another thread has waited long for the token.
    pub wanted: AtomicU32,
    /// Steps when a waiting thread looked last.
    pub seen_steps: AtomicU64,
    /// The watchdog's samples of the holder since `sample_steps`: how many, and how far apart.
    pub samples: u32,
    /// Steps at the first sample.
    pub sample_steps: u64,
    /// Lowest sampled address.
    pub sample_low: u64,
    /// Highest sampled address.
    pub sample_high: u64,
    /// Replay: the recording preempts the thread whose turn it is, before its next call.
    pub preempt_due: AtomicU32,
    /// Times the token was taken: lets a giver wait until somebody has it.
    pub grants: AtomicU32,
    /// The real tid of the token's holder.
    pub holder: AtomicU32,
    /// Replay: ordinal of the thread whose record is the log's head.
    pub turn: AtomicU32,
    /// Replay: changed with every change of `turn`; what waiting threads sleep on.
    pub turn_bell: AtomicU32,
    /// Steps so far.
    pub steps: AtomicU64,
    /// Appends while recording.
    pub writer: Writer,
    /// Reads on replay.
    pub cursor: Cursor,
    /// Attached System V segments.
    pub attached: crate::calls::sysv::Attached,
    /// The file that was mapped last.
    pub last_mapped: crate::files::Identified,
    /// What each fd of the session's stdin, stdout, stderr is; see `fds`.
    pub fds: crate::fds::Fds,
    /// Network replay: the name server that the guest has asked last.
    pub name_server: crate::calls::network::Inet,
    /// Network replay: recorded clock readings not yet given.
    pub clocks: crate::calls::clocks::Recorded,
    /// Actions of signals 1 to 64 as the guest set them.
    pub actions: [SigAction; 65],
}

impl Process {
    /// Its entry in the arena.
    pub fn entry(&self) -> &'static ProcEntry {
        arena::proc(self.index)
    }

    /// True if the process takes part in the shared token.
    pub fn shares(&self) -> bool {
        self.sharing.load(Ordering::Acquire)
    }

    /// True if the call's options include `bit`.
    pub fn option(&self, bit: u32) -> bool {
        self.options & bit != 0
    }
}
