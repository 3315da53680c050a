//! The programs of a network replay: which there were, and their end.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use log_format::arena::{ProcEntry, proc_state};
use rustix::process::{Pid, Signal, kill_process};

use crate::log::map::ArenaMap;

/// Programs that were seen running. One that ends before it is looked for is missing.
#[derive(Debug, Default)]
pub struct Programs {
    /// Process and image that were looked at.
    seen: BTreeSet<(u64, u32, u32)>,
    /// Path, and whether the shim is in it.
    all: BTreeSet<(String, bool)>,
}

impl Programs {
    /// Looks for new ones.
    pub fn look(&mut self, arena: &ArenaMap) {
        for entry in arena.procs_used() {
            let state = entry.state.load(Ordering::Acquire);
            let Some(pid) = running(entry) else { continue };
            let key = entry.key.load(Ordering::Relaxed);
            let image = entry.generation.load(Ordering::Relaxed);
            if !self.seen.insert((key, image, state)) {
                continue;
            }
            if let Ok(path) = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())) {
                let entered = state != proc_state::OPAQUE;
                self.all.insert((path.display().to_string(), entered));
            }
        }
    }

    /// Paths, and whether the shim was in them.
    pub fn into_all(self) -> Vec<(String, bool)> {
        self.all.into_iter().collect()
    }
}

/// Ends all processes.
pub fn end(arena: &ArenaMap) {
    for pid in arena.procs_used().iter().filter_map(running) {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn running(entry: &ProcEntry) -> Option<Pid> {
    let state = entry.state.load(Ordering::Acquire);
    let runs = matches!(state, proc_state::LIVE | proc_state::OPAQUE);
    Pid::from_raw(entry.pid.load(Ordering::Acquire)).filter(|_| runs)
}
