//! `rr-run verify`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::StoreArgs;
use crate::error::{Error, Result, exit};
use crate::redact;
use crate::report::out::{json, stdout, written};
use crate::report::{table::table, units};
use crate::session::Session;
use crate::session::verify::{ProcessReport, Report, verify, verify_logs};

/// Check that a session is whole: checksums, records, kept files, manifest.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    store: StoreArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Look in everything that the session holds for the values in this file, one a line
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Verify {
    /// Checks the session and reports; 0, or [`exit::SESSION`] for damage.
    ///
    /// # Errors
    /// There is no such session, or its format is newer.
    pub(super) fn run(self) -> Result<u8> {
        let dir = self.store.store()?.locate(self.session.as_deref())?;
        if let Some(secrets) = &self.secrets {
            return search(&Session::open(&dir)?, secrets, self.json);
        }
        let report = match Session::open(&dir) {
            Ok(session) => verify(&session)?,
            Err(e @ Error::Damaged { .. }) => {
                let mut report = verify_logs(&dir)?;
                report.problems.push(format!("failed to {e}"));
                report
            }
            Err(e) => return Err(e),
        };
        stdout(|out| {
            if self.json {
                json(out, &report)?;
            } else {
                print(out, &report).map_err(written)?;
            }
            Ok(if report.is_whole() { 0 } else { exit::SESSION })
        })
    }
}

/// Looks for secrets; 0, or [`exit::SESSION`] if any stands in the session.
fn search(session: &Session, secrets: &Path, as_json: bool) -> Result<u8> {
    let text = std::fs::read_to_string(secrets).map_err(Error::file("read", secrets))?;
    let leaks = redact::search(session, &text)?;
    stdout(|out| {
        if as_json {
            json(out, &leaks)?;
        } else if leaks.is_empty() {
            writeln!(out, "none of the values stands in the session").map_err(written)?;
        } else {
            for leak in &leaks {
                let (line, place, offset) = (leak.line, &leak.place, leak.offset);
                // The value itself is not said.
                writeln!(out, "the value in line {line} stands in {place} at byte {offset}")
                    .map_err(written)?;
            }
        }
        Ok(if leaks.is_empty() { 0 } else { exit::SESSION })
    })
}

fn print(out: &mut dyn Write, report: &Report) -> std::io::Result<()> {
    let rows = report.processes.iter().map(row);
    let header = ["PROCESS", "EVENTS", "BYTES", "RESULT"];
    writeln!(out, "{}", table(&header, rows, &[1, 2]))?;
    for remark in &report.remarks {
        writeln!(out, "note: {remark}")?;
    }
    for problem in &report.problems {
        writeln!(out, "damaged: {problem}")?;
    }
    let what = [
        units::plural(report.processes.len(), "process", "processes"),
        units::plural(report.events() as usize, "event", "events"),
        units::plural(report.files, "kept file", "kept files"),
    ]
    .join(", ");
    if report.is_whole() {
        writeln!(out, "whole: {what}")
    } else {
        writeln!(out, "damaged: readable are {what}")
    }
}

fn row(process: &ProcessReport) -> Vec<String> {
    let name = match process.id.as_str() {
        "" => format!("{:016x}", process.key),
        id => id.to_owned(),
    };
    let result = match (&process.problem, process.cut_bytes) {
        (Some(problem), _) => format!("damaged: {problem}"),
        (None, 0) => "ok".into(),
        (None, n) => format!("ok, and {n} bytes of a record that was cut"),
    };
    vec![name, units::count(process.events), units::bytes(process.bytes), result]
}
