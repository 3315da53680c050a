//! Recorded process ids, as the shim of a network replay maps them ([`log_format::pids`]).

use std::path::Path;

use log_format::pids::{FILE, MAGIC, Pids};
use log_format::record::Kind;

use crate::error::{Error, Result};
use crate::log::scan;
use crate::session::Session;

/// Writes the pids of a session's processes into `dir`.
///
/// # Errors
/// The system's.
pub(super) fn write(session: &Session, dir: &Path) -> Result<()> {
    let mut rows: Vec<[u64; 2]> =
        session.manifest().processes.iter().map(|p| [p.key, p.pid as u64]).collect();
    rows.sort_unstable();
    let words = [MAGIC, rows.len() as u64].into_iter().chain(rows.into_iter().flatten());
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let name = String::from_utf8_lossy(FILE);
    let path = dir.join(name.trim_matches(['/', '\0']));
    std::fs::write(&path, bytes).map_err(Error::file("write", &path))
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
