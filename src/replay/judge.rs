//! How each process of a replay ended, against the manifest.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::atomic::Ordering;

use log_format::arena::{ArenaHeader, ProcEntry, ROOT_KEY, proc_state};

use crate::error::exit;
use crate::session::manifest::{Manifest, Process, Status};

/// What makes two wait statuses the same end: all but the mark of a core dump.
const END_BITS: i32 = 0xff7f;

/// A process that ended otherwise than recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Its key.
    pub(super) key: u64,
    /// Steps it had made.
    pub(super) step: u64,
    /// What happened, and what was recorded.
    pub(super) actual: String,
    /// The shim itself failed in it, as it has said on stderr.
    pub(super) failed: bool,
}

/// Compares ends with the manifest.
pub(super) struct Judge<'a> {
    manifest: &'a Manifest,
    processes: HashMap<u64, &'a Process>,
    /// Keys of those that have ended.
    ended: HashSet<u64>,
}

impl<'a> Judge<'a> {
    /// Judges by this manifest.
    pub(super) fn new(manifest: &'a Manifest) -> Judge<'a> {
        let processes = manifest.processes.iter().map(|p| (p.key, p)).collect();
        Judge { manifest, processes, ended: HashSet::new() }
    }

    /// Looks at the entry of a process that has ended, once; `status` is its wait status where that
    /// is known.
    pub(super) fn end_of(&mut self, entry: &ProcEntry, status: Option<i32>) -> Option<Wrong> {
        let key = entry.key.load(Ordering::Acquire);
        if !self.ended.insert(key) {
            return None;
        }
        let step = entry.steps.load(Ordering::Acquire);
        // What counts is what the shim says: a process that a signal ended ends quietly on replay.
        let told = entry.state.load(Ordering::Acquire) == proc_state::EXITED;
        let status = match told {
            true => Some(entry.status.load(Ordering::Acquire) as i32),
            false => status,
        };
        let failed = !told && status == Some(i32::from(exit::INTERNAL) << 8);
        // One that the recording does not know had logged nothing when it was killed.
        let recorded = self.processes.get(&key);
        let events = recorded.map_or(0, |p| p.events);
        let expected = recorded.filter(|p| p.complete).and_then(|p| p.wait_status);
        let same_end = match (expected, status) {
            (Some(expected), Some(status)) => (expected ^ status) & END_BITS == 0,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if step == events && same_end && !failed {
            return None;
        }
        let actual = format!(
            "{} after step {step}; recorded: {} after step {events}",
            shown(status),
            match (recorded, expected) {
                (None, _) => "nothing".into(),
                (_, Some(status)) => shown(Some(status)),
                (_, None) => "the end of its log".into(),
            },
        );
        Some(Wrong { key, step, actual, failed })
    }

    /// After the last process has ended: one that did not run, or output that did not come.
    pub(super) fn end_of_all(&self, header: &ArenaHeader) -> Option<Wrong> {
        if let Status::CutShort { .. } = self.manifest.status {
            return None;
        }
        // The parent may have been killed before it had logged that it made the process.
        let due = |p: &&Process| {
            let parent = self.processes.get(&p.parent_key);
            p.events > 0 && p.key != ROOT_KEY && parent.is_some_and(|p| p.complete)
        };
        let missing = |p: &&Process| !self.ended.contains(&p.key);
        if let Some(p) = self.manifest.processes.iter().filter(due).find(missing) {
            let actual = format!("it did not start; recorded: {} steps", p.events);
            return Some(Wrong { key: p.key, step: 0, actual, failed: false });
        }
        let writes = header.output_seq.load(Ordering::Acquire);
        let recorded = self.manifest.counts.output_writes.filter(|n| *n != writes)?;
        let root = self.processes.get(&ROOT_KEY).map_or(0, |p| p.events);
        let actual = format!("{writes} writes to stdout and stderr; recorded: {recorded}");
        Some(Wrong { key: ROOT_KEY, step: root, actual, failed: false })
    }
}

fn shown(status: Option<i32>) -> String {
    match status {
        None => "an unknown end".into(),
        Some(status) if status & 0x7f == 0 => format!("exit code {}", status >> 8 & 0xff),
        Some(status) => format!("signal {}", status & 0x7f),
    }
}

/// Wait status of a process that has ended and was not waited for; none if that can't be read.
pub(super) fn status_of_zombie(pid: i32) -> Option<i32> {
    const STATE: usize = 0;
    const EXIT_CODE: usize = 49;
    let fields = stat_fields(&format!("/proc/{pid}/stat"))?;
    (fields.get(STATE)? == "Z").then(|| fields.get(EXIT_CODE)?.parse().ok())?
}

/// The fields of a process's or thread's `stat`, from its state on.
pub(super) fn stat_fields(path: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    // The name before them may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use log_format::arena::child_key;

    use super::*;
    use crate::log::map::ArenaMap;

    const CHILD: u64 = child_key(ROOT_KEY, 1);

    fn manifest(child: Process) -> Manifest {
        let root = Process {
            key: ROOT_KEY,
            events: 9,
            complete: true,
            wait_status: Some(0),
            ..Process::default()
        };
        let status = Status::Complete;
        Manifest { status, processes: vec![root, child], ..Manifest::default() }
    }

    fn child(events: u64, wait_status: Option<i32>) -> Process {
        let complete = wait_status.is_some();
        let key = CHILD;
        Process { key, parent_key: ROOT_KEY, events, wait_status, complete, ..Process::default() }
    }

    /// What is said of a child that ends so.
    fn verdict(recorded: Process, state: u32, told: i32, died: Option<i32>) -> Option<Wrong> {
        let dir = tempfile::tempdir().unwrap();
        let arena = ArenaMap::create(&dir.path().join("arena")).unwrap();
        let manifest = manifest(recorded);
        let entry = &arena.procs()[1];
        entry.key.store(CHILD, Ordering::Relaxed);
        entry.steps.store(5, Ordering::Relaxed);
        entry.status.store(told as u32, Ordering::Relaxed);
        entry.state.store(state, Ordering::Relaxed);
        Judge::new(&manifest).end_of(entry, died)
    }

    #[test]
    fn an_end_is_the_recorded_one_or_wrong() {
        const EXITED: u32 = proc_state::EXITED;
        const LIVE: u32 = proc_state::LIVE;
        assert_eq!(verdict(child(5, Some(0x300)), EXITED, 0x300, Some(0)), None);
        assert_eq!(verdict(child(5, Some(0x8b)), EXITED, 11, None), None, "with a core dump");
        assert!(verdict(child(5, Some(0x300)), EXITED, 0, Some(0)).is_some());
        assert!(verdict(child(6, Some(0x300)), EXITED, 0x300, Some(0)).is_some());
        // Killed while recording: where its log ends, whatever happens then.
        assert_eq!(verdict(child(5, None), EXITED, 0, Some(0)), None);
        assert_eq!(verdict(child(5, None), LIVE, 0, Some(11)), None);
        assert!(verdict(child(6, None), LIVE, 0, Some(11)).is_some());
        let failed = verdict(child(5, None), LIVE, 0, Some(125 << 8)).unwrap();
        assert!(failed.failed && failed.key == CHILD && failed.step == 5);
        assert!(verdict(child(5, Some(0)), LIVE, 0, None).unwrap().actual.contains("unknown"));
    }

    #[test]
    fn all_must_have_run_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let arena = ArenaMap::create(&dir.path().join("arena")).unwrap();
        let end = |manifest: &Manifest| Judge::new(manifest).end_of_all(arena.header());
        assert!(end(&manifest(child(5, None))).unwrap().actual.contains("did not start"));
        assert_eq!(end(&manifest(child(0, None))), None);
        let mut killed = manifest(child(5, None));
        killed.processes[0].complete = false;
        assert_eq!(end(&killed), None);
        killed.counts.output_writes = Some(1);
        assert!(end(&killed).unwrap().actual.starts_with("0 writes"));
        killed.status = Status::CutShort { reason: String::new() };
        assert_eq!(end(&killed), None);
    }

    #[test]
    fn the_status_of_a_zombie_is_read() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = child.id() as i32;
        let status = std::iter::repeat_with(|| status_of_zombie(pid)).find_map(|found| found);
        assert_eq!(status, Some(0x300));
        child.wait().unwrap();
    }
}
