//! `rr-run pack`.

use crate::error::{Error, Result};

/// Pack a session into one file.
#[derive(Debug, clap::Args)]
pub(super) struct Pack {}

impl Pack {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'pack' is not there yet".into()))
    }
}
