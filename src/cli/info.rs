//! `rr-run info`.

mod access;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

use log_format::record::Kind;
use log_format::table;
use serde_json::json;

use super::StoreArgs;
use crate::access::Access;
use crate::decode;
use crate::error::{Error, Result};
use crate::report::out::{self, stdout, written};
use crate::report::tree::{Node, draw};
use crate::report::units::{self, bytes, count};
use crate::session::manifest::{Entropy, Time, TlsMode};
use crate::session::{Manifest, Session};

/// Calls named in the summary.
const CALLS_SHOWN: usize = 12;
/// Notes shown in full.
const NOTES_SHOWN: usize = 20;
/// Width of the labels.
const LABEL: usize = 12;

/// Show what a session holds: program, machine, processes, counts.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    #[command(flatten)]
    store: StoreArgs,
    /// The whole manifest as JSON, with counts by call and notes
    #[arg(long)]
    json: bool,
    /// Do not read the log: no counts by call, no notes
    #[arg(long)]
    quick: bool,
    /// What was accessed: files written, hosts reached, programs run
    #[arg(long, conflicts_with_all = ["quick", "all"])]
    access: bool,
    /// Environment, limits and files too
    #[arg(long)]
    all: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

/// What only the log tells.
#[derive(Debug, Default)]
struct Seen {
    calls: BTreeMap<String, u64>,
    notes: BTreeMap<String, u64>,
    damage: Vec<String>,
}

impl Info {
    /// Shows the session; the exit code.
    ///
    /// # Errors
    /// There is no such session, or its manifest can't be read.
    pub(super) fn run(self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        if self.access {
            let access = Access::of(&session)?;
            return stdout(|out| {
                if self.json {
                    out::json(out, &access)?;
                } else {
                    out.write_all(access::render(&access).as_bytes()).map_err(written)?;
                }
                Ok(0)
            });
        }
        let seen = if self.quick { None } else { Some(read(&session)?) };
        stdout(|out| {
            if self.json {
                let mut value =
                    serde_json::to_value(session.manifest()).map_err(|e| written(e.into()))?;
                if let Some(seen) = &seen {
                    value["calls"] = json!(seen.calls);
                    value["note_texts"] = json!(seen.notes);
                    value["damage"] = json!(seen.damage);
                }
                out::json(out, &value)?;
            } else {
                let text = render(&session, seen.as_ref(), self.all);
                out.write_all(text.as_bytes()).map_err(written)?;
            }
            Ok(0)
        })
    }
}

/// Reads all events once. Damage ends a process's part.
fn read(session: &Session) -> Result<Seen> {
    let mut seen = Seen::default();
    for process in &session.manifest().processes {
        let mut events = session.events(process)?;
        loop {
            let record = match events.next_event() {
                Ok(Some(event)) => event.record,
                Ok(None) => break,
                Err(e @ (Error::Damaged { .. } | Error::SessionNewer { .. })) => {
                    seen.damage.push(format!("process {}: {e}", process.id));
                    break;
                }
                Err(e) => return Err(e),
            };
            match record.header.kind {
                Kind::Call => {
                    let nr = record.call().map_or(u64::MAX, |call| call.nr.into());
                    let name = table::row(nr).map(|row| row.name);
                    match name.and_then(|name| seen.calls.get_mut(name)) {
                        Some(n) => *n += 1,
                        None => {
                            let name = name.map_or_else(|| format!("syscall_{nr}"), str::to_owned);
                            *seen.calls.entry(name).or_default() += 1;
                        }
                    }
                }
                Kind::Note => {
                    let text = decode::record(&record, &decode::Options::default());
                    let text = text.trim_matches(['-', ' ']).to_owned();
                    *seen.notes.entry(text).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    Ok(seen)
}

/// Lines of a label and a text.
struct Page(String);

impl Page {
    fn line(&mut self, label: &str, text: impl AsRef<str>) {
        for (i, part) in text.as_ref().lines().enumerate() {
            let label = if i == 0 { label } else { "" };
            _ = writeln!(self.0, "{label:<LABEL$}{part}");
        }
    }
}

fn render(session: &Session, seen: Option<&Seen>, all: bool) -> String {
    let manifest = session.manifest();
    let program = &manifest.program;
    let mut page = Page(String::new());
    page.line("session", &manifest.name);
    page.line("directory", session.dir().display().to_string());
    page.line("command", units::command(&program.argv, if all { usize::MAX } else { 200 }));
    page.line("executable", program.executable.to_string());
    page.line("in", program.cwd.to_string());
    let took = manifest.ended_ns.checked_sub(manifest.started_ns);
    let took = took.map_or_else(String::new, |ns| format!(", took {}", units::duration(ns)));
    page.line("started", format!("{}{took}", units::time(manifest.started_ns)));
    let code = manifest.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
    let ended = match manifest.wait_status {
        Some(status) => format!("{}{code}", decode::exit(status as u32)),
        None => "end not seen".into(),
    };
    page.line("ended", ended);
    let live = if session.is_live() { ", at this moment" } else { "" };
    page.line("status", format!("{}{live}", units::status(&manifest.status)));
    options(&mut page, manifest);
    let machine = &manifest.machine;
    let on = [&machine.host, &machine.system, &machine.release, &machine.architecture]
        .map(|s| s.as_str());
    page.line("machine", on.join(" "));
    page.line("processor", format!("{}, {} usable", machine.cpu, machine.cpus));
    if let Some(git) = &manifest.git {
        let dirty = if git.dirty { ", with uncommitted changes" } else { "" };
        page.line("git", format!("{}{dirty}", git.commit));
    }
    counts(&mut page, manifest, seen);
    files(&mut page, manifest, all);
    tls(&mut page, manifest);
    if all {
        page.line("environment", join(&program.env));
        let limit = |n: Option<u64>| n.map_or("unlimited".into(), |n| n.to_string());
        let limits = program
            .rlimits
            .iter()
            .map(|l| format!("{} {} {}", l.name, limit(l.soft), limit(l.hard)));
        page.line("limits", limits.collect::<Vec<_>>().join("\n"));
        page.line("umask", format!("{:04o}", program.umask));
    }
    page.line("processes", tree(manifest));
    let redactions = manifest.redactions.rules.iter();
    let redactions: Vec<_> = redactions.map(|(rule, n)| format!("{rule}: {n}")).collect();
    page.line("redacted", redactions.join("\n"));
    page.line("warnings", manifest.warnings.join("\n"));
    if let Some(seen) = seen {
        let mut notes: Vec<String> = seen
            .notes
            .iter()
            .map(|(text, n)| if *n > 1 { format!("{text} ({n} times)") } else { text.clone() })
            .collect();
        let left = notes.len().saturating_sub(NOTES_SHOWN);
        notes.truncate(NOTES_SHOWN);
        if left > 0 {
            notes.push(format!("and {left} more: `rr-run show --call note`"));
        }
        page.line("notes", notes.join("\n"));
        page.line("damage", seen.damage.join("\n"));
    }
    page.0
}

fn options(page: &mut Page, manifest: &Manifest) {
    let options = &manifest.options;
    let randomness = match options.entropy {
        Entropy::Seeded => format!("from the seed {}", manifest.seed),
        Entropy::Os => "the system's, logged".into(),
    };
    page.line("randomness", randomness);
    let tsc = if options.trap_tsc { ", rdtsc trapped everywhere" } else { "" };
    let clock = match options.time {
        Time::Real => "real, logged",
        Time::Frozen => "frozen",
    };
    page.line("clock", format!("{clock}{tsc}"));
    if !options.aslr_off {
        page.line("addresses", "randomised: a process replay may not be exact");
    }
    page.line("format", format!("{} (rr-run {})", manifest.format, manifest.rr_run));
}

fn tls(page: &mut Page, manifest: &Manifest) {
    let tls = &manifest.tls;
    if manifest.options.tls == TlsMode::Passive || tls.log.events == 0 {
        return;
    }
    let size = bytes(tls.log.bytes);
    let mut text = format!("{} connections with their plaintext, {size}", tls.intercepted);
    for o in &tls.opaque {
        let times =
            if o.connections > 1 { format!(" ({} times)", o.connections) } else { String::new() };
        let _ = write!(text, "\n{}:{} stayed ciphertext: {}{times}", o.host, o.port, o.reason);
    }
    page.line("tls", text);
}

fn counts(page: &mut Page, manifest: &Manifest, seen: Option<&Seen>) {
    let counts = &manifest.counts;
    page.line(
        "events",
        format!(
            "{} in {}",
            count(counts.events),
            units::plural(manifest.processes.len(), "process", "processes")
        ),
    );
    let ratio = match counts.stored_bytes {
        0 => String::new(),
        n => format!(", {:.1} times smaller", counts.bytes as f64 / n as f64),
    };
    let sizes =
        format!("{} logged, {} stored{ratio}", bytes(counts.bytes), bytes(counts.stored_bytes));
    page.line("size", sizes);
    page.line("by kind", ranked(&counts.kinds, usize::MAX));
    if let Some(seen) = seen {
        page.line("by call", ranked(&seen.calls, CALLS_SHOWN));
    }
    if !counts.notes.is_empty() {
        page.line("noted", ranked(&counts.notes, usize::MAX));
    }
    let opaque = manifest.processes.iter().filter(|p| p.opaque.is_some()).count();
    if opaque > 0 {
        let processes = units::plural(opaque, "process", "processes");
        page.line("opaque", format!("{processes} ran unseen, see below"));
    }
    if counts.inexact_signals > 0 {
        let signals = units::plural(counts.inexact_signals as usize, "signal", "signals");
        page.line("inexact", format!("{signals} that came while the program made no call"));
    }
    if counts.dropped > 0 {
        page.line(
            "dropped",
            format!("{} events after recording had stopped", count(counts.dropped)),
        );
    }
}

/// `read 120, write 7`, largest first.
fn ranked(counts: &BTreeMap<String, u64>, max: usize) -> String {
    let mut all: Vec<_> = counts.iter().collect();
    all.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), name.as_str()));
    let shown: Vec<_> =
        all.iter().take(max).map(|(name, n)| format!("{name} {}", count(**n))).collect();
    let rest = all.len() - shown.len();
    let more = if rest > 0 { format!(", and {rest} others") } else { String::new() };
    shown.join(", ") + &more
}

fn files(page: &mut Page, manifest: &Manifest, all: bool) {
    let files = &manifest.files;
    let kept = files.iter().filter(|f| f.kept);
    let kept_bytes: u64 = kept.clone().map(|f| f.size).sum();
    let system = files.iter().filter(|f| f.system).count();
    page.line(
        "files",
        format!(
            "{} mapped or executed: {system} of the system, {} kept ({})",
            files.len(),
            kept.count(),
            bytes(kept_bytes)
        ),
    );
    // Neither the system's nor kept: a replay elsewhere needs them.
    let shown = |f: &&crate::session::manifest::File| all || (!f.system && !f.kept);
    let lines = files.iter().filter(shown).map(|f| {
        let place = if f.kept {
            "kept"
        } else if f.system {
            "system"
        } else {
            "not kept"
        };
        format!("{:<9} {:>10}  {}", place, bytes(f.size), f.path)
    });
    page.line("", lines.collect::<Vec<_>>().join("\n"));
}

fn join(lines: &[crate::session::manifest::ByteText]) -> String {
    lines.iter().map(|l| units::clip(&l.to_string(), usize::MAX)).collect::<Vec<_>>().join("\n")
}

fn tree(manifest: &Manifest) -> String {
    let nodes: Vec<Node> = manifest
        .processes
        .iter()
        .map(|p| {
            let command = units::command(&p.argv, 60);
            let ended = units::end(p);
            let cut = match (p.complete, &p.opaque) {
                (true, _) => String::new(),
                (false, None) => ", log incomplete".into(),
                (false, Some(reason)) => format!(", then unseen: {reason}"),
            };
            let text = format!(
                "{} pid {}  {command}  ({ended}, {} events{cut})",
                p.id,
                p.pid,
                count(p.events)
            );
            Node { depth: p.id.matches('.').count(), text }
        })
        .collect();
    draw(&nodes).join("\n")
}
