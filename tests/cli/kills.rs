//! kill -9 at random moments: what had completed is readable.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{command, place, rr_run};
use crate::harness::c_program;

/// Whom to kill.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Guest,
    Host,
    Both,
}

/// Pids of the children of a process.
fn children(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// What the log says the guest has written to its stdout.
fn written(dir: &Path) -> String {
    let show = rr_run(dir, &["show", "--json", "--call", "write"]);
    assert_eq!(show.code, Some(0), "{show}");
    let mut text = String::new();
    for line in show.out().lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event is JSON");
        if event["args"][0]["value"] == 1 {
            text += event["buffers"][0]["text"].as_str().unwrap_or_default();
        }
    }
    text
}

fn kill_at(victim: Victim, after: Duration) {
    let dir = place();
    let program = c_program("steady").display().to_string();
    let mut child = command(dir.path(), &["--record", &program])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("rr-run starts");
    std::thread::sleep(after);
    let mut pids = children(child.id());
    let guest = pids.clone();
    match victim {
        Victim::Guest => {}
        Victim::Host => pids = vec![child.id().to_string()],
        Victim::Both => pids.insert(0, child.id().to_string()),
    }
    if !pids.is_empty() {
        let _ = Command::new("kill").arg("-9").args(&pids).status();
    }
    // A guest whose host was killed goes on unrecorded: it is not waited for.
    std::thread::sleep(Duration::from_millis(100));
    let _ = Command::new("kill").arg("-9").args(&guest).stderr(Stdio::null()).status();
    let mut out = Vec::new();
    child.stdout.take().expect("it is a pipe").read_to_end(&mut out).expect("it can be read");
    child.wait().expect("rr-run can be waited for");
    let out = String::from_utf8_lossy(&out).into_owned();
    let what = format!("{victim:?} killed after {after:?}");
    let verify = rr_run(dir.path(), &["verify"]);
    if verify.err().contains("failed to find a session") {
        // rr-run was killed before it had written what the session is: the guest had not begun.
        assert!(out.is_empty(), "{what}: no session, but output");
        return;
    }
    assert!([Some(0), Some(121)].contains(&verify.code), "{what}: {verify}");
    let logged = written(dir.path());
    // The host alone killed: the guest wrote on without a log.
    assert!(out.starts_with(&logged) || logged.starts_with(&out), "{what}:\n{out}\n---\n{logged}");
    if !matches!(victim, Victim::Host) {
        // At most the line being written at that moment is in one and not in the other.
        let apart = out.lines().count().abs_diff(logged.lines().count());
        assert!(apart <= 1, "{what}: {apart} lines apart:\n{out}\n---\n{logged}");
    }
}

fn kills(victim: Victim) {
    let count: u64 = std::env::var("RR_TEST_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    for _ in 0..count {
        kill_at(victim, Duration::from_micros(fastrand::u64(0..250_000)));
    }
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
