//! `rr-run replay`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::StoreArgs;
use crate::error::{Error, Result};
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
        if self.gdb {
            return Err(Error::Usage("'--gdb' is not there yet".into()));
        }
        let session = self.store.store()?.open(self.session.as_deref())?;
        let replaying = Replaying { until_step: self.until.unwrap_or(0), json: self.json };
        replay(&session, &replaying)
    }
}
