//! Whether a session is whole: every frame's checksum, every record, every kept file, and that
//! the manifest agrees with them.

use std::fs;
use std::path::Path;

use log_format::arena::PLAIN_KEY;
use log_format::record::Kind;
use serde::Serialize;

use super::hashes::blake3_of;
use super::manifest::hex64;
use super::{Manifest, Process, Session, Status};
use crate::error::{Error, Result};
use crate::log::Events;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// One for each process, in the manifest's order.
    pub processes: Vec<ProcessReport>,
    /// Kept files whose content was checked.
    pub files: usize,
    /// Damage that belongs to no process.
    pub problems: Vec<String>,
    /// What is incomplete without being damaged: a killed process, a size limit.
    pub remarks: Vec<String>,
}

/// What was found of one process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessReport {
    /// Id as in the manifest; empty if the manifest does not know the process.
    pub id: String,
    /// Its key.
    #[serde(with = "hex64")]
    pub key: u64,
    /// Events that can be read.
    pub events: u64,
    /// Bytes of these events.
    pub bytes: u64,
    /// Bytes of a record that was cut.
    pub cut_bytes: u64,
    /// What is wrong, and what is readable all the same.
    pub problem: Option<String>,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty() && self.processes.iter().all(|p| p.problem.is_none())
    }

    /// Events that can be read.
    pub fn events(&self) -> u64 {
        self.processes.iter().map(|p| p.events).sum()
    }
}

/// Checks an opened session. It is read once, with bounded memory.
///
/// # Errors
/// None for damage, which is in the report; only lack of memory and the like.
pub fn verify(session: &Session) -> Result<Report> {
    let manifest = session.manifest();
    let mut report = Report::default();
    for process in &manifest.processes {
        let found = read(session.events(process)?, Some((process, manifest)));
        if !process.complete && found.problem.is_none() {
            let last = match found.events {
                0 => "before its first event".to_owned(),
                n => format!("after step {}", n - 1),
            };
            report.remarks.push(format!("the log of process {} ends {last}", process.id));
        }
        report.processes.push(found);
    }
    report.processes.extend(plain_log(session)?);
    if let Status::CutShort { reason } = &manifest.status {
        report.remarks.push(format!("the session was cut short: {reason}"));
    }
    check_manifest(manifest, &mut report);
    check_strays(session, &mut report);
    check_files(session, &mut report);
    Ok(report)
}

/// Checks the log of plaintext, if there is one.
fn plain_log(session: &Session) -> Result<Option<ProcessReport>> {
    let log = &session.manifest().tls.log;
    let live = session.manifest().status == Status::Recording;
    if log.frames == 0 && !live {
        return Ok(None);
    }
    let expected = (!live).then_some(log.bytes);
    let mut found = read(Events::open(session.dir(), PLAIN_KEY, live, expected)?, None);
    if !live && found.problem.is_none() && found.events != log.events {
        found.problem = Some(format!("{} events, the manifest says {}", found.events, log.events));
    }
    Ok(Some(ProcessReport { id: "tls".into(), key: PLAIN_KEY, ..found }))
}

/// Checks the logs of a session whose manifest can't be read.
///
/// # Errors
/// The system's.
pub fn verify_logs(dir: &Path) -> Result<Report> {
    let mut report = Report::default();
    for key in keys(dir)? {
        report.processes.push(read(Events::open(dir, key, true, None)?, None).with_key(key));
    }
    Ok(report)
}

impl ProcessReport {
    fn with_key(self, key: u64) -> ProcessReport {
        ProcessReport { key, ..self }
    }
}

/// Reads all events of a process, and compares with what the manifest says of it.
fn read(mut events: Events, expected: Option<(&Process, &Manifest)>) -> ProcessReport {
    let mut count = 0;
    let mut last = None;
    let mut problem = loop {
        match events.next_event() {
            Ok(Some(event)) => {
                count += 1;
                last = Some(event.record.header.kind);
            }
            Ok(None) => break None,
            Err(e) => break Some(explain(e)),
        }
    };
    if let Some((process, manifest)) = expected
        && manifest.status != Status::Recording
        && problem.is_none()
    {
        if count != process.events {
            problem = Some(format!("{count} events, the manifest says {}", process.events));
        } else if process.complete && last != Some(Kind::Exit) {
            problem = Some("it is marked complete and does not end with its exit".into());
        }
    }
    let (id, key) = expected.map_or_else(Default::default, |(p, _)| (p.id.clone(), p.key));
    let (bytes, cut_bytes) = (events.offset(), events.cut_bytes());
    ProcessReport { id, key, events: count, bytes, cut_bytes, problem }
}

fn explain(error: Error) -> String {
    match error {
        Error::Damaged { path, what, readable } => {
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            format!("{file}: {what} ({readable})")
        }
        other => format!("failed to {other}"),
    }
}

fn check_manifest(manifest: &Manifest, report: &mut Report) {
    let mut say = |text: String| report.problems.push(format!("manifest: {text}"));
    let processes = &manifest.processes;
    for (i, process) in processes.iter().enumerate() {
        if processes[..i].iter().any(|p| p.key == process.key || p.id == process.id) {
            say(format!("process {} stands there twice", process.id));
        }
        let has_parent = || processes.iter().any(|p| p.key == process.parent_key);
        if process.id != "1" && !has_parent() {
            say(format!("the parent of process {} is missing", process.id));
        }
    }
    if manifest.status == Status::Recording {
        return;
    }
    let sum = |field: fn(&Process) -> u64| processes.iter().map(field).sum::<u64>();
    for (name, total, sum) in [
        ("events", manifest.counts.events, sum(|p| p.events)),
        ("bytes", manifest.counts.bytes, sum(|p| p.bytes)),
    ] {
        if total != sum {
            say(format!("{total} {name} in all, {sum} by process"));
        }
    }
}

/// Logs that the manifest does not name.
fn check_strays(session: &Session, report: &mut Report) {
    let Ok(keys) = keys(session.dir()) else {
        report.problems.push("the directory of logs can't be read".into());
        return;
    };
    let manifest = session.manifest();
    let plain = manifest.tls.log.frames > 0 || manifest.status == Status::Recording;
    let known = |key: &u64| {
        manifest.processes.iter().any(|p| p.key == *key) || (plain && *key == PLAIN_KEY)
    };
    for key in keys.iter().filter(|key| !known(key)) {
        report.problems.push(format!("the log of process {key:016x} is not in the manifest"));
    }
}

fn check_files(session: &Session, report: &mut Report) {
    for file in session.manifest().files.iter().filter(|f| f.kept) {
        let copy = session.dir().join(Manifest::kept_path(file.identity));
        report.files += 1;
        match blake3_of(&copy) {
            Ok(hash) if hash == file.blake3 => {}
            Ok(_) => report.problems.push(format!("the kept copy of {} is damaged", file.path)),
            Err(e) => report.problems.push(format!("the kept copy of {}: {e}", file.path)),
        }
    }
}

/// Keys of all processes that have log files, sorted.
pub(crate) fn keys(session: &Path) -> Result<Vec<u64>> {
    let dir = session.join("procs");
    let failed = || Error::file("list", &dir);
    let mut keys = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let key = name.to_str().and_then(|name| {
            let (key, rest) = name.split_once('.')?;
            rest.ends_with(".log").then(|| u64::from_str_radix(key, 16).ok())?
        });
        keys.extend(key);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frames::log_path;
    use crate::redact::Redactor;
    use crate::session::Store;
    use crate::session::sample::{Log, session};

    fn sample(store: &Store, name: &str) -> Session {
        let mut log = Log::default();
        for i in 0..10 {
            log.clock(i);
        }
        log.exit(0);
        session(store, name, &[(1, log.clone()), (2, log)])
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(dir.path())).unwrap();
        (dir, store)
    }

    #[test]
    fn a_whole_session_is_whole() {
        let (_keep, store) = store();
        let report = verify(&sample(&store, "a")).unwrap();
        assert!(report.is_whole() && report.remarks.is_empty(), "{report:?}");
        assert_eq!(report.events(), 22);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let (_keep, store) = store();
        let session = sample(&store, "a");
        let path = log_path(session.dir(), session.manifest().processes[0].key, 0);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x55;
            fs::write(&path, &bad).unwrap();
            assert!(!verify(&session).unwrap().is_whole(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            let report = verify(&session).unwrap();
            assert!(!report.is_whole(), "cut at {at}");
            // The other process is not touched.
            assert_eq!(report.processes[1].events, 11);
        }
    }

    #[test]
    fn logs_without_a_manifest_can_be_read() {
        let (_keep, store) = store();
        let session = sample(&store, "a");
        fs::write(session.dir().join("manifest.json"), b"{").unwrap();
        assert!(Session::open(session.dir()).is_err());
        let report = verify_logs(session.dir()).unwrap();
        assert_eq!((report.processes.len(), report.events()), (2, 22));
    }

    #[test]
    fn a_stray_log_and_wrong_sums_are_found() {
        let (_keep, store) = store();
        let session = sample(&store, "a");
        let mut manifest = session.manifest().clone();
        manifest.processes.pop();
        let off = &mut Redactor::off();
        crate::session::write_manifest(session.dir(), &manifest, off).unwrap();
        let report = verify(&Session::open(session.dir()).unwrap()).unwrap();
        let problems = report.problems.join("\n");
        assert!(problems.contains("not in the manifest"), "{problems}");
        assert!(problems.contains("22 events in all, 11 by process"), "{problems}");
    }
}
