//! `rr-run info`.

use crate::error::{Error, Result};

/// Show what a session is: its manifest.
#[derive(Debug, clap::Args)]
pub(super) struct Info {}

impl Info {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'info' is not there yet".into()))
    }
}
