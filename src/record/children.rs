//! The root guest and the ends of its descendants.

use std::collections::HashMap;
use std::sync::Arc;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::{Error, Result};
use crate::launch::spawn::{Signals, Spawn, spawn};
use crate::log::map::{ArenaMap, ring};

/// The root guest and what the host knows of its descendants' ends.
pub(super) struct Children {
    root: Pid,
    signals: Signals,
    /// Wait statuses by pid, of the root and of orphans that the host has adopted.
    pub(super) statuses: HashMap<i32, i32>,
}

impl Children {
    /// Starts the root guest.
    ///
    /// # Errors
    /// As [`spawn`].
    pub(super) fn start(start: &Spawn, arena: &Arc<ArenaMap>) -> Result<Children> {
        // Orphans become the host's children instead of init's, so that their ends are seen.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        let signals = Signals::take(true, || {})?;
        let root = spawn(start, &signals)?;
        signals.forward_to(root);
        ring_at_end(root, arena.clone())?;
        Ok(Children { root, signals, statuses: HashMap::new() })
    }

    /// Notes all processes that have ended.
    pub(super) fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, code) => {
                    self.statuses.insert(pid.as_raw(), (code & 0xff) << 8);
                }
                WaitStatus::Signaled(pid, signal, core) => {
                    let status = signal as i32 | if core { 0x80 } else { 0 };
                    self.statuses.insert(pid.as_raw(), status);
                }
                WaitStatus::StillAlive => return,
                _ => {}
            }
        }
    }

    /// Wait status of the root, once it has ended; from then on it gets no more signals, because
    /// its pid may become another's.
    pub(super) fn root_status(&self) -> Option<i32> {
        let status = self.statuses.get(&self.root.as_raw()).copied();
        if status.is_some() {
            self.signals.forward_to_none();
        }
        status
    }
}
/// Rings the doorbell when a child of this process has ended, without waiting for it.
///
/// # Errors
/// The system's.
pub fn ring_at_end(pid: Pid, arena: Arc<ArenaMap>) -> Result<()> {
    let thread = std::thread::Builder::new().name("root's end".into());
    let waits = move || {
        if let Some(pid) = rustix::process::Pid::from_raw(pid.as_raw()) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).is_err_and(|e| e == rustix::io::Errno::INTR) {}
        }
        ring(&arena.header().doorbell);
    };
    thread.spawn(waits).map_err(Error::io("start a thread"))?;
    Ok(())
}
