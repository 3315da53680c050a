//! Per-process state: what fork copies and vfork must not share.
#![allow(unsafe_code, reason = "kernel signal actions are plain memory")]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use log_format::arena::{Mode, ProcEntry};

use crate::arena;
use crate::cursor::Cursor;
use crate::lending::Lending;
use crate::spin::Samples;
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

/// Which ordinals the threads that live have: records have room for 16 bits of them.
#[derive(Clone, Copy)]
pub struct Ordinals([u64; Ordinals::COUNT as usize / 64]);

impl Ordinals {
    const COUNT: u32 = 1 << 16;

    /// Those of a process whose first thread is its only one.
    pub const FIRST: Ordinals = {
        let mut words = [0; Ordinals::COUNT as usize / 64];
        words[0] = 1;
        Ordinals(words)
    };

    /// The ordinal of a thread before which `started` others were: that number, as long as there
    /// is room for it, then the next that no living thread has.
    pub fn next(&self, started: u32) -> u32 {
        let mut ordinal = started % Ordinals::COUNT;
        // There are fewer blocks for threads than ordinals, so one is free.
        while started >= Ordinals::COUNT && self.taken(ordinal) {
            ordinal = (ordinal + 1) % Ordinals::COUNT;
        }
        ordinal
    }

    fn taken(&self, ordinal: u32) -> bool {
        self.0.get(ordinal as usize / 64).is_some_and(|word| word >> (ordinal % 64) & 1 != 0)
    }

    /// Notes that the thread with this ordinal begins or ends. Done by the token's holder only, so
    /// that replay finds the same ones taken.
    pub fn set(&mut self, ordinal: u32, lives: bool) {
        if let Some(word) = self.0.get_mut(ordinal as usize / 64) {
            let bit = 1 << (ordinal % 64);
            *word = if lives { *word | bit } else { *word & !bit };
        }
    }
}

/// Bells that the threads of a process share for their turns.
pub const BELLS: usize = 256;

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
    /// Threads started so far.
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
    /// The environment keeps OpenSSL and its kin from random instructions.
    pub masked: bool,
    /// One of its threads holds the shared token.
    pub has_shared: bool,
    /// Another thread has waited long for the token.
    pub wanted: AtomicU32,
    /// Steps when a waiting thread looked last.
    pub seen_steps: AtomicU64,
    /// The watchdog's samples of the running thread.
    pub samples: Samples,
    /// Recording: a thread was seen to spin.
    pub spins: AtomicBool,
    /// Replay: the recording preempts the thread whose turn it is, before its next call.
    pub preempt_due: AtomicU32,
    /// Replay: who runs in the place of the thread whose turn it is.
    pub lending: Lending,
    /// Times the token was taken: lets a giver wait until somebody has it.
    pub grants: AtomicU32,
    /// The real tid of the token's holder.
    pub holder: AtomicU32,
    /// Replay: ordinal of the thread whose record is the log's head.
    pub turn: AtomicU32,
    /// Replay: what waiting threads sleep on, by their ordinals: changed when it may be their turn.
    pub turn_bells: [AtomicU32; BELLS],
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
    /// Its parent goes on when it has executed a program, or ended (vfork).
    pub parent_waits: bool,
    /// UUIDs that the seed has given this image.
    pub uuids: u32,
    /// Actions of signals 1 to 64 as the guest set them.
    pub actions: [SigAction; 65],
    /// Ordinals of its threads.
    pub ordinals: Ordinals,
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

    /// What the thread with this ordinal sleeps on until its turn.
    pub fn turn_bell(&self, ordinal: u32) -> &AtomicU32 {
        &self.turn_bells[ordinal as usize % BELLS]
    }

    /// True if the call's options include `bit`.
    pub fn option(&self, bit: u32) -> bool {
        self.options & bit != 0
    }
}
