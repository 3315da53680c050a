//! rr-run's own commands, and input that is bad.

mod bad;
mod commands;
mod damage;
mod ends;
mod hermetic;
mod inexact;
mod kills;
mod leftovers;
mod libraries;
mod unusable;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Output, RR_RUN, clean_environment, run};

/// Runs rr-run with a store of the test's own.
fn rr_run(dir: &Path, args: &[&str]) -> Output {
    run(&mut command(dir, args), b"", Duration::from_secs(60))
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.args(args).current_dir(dir).env("RR_RUN_DIR", dir.join("store"));
    command
}

/// A directory for one test.
fn place() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("rr-run-test-").tempdir().expect("a directory can be made")
}

/// Asserts an error of the documented form: exit code, one sentence, what to try.
#[track_caller]
fn fails(output: &Output, code: i32, names: &str) {
    let err = output.err();
    assert_eq!(output.code, Some(code), "{output}");
    assert!(err.contains("rr-run: failed to ") && err.contains("try: "), "{output}");
    assert!(err.contains(names), "{names:?} is not named: {output}");
}

/// Asserts success and returns stdout.
#[track_caller]
fn works(output: &Output) -> String {
    assert_eq!(output.code, Some(0), "{output}");
    output.out()
}
