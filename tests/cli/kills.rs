//! kill -9 at random moments: what is left is the beginning of what an undisturbed run leaves.
//!
//! `RR_TEST_LOOPS=100` kills that often.

mod tree;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{command, place, rr_run, works};
use crate::harness::c_program;

/// Whom to kill.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Guest,
    Host,
    Both,
}

/// Lines that the program writes: more than it gets to before the last moment of a kill.
const LINES: &str = "4000";
/// The last moment of a kill, microseconds after the start.
const KILL_US_MAX: u64 = 400_000;

/// Records the program; always the same run.
fn recording(dir: &Path) -> Command {
    // Compiled once: its identity is in the log.
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| c_program("counted").display().to_string());
    command(dir, &["record", "--seed", "7", "--", program, LINES])
}

/// All events, but for what differs from run to run: times, and the pids in the first one.
fn events(dir: &Path) -> Vec<Value> {
    let show = works(&rr_run(dir, &["show", "--json"]));
    let events = show.lines().filter_map(|line| {
        let mut event: Value = serde_json::from_str(line).expect("an event is JSON");
        // The last line may say how the log ends.
        let kind = event.get("kind")?;
        if kind == "start" {
            event["text"] = Value::Null;
        }
        event.as_object_mut()?.remove("time_ns");
        if let Some(buffers) = event.get_mut("buffers").and_then(Value::as_array_mut) {
            buffers.retain(|buffer| buffer["extra"] != "time" && buffer["extra"] != "start");
        }
        Some(event)
    });
    events.collect()
}

/// What an undisturbed run leaves.
fn undisturbed() -> &'static [Value] {
    static EVENTS: OnceLock<Vec<Value>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let dir = place();
        let status = recording(dir.path()).stdout(Stdio::null()).status();
        assert!(status.expect("rr-run starts").success());
        events(dir.path())
    })
}

/// Pids of the children of a process.
pub(super) fn children(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Letter of a process's state (proc_pid_stat(5)); `Z` too if there is no such process.
fn state(pid: &str) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()).unwrap_or('Z')
}

/// Sends a signal to a process that may be gone.
fn signal(pid: &str, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.parse().expect("a pid is a number")), signal);
}

/// What the log says the guest has written to its stdout.
fn written(events: &[Value]) -> String {
    let writes = events.iter().filter(|event| event["name"] == "write");
    writes.filter_map(|event| event["buffers"][0]["text"].as_str()).collect()
}

/// Kills once; how many events were left.
fn kill_at(victim: Victim, after: Duration) -> usize {
    let dir = place();
    // A file takes all that is written at once; a pipe would hold the guest up.
    let stdout = dir.path().join("stdout");
    let file = File::create(&stdout).expect("a file can be made");
    let mut child =
        recording(dir.path()).stdout(file).stderr(Stdio::null()).spawn().expect("rr-run starts");
    std::thread::sleep(after);
    let host = child.id().to_string();
    // It starts no guest between the look at its children and their end.
    signal(&host, Signal::SIGSTOP);
    while !matches!(state(&host), 'T' | 'Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
    let guests = children(child.id());
    match victim {
        Victim::Guest => {
            guests.iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            signal(&host, Signal::SIGCONT);
        }
        Victim::Host => {
            signal(&host, Signal::SIGKILL);
            // The guest goes on unrecorded: it is not waited for.
            std::thread::sleep(Duration::from_millis(50));
            guests.iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        }
        Victim::Both => {
            [&host].into_iter().chain(&guests).for_each(|pid| signal(pid, Signal::SIGKILL));
        }
    }
    child.wait().expect("rr-run can be waited for");
    // Where both are killed, the guest may end after rr-run has.
    for pid in &guests {
        while state(pid) != 'Z' {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let out = std::fs::read_to_string(&stdout).expect("it can be read");
    let what = format!("{victim:?} killed after {after:?}");
    let verify = rr_run(dir.path(), &["verify"]);
    if verify.err().contains("failed to find a session") {
        // rr-run was killed before it had written what the session is: the guest had not begun.
        assert!(out.is_empty(), "{what}: no session, but output");
        return 0;
    }
    assert!([Some(0), Some(121)].contains(&verify.code), "{what}: {verify}");
    let left = events(dir.path());
    // A replay goes as far as the log does, and is right there.
    let replay = rr_run(dir.path(), &["--replay"]);
    let diverged = [Some(120), Some(125), None].contains(&replay.code);
    assert!(left.is_empty() || !diverged, "{what}: {replay}");
    let whole = undisturbed();
    let differs = left.iter().zip(whole).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!("{what}: event {at} of {}:\n{}\n{}", left.len(), left[at], whole[at]);
    }
    assert!(left.len() <= whole.len(), "{what}: {} events", left.len());
    let logged = written(&left);
    // The host alone killed: the guest wrote on without a log.
    assert!(out.starts_with(&logged) || logged.starts_with(&out), "{what}:\n{out}\n---\n{logged}");
    if !matches!(victim, Victim::Host) {
        // At most the line being written at that moment is in one and not in the other.
        let apart = out.lines().count().abs_diff(logged.lines().count());
        assert!(apart <= 1, "{what}: {apart} lines apart:\n{out}\n---\n{logged}");
    }
    left.len()
}

/// How often a test kills.
fn loops() -> u64 {
    std::env::var("RR_TEST_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(8)
}

fn kills(victim: Victim) {
    let moment = |_| Duration::from_micros(fastrand::u64(0..KILL_US_MAX));
    let left: Vec<usize> = (0..loops()).map(moment).map(|after| kill_at(victim, after)).collect();
    println!("events left, of {}: {left:?}", undisturbed().len());
}

#[test]
fn the_guest() {
    kills(Victim::Guest);
}

#[test]
fn the_host() {
    kills(Victim::Host);
}

#[test]
fn both() {
    kills(Victim::Both);
}
