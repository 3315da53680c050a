//! The account of a run: kept with the session, shown, and as Markdown and JUnit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::account::Report;
use super::engine::Mode;
use super::hermetic::Hermetic;
use super::mismatch::{Mismatch, Outcome};
use super::resolution::Resolution;
use super::rules::{Rule, Rules};
use crate::error::{Error, Result};
use crate::redact::Redactor;
use crate::report::junit::{Case, Verdict};
use crate::report::{table::table, units};

/// Directory in a session that holds the accounts of its runs.
pub const RUNS: &str = "runs";
/// File in a session that holds the rules which were accepted for it.
pub const ACCEPTED: &str = "rules.toml";
/// Most unused exchanges that are named.
const NAMED_MAX: usize = 20;

/// What exchanges with the real services would have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// Time between requests and the ends of their answers, milliseconds.
    pub waited_ms: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
}

impl Paid {
    /// Adds what was paid `times`.
    pub fn add(&mut self, other: Paid, times: u64) {
        self.waited_ms += other.waited_ms * times;
        self.input_tokens += other.input_tokens * times;
        self.output_tokens += other.output_tokens * times;
    }

    fn line(self) -> Option<String> {
        if self == Paid::default() {
            return None;
        }
        let waited = units::duration(self.waited_ms * 1_000_000);
        let tokens = |n| units::count(n);
        Some(format!(
            "not paid: {} input and {} output tokens, {waited} of waiting",
            tokens(self.input_tokens),
            tokens(self.output_tokens),
        ))
    }
}

impl Report {
    /// Why the run has failed: in strict mode, requests that did not match or recorded ones that
    /// were never asked for; in the others, requests that nothing could be served for; in all,
    /// clients that could not be answered.
    pub fn failure(&self) -> Option<String> {
        let open = |m: &&Mismatch| !matches!(m.outcome, Outcome::Resolved(_)) && !m.optional;
        let open = self.mismatches.iter().filter(open).count();
        let counts = &self.counts;
        let strict = self.mode == Mode::Strict;
        let unused = if self.allow_unused { 0 } else { counts.unused };
        let plural = |n: u64, one, many| units::plural(n as usize, one, many);
        let left = plural(counts.refused, "request", "requests") + " with nothing left to serve";
        let never = plural(unused, "exchange", "exchanges") + " never asked for";
        let reasons = [
            (strict && open > 0, units::plural(open, "mismatch", "mismatches")),
            (strict && unused > 0, never),
            (!strict && counts.refused > 0, left),
            (counts.unreached > 0, self.unreached()),
            (
                counts.unanswered > 0,
                plural(counts.unanswered, "client", "clients") + " not answered",
            ),
        ];
        let reasons: Vec<_> = reasons.into_iter().filter(|r| r.0).map(|r| r.1).collect();
        if reasons.is_empty() { None } else { Some(reasons.join(", ")) }
    }

    /// A summary for people.
    pub fn summary(&self) -> String {
        let counts = &self.counts;
        let mut out = format!(
            "{}: {} exact, {} by rule, {} out of sequence, {} refused, {} faults; \
             {} of {} recorded never asked for\n",
            units::plural(counts.requests as usize, "request", "requests"),
            counts.exact,
            counts.by_rule,
            counts.in_sequence,
            counts.refused,
            counts.faults,
            counts.unused,
            counts.recorded,
        );
        if counts.upstream > 0 {
            let many = units::plural(counts.upstream as usize, "request", "requests");
            let _ = writeln!(out, "  {many} answered by the real services, kept in a new layer");
        }
        if counts.resolved > 0 {
            let many = units::plural(counts.resolved as usize, "request", "requests");
            let _ = writeln!(out, "  {many} answered as the user said");
        }
        if counts.optional > 0 {
            let many = units::plural(counts.optional as usize, "request", "requests");
            let _ = writeln!(out, "  {many} to optional hosts refused");
        }
        if counts.unreached > 0 {
            let _ = writeln!(out, "  {}", self.unreached());
        }
        for (rule, times) in &counts.rules {
            let _ = writeln!(out, "  rule {rule}: {times}");
        }
        for what in &self.unanswered {
            let _ = writeln!(out, "  not answered: {what}");
        }
        if !self.unused.is_empty() && self.mode == Mode::Strict && !self.allow_unused {
            let names: Vec<_> = self.unused.iter().take(NAMED_MAX).map(unused_name).collect();
            let more = self.unused.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(out, "  never asked for: {}{more}", names.join(", "));
        }
        if let Some(line) = self.saved.line() {
            let _ = writeln!(out, "  {line}");
        }
        let touched = self.hermetic.as_ref().map(Hermetic::summary).unwrap_or_default();
        if !touched.is_empty() {
            let _ = writeln!(out, "  network: {touched}");
        }
        out
    }

    fn unreached(&self) -> String {
        let many = units::plural(self.counts.unreached as usize, "request", "requests");
        format!("{many} that the real services did not answer")
    }

    /// A table of the endpoints.
    pub fn endpoints_table(&self) -> String {
        let number = |n: u64| units::count(n);
        let rows = self.endpoints.iter().map(|e| {
            vec![e.endpoint.clone(), number(e.recorded), number(e.served), number(e.unused)]
        });
        table(&["ENDPOINT", "RECORDED", "SERVED", "UNUSED"], rows, &[1, 2, 3])
    }

    /// As Markdown, for a CI system's summary.
    pub fn markdown(&self) -> String {
        let verdict = if self.failure().is_none() { "passed" } else { "**failed**" };
        let mut out = format!("### Network replay of `{}`: {verdict}\n\n", self.session);
        let _ = writeln!(out, "{}", self.summary().lines().next().unwrap_or_default());
        let _ = writeln!(out, "\n| endpoint | recorded | served | unused |\n|---|--:|--:|--:|");
        for e in &self.endpoints {
            let endpoint = e.endpoint.replace('|', "\\|");
            let _ = writeln!(out, "| {endpoint} | {} | {} | {} |", e.recorded, e.served, e.unused);
        }
        if let Some(line) = self.saved.line() {
            let _ = writeln!(out, "\n{line}");
        }
        if let Some(hermetic) = &self.hermetic {
            let _ = writeln!(
                out,
                "\n<details><summary>what was touched</summary>\n\n{}\n</details>",
                hermetic.markdown()
            );
        }
        for what in &self.unanswered {
            let _ = writeln!(out, "\nnot answered: {}", html(what));
        }
        for mismatch in &self.mismatches {
            let _ = writeln!(out, "\n<details><summary>{}</summary>\n", html(&mismatch.headline()));
            let _ =
                writeln!(out, "```diff\n{}```\n</details>", mismatch.render().replace("```", ""));
        }
        out
    }

    /// As test cases: one for each endpoint, one for each mismatch.
    pub fn cases(&self) -> Vec<Case> {
        let endpoints = self.endpoints.iter().map(|e| {
            let failed = self.mode == Mode::Strict && e.unused > 0 && !self.allow_unused;
            let verdict = match failed {
                true => Verdict::Failed(format!("{} never asked for", e.unused), self.summary()),
                false => Verdict::Passed,
            };
            Case { name: e.endpoint.clone(), verdict }
        });
        let mismatches = self.mismatches.iter().map(|m| Case {
            name: format!("mismatch {}", m.id),
            verdict: Verdict::Failed(m.headline(), m.render()),
        });
        let unanswered = (self.counts.unanswered > 0).then(|| Case {
            name: "clients".into(),
            verdict: Verdict::Failed("not answered".into(), self.unanswered.join("\n")),
        });
        endpoints.chain(mismatches).chain(unanswered).collect()
    }

    /// Without secrets: requests of the live program may hold what the recording's had replaced.
    ///
    /// # Errors
    /// None in practice: what was written as JSON can be read.
    pub fn redacted(&self, redactor: &mut Redactor) -> Result<Report> {
        let report = serde_json::to_value(self).and_then(|mut value| {
            redactor.json(&mut value);
            serde_json::from_value(value)
        });
        report.map_err(|e| Error::io("write JSON")(e.into()))
    }

    /// Keeps it with the session in `dir`; the file.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&self, dir: &Path) -> Result<PathBuf> {
        let runs = dir.join(RUNS);
        fs::create_dir_all(&runs).map_err(Error::file("create", &runs))?;
        let number = numbers(&runs).last().map_or(1, |n| n + 1);
        let path = runs.join(format!("{number:04}.json"));
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|e| Error::io("write JSON")(e.into()))?;
        // Made whole, then named: a reader sees all of it or nothing.
        let mut file =
            tempfile::NamedTempFile::new_in(&runs).map_err(Error::file("write in", &runs))?;
        std::io::Write::write_all(&mut file, text.as_bytes())
            .map_err(Error::file("write", &path))?;
        file.persist(&path).map_err(|e| Error::file("write", &path)(e.error))?;
        Ok(path)
    }

    /// Reads the account of a run of the session in `dir`, the latest if no number is given.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn read(dir: &Path, number: Option<u32>) -> Result<Report> {
        let runs = dir.join(RUNS);
        let Some(number) = number.or_else(|| numbers(&runs).last().copied()) else {
            let why = "the session was not served yet (`rr-run serve`)";
            return Err(Error::Usage(why.into()));
        };
        let path = runs.join(format!("{number:04}.json"));
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        serde_json::from_str(&text)
            .map_err(|e| Error::damaged(&path, e.to_string(), "other runs may be readable"))
    }
}

/// Keeps rules with the session in `dir`: they hold whenever it is served.
///
/// # Errors
/// The system's, or those that hold already can't be read.
pub fn accept(dir: &Path, rules: &[Rule]) -> Result<()> {
    keep(dir, &Rules::render(rules)?)
}

/// Keeps a user's answer to a request with the session in `dir`.
///
/// # Errors
/// As of [`accept`].
pub fn resolve(dir: &Path, resolution: &Resolution) -> Result<()> {
    let Resolution { request, serve } = resolution;
    keep(dir, &format!("[[resolution]]\nrequest = \"{request}\"\nserve = {serve}\n"))
}

fn keep(dir: &Path, more: &str) -> Result<()> {
    let path = dir.join(ACCEPTED);
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
    Rules::parse(&text, &path.display().to_string())?;
    fs::write(&path, text).map_err(Error::file("write", &path))
}

fn unused_name((exchange, turn): &(u32, u32)) -> String {
    if *turn == 0 { exchange.to_string() } else { format!("{exchange} (turn {turn})") }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Numbers of the runs, in order.
fn numbers(runs: &Path) -> Vec<u32> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    let mut all: Vec<u32> =
        names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::account::{Counts, EndpointCounts};

    fn report(mode: Mode, unused: u64) -> Report {
        let endpoint = "POST a/b".to_owned();
        Report {
            session: "s".into(),
            mode,
            counts: Counts { requests: 2, exact: 2, recorded: 3, unused, ..Counts::default() },
            endpoints: vec![EndpointCounts { endpoint, recorded: 3, served: 2, unused }],
            unused: (0..unused as u32).map(|i| (i + 1, 0)).collect(),
            mismatches: Vec::new(),
            unanswered: Vec::new(),
            allow_unused: false,
            saved: Paid { waited_ms: 1500, input_tokens: 2000, output_tokens: 7 },
            hermetic: None,
        }
    }

    #[test]
    fn strict_fails_for_what_was_never_asked() {
        assert!(report(Mode::Strict, 0).failure().is_none());
        assert!(report(Mode::Warn, 1).failure().is_none());
        let failed = report(Mode::Strict, 1);
        assert_eq!(failed.failure().as_deref(), Some("1 exchange never asked for"));
        assert!(failed.markdown().contains("**failed**"));
        assert!(matches!(failed.cases()[0].verdict, Verdict::Failed(..)));
        assert!(failed.summary().contains("never asked for: 1"));
        assert!(failed.summary().contains("not paid: 2,000 input and 7 output tokens, 1.5"));
        let allowed = Report { allow_unused: true, ..failed };
        assert!(allowed.failure().is_none());
    }

    #[test]
    fn runs_are_numbered_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Report::read(dir.path(), None).is_err());
        report(Mode::Strict, 0).keep(dir.path()).unwrap();
        report(Mode::Strict, 2).keep(dir.path()).unwrap();
        assert_eq!(Report::read(dir.path(), None).unwrap().counts.unused, 2);
        assert_eq!(Report::read(dir.path(), Some(1)).unwrap().counts.unused, 0);
        assert!(Report::read(dir.path(), Some(9)).is_err());
    }
}
