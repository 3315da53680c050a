//! The policy: forbidden calls fail while recording and in network replay, a note says why, and a
//! replay repeats it.

mod access;
mod exec;
mod files;
mod net;

use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, RR_RUN, Recording, run};

/// Records, and replays what was recorded; stdout, stderr, and what the session notes.
fn policed(case: &Case) -> (String, String, String) {
    let recording = case.record().unwrap();
    case.replay(&recording).unwrap();
    let notes = info(&recording);
    (recording.output.out(), recording.output.err(), notes)
}

/// What `info` says of a session.
fn info(recording: &Recording) -> String {
    let mut command = Command::new(RR_RUN);
    command.arg("info").arg(&recording.session);
    run(&mut command, b"", Duration::from_secs(60)).out()
}

#[test]
fn a_mistake_in_a_policy_is_told() {
    for (option, said) in [
        ("--allow-net=a:b", "'a:b' is no HOST"),
        ("--config=missing.toml", "failed to read missing.toml"),
    ] {
        let mut command = Command::new(RR_RUN);
        command.args(["record", option, "true"]);
        let output = run(&mut command, b"", Duration::from_secs(60));
        assert!(output.code != Some(0) && output.err().contains(said), "{output}");
    }
}
