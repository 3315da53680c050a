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

#[test]
fn a_configuration_file_stands_for_options() {
    let case = Case::bash("echo token-of-mine-1234; echo 1 > a; echo 2 > out").code(0);
    let case = case
        .file("rr-run.toml", "[policy]\nallow_write = ['out']\n[redact]\nrules = 'secret.toml'\n")
        .file("secret.toml", "[[value]]\nid = 'mine'\nvalue = 'token-of-mine-1234'\n");
    let recording = case.record().unwrap();
    assert!(recording.output.err().contains("a: Permission denied"), "{}", recording.output);
    let mut command = Command::new(RR_RUN);
    command.arg("show").arg(&recording.session);
    let shown = run(&mut command, b"", Duration::from_secs(60)).out();
    assert!(!shown.contains("token-of-mine-1234"), "{shown}");
    let mut command = Command::new(RR_RUN);
    command.args(["show", "--call", "note"]).arg(&recording.session);
    let notes = run(&mut command, b"", Duration::from_secs(60)).out();
    assert!(notes.contains("denied by the policy: write /"), "{notes}");
}
