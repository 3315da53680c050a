//! Trees of processes with threads, whose logs are in several files each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::{command, place, rr_run, works};
use super::{Victim, children, loops, signal, state};
use crate::harness::c_program;

/// Lines of each thread.
const LINES: &str = "400";

/// Lines by process and thread.
type Lines = BTreeMap<(String, u64), Vec<String>>;

fn recording(dir: &Path) -> Command {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| c_program("tree").display().to_string());
    // Each full slot becomes a file of its own; what outlives the root is waited for.
    let options = ["--seed", "7", "--rotate", "10k", "--compress", "0", "--linger", "60"];
    let args = ["record"].into_iter().chain(options).chain(["--", program, LINES]);
    let mut command = command(dir, &args.collect::<Vec<_>>());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What the guests have written.
fn written(dir: &Path) -> Lines {
    let text = std::fs::read_to_string(dir.join("lines")).unwrap_or_default();
    let mut lines = Lines::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (process, thread) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let thread = thread.parse().expect("a line has its thread's number");
        lines.entry((process.to_owned(), thread)).or_default().push(line.to_owned());
    }
    lines
}

/// What the logs say that they have written.
fn logged(dir: &Path) -> Lines {
    let mut lines = Lines::new();
    let show = works(&rr_run(dir, &["show", "--json", "--call", "write"]));
    for event in show.lines() {
        let event: Value = serde_json::from_str(event).expect("an event is JSON");
        if event["kind"] != "call" {
            continue;
        }
        let process = event["process"].as_str().expect("an event has a process").to_owned();
        let thread = event["thread"].as_u64().expect("an event has a thread");
        let line = event["buffers"][0]["text"].as_str().expect("a line is text");
        assert!(line.starts_with(&format!("{process} {thread} ")), "not its own: {event}");
        lines.entry((process, thread)).or_default().push(line.trim_end().to_owned());
    }
    lines
}

/// What each thread writes in an undisturbed run, and how long that took.
fn undisturbed() -> &'static (Lines, Duration) {
    static LINES: OnceLock<(Lines, Duration)> = OnceLock::new();
    LINES.get_or_init(|| {
        let dir = place();
        let start = Instant::now();
        assert!(recording(dir.path()).status().expect("rr-run starts").success());
        let took = start.elapsed();
        let procs = std::fs::read_dir(dir.path().join("store/latest/procs"));
        let files = procs.expect("the session has logs").count();
        let lines = written(dir.path());
        let processes = lines.keys().filter(|(_, thread)| *thread == 0).count();
        assert!(files > processes, "{files} files of {processes} processes: none was rotated");
        assert_eq!(logged(dir.path()), lines);
        (lines, took)
    })
}

/// Stops a process.
fn halt(pid: &str) {
    signal(pid, Signal::SIGSTOP);
    while !matches!(state(pid), 'T' | 'Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stops a process and all below it, so that none is missed; their pids, the deepest last.
fn stop(pid: &str, stopped: &mut Vec<String>) {
    halt(pid);
    stopped.push(pid.to_owned());
    for child in children(pid.parse().expect("a pid is a number")) {
        stop(&child, stopped);
    }
}

/// Kills once; how many lines were logged.
fn kill_at(victim: Victim, after: Duration) -> usize {
    let what = format!("{victim:?} killed after {after:?}");
    let (whole, _) = undisturbed();
    let dir = place();
    let mut child = recording(dir.path()).spawn().expect("rr-run starts");
    std::thread::sleep(after);
    let mut all = Vec::new();
    stop(&child.id().to_string(), &mut all);
    let (host, guests) = all.split_first().expect("the host is one of them");
    match victim {
        // Any of them, and at least one.
        Victim::Guest => {
            let one = fastrand::usize(..guests.len().max(1));
            let some = guests.iter().enumerate().filter(|(i, _)| *i == one || fastrand::bool());
            some.for_each(|(_, pid)| signal(pid, Signal::SIGKILL));
            all.iter().for_each(|pid| signal(pid, Signal::SIGCONT));
        }
        Victim::Host => {
            signal(host, Signal::SIGKILL);
            guests.iter().for_each(|pid| signal(pid, Signal::SIGCONT));
        }
        Victim::Both => all.iter().rev().for_each(|pid| signal(pid, Signal::SIGKILL)),
    }
    child.wait().expect("rr-run can be waited for");
    for pid in guests {
        // Those that outlive the host write on; what they do then is not looked at. A SIGKILL
        // would end a write in the middle of its line, a SIGSTOP does not.
        halt(pid);
        signal(pid, Signal::SIGKILL);
        while state(pid) != 'Z' {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let verify = rr_run(dir.path(), &["verify"]);
    if verify.err().contains("failed to find a session") {
        assert!(written(dir.path()).is_empty(), "{what}: no session, but lines");
        return 0;
    }
    assert!([Some(0), Some(121)].contains(&verify.code), "{what}: {verify}");
    let logged = logged(dir.path());
    // Last: a child that was being made when its host was killed writes on.
    let written = written(dir.path());
    for who in whole.keys().chain(written.keys()).chain(logged.keys()) {
        let [whole, written, logged] =
            [whole, &written, &logged].map(|lines| lines.get(who).map_or(&[][..], Vec::as_slice));
        let other = written.iter().enumerate().find(|(i, line)| whole.get(*i) != Some(line));
        assert!(other.is_none(), "{what}: {who:?} has written something else: {other:?}");
        assert!(written.starts_with(logged), "{what}: {who:?} has something else in its log");
        // A call is logged when it is done: of each thread one can be missing.
        let missing = written.len() - logged.len();
        let exact = !matches!(victim, Victim::Host);
        assert!(missing <= 1 || !exact, "{what}: {missing} lines of {who:?} are not logged");
    }
    logged.values().map(Vec::len).sum()
}

fn kills(victim: Victim) {
    let (whole, took) = undisturbed();
    let moment = |_| took.mul_f64(fastrand::f64());
    let left: Vec<usize> = (0..loops()).map(moment).map(|after| kill_at(victim, after)).collect();
    let whole: usize = whole.values().map(Vec::len).sum();
    println!("lines logged, of {whole}: {left:?}");
}

#[test]
fn some_guests() {
    kills(Victim::Guest);
}

#[test]
fn the_host() {
    kills(Victim::Host);
}

#[test]
fn all() {
    kills(Victim::Both);
}
