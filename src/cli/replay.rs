//! `rr-run replay`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::StoreArgs;
use crate::error::Result;
use crate::replay::gdb::exec_guest;
use crate::replay::{Replaying, replay};

/// Run a session's program again from its log alone.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    store: StoreArgs,
    /// Stop before this step of the root process, with a report
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,
    /// Run under gdb
    #[arg(long)]
    gdb: bool,
    /// Argument for gdb, for example --gdb-arg=-ex --gdb-arg='break main'
    #[arg(long, value_name = "ARG", requires = "gdb", allow_hyphen_values = true)]
    gdb_arg: Vec<OsString>,
    /// Write the report of a divergence as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Replay {
    /// Replays the session; the recorded exit code.
    ///
    /// # Errors
    /// The session is unusable, or the replay differs from it.
    pub(super) fn run(self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        let replaying = Replaying {
            until_step: self.until.unwrap_or(0),
            json: self.json,
            gdb: self.gdb.then_some(self.gdb_arg),
        };
        replay(&session, &replaying)
    }
}

/// Become the guest of a replay: what gdb runs.
#[derive(Debug, clap::Args)]
pub(super) struct ExecGuest {
    /// What to execute
    file: PathBuf,
}

impl ExecGuest {
    /// Executes the guest.
    ///
    /// # Errors
    /// Always, if it returns.
    pub(super) fn run(self) -> Result<u8> {
        Err(exec_guest(&self.file))
    }
}
