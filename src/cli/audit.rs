//! `rr-run audit`.

use crate::error::{Error, Result};

/// Run several times and say whether the runs are equal.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {}

impl Audit {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'audit' is not there yet".into()))
    }
}
