//! `rr-run mismatches`.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::StoreArgs;
use crate::config::Config;
use crate::error::{Error, Result, exit};
use crate::player::Report;
use crate::player::explain::Model;
use crate::player::mismatch::Why;
use crate::player::report::{ACCEPTED, accept};
use crate::player::rules::{Rule, Rules};
use crate::redact::Redactor;
use crate::report::out::{json, say, stdout, written};

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
    /// Have a model explain them: the base URL of an interface like OpenAI's, which gets the
    /// accounts without secrets. Rules that it proposes are kept if you agree
    #[arg(long, value_name = "URL", conflicts_with_all = ["json", "suggest", "accept"])]
    explain_with: Option<String>,
    /// The model to ask
    #[arg(long, value_name = "NAME", requires = "explain_with", default_value = "gpt-4o-mini")]
    model: String,
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
        if let Some(url) = self.explain_with {
            let variables = ["RR_RUN_EXPLAIN_KEY", "OPENAI_API_KEY"];
            let key = variables.into_iter().find_map(|name| std::env::var(name).ok());
            return explain(&dir, report, &Model { url, name: self.model, key });
        }
        if self.accept {
            accept(&dir, &rules)?;
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

/// Has a model explain each mismatch, and keeps the rules that the user agrees to; 0 if they accept
/// all mismatches, else [`exit::MISMATCH`].
fn explain(dir: &Path, report: Report, model: &Model) -> Result<u8> {
    let redact = Config::load(None)?.redact.into_options();
    let report = report.redacted(&mut Redactor::of_environment(&redact)?)?;
    let kept = dir.join(ACCEPTED);
    let mut rules = Rules::read([kept.as_path()].into_iter().filter(|path| path.exists()))?;
    let mut open = 0;
    for mismatch in &report.mismatches {
        say!("mismatch {}: {}\n", mismatch.id, mismatch.headline());
        if mismatch.why == Why::NotRecorded && mismatch.is_accepted_by(&rules) {
            say!("  accepted by the rules that were kept\n\n");
            continue;
        }
        open += 1;
        let explanation = model.explain(mismatch, &rules)?;
        say!("{}\n\n", explanation.text.trim());
        if let Some(why) = &explanation.unusable {
            say!("{} proposed no rule that can be used: {why}\n\n", model.name);
        } else if !explanation.rules.is_empty() {
            say!("{}\nkeep this rule with the session? [y/N] ", Rules::render(&explanation.rules)?);
            if agrees()? {
                accept(dir, &explanation.rules)?;
                rules.extend(Rules::from(explanation.rules));
                open -= 1;
            }
        }
    }
    Ok(if open == 0 { 0 } else { exit::MISMATCH })
}

/// Whether the next line of stdin says yes.
fn agrees() -> Result<bool> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Error::io("read from stdin"))?;
    say!("\n");
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
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
