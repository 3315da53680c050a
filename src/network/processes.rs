//! The recorded processes, as the shim of a network replay maps them ([`log_format::processes`]).

use std::path::Path;

use log_format::pids::Pids;
use log_format::processes::{Arguments, Executed, FILE, MAGIC, Recorded};
use log_format::record::Kind;

use crate::error::{Error, Result};
use crate::log::scan;
use crate::session::{Process, Session};

/// Writes what is known of a session's processes into `dir`. With `live_pids` they keep the ids
/// that they get.
///
/// # Errors
/// The session is damaged, or the system's.
pub(super) fn write(session: &Session, dir: &Path, live_pids: bool) -> Result<()> {
    let mut rows = Vec::new();
    for process in &session.manifest().processes {
        rows.push(Recorded {
            key: process.key,
            pid: if live_pids { 0 } else { process.pid },
            parent: process.parent_key,
            ordinal: process.ordinal,
            executed: first_program(session, process)?,
        });
    }
    rows.sort_unstable_by_key(|row| row.key);
    let words = [MAGIC, rows.len() as u64].into_iter();
    let words = words.chain(rows.into_iter().flat_map(Recorded::to_words));
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let name = String::from_utf8_lossy(FILE);
    let path = dir.join(name.trim_matches(['/', '\0']));
    std::fs::write(&path, bytes).map_err(Error::file("write", &path))
}

/// The program that a child executed first; none if it did not soon.
fn first_program(session: &Session, process: &Process) -> Result<Executed> {
    /// Children that execute a program do little before.
    const EVENTS: usize = 4096;
    if process.parent_key == 0 || process.execs == 0 {
        return Ok(Executed::default());
    }
    let mut events = session.events(process)?;
    for _ in 0..EVENTS {
        let Some(event) = events.next_event()? else { break };
        let kind = event.record.header.kind;
        if let Ok(call) = event.record.call()
            && let Some(strings) = scan::arguments(kind, &call)
        {
            let mut arguments = Arguments::default();
            strings.for_each(|string| arguments.add(string));
            return Ok(arguments.hashes());
        }
    }
    Ok(Executed::default())
}

/// This process stands for the one that was the parent of the recorded program.
///
/// # Errors
/// The session is damaged.
pub(super) fn stand_for_the_parent(session: &Session, pids: &Pids) -> Result<()> {
    let Some(root) = session.manifest().processes.first() else { return Ok(()) };
    let mut events = session.events(root)?;
    while let Some(event) = events.next_event()? {
        if event.record.header.kind == Kind::Start {
            if let Some(start) = scan::start_of(&event.record).filter(|start| start.ppid > 0) {
                pids.set(start.ppid, std::process::id() as i32);
            }
            break;
        }
    }
    Ok(())
}
