//! `rr-run doctor`.

use super::StoreArgs;
use crate::doctor::{Check, Level, examine};
use crate::error::Result;
use crate::report::out::{json, stdout, written};
use crate::report::table::table;

/// Check whether this machine can record and replay exactly.
///
/// Ends with 1 if something that is needed is missing.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    store: StoreArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Makes all checks and reports; the exit code.
    ///
    /// # Errors
    /// There is no directory for sessions, not even by default.
    pub(super) fn run(self) -> Result<u8> {
        let checks = examine(&self.store.store()?);
        let failed = checks.iter().any(|check| check.level == Level::Fail);
        stdout(|out| {
            if self.json {
                json(out, &checks)?;
            } else {
                out.write_all(text(&checks).as_bytes()).map_err(written)?;
            }
            Ok(u8::from(failed))
        })
    }
}

fn text(checks: &[Check]) -> String {
    let level = |check: &Check| match check.level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let row = |check: &Check| vec![level(check).into(), check.name.into(), check.found.clone()];
    let mut text = table(&[], checks.iter().map(row), &[]) + "\n";
    for check in checks.iter().filter(|check| check.level != Level::Ok) {
        text += &format!("\n{} {}: {}\n", level(check), check.name, check.found);
        if !check.follows.is_empty() {
            text += &format!("  so:  {}\n", check.follows);
        }
        if !check.advice.is_empty() {
            text += &format!("  try: {}\n", check.advice);
        }
    }
    text += match checks.iter().map(|check| check.level).max_by_key(|level| *level as u8) {
        Some(Level::Fail) => "\nthis machine can't record and replay exactly\n",
        Some(Level::Warn) => "\nthis machine can record and replay, with limits\n",
        Some(Level::Ok) | None => "\nthis machine can record and replay exactly\n",
    };
    text
}
