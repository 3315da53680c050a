//! `rr-run doctor`.

use crate::error::{Error, Result};

/// Check whether this machine can record and replay.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {}

impl Doctor {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'doctor' is not there yet".into()))
    }
}
