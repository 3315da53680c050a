//! Who makes a connection: the process, its command, and where in the program it was.

use std::sync::atomic::Ordering;

use log_format::arena::{ProcEntry, Socket, proc_state};
use log_format::table::Memory;
use py_spy::PythonSpy;
use py_spy::config::{Config, LineNo, LockingStrategy};

use crate::log::map::ArenaMap;
use crate::replay::stack::{Remote, stack};
use crate::report::units;
use crate::session::manifest::ByteText;

/// Where Python's own modules are, installed packages, and frozen ones.
const LIBRARIES: [&str; 3] = ["/lib/python", "-packages/", "<frozen "];
/// Longest command that is shown, bytes.
const COMMAND_MAX: usize = 200;
/// Most frames of a stack that are shown.
const FRAMES_MAX: usize = 16;

/// The thread that has made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pid: i32,
    tid: i32,
    regs_at: u64,
}

impl Asker {
    /// The maker of a socket, if its process is alive.
    pub(super) fn of(arena: &ArenaMap, socket: &Socket) -> Option<Asker> {
        let key = socket.process.load(Ordering::Relaxed);
        let alive = |entry: &&ProcEntry| {
            entry.key.load(Ordering::Acquire) == key
                && entry.state.load(Ordering::Acquire) == proc_state::LIVE
        };
        Some(Asker {
            pid: arena.procs_used().iter().find(alive)?.pid.load(Ordering::Acquire),
            tid: socket.tid.load(Ordering::Relaxed),
            regs_at: socket.regs_at.load(Ordering::Relaxed),
        })
    }

    /// The process and what it runs, for people.
    pub fn program(&self) -> Option<String> {
        let pid = self.pid;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = command.strip_suffix(b"\0").unwrap_or(&command).split(|byte| *byte == 0);
        let argv: Vec<_> = words.map(|word| ByteText(word.to_vec())).collect();
        Some(format!("process {pid}: {}", units::command(&argv, COMMAND_MAX)))
    }

    /// Where the thread is, innermost first, which is the request's place in a program that waits
    /// for its answer: frames of Python if it runs that, else functions with symbols.
    pub fn stack(&self) -> Vec<String> {
        let frames = self.python().unwrap_or_default();
        if frames.is_empty() { self.native() } else { frames }
    }

    fn python(&self) -> Option<Vec<String>> {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        if !program.file_name()?.to_string_lossy().contains("python") {
            return None;
        }
        let config = Config {
            blocking: LockingStrategy::NonBlocking,
            lineno: LineNo::LastInstruction,
            ..Config::default()
        };
        let mut python = PythonSpy::new(self.pid, &config).ok()?;
        let traces = python.get_stack_traces().ok()?;
        let thread = traces.iter().find(|t| t.os_thread_id == Some(self.tid as u64));
        let thread = thread.or(traces.first().filter(|_| traces.len() == 1))?;
        let line = |f: &py_spy::Frame| format!("{} ({}:{})", f.name, f.filename, f.line);
        // Between the call and the program's own code lie those of libraries.
        let own = |f: &&py_spy::Frame| !LIBRARIES.iter().any(|dir| f.filename.contains(dir));
        let frames = &thread.frames;
        let chosen = frames.iter().take(1).chain(frames.iter().skip(1).filter(own));
        let chosen: Vec<_> = chosen.take(FRAMES_MAX).map(line).collect();
        Some(if chosen.len() > 1 { chosen } else { frames.iter().map(line).collect() })
    }

    fn native(&self) -> Vec<String> {
        let Ok(memory) = Remote::open(self.pid) else { return Vec::new() };
        let register = |which: i32| memory.u64(self.regs_at + 8 * which as u64);
        let registers = [libc::REG_RIP, libc::REG_RSP, libc::REG_RBP].map(register);
        let [Some(rip), Some(rsp), Some(rbp)] = registers else { return Vec::new() };
        let frames = stack(self.pid, [rip, rsp, rbp]);
        // Code that is made at run time has no names, and says nothing without.
        let named = frames.iter().filter(|frame| frame.function.is_some());
        named.take(FRAMES_MAX).map(ToString::to_string).collect()
    }
}
