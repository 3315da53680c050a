//! Runs a command on a pseudo-terminal and types at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::process::{Output, wait};

/// A guest that writes nothing for this long waits for input.
const SILENCE_MS: u16 = 700;

/// Runs `command`, typing each of `keys` (with a newline) once it has fallen silent; then types
/// nothing more. Its whole output stands in `stdout`.
pub(crate) fn run(command: &Command, keys: &[&str], limit: Duration) -> Result<Output, String> {
    let size = nix::pty::Winsize { ws_row: 40, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None)
        .map_err(|e| format!("failed to open a terminal: {e}"))?;
    let duplicate =
        |fd: &OwnedFd| fd.try_clone().map_err(|e| format!("failed to duplicate a descriptor: {e}"));
    // setsid(1) makes the terminal the controlling one.
    let mut setsid = Command::new("setsid");
    setsid.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
    setsid.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        setsid.current_dir(dir);
    }
    setsid
        .stdin(Stdio::from(duplicate(&terminal.slave)?))
        .stdout(Stdio::from(duplicate(&terminal.slave)?))
        .stderr(Stdio::from(duplicate(&terminal.slave)?));
    let mut child = setsid.spawn().map_err(|e| format!("failed to start setsid: {e}"))?;
    drop(setsid);
    drop(terminal.slave);
    let mut master = File::from(terminal.master);
    let mut output = Vec::new();
    let mut keys = keys.iter();
    let start = Instant::now();
    let mut buffer = [0; 4096];
    while start.elapsed() < limit {
        let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(SILENCE_MS)).unwrap_or(0);
        if ready == 0 {
            // Before its first output a guest is still starting.
            if !output.is_empty()
                && let Some(line) = keys.next()
            {
                let typed = master.write_all(format!("{line}\n").as_bytes());
                typed.map_err(|e| format!("failed to type: {e}"))?;
            }
            continue;
        }
        // The read fails once no one has the terminal open.
        match master.read(&mut buffer) {
            Ok(count) if count > 0 => output.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    let left = limit.saturating_sub(start.elapsed()).max(Duration::from_secs(1));
    let code = wait(&mut child, left, || true);
    Ok(Output { code, stdout: output, stderr: Vec::new() })
}
