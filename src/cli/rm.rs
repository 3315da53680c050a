//! `rr-run rm`.

use crate::error::{Error, Result};

/// Remove sessions.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {}

impl Rm {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'rm' is not there yet".into()))
    }
}
