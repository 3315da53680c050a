//! The parts of a manifest that are known when recording has ended.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log_format::arena::{PLAIN_KEY, ROOT_KEY};
use log_format::record::file_identity;

use super::hashes::Hashes;
use super::manifest::{ByteText, Counts, File, Manifest, OpaqueTls, PlainLog, Process, TlsSummary};
use crate::launch::environment::path;
use crate::log::drain::{Collected, Drained};
use crate::log::scan::SeenFile;
use crate::report::units;

/// `log_format::record::FileId::flags`.
const KEPT: u32 = 1;
const EXECUTED: u32 = 2;
/// Where the system's files are, if they belong to root.
const SYSTEM: [&str; 6] = ["/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/etc/"];

/// Why a program ran unseen that could have been intercepted.
const NO_SHIM: &str = "a program that could not load the shim (another root directory or mount?)";

/// Fills in processes, files and counts. `statuses` are wait statuses by pid; `cut_short` says that
/// logs may end anywhere.
pub fn fill(
    manifest: &mut Manifest,
    session: &Path,
    Collected { mut drained, files: seen }: Collected,
    statuses: &HashMap<i32, i32>,
    cut_short: bool,
) {
    if let Some(plain) = drained.remove(&PLAIN_KEY) {
        manifest.tls = tls(plain);
    }
    let drained = &drained;
    // The file may have been replaced between the host's look at it and its execution.
    if let Some(image) = drained.get(&ROOT_KEY).and_then(|root| root.scan.image)
        && manifest.program.interpreters.is_empty()
    {
        manifest.program.identity = image;
    }
    manifest.processes = processes(manifest, drained, statuses, cut_short);
    manifest.counts = counts(drained);
    manifest.output_holes = drained.values().filter_map(|d| d.hole).collect();
    manifest.output_holes.sort_unstable();
    manifest.files = files(manifest, session, seen);
    for d in drained.values().filter(|d| d.scan.broken) {
        let warning = format!("the log of process {} makes no sense at some point", d.pid);
        manifest.warnings.push(warning);
    }
}

fn tls(plain: Drained) -> TlsSummary {
    let opaque = plain.scan.tls.opaque.into_iter();
    TlsSummary {
        intercepted: plain.scan.tls.intercepted,
        opaque: opaque
            .map(|((host, port, reason), connections)| OpaqueTls {
                host,
                port,
                reason,
                connections,
            })
            .collect(),
        log: PlainLog {
            events: plain.scan.events,
            bytes: plain.writer.bytes,
            stored_bytes: plain.writer.stored_bytes,
            frames: plain.writer.frames,
        },
    }
}

fn processes(
    manifest: &Manifest,
    drained: &BTreeMap<u64, Drained>,
    statuses: &HashMap<i32, i32>,
    cut_short: bool,
) -> Vec<Process> {
    let mut all: Vec<(Vec<u32>, Process)> = drained
        .iter()
        .map(|(key, d)| {
            let place = place(*key, drained);
            let id = place.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            let process = Process {
                id,
                key: *key,
                parent_key: d.parent_key,
                ordinal: d.ordinal,
                pid: d.pid,
                argv: argv(*key, usize::MAX, manifest, drained),
                execs: d.scan.execs,
                wait_status: d.scan.exit.or_else(|| statuses.get(&d.pid).copied()),
                complete: d.exited && d.scan.exit.is_some() && d.dropped == 0,
                opaque: opaque(d, cut_short),
                events: d.scan.events,
                bytes: d.writer.bytes,
                stored_bytes: d.writer.stored_bytes,
                frames: d.writer.frames,
                dropped: d.dropped,
            };
            (place, process)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, process)| process).collect()
}

/// Why what a process executed last ran unseen.
fn opaque(d: &Drained, cut_short: bool) -> Option<String> {
    match d.scan.last_exec()?.opaque {
        Some(reason) if d.unseen > 0 => {
            let programs = units::plural(d.unseen as usize, "program", "programs");
            Some(format!("{reason}, which started {programs}, unseen too"))
        }
        Some(reason) => Some(reason.to_owned()),
        // A recording may also have ended between an exec and the first record of its program.
        None => (!cut_short).then(|| NO_SHIM.to_owned()),
    }
}

/// Ordinals from the root down: `[1, 2]` is the root's second child.
fn place(key: u64, drained: &BTreeMap<u64, Drained>) -> Vec<u32> {
    let mut place = Vec::new();
    let mut at = key;
    // A damaged log could name itself as an ancestor.
    while at != ROOT_KEY && place.len() < drained.len() {
        let Some(d) = drained.get(&at) else { break };
        place.push(d.ordinal);
        at = d.parent_key;
    }
    place.push(1);
    place.reverse();
    place
}

/// Arguments of the last of the first `limit` programs that a process executed. One that had
/// executed none then ran the program that its parent ran when it was created.
fn argv(
    mut key: u64,
    mut limit: usize,
    manifest: &Manifest,
    drained: &BTreeMap<u64, Drained>,
) -> Vec<ByteText> {
    // As in `place`, a damaged log may go round.
    for _ in 0..drained.len() {
        let Some(d) = drained.get(&key) else { break };
        if limit == usize::MAX
            && let Some(last) = d.scan.last_exec()
        {
            return last.argv.iter().cloned().map(ByteText).collect();
        }
        let programs = d.scan.programs.get(..limit).unwrap_or(&d.scan.programs);
        if let Some(last) = programs.last() {
            return last.iter().cloned().map(ByteText).collect();
        }
        let parent = drained.get(&d.parent_key);
        limit = parent.and_then(|p| p.scan.children.get(&key).copied()).unwrap_or(0);
        key = d.parent_key;
    }
    manifest.program.argv.clone()
}

fn counts(drained: &BTreeMap<u64, Drained>) -> Counts {
    let mut counts = Counts::default();
    // They are numbered over all processes.
    let numbers = drained.values().flat_map(|d| [d.scan.last_output, d.hole]).flatten();
    counts.output_writes = Some(numbers.max().map_or(0, |last| last + 1));
    for d in drained.values() {
        counts.events += d.scan.events;
        counts.bytes += d.writer.bytes;
        counts.stored_bytes += d.writer.stored_bytes;
        counts.dropped += d.dropped;
        counts.inexact_signals += d.scan.inexact_signals;
        counts.connections += d.scan.connections;
        for (kind, n) in d.scan.kinds() {
            *counts.kinds.entry(kind.to_owned()).or_default() += n;
        }
        for (note, n) in &d.scan.notes {
            *counts.notes.entry((*note).to_owned()).or_default() += n;
        }
    }
    counts
}

fn files(manifest: &mut Manifest, session: &Path, seen: BTreeMap<u64, SeenFile>) -> Vec<File> {
    let mut hashes = Hashes::load(session.parent().unwrap_or(session));
    let mut files: Vec<File> = seen
        .into_values()
        .map(|file| {
            let id = file.id;
            let kept = session.join(Manifest::kept_path(id.identity));
            let is_kept = id.flags & KEPT != 0 && kept.is_file();
            let place = path(&file.path);
            let meta = fs::metadata(&place).ok();
            let unchanged = meta.as_ref().is_some_and(|m| identity(m) == id.identity);
            let source = match (is_kept, unchanged) {
                (true, _) => Some(&kept),
                (false, true) => Some(&place),
                (false, false) => None,
            };
            let blake3 = source.and_then(|path| hashes.of(id.identity, path)).unwrap_or_default();
            if blake3.is_empty() {
                let warning = format!("{} changed while it was in use", place.display());
                manifest.warnings.push(warning);
            }
            File {
                system: meta.is_some_and(|m| m.uid() == 0)
                    && SYSTEM.iter().any(|dir| place.starts_with(dir)),
                path: ByteText(file.path),
                identity: id.identity,
                dev: id.dev,
                ino: id.ino,
                size: id.size,
                mtime_ns: id.mtime_ns,
                blake3,
                kept: is_kept,
                redacted: false,
                executed: id.flags & EXECUTED != 0,
                names: file.names.into_iter().map(ByteText).collect(),
            }
        })
        .collect();
    hashes.save();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Identity of a file as the shim computes it.
pub fn identity(meta: &fs::Metadata) -> u64 {
    let mtime = ns(meta.mtime(), meta.mtime_nsec() as u64);
    let ctime = ns(meta.ctime(), meta.ctime_nsec() as u64);
    file_identity(meta.dev(), meta.ino(), meta.size(), mtime, ctime)
}

/// The same of a file that was looked at by stat(2).
pub(super) fn identity_of(stat: &rustix::fs::Stat) -> u64 {
    let mtime = ns(stat.st_mtime, stat.st_mtime_nsec);
    let ctime = ns(stat.st_ctime, stat.st_ctime_nsec);
    file_identity(stat.st_dev, stat.st_ino, stat.st_size as u64, mtime, ctime)
}

fn ns(seconds: i64, ns: u64) -> u64 {
    (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(ns)
}
