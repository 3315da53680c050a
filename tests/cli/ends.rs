//! A replay judges how every process ends, not the root alone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{fails, place, rr_run, works};

/// Changes the manifest of the latest session, as if something else had been recorded.
fn change(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("store/latest/manifest.json");
    let text = fs::read_to_string(&path).expect("the manifest can be read");
    let mut manifest = serde_json::from_str(&text).expect("it is JSON");
    change(&mut manifest);
    let text = serde_json::to_string_pretty(&manifest).expect("it is JSON");
    fs::write(&path, text).expect("the manifest can be written");
}

/// A session of a shell with a child.
fn with_child() -> tempfile::TempDir {
    let dir = place();
    works(&rr_run(dir.path(), &["--record", "sh", "-c", "env echo child; echo parent"]));
    works(&rr_run(dir.path(), &["--replay"]));
    dir
}

/// The second process of a manifest.
fn child(manifest: &mut Value) -> &mut Value {
    &mut manifest["processes"][1]
}

#[test]
fn a_child_with_another_exit_status() {
    let dir = with_child();
    change(dir.path(), |manifest| child(manifest)["wait_status"] = 0x300.into());
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 120, "process 1.1");
    assert!(output.err().contains("recorded: exit code 3"), "{output}");
}

#[test]
fn a_child_with_another_number_of_steps() {
    let dir = with_child();
    change(dir.path(), |manifest| {
        let events = child(manifest)["events"].as_u64().expect("a number");
        child(manifest)["events"] = (events + 1).into();
    });
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 120, "process 1.1");
}

#[test]
fn a_child_that_does_not_start() {
    let dir = with_child();
    change(dir.path(), |manifest| {
        let mut second = child(manifest).clone();
        second["id"] = "1.2".into();
        second["key"] = "0123456789abcdef".into();
        second["ordinal"] = 2.into();
        manifest["processes"].as_array_mut().expect("a list").push(second);
    });
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 120, "did not start");
    assert!(output.err().contains("process 1.2"), "{output}");
}

#[test]
fn output_that_does_not_come() {
    let dir = with_child();
    change(dir.path(), |manifest| {
        assert_eq!(manifest["counts"]["output_writes"], 2);
        manifest["counts"]["output_writes"] = 3.into();
    });
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 120, "2 writes to stdout and stderr; recorded: 3");
}

/// Its successor's output waits for it: the replay must end all the same.
#[test]
fn a_child_in_which_the_shim_fails() {
    let dir = place();
    fs::copy("/bin/echo", dir.path().join("copy")).expect("a program can be copied");
    works(&rr_run(dir.path(), &["--record", "sh", "-c", "./copy child; echo parent"]));
    fs::remove_file(dir.path().join("copy")).expect("it can be removed");
    works(&rr_run(dir.path(), &["--replay"]));
    change(dir.path(), |manifest| {
        let files = manifest["files"].as_array_mut().expect("a list");
        files.retain(|file| !file["path"].as_str().is_some_and(|path| path.ends_with("/copy")));
    });
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 125, "replay process 1.1");
    assert!(output.err().contains("failed to execute"), "{output}");
    assert!(!output.out().contains("parent"), "{output}");
}

/// The log of a child is lost, and with it the first of two numbered writes.
#[test]
fn processes_that_wait_for_each_other() {
    let dir = with_child();
    change(dir.path(), |manifest| {
        let key = child(manifest)["key"].as_str().expect("a key").to_owned();
        manifest["processes"].as_array_mut().expect("a list").truncate(1);
        let log = dir.path().join(format!("store/latest/procs/{key}.0.log"));
        fs::remove_file(log).expect("the log can be removed");
    });
    let output = rr_run(dir.path(), &["--replay"]);
    fails(&output, 120, "no process goes on");
    assert!(output.err().contains("all processes wait: 1 at step"), "{output}");
    // The same where the recording was cut short is its end.
    change(dir.path(), |manifest| {
        manifest["status"] = serde_json::json!({"state": "cut_short", "reason": "for a test"});
    });
    let output = rr_run(dir.path(), &["--replay"]);
    works(&output);
    assert!(output.err().contains("the recording ends here: for a test"), "{output}");
}
