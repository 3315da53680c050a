//! `rr-run show`.

use crate::error::{Error, Result};

/// Show the events of a session.
#[derive(Debug, clap::Args)]
pub(super) struct Show {}

impl Show {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'show' is not there yet".into()))
    }
}
