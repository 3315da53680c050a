//! Runs a command with a time limit and collects what it writes.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Exit code, 128 + n for signal n, none if it had to be killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: String| text.chars().take(4000).collect::<String>();
        write!(f, "stdout: {}\nstderr: {}", cut(self.out()), cut(self.err()))?;
        if self.code.is_none() { write!(f, "\n(killed at the time limit)") } else { Ok(()) }
    }
}

/// Runs `command` with `stdin`; kills it and its group when `limit` has passed.
///
/// # Panics
/// If the command can't be started.
pub(crate) fn run(command: &mut Command, stdin: &[u8], limit: Duration) -> Output {
    converse(command, stdin, limit, false)
}

/// [`run`]; with `reads_late`, output is read only when all of `stdin` has been taken.
pub(super) fn converse(
    command: &mut Command,
    stdin: &[u8],
    limit: Duration,
    reads_late: bool,
) -> Output {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("failed to start {:?}: {e}", command.get_program()));
    let input = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let taken = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(mut input) = input {
                // A guest need not read all of it.
                let _ = input.write_all(stdin);
            }
            if reads_late {
                taken.wait();
            }
        });
        let out = scope.spawn(|| {
            if reads_late {
                taken.wait();
            }
            read_all(stdout)
        });
        let err = scope.spawn(|| read_all(stderr));
        let code = wait(&mut child, limit, || out.is_finished() && err.is_finished());
        Output {
            code,
            stdout: out.join().unwrap_or_default(),
            stderr: err.join().unwrap_or_default(),
        }
    })
}

fn read_all(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

/// Waits until the child has ended and `done`; kills its group at the limit.
pub(super) fn wait(child: &mut Child, limit: Duration, done: impl Fn() -> bool) -> Option<i32> {
    let start = Instant::now();
    let mut status = None;
    loop {
        if status.is_none() {
            status = child.try_wait().ok().flatten();
        }
        if let Some(status) = status
            && done()
        {
            return Some(code(status));
        }
        if start.elapsed() > limit {
            kill_group(child);
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(-1)
}

fn kill_group(child: &mut Child) {
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
}
