//! `rr-run unpack`.

use std::path::PathBuf;

use super::StoreArgs;
use crate::error::Result;
use crate::report::out::tell;
use crate::session::pack::unpack;

/// Unpack a session from one file into the store.
#[derive(Debug, clap::Args)]
pub(super) struct Unpack {
    #[command(flatten)]
    store: StoreArgs,
    /// Name for the session [default: the one it had]
    #[arg(long)]
    name: Option<String>,
    /// The packed session
    file: PathBuf,
}

impl Unpack {
    /// Unpacks and verifies the session; the exit code.
    ///
    /// # Errors
    /// The file is no whole session, or one of this name exists.
    pub(super) fn run(self) -> Result<u8> {
        let dir = unpack(&self.store.store()?, &self.file, self.name.as_deref())?;
        tell!("rr-run: unpacked {}", dir.display());
        Ok(0)
    }
}
