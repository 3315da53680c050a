//! Scripts: a first line that names an interpreter.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use log_format::table::Memory;

use crate::sys::{Guest, sys};

/// The first line of a script.
pub struct Script {
    line: [u8; 256],
    interpreter: (usize, usize),
    argument: (usize, usize),
}

impl Default for Script {
    fn default() -> Script {
        Script { line: [0; 256], interpreter: (0, 0), argument: (0, 0) }
    }
}

impl Script {
    /// Pointers of an interpreter's argument array besides those that the script was given:
    /// interpreter, argument, script, end.
    pub const OWN: usize = 4;

    /// Reads `#!` and what follows, as the kernel does (execve(2)); false if it is no script.
    pub fn parse_fd(&mut self, fd: u64) -> bool {
        // SAFETY: own buffer, one byte left for the NUL.
        let n = unsafe { sys!(libc::SYS_pread64, fd, self.line.as_mut_ptr(), 255, 0) };
        if n < 3 || !self.line.starts_with(b"#!") {
            return false;
        }
        let end = self.line.iter().position(|b| *b == b'\n' || *b == 0).unwrap_or(255);
        let blank = |b: &u8| *b == b' ' || *b == b'\t';
        let line = &mut self.line;
        let mut at = 2;
        while at < end && blank(&line[at]) {
            at += 1;
        }
        let start = at;
        while at < end && !blank(&line[at]) {
            at += 1;
        }
        self.interpreter = (start, at - start);
        let after = at;
        while at < end && blank(&line[at]) {
            at += 1;
        }
        let mut last = end;
        while last > at && blank(&line[last - 1]) {
            last -= 1;
        }
        self.argument = (at, last - at);
        line[after] = 0;
        line[last] = 0;
        self.interpreter.1 > 0
    }

    /// Address of the interpreter's path.
    pub fn interpreter(&self) -> u64 {
        self.line.as_ptr() as u64 + self.interpreter.0 as u64
    }

    /// Its length.
    pub fn interpreter_len(&self) -> usize {
        self.interpreter.1
    }

    /// Writes the interpreter's argument array to `to`, which has room for [`Script::OWN`] pointers
    /// and those of `argv`; None if it has not.
    pub fn argv(&self, script: u64, argv: u64, to: &mut [u8]) -> Option<u64> {
        let start = to.as_ptr() as u64;
        let mut words = to.chunks_exact_mut(8);
        let mut push = |value: u64| -> Option<()> {
            words.next()?.copy_from_slice(&value.to_le_bytes());
            Some(())
        };
        push(self.interpreter())?;
        if self.argument.1 > 0 {
            push(self.line.as_ptr() as u64 + self.argument.0 as u64)?;
        }
        push(script)?;
        let mut i = 1;
        if argv != 0 && Guest.u64(argv).unwrap_or(0) != 0 {
            while let Some(at) = Guest.u64(argv + i * 8).filter(|at| *at != 0) {
                push(at)?;
                i += 1;
            }
        }
        push(0)?;
        Some(start)
    }
}

/// Reads the first line of the file at a NUL-terminated path; false if it is no script.
pub fn script(path: &[u8], script: &mut Script) -> bool {
    // SAFETY: a NUL-terminated path of ours; the descriptor is closed.
    unsafe {
        let fd = sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let is = script.parse_fd(fd as u64);
        sys!(libc::SYS_close, fd);
        is
    }
}
