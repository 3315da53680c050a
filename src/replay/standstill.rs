//! Notices that no process of a replay goes on.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::judge::stat_fields;
use crate::log::map::ArenaMap;
use crate::log::table::{Guest, Table};

/// How often threads are looked at while nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// Looks that must find all threads asleep and nothing done.
const LOOKS: u32 = 10;

/// Watches the guests of an arena.
///
/// A thread that computes is found running, however long it takes: only where all of them sleep,
/// which in a replay means that they wait for each other, does nothing come any more.
pub(super) struct Standstill {
    /// Sum of all that the guests have done.
    done: u64,
    next: Instant,
    looks: u32,
}

impl Standstill {
    /// Starts to watch.
    pub(super) fn new() -> Standstill {
        Standstill { done: 0, next: Instant::now() + EVERY, looks: 0 }
    }

    /// True once nothing has happened for long and every thread sleeps.
    pub(super) fn look(&mut self, arena: &ArenaMap, table: &Table) -> bool {
        if Instant::now() < self.next {
            return false;
        }
        self.next = Instant::now() + EVERY;
        let done = done(arena);
        let asleep = done == self.done && table.running().all(|guest| sleeps(guest.pid));
        self.done = done;
        self.looks = if asleep { self.looks + 1 } else { 0 };
        self.looks >= LOOKS && table.running().next().is_some()
    }
}

/// Which processes wait, and where: `1.2 at step 7` for the name `1.2`.
pub(super) fn waiting(arena: &ArenaMap, table: &Table, name: impl Fn(u64) -> String) -> String {
    let mut running: Vec<_> = table.guests().filter(|(_, guest)| guest.runs()).collect();
    running.sort_unstable_by_key(|(index, _)| *index);
    let one = |(index, guest): (usize, &Guest)| {
        let entry = arena.procs().get(index);
        let step = entry.map_or(0, |entry| entry.steps.load(Ordering::Acquire));
        format!("{} at step {step}", name(guest.key))
    };
    running.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn done(arena: &ArenaMap) -> u64 {
    let header = arena.header();
    let sums =
        [&header.output_seq, &header.output_written, &header.output_read, &header.shared_seq];
    let sums = sums.into_iter().map(|sum| sum.load(Ordering::Acquire));
    let steps = arena.procs_used().iter().map(|entry| entry.steps.load(Ordering::Acquire));
    sums.chain(steps).fold(0, u64::wrapping_add)
}

/// Whether all threads of a process sleep. One that is gone sleeps, too.
fn sleeps(pid: i32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path().join("stat")).all(|stat| {
        let fields = stat_fields(&stat.to_string_lossy());
        fields.is_none_or(|fields| fields.first().is_some_and(|state| state == "S"))
    })
}
