//! Recording: writes to the session's stdout and stderr, whose bytes a replay shows again.
//!
//! Each gets a number over all processes, and the records of one process have them in rising
//! order: a replay shows a write where its record stands. So a write keeps the run token. One
//! that would wait for its reader can't, for the reader may wait for another thread: it gives the
//! token up, and keeps out those of other threads until it is logged.
#![allow(unsafe_code, reason = "asks the kernel about descriptors with own buffers")]

use core::sync::atomic::Ordering;

use log_format::table::Memory;

use crate::arena;
use crate::fds::What;
use crate::process::Process;
use crate::sys::{Guest, futex_wait, futex_wake, sys};
use crate::thread::Thread;

/// A write to the session's output while it is made.
pub struct Write {
    /// 1 stdout, 2 stderr.
    which: u64,
    /// Its number, once it has one.
    number: u64,
    /// The process's other writes wait.
    locked: bool,
}

impl Write {
    /// What the call is, if it is such a write.
    pub fn find(t: &Thread, nr: u64, args: &[u64; 6]) -> Option<Write> {
        let write = [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto, libc::SYS_pwrite64];
        if !write.contains(&(nr as i64)) || !t.process().logging {
            return None;
        }
        let which = match t.process().fds.get(args[0]) {
            What::Stdout => 1,
            What::Stderr => 2,
            _ => return None,
        };
        Some(Write { which, number: 0, locked: false })
    }

    /// Whether it can be made with the token kept, for a thread that is not alone.
    pub fn can_keep_token(&mut self, t: &Thread, nr: u64, args: &[u64; 6]) -> bool {
        let word = &t.process().output;
        let len = if nr == libc::SYS_writev as u64 { total(args) } else { args[2] };
        // A seccomp filter may forbid to ask.
        self.locked = (arena::is_filtered() || is_taken_at_once(args[0], len))
            && word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        self.locked
    }

    /// Waits, without the token, until no other thread of the process makes one.
    pub fn wait_turn(&mut self, p: &Process) {
        const RECHECK_MS: u64 = 1000;
        while p.output.swap(2, Ordering::Acquire) != 0 {
            futex_wait(&p.output, 2, RECHECK_MS, false);
        }
        self.locked = true;
    }

    /// Gives it its number: before it is made if the token is kept, for others may write when
    /// they have seen it; else with the token again.
    pub fn take_number(&mut self, p: &Process) {
        self.number = arena::header().output_seq.fetch_add(1, Ordering::AcqRel);
        p.entry().pending_output.store(self.number + 1, Ordering::Release);
    }

    /// What its record says: number and target.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.which.to_le_bytes());
        bytes
    }

    /// It is logged.
    pub fn done(self, p: &Process) {
        p.entry().pending_output.store(0, Ordering::Release);
        if self.locked && p.output.swap(0, Ordering::Release) == 2 {
            futex_wake(&p.output, 1, false);
        }
    }
}

/// Bytes that a writev is given.
fn total(args: &[u64; 6]) -> u64 {
    const IOV_MAX: u64 = 1024;
    let len = |i| Guest.u64(args[1].wrapping_add(i * 16 + 8)).unwrap_or(0);
    (0..args[2].min(IOV_MAX)).map(len).fold(0, u64::saturating_add)
}

/// True if the kernel takes that many bytes without waiting for a reader.
fn is_taken_at_once(fd: u64, len: u64) -> bool {
    /// What fits whenever a descriptor polls writable: a pipe (PIPE_BUF) or a socket.
    const PIPE_BUF: u64 = 4096;
    /// The same of a terminal (WAKEUP_CHARS in the kernel's n_tty).
    const TERMINAL: u64 = 256;
    let mut poll = libc::pollfd { fd: fd as i32, events: libc::POLLOUT, revents: 0 };
    // SAFETY: own buffer.
    if unsafe { sys!(libc::SYS_poll, &raw mut poll, 1, 0) } != 1 {
        return false;
    }
    if len <= TERMINAL {
        return true;
    }
    // SAFETY: all zeros are a valid stat, which the kernel fills.
    let kind = unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        sys!(libc::SYS_fstat, fd, &raw mut stat);
        stat.st_mode & libc::S_IFMT
    };
    kind == libc::S_IFREG || kind != libc::S_IFCHR && len <= PIPE_BUF
}
