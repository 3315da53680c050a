//! `rr-run ls`.

use crate::error::{Error, Result};

/// List sessions.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {}

impl Ls {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'ls' is not there yet".into()))
    }
}
