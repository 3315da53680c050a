//! `rr-run pack`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::StoreArgs;
use crate::error::Result;
use crate::report::out::tell;
use crate::report::units;
use crate::session::pack::{ENDING, pack};

/// Pack a session into one file that can be replayed elsewhere.
///
/// It holds the log, the manifest, and the mapped and executed files that are not the system's.
/// Environment variables and all that the program read are in it: treat it as a secret.
#[derive(Debug, clap::Args)]
pub(super) struct Pack {
    #[command(flatten)]
    store: StoreArgs,
    /// File to write [default: the session's name and .rrpack, here]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// The system's libraries too, for a machine that has others
    #[arg(long)]
    all_files: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Pack {
    /// Packs the session; the exit code.
    ///
    /// # Errors
    /// There is no such session, or the file can't be written or exists.
    pub(super) fn run(self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        let to = self.to.unwrap_or_else(|| format!("{}.{ENDING}", session.name()).into());
        let packed = pack(&session, &to, self.all_files)?;
        for path in &packed.missing {
            tell!("rr-run: {} is missing or changed, and is not in the pack", path.display());
        }
        tell!(
            "rr-run: packed {} into {} ({}, {} files added)",
            session.name(),
            to.display(),
            units::bytes(packed.bytes),
            packed.added
        );
        Ok(0)
    }
}
