//! `rr-run unpack`.

use crate::error::{Error, Result};

/// Unpack a session from one file.
#[derive(Debug, clap::Args)]
pub(super) struct Unpack {}

impl Unpack {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'unpack' is not there yet".into()))
    }
}
