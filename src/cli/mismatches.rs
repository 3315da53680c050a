//! `rr-run mismatches`.

use std::ffi::OsString;
use std::io::Write;

use super::StoreArgs;
use crate::error::{Error, Result, exit};
use crate::player::Report;
use crate::player::report::ACCEPTED;
use crate::player::rules::{Rule, Rules};
use crate::report::out::{json, stdout, written};

/// Show what a served session was asked that it had not recorded.
#[derive(Debug, clap::Args)]
pub(super) struct Mismatches {
    #[command(flatten)]
    store: StoreArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only the rules that would accept them, as a rules file
    #[arg(long, conflicts_with = "json")]
    suggest: bool,
    /// Keep these rules with the session: they hold whenever it is served
    #[arg(long, conflicts_with = "json")]
    accept: bool,
    /// Number of the run [default: the latest]
    #[arg(long, value_name = "N")]
    run: Option<u32>,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Mismatches {
    /// Shows them; 0 if there are none, else [`exit::MISMATCH`].
    ///
    /// # Errors
    /// There is no such session or run.
    pub(super) fn run(self) -> Result<u8> {
        let dir = self.store.store()?.locate(self.session.as_deref())?;
        let report = Report::read(&dir, self.run)?;
        let rules = suggested(&report);
        if self.accept {
            let path = dir.join(ACCEPTED);
            let mut text = std::fs::read_to_string(&path).unwrap_or_default();
            text.push_str(&Rules::render(&rules)?);
            Rules::parse(&text, &path.display().to_string())?;
            std::fs::write(&path, text).map_err(Error::file("write", &path))?;
        }
        stdout(|out| {
            if self.json {
                json(out, &report)?;
            } else if self.suggest || self.accept {
                write!(out, "{}", Rules::render(&rules)?).map_err(written)?;
                return Ok(0);
            } else {
                print(out, &report).map_err(written)?;
            }
            Ok(if report.mismatches.is_empty() { 0 } else { exit::MISMATCH })
        })
    }
}

/// The rules of all mismatches, each once.
fn suggested(report: &Report) -> Vec<Rule> {
    let mut seen = std::collections::BTreeSet::new();
    let all = report.mismatches.iter().flat_map(|m| m.rules.iter().cloned());
    all.filter(|rule| seen.insert(serde_json::to_string(rule).unwrap_or_default())).collect()
}

fn print(out: &mut dyn Write, report: &Report) -> std::io::Result<()> {
    write!(out, "{}", report.summary())?;
    writeln!(out, "{}", report.endpoints_table())?;
    if let Some(hermetic) = &report.hermetic {
        writeln!(out, "\n{}", hermetic.table())?;
    }
    for mismatch in &report.mismatches {
        write!(out, "\n{}", mismatch.render())?;
    }
    Ok(())
}
