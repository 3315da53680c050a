//! Completing a session whose host was killed.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use log_format::arena::{PLAIN_KEY, ROOT_KEY, proc_state, stop};

use super::manifest::{Manifest, Process, Status};
use super::{ARENA, finish, lock, read_manifest, write_manifest};
use crate::error::{Error, Result};
use crate::log::Events;
use crate::log::drain::{Collected, Drain, Drained, Limits};
use crate::log::frames::Frames;
use crate::log::map::ArenaMap;
use crate::log::scan::{Scan, start_of};
use crate::log::writer::Writer;
use crate::redact::Redactor;

/// Moves what guests had logged from the arena into the log files and writes the manifest of a
/// session that was cut short. If its host lives (or the directory can't be written), the
/// manifest gets only the processes that have logs so far.
///
/// # Errors
/// The system's; damage is left for the reader to find.
pub(super) fn recover(dir: &Path, manifest: Manifest) -> Result<Manifest> {
    let held = match lock(dir) {
        Ok(Some(held)) => held,
        Ok(None) | Err(Error::Io { .. }) => return so_far(dir, manifest),
        Err(e) => return Err(e),
    };
    // Another process may have done it meanwhile.
    let mut manifest = read_manifest(dir)?;
    if manifest.status != Status::Recording {
        return Ok(manifest);
    }
    let limits = Limits {
        compress: manifest.options.compress,
        rotate_bytes: manifest.options.rotate_bytes.max(1),
        size_bytes_max: 0,
    };
    let path = dir.join(ARENA);
    let mut redactor = Redactor::recover(dir, &manifest)?;
    let mut collected = written(dir, &mut redactor)?;
    match ArenaMap::open(&path) {
        Ok(arena) => {
            let mut drain = Drain::new(Arc::new(arena), dir, limits)?;
            // Guests that still run and wait for the host go on unrecorded.
            drain.stop(stop::HOST_GONE);
            drain.resume(collected);
            drain.redactor = redactor;
            drain.finish();
            if let (_, Some(failure)) = drain.stopped() {
                let source = std::io::Error::other(failure.to_owned());
                return Err(Error::io("complete the killed recording")(source));
            }
            redactor = std::mem::take(&mut drain.redactor);
            collected = drain.into_collected();
        }
        // The log files are all there is.
        Err(e) => manifest.warnings.push(format!("failed to {e}")),
    }
    finish::fill(&mut manifest, dir, collected, &HashMap::new(), true);
    let root = manifest.processes.iter().find(|p| p.key == ROOT_KEY);
    manifest.wait_status = root.and_then(|p| p.wait_status);
    manifest.exit_code = manifest.wait_status.map(crate::record::exit_code);
    manifest.status = Status::CutShort { reason: "rr-run was killed".into() };
    redactor.finish(dir, &mut manifest)?;
    write_manifest(dir, &manifest, &mut redactor)?;
    super::remove_arena(dir);
    drop(held);
    Ok(manifest)
}

/// What log files are there.
fn written(dir: &Path, redactor: &mut Redactor) -> Result<Collected> {
    let mut all = Collected::default();
    for key in keys(dir)? {
        let mut scan = Scan::default();
        let (writer, done) = Writer::resume(dir, key, |raw| {
            scan.feed(raw);
            redactor.written(key, raw);
        });
        match done {
            Ok(()) => {}
            Err(Error::Damaged { .. } | Error::SessionNewer { .. }) => scan.broken = true,
            Err(e) => return Err(e),
        }
        all.add(key, Drained::new(writer, scan));
    }
    Ok(all)
}

/// Keys of the processes that have log files.
fn keys(dir: &Path) -> Result<BTreeSet<u64>> {
    let procs = dir.join("procs");
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(&procs).map_err(Error::file("list", &procs))? {
        let name = entry.map_err(Error::file("list", &procs))?.file_name();
        let name = name.to_string_lossy();
        if let Some((key, _)) = name.split_once('.')
            && name.ends_with(".log")
            && let Ok(key) = u64::from_str_radix(key, 16)
        {
            keys.insert(key);
        }
    }
    Ok(keys)
}

/// Adds the processes of a session that is being recorded: their sizes, and what their first
/// record says, be it in the log files or still in the arena.
fn so_far(dir: &Path, mut manifest: Manifest) -> Result<Manifest> {
    let arena = ArenaMap::look(&dir.join(ARENA)).map(Arc::new);
    let redactor = Arc::new(Mutex::new(Redactor::off()));
    let mut keys = keys(dir)?;
    for entry in arena.iter().flat_map(|arena| arena.procs_used()) {
        let state = entry.state.load(Ordering::Acquire);
        if matches!(state, proc_state::LIVE | proc_state::EXITED) {
            keys.insert(entry.key.load(Ordering::Acquire));
        }
    }
    manifest.processes.clear();
    for key in keys.into_iter().filter(|key| *key != PLAIN_KEY) {
        let mut process = Process { key, ..Process::default() };
        let mut frames = Frames::open(dir, key, true)?;
        while let Ok(Some(header)) = frames.skip() {
            process.frames += 1;
            process.bytes += u64::from(header.raw_len);
        }
        let mut events = Events::open(dir, key, true, None)?;
        if let Some(arena) = &arena {
            events = events.with_arena(arena.clone(), redactor.clone());
        }
        if let Ok(Some(event)) = events.next_event()
            && let Some(start) = start_of(&event.record)
        {
            process.pid = start.pid;
            process.parent_key = start.parent_key;
            process.ordinal = start.ordinal;
        }
        if key == ROOT_KEY {
            process.argv = manifest.program.argv.clone();
        }
        manifest.processes.push(process);
    }
    let places: HashMap<u64, (u64, u32)> =
        manifest.processes.iter().map(|p| (p.key, (p.parent_key, p.ordinal))).collect();
    manifest.processes.sort_by_cached_key(|p| place(p.key, &places));
    for process in &mut manifest.processes {
        process.id = match place(process.key, &places) {
            Some(place) => place.iter().map(u32::to_string).collect::<Vec<_>>().join("."),
            None => format!("{:016x}", process.key),
        };
    }
    Ok(manifest)
}

/// Ordinals from the root down, if all of a process's ancestors are known.
fn place(key: u64, places: &HashMap<u64, (u64, u32)>) -> Option<Vec<u32>> {
    let mut place = Vec::new();
    let mut at = key;
    while at != ROOT_KEY {
        let (parent, ordinal) = places.get(&at).filter(|_| place.len() < places.len())?;
        place.push(*ordinal);
        at = *parent;
    }
    place.push(1);
    place.reverse();
    Some(place)
}
