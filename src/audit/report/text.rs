//! Audits and diffs for the eye.

use std::fmt::Write;

use similar::{ChangeTag, TextDiff};

use super::{Audit, Run, SessionDiff};
use crate::audit::Source;
use crate::audit::compare::Bytes;
use crate::audit::walk::{Found, Line};
use crate::report::units::{clip, count, plural};

/// Longest line of an event shown in an audit, characters.
const EVENT_WIDTH: usize = 160;

/// Writes to a string, which can't fail.
macro_rules! say {
    ($out:expr, $($arg:tt)*) => { _ = writeln!($out, $($arg)*) };
}

/// The difference of two sessions.
pub fn diff_text(diff: &SessionDiff) -> String {
    let mut out = String::new();
    for (side, ids) in [(&diff.a, &diff.only_a), (&diff.b, &diff.only_b)] {
        if !ids.is_empty() {
            say!(out, "only {side} has the processes {}", ids.join(", "));
        }
    }
    let Some(first) = diff.found.first() else {
        if diff.is_equal() {
            say!(out, "no difference in {} events", count(diff.compared));
        }
        return out;
    };
    say!(out, "--- {}", diff.a);
    say!(out, "+++ {}", diff.b);
    say!(out, "@@ {} @@ {}", place(first), what(first));
    unified(&mut out, &diff.around_a, &diff.around_b);
    if let Some(bytes) = &first.difference.bytes {
        both(&mut out, "", bytes);
    }
    let others = diff.found.len() - 1;
    if others > 0 {
        say!(out, "{others} more processes differ:");
        for found in diff.found.iter().skip(1) {
            say!(out, "  {}: {}", place(found), what(found));
        }
    }
    out
}

/// `process 1.2, step 7 (13 in the other), thread 0`.
fn place(found: &Found) -> String {
    let step = match (found.step_a, found.step_b) {
        (Some(a), Some(b)) if a == b => format!("step {a}"),
        (Some(a), Some(b)) => format!("step {a} ({b} in the other)"),
        (Some(a), None) => format!("step {a} (the other's log has ended)"),
        (None, Some(b)) => format!("step {b} of the other (the first's log has ended)"),
        (None, None) => "the end".into(),
    };
    format!("process {}, {step}, thread {}", found.process, found.thread)
}

fn what(found: &Found) -> String {
    let difference = &found.difference;
    match difference.source {
        Source::Behaviour => difference.what.clone(),
        source => format!("{}, from {}", difference.what, source.describe().0),
    }
}

/// Both sides' events as a unified diff, with their steps.
fn unified(out: &mut String, a: &[Line], b: &[Line]) {
    let texts = |lines: &[Line]| -> Vec<String> {
        lines.iter().map(|l| format!("t{:<2} {}", l.thread, l.text)).collect()
    };
    let (old, new) = (texts(a), texts(b));
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let new: Vec<&str> = new.iter().map(String::as_str).collect();
    let width = a.iter().chain(b).map(|l| l.step.to_string().len()).max().unwrap_or(1);
    for change in TextDiff::from_slices(&old, &new).iter_all_changes() {
        let (sign, step) = match change.tag() {
            ChangeTag::Equal => (' ', change.old_index().and_then(|i| a.get(i))),
            ChangeTag::Delete => ('-', change.old_index().and_then(|i| a.get(i))),
            ChangeTag::Insert => ('+', change.new_index().and_then(|i| b.get(i))),
        };
        let step = step.map_or(0, |line| line.step);
        say!(out, "{sign}{step:>width$} {}", change.value());
    }
}

/// The bytes of both sides, with the offset of the difference.
fn both(out: &mut String, indent: &str, bytes: &Bytes) {
    let skipped = if bytes.from > 0 { "..." } else { "" };
    say!(out, "{indent}bytes from offset {}, which differ from {}:", bytes.from, bytes.offset);
    say!(out, "{indent}- {skipped}{}", quoted(&bytes.a));
    say!(out, "{indent}+ {skipped}{}", quoted(&bytes.b));
}

/// Text in quotes, or hex if most of it is none.
fn quoted(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(nothing)".into();
    }
    let printable = |b: &&u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    if bytes.iter().filter(printable).count() * 4 >= bytes.len() * 3 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// The whole audit.
pub fn audit_text(audit: &Audit) -> String {
    let mut out = String::new();
    say!(out, "{}", audit.what);
    say!(out, "reference  {}", audit.reference);
    for run in &audit.runs {
        say!(out, "{:<10} {}", verdict(run), headline(run));
    }
    // One account of each way to differ is enough.
    let mut told: Vec<String> = Vec::new();
    for run in audit.runs.iter().filter(|run| run.same == Some(false)) {
        let key =
            run.divergence.as_ref().map_or_else(|| headline(run), |d| format!("{:?}", d.step_a));
        if !told.contains(&key) {
            told.push(key);
            say!(out, "");
            out.push_str(&run_text(&audit.reference, run));
        }
    }
    say!(out, "");
    out.push_str(match audit.same() {
        Some(true) => "deterministic: all outputs are the same\n",
        Some(false) => "not deterministic\n",
        None => "could not tell\n",
    });
    out
}

fn verdict(run: &Run) -> &'static str {
    match run.same {
        Some(true) => "same",
        Some(false) => "different",
        None => "unknown",
    }
}

/// One run in a line.
pub(super) fn headline(run: &Run) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = &run.unknown {
        parts.push(clip(reason, 200));
    }
    if let Some((a, b)) = run.exit_codes {
        let code = |code: Option<i32>| code.map_or("none".into(), |c| c.to_string());
        parts.push(format!("exit code {} instead of {}", code(b), code(a)));
    }
    for output in &run.outputs {
        parts.push(format!("{} from byte {}", output.name, output.bytes.offset));
    }
    if !run.sinks.is_empty() {
        parts.push(format!("{} other outputs", run.sinks.len()));
    }
    if !run.lonely.is_empty() {
        parts.push(format!("processes {}", run.lonely.join(", ")));
    }
    if let Some(step) = run.replay.as_ref().and_then(|r| r.get("step")) {
        parts.push(format!("stopped at step {step}"));
    }
    if run.same == Some(true) && !run.events_same {
        let sources = run.sources.iter().map(|blame| blame.source.describe().0);
        let sources = sources.collect::<Vec<_>>().join(", ");
        parts.push(format!("without effect on the outputs differ: {sources}"));
    }
    format!("{}  {}", run.name, parts.join("; ")).trim_end().to_owned()
}

/// How one run differs.
pub(super) fn run_text(reference: &str, run: &Run) -> String {
    let mut out = String::new();
    say!(out, "{} (+) differs from {reference} (-)", run.name);
    for output in &run.outputs {
        say!(out, "  {}:", output.name);
        both(&mut out, "    ", &output.bytes);
    }
    for (process, name, a, b) in run.sinks.iter().take(10) {
        let size = |sink: &Option<crate::audit::profile::Sink>| {
            sink.map_or_else(|| "nothing".into(), |s| format!("{} bytes", count(s.bytes)))
        };
        let step = a.or(*b).map_or(0, |s| s.step);
        say!(out, "  process {process}, {name}, from step {step}: {} and {}", size(a), size(b));
    }
    if let Some(found) = &run.divergence {
        say!(out, "  the program first does something else at {}: {}", place(found), what(found));
        let width = run.before.iter().map(|l| l.step.to_string().len()).max().unwrap_or(1);
        for line in &run.before {
            say!(out, "      {:>width$} {}", line.step, clip(&line.text, EVENT_WIDTH));
        }
        for (sign, step, text) in [('-', found.step_a, &found.a), ('+', found.step_b, &found.b)] {
            let step = step.map_or_else(String::new, |s| s.to_string());
            say!(out, "    {sign} {step:>width$} {}", clip(text, EVENT_WIDTH));
        }
        if let Some(bytes) = &found.difference.bytes {
            both(&mut out, "    ", bytes);
        }
    }
    if let Some((process, line)) = &run.origin {
        say!(out, "  the bytes that differ in the output came into process {process} here:");
        say!(out, "    {} {}", line.step, clip(&line.text, EVENT_WIDTH));
    }
    if let Some(report) = &run.replay {
        let field =
            |name: &str| report.get(name).and_then(|v| v.as_str()).unwrap_or("?").to_owned();
        let recorded = report.get("recorded").and_then(|r| r.get("text")).and_then(|t| t.as_str());
        say!(out, "  the replay stopped in process {}: {}", field("process"), field("what"));
        say!(out, "    - {}", clip(recorded.unwrap_or("the log ends"), EVENT_WIDTH));
        say!(out, "    + {}", clip(&field("actual"), EVENT_WIDTH));
    }
    if !run.sources.is_empty() {
        let before =
            if run.divergence.is_some() { "before it, the likeliest first" } else { "in its log" };
        say!(out, "  inputs that differ {before}:");
        for blame in &run.sources {
            let (name, advice) = blame.source.describe();
            let (a, b) = &blame.nearest;
            let found =
                if blame.explains { ", and the bytes that differ are from there" } else { "" };
            say!(
                out,
                "    {name}: {} in process {}{found}",
                plural(blame.count as usize, "event", "events"),
                blame.first.process
            );
            say!(out, "      - {} {}", a.step, clip(&a.text, EVENT_WIDTH));
            say!(out, "      + {} {}", b.step, clip(&b.text, EVENT_WIDTH));
            if a.text == b.text {
                say!(out, "      ({})", blame.first.difference.what);
            }
            say!(out, "      try: {advice}");
        }
    } else if run.divergence.is_some() {
        say!(out, "  no input differs before it");
    }
    out
}
