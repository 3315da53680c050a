//! `rr-run diff`.

use std::ffi::OsString;

use super::StoreArgs;
use crate::audit::Source;
use crate::audit::report::{self, SessionDiff};
use crate::error::{Result, exit};
use crate::report::out::{json, stdout, written};

/// Find the first event at which two sessions differ.
///
/// Processes are matched by their place in the tree. Pids and tids count by order, not by value.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    #[command(flatten)]
    store: StoreArgs,
    /// Pass over differences that come from these, for example clock,address
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    ignore: Vec<Source>,
    /// Events shown before the first difference and after it
    #[arg(short = 'U', long, value_name = "N", default_value_t = 5)]
    context: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The first session
    a: OsString,
    /// The second session
    b: OsString,
}

impl Diff {
    /// Compares the sessions; 0, or [`exit::NOT_DETERMINISTIC`] if they differ.
    ///
    /// # Errors
    /// A session is missing or can't be read.
    pub(super) fn run(self) -> Result<u8> {
        let store = self.store.store()?;
        let (a, b) = (store.open(Some(&self.a))?, store.open(Some(&self.b))?);
        let diff = SessionDiff::between(&a, &b, &self.ignore, self.context)?;
        stdout(|out| {
            if self.json {
                json(out, &diff)?;
            } else {
                out.write_all(report::diff_text(&diff).as_bytes()).map_err(written)?;
            }
            Ok(if diff.is_equal() { 0 } else { exit::NOT_DETERMINISTIC })
        })
    }
}
