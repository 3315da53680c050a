//! `rr-run ls`.

use serde_json::{Value, json};

use super::StoreArgs;
use crate::error::Result;
use crate::report::out::{json, stdout, written};
use crate::report::{table::table, units};
use crate::session::manifest::Status;
use crate::session::store::Entry;

/// List the sessions of the store, oldest first.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    #[command(flatten)]
    store: StoreArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Ls {
    /// Lists the sessions; the exit code.
    ///
    /// # Errors
    /// The store can't be read.
    pub(super) fn run(self) -> Result<u8> {
        let store = self.store.store()?;
        let entries = store.list()?;
        stdout(|out| {
            if self.json {
                json(out, &entries.iter().map(as_json).collect::<Vec<_>>())?;
            } else if entries.is_empty() {
                writeln!(out, "no sessions in {}", store.dir().display()).map_err(written)?;
            } else {
                let header = [
                    "NAME", "STARTED", "TOOK", "EXIT", "PROCS", "EVENTS", "SIZE", "STATUS",
                    "COMMAND",
                ];
                let text = table(&header, entries.iter().map(row), &[2, 3, 4, 5, 6]);
                writeln!(out, "{text}").map_err(written)?;
            }
            Ok(0)
        })
    }
}

/// Recording, or left behind by a host that was killed.
fn is_live(entry: &Entry) -> bool {
    crate::session::is_locked(&entry.dir)
}

fn row(entry: &Entry) -> Vec<String> {
    let dash = || "-".to_owned();
    let manifest = match &entry.manifest {
        Ok(manifest) => manifest,
        Err(e) => {
            let mut row = vec![entry.name.clone()];
            row.extend(std::iter::repeat_n(dash(), 6));
            row.extend(["unreadable".into(), units::clip(&e.to_string(), 60)]);
            return row;
        }
    };
    let status = match &manifest.status {
        Status::Recording if !is_live(entry) => "killed".into(),
        Status::Recording => "recording".into(),
        Status::Complete => "complete".to_owned(),
        Status::CutShort { .. } => "cut short".into(),
    };
    let took = manifest.ended_ns.checked_sub(manifest.started_ns);
    vec![
        entry.name.clone(),
        units::time(manifest.started_ns),
        took.map_or_else(dash, units::duration),
        manifest.exit_code.map_or_else(dash, |code| code.to_string()),
        manifest.processes.len().to_string(),
        units::count(manifest.counts.events),
        units::bytes(manifest.counts.stored_bytes),
        status,
        units::command(&manifest.program.argv, 60),
    ]
}

fn as_json(entry: &Entry) -> Value {
    match &entry.manifest {
        Ok(manifest) => json!({
            "name": entry.name,
            "dir": entry.dir,
            "started_ns": manifest.started_ns,
            "ended_ns": manifest.ended_ns,
            "argv": manifest.program.argv,
            "exit_code": manifest.exit_code,
            "processes": manifest.processes.len(),
            "events": manifest.counts.events,
            "bytes": manifest.counts.bytes,
            "stored_bytes": manifest.counts.stored_bytes,
            "status": manifest.status,
            "live": is_live(entry),
        }),
        Err(e) => json!({ "name": entry.name, "dir": entry.dir, "error": e.to_string() }),
    }
}
