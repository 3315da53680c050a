//! What an audit and a diff say.

mod text;

use serde::Serialize;

use super::Source;
use super::evidence::origin;
use super::profile::{OutputDifference, Profile, Rolling, Sink};
use super::runs::Replayed;
use super::walk::{Found, Input, Line, Options, Walk, lines, walk};
use crate::error::Result;
use crate::report::junit;
use crate::session::{Process, Session};

pub use text::{audit_text, diff_text};

/// Events shown before a divergence.
const CONTEXT: u64 = 5;

/// How two sessions differ.
#[derive(Clone, Debug, Serialize)]
pub struct SessionDiff {
    /// Name of the first session.
    pub a: String,
    /// Name of the second.
    pub b: String,
    /// Pairs of events that were compared.
    pub compared: u64,
    /// Ids of processes that only the first has.
    pub only_a: Vec<String>,
    /// Ids of processes that only the second has.
    pub only_b: Vec<String>,
    /// The first difference of each process that has one.
    pub found: Vec<Found>,
    /// Events around the first of them, in the first session.
    pub around_a: Vec<Line>,
    /// Events around it in the second.
    pub around_b: Vec<Line>,
}

impl SessionDiff {
    /// Compares two sessions, with so many events before and after the first difference.
    ///
    /// # Errors
    /// A log can't be read.
    pub fn between(
        a: &Session,
        b: &Session,
        ignore: &[Source],
        context: u64,
    ) -> Result<SessionDiff> {
        let options = Options { ignore: ignore.to_vec(), first_only: true };
        let mut diff = SessionDiff {
            a: a.name().to_owned(),
            b: b.name().to_owned(),
            compared: 0,
            only_a: lonely(a, b),
            only_b: lonely(b, a),
            found: Vec::new(),
            around_a: Vec::new(),
            around_b: Vec::new(),
        };
        for (one, other) in pairs(a, b) {
            let walk = walk((a, one), (b, other), &options)?;
            diff.compared += walk.compared;
            let Some(found) = walk.first() else { continue };
            if diff.found.is_empty() {
                diff.around_a = around(a, one, found.step_a, context)?;
                diff.around_b = around(b, other, found.step_b, context)?;
            }
            diff.found.push(found.clone());
        }
        Ok(diff)
    }

    /// Whether there is no difference.
    pub fn is_equal(&self) -> bool {
        self.found.is_empty() && self.only_a.is_empty() && self.only_b.is_empty()
    }
}

/// Ids of processes of `a` that `b` does not have.
fn lonely(a: &Session, b: &Session) -> Vec<String> {
    let there = |p: &&Process| b.manifest().processes.iter().any(|q| q.key == p.key);
    a.manifest().processes.iter().filter(|p| !there(p)).map(|p| p.id.clone()).collect()
}

/// Processes that both sessions have.
fn pairs<'a>(a: &'a Session, b: &'a Session) -> impl Iterator<Item = (&'a Process, &'a Process)> {
    a.manifest().processes.iter().filter_map(|one| {
        let other = b.manifest().processes.iter().find(|other| other.key == one.key)?;
        Some((one, other))
    })
}

/// Events around a step; the last ones if the log ends there.
fn around(session: &Session, process: &Process, step: Option<u64>, n: u64) -> Result<Vec<Line>> {
    let step = step.unwrap_or(process.events);
    lines(session, process, step.saturating_sub(n), step.saturating_add(n + 1))
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// What was run, for the user.
    pub what: String,
    /// The session that the others are compared with.
    pub reference: String,
    /// Each other run.
    pub runs: Vec<Run>,
}

/// A source of inputs that differ.
#[derive(Debug, Serialize)]
pub struct Blame {
    /// The source.
    pub source: Source,
    /// Events that differ.
    pub count: u64,
    /// The first of them.
    pub first: Found,
    /// Whether the bytes that differ were found in what it gave.
    pub explains: bool,
    /// The last before the divergence, in the reference and in the run.
    pub nearest: (Line, Line),
}

/// One run compared with the reference.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Its name: of its session, or `replay 1`.
    pub name: String,
    /// Whether all its outputs are the reference's; none if that could not be told.
    pub same: Option<bool>,
    /// Why that could not be told.
    pub unknown: Option<String>,
    /// Exit codes of the reference and of the run, if they differ.
    pub exit_codes: Option<(Option<i32>, Option<i32>)>,
    /// Where stdout and stderr differ.
    pub outputs: Vec<OutputDifference>,
    /// Other outputs that differ: process, name, the reference's, the run's.
    pub sinks: Vec<(String, String, Option<Sink>, Option<Sink>)>,
    /// Processes that only one of the runs has.
    pub lonely: Vec<String>,
    /// Whether the events of all processes are the same.
    pub events_same: bool,
    /// Rolling hashes that differ: process key, reference, run.
    pub hashes: Vec<(String, Rolling, Rolling)>,
    /// The first event at which the program did something else.
    pub divergence: Option<Found>,
    /// Events before it, in the reference.
    pub before: Vec<Line>,
    /// Inputs that differ before that (or at all, if there is none), the likeliest source first.
    pub sources: Vec<Blame>,
    /// Where the first bytes of output that differ came into their process, in the reference.
    pub origin: Option<(String, Line)>,
    /// The report of a replay that stopped.
    pub replay: Option<serde_json::Value>,
}

impl Audit {
    /// Whether all runs are the same; none if that could not be told.
    pub fn same(&self) -> Option<bool> {
        if self.runs.iter().any(|run| run.same == Some(false)) {
            return Some(false);
        }
        self.runs.iter().all(|run| run.same == Some(true)).then_some(true)
    }

    /// One test for each run.
    pub fn junit(&self) -> Vec<junit::Case> {
        let case = |run: &Run| junit::Case {
            name: run.name.clone(),
            verdict: match run.same {
                Some(true) => junit::Verdict::Passed,
                Some(false) => junit::Verdict::Failed(
                    text::headline(run),
                    text::run_text(&self.reference, run),
                ),
                None => junit::Verdict::Errored(run.unknown.clone().unwrap_or_default()),
            },
        };
        self.runs.iter().map(case).collect()
    }
}

impl Run {
    fn new(name: String) -> Run {
        Run {
            name,
            same: None,
            unknown: None,
            exit_codes: None,
            outputs: Vec::new(),
            sinks: Vec::new(),
            lonely: Vec::new(),
            events_same: true,
            hashes: Vec::new(),
            divergence: None,
            before: Vec::new(),
            sources: Vec::new(),
            origin: None,
            replay: None,
        }
    }

    fn compare_outputs(
        &mut self,
        a: &[super::profile::Output],
        b: &[super::profile::Output],
    ) -> Result<()> {
        for (a, b) in a.iter().zip(b) {
            self.outputs.extend(a.difference(b)?);
        }
        Ok(())
    }

    /// Compares a recorded run with the reference.
    ///
    /// # Errors
    /// A log can't be read.
    pub fn recorded(a: (&Session, &Profile), b: (&Session, &Profile)) -> Result<Run> {
        let mut run = Run::new(b.0.name().to_owned());
        let codes = [a, b].map(|(session, _)| session.manifest().exit_code.map(i32::from));
        run.exit_codes = (codes[0] != codes[1]).then_some((codes[0], codes[1]));
        run.compare_outputs(&a.1.outputs, &b.1.outputs)?;
        run.compare_sinks(a.1, b.1);
        run.lonely = lonely(a.0, b.0);
        run.lonely.extend(lonely(b.0, a.0));
        run.compare_events(a, b)?;
        run.find_origin(a.0)?;
        run.same = Some(
            run.exit_codes.is_none()
                && run.outputs.is_empty()
                && run.sinks.is_empty()
                && run.lonely.is_empty(),
        );
        Ok(run)
    }

    fn find_origin(&mut self, a: &Session) -> Result<()> {
        let Some(output) = self.outputs.first() else { return Ok(()) };
        let Some((index, step)) = output.a else { return Ok(()) };
        let Some(process) = a.manifest().processes.get(index) else { return Ok(()) };
        if let Some(at) = origin(a, process, step, &output.bytes)? {
            let line = lines(a, process, at, at + 1)?.pop();
            self.origin = line.map(|line| (process.id.clone(), line));
        }
        Ok(())
    }

    fn compare_sinks(&mut self, a: &Profile, b: &Profile) {
        let value = |sink: Option<&Sink>| sink.map(|s| (s.bytes, s.hash));
        let all: std::collections::BTreeSet<_> = a.sinks.keys().chain(b.sinks.keys()).collect();
        for name in all {
            let (one, other) = (a.sinks.get(name), b.sinks.get(name));
            if value(one) != value(other) {
                self.sinks.push((name.0.clone(), name.1.clone(), one.copied(), other.copied()));
            }
        }
    }

    fn compare_events(&mut self, a: (&Session, &Profile), b: (&Session, &Profile)) -> Result<()> {
        let mut walks: Vec<(&Process, Walk)> = Vec::new();
        for (one, other) in pairs(a.0, b.0) {
            let hash =
                |profile: &Profile| profile.processes.get(&one.key).copied().unwrap_or_default();
            let (x, y) = (hash(a.1), hash(b.1));
            // Pids count by order in the hash, and may matter all the same where a run differs.
            if x == y {
                continue;
            }
            self.events_same = false;
            self.hashes.push((format!("{:016x}", one.key), x, y));
            walks.push((one, walk((a.0, one), (b.0, other), &Options::default())?));
        }
        // The process whose output differs first has the say, else the first of the tree.
        let named = self.outputs.first().and_then(|d| d.a);
        let named = named.and_then(|(i, _)| a.0.manifest().processes.get(i)).map(|p| p.key);
        let behaves = |(_, walk): &&(&Process, Walk)| walk.behaviour.is_some();
        let chosen = walks
            .iter()
            .find(|(process, walk)| Some(process.key) == named && walk.behaviour.is_some())
            .or_else(|| walks.iter().find(behaves));
        if let Some((process, walk)) = chosen {
            self.divergence = walk.behaviour.clone();
            if let Some(step) = self.divergence.as_ref().and_then(|d| d.step_a) {
                self.before = lines(a.0, process, step.saturating_sub(CONTEXT), step)?;
            }
        }
        // What the program passed on, or else was given last before it differs, is the likeliest
        // source.
        let bytes = self.divergence.as_ref().and_then(|d| d.difference.bytes.clone());
        let bytes = bytes.or_else(|| self.outputs.first().map(|o| o.bytes.clone()));
        let first = chosen.map(|(process, _)| process.key);
        walks.sort_by_key(|(process, _)| Some(process.key) != first);
        for (process, walk) in &walks {
            let mut inputs: Vec<_> = walk.inputs.iter().collect();
            let explains =
                |input: &Input| bytes.as_ref().is_some_and(|b| input.evidence.explains(b));
            inputs.sort_by_key(|(_, input)| std::cmp::Reverse((explains(input), input.last.0)));
            for (source, input) in inputs {
                if let Some(known) = self.sources.iter_mut().find(|s| s.source == *source) {
                    known.count += input.count;
                    continue;
                }
                let other = b.0.manifest().processes.iter().find(|p| p.key == process.key);
                let one = |session, process, step| -> Result<Option<Line>> {
                    Ok(lines(session, process, step, step + 1)?.pop())
                };
                let nearest = match other {
                    Some(other) => {
                        (one(a.0, process, input.last.0)?, one(b.0, other, input.last.1)?)
                    }
                    None => (None, None),
                };
                if let (Some(x), Some(y)) = nearest {
                    let (first, count) = (input.first.clone(), input.count);
                    let explains = explains(input);
                    self.sources.push(Blame {
                        source: *source,
                        count,
                        first,
                        explains,
                        nearest: (x, y),
                    });
                }
            }
        }
        Ok(())
    }

    /// Compares a replay with its session.
    ///
    /// # Errors
    /// A temporary file can't be read.
    pub fn replayed(
        n: usize,
        session: &Session,
        profile: &Profile,
        replay: Replayed,
    ) -> Result<Run> {
        let mut run = Run::new(format!("replay {n}"));
        let recorded = session.manifest().exit_code.map(i32::from);
        let diverged = replay.divergence.is_some();
        if replay.code != recorded && !diverged {
            let code = replay.code.map_or_else(|| "by a signal".into(), |c| format!("with {c}"));
            run.unknown = Some(format!("the replay ended {code}: {}", replay.message));
            return Ok(run);
        }
        run.events_same = !diverged;
        run.replay = replay.divergence;
        if !diverged {
            run.compare_outputs(&profile.outputs, &replay.outputs)?;
        }
        run.same = Some(!diverged && run.outputs.is_empty());
        Ok(run)
    }
}
