//! The programs of a network replay: which there were, and their end.

use std::sync::atomic::Ordering;

use log_format::arena::{IS_ENTERED, ProcEntry, proc_state};
use rustix::process::{Pid, Signal, kill_process};

use crate::log::map::ArenaMap;

/// Programs that were executed.
#[derive(Debug, Default)]
pub struct Programs {
    taken: u64,
    /// Path, and whether the shim is in it.
    all: Vec<(String, bool)>,
    /// Others, of which too many were executed at once.
    lost: u64,
}

impl Programs {
    /// Those of a run that begins with this one.
    pub fn new(root: String) -> Programs {
        Programs { all: vec![(root, true)], ..Programs::default() }
    }

    /// Takes new ones.
    pub fn look(&mut self, arena: &ArenaMap) {
        let Programs { taken, all, lost } = self;
        *lost += arena.header().net.programs.take(taken, |_, told| {
            if let Some((how, path)) = told.split_first() {
                all.push((String::from_utf8_lossy(path).into_owned(), *how == IS_ENTERED));
            }
        });
    }

    /// Paths in order, and whether the shim was in them; and how many are missing.
    pub fn into_all(self) -> (Vec<(String, bool)>, u64) {
        (self.all, self.lost)
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
