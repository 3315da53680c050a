//! `rr-run verify`.

use crate::error::{Error, Result};

/// Check that a session is whole.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {}

impl Verify {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'verify' is not there yet".into()))
    }
}
