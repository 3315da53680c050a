//! `rr-run rm`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::StoreArgs;
use crate::error::{Error, Result};
use crate::report::out::tell;
use crate::session::{self, store::Entry};

/// Remove sessions.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    #[command(flatten)]
    store: StoreArgs,
    /// Names of sessions (or unique beginnings of them)
    #[arg(required_unless_present_any = ["all", "older_than", "keep"])]
    names: Vec<OsString>,
    /// All sessions of the store
    #[arg(long, conflicts_with_all = ["names", "older_than", "keep"])]
    all: bool,
    /// Those that were started longer ago, for example 7d, 12h
    #[arg(long, value_name = "TIME", conflicts_with = "names")]
    #[arg(value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// All but the newest N
    #[arg(long, value_name = "N", conflicts_with = "names")]
    keep: Option<usize>,
}

impl Rm {
    /// Removes sessions and names them; the exit code.
    ///
    /// # Errors
    /// A named session is missing or in use, or can't be removed. Without names, sessions in use
    /// are passed over.
    pub(super) fn run(self) -> Result<u8> {
        let store = self.store.store()?;
        if !self.names.is_empty() {
            // All are looked up first: a mistyped name removes nothing.
            let dirs: Vec<_> =
                self.names.iter().map(|name| store.locate(Some(name))).collect::<Result<_>>()?;
            for dir in dirs {
                remove(&dir)?;
            }
            store.prune_kept();
            return Ok(0);
        }
        for entry in self.chosen(store.list()?) {
            match remove(&entry.dir) {
                Err(e @ Error::SessionBusy { .. }) => tell!("rr-run: failed to {e}"),
                other => other?,
            }
        }
        store.prune_kept();
        Ok(0)
    }

    /// Those that options mean, of all sessions, oldest first.
    fn chosen(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let kept = self.keep.unwrap_or(0);
        entries.truncate(entries.len().saturating_sub(kept));
        let oldest_ns = self.older_than.map(|age| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.saturating_sub(age).as_nanos() as u64
        });
        // The age of a session without a readable manifest is not known: only --all and --keep
        // remove it.
        entries.retain(|entry| {
            oldest_ns.is_none_or(|ns| entry.manifest.as_ref().is_ok_and(|m| m.started_ns < ns))
        });
        entries
    }
}

fn remove(dir: &Path) -> Result<()> {
    session::remove(dir)?;
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    // A reader that has left does not stop the removing.
    let _ = writeln!(io::stdout(), "removed {name}");
    Ok(())
}
