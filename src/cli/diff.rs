//! `rr-run diff`.

use crate::error::{Error, Result};

/// Compare two sessions: the first event that differs.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {}

impl Diff {
    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// Always, for now.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'diff' is not there yet".into()))
    }
}
