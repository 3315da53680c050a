//! Damaged sessions: an error that names what is readable, never a crash.

use std::fs;
use std::path::{Path, PathBuf};

use rr_run::session::Session;
use rr_run::session::verify::verify;

use super::{fails, place, rr_run, works};
use crate::harness::{Output, c_program};

/// A small session and its log and manifest.
fn small() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = place();
    let program = c_program("environment").display().to_string();
    works(&rr_run(dir.path(), &["--record", &program]));
    let session = dir.path().join("store/latest");
    let log = fs::read_dir(session.join("procs"))
        .expect("the session has logs")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|e| e == "log"))
        .expect("the session has a log");
    let manifest = session.join("manifest.json");
    (dir, log, manifest)
}

/// Success, or the documented error: never a crash.
#[track_caller]
fn answers(output: &Output, what: &str) {
    let orderly = match output.code {
        Some(0) => true,
        Some(121) => output.err().contains("try: ") || output.out().contains("damaged"),
        _ => false,
    };
    assert!(orderly && !output.err().contains("panicked"), "{what}: {output}");
}

fn each(dir: &Path, what: &str) {
    answers(&rr_run(dir, &["verify"]), what);
    answers(&rr_run(dir, &["show"]), what);
}

#[test]
fn a_log_cut_at_any_byte() {
    let (dir, log, _) = small();
    let whole = fs::read(&log).expect("the log can be read");
    let full = works(&rr_run(dir.path(), &["show"]));
    for length in 0..whole.len() {
        fs::write(&log, &whole[..length]).expect("the log can be written");
        let output = rr_run(dir.path(), &["show"]);
        answers(&output, &format!("cut at {length}"));
        let readable = output.out();
        let lines: Vec<&str> = readable.lines().collect();
        let note = |line: &str| line.contains("--- the log");
        let same = full.lines().zip(&lines).all(|(whole, cut)| whole == *cut || note(cut));
        assert!(same, "cut at {length}: not a beginning: {readable}");
        if length % 50 == 0 {
            let verify = rr_run(dir.path(), &["verify"]);
            assert_eq!(verify.code, Some(121), "cut at {length}: {verify}");
            answers(&rr_run(dir.path(), &["info"]), &format!("cut at {length}"));
        }
    }
}

/// Reads a session as `verify` and `show` do, in this process: thousands of times in seconds.
/// Whether `verify` finds it whole, and the bytes of all events; None: it can't be opened.
fn read(session: &Path) -> Option<(bool, Vec<u8>)> {
    let session = Session::open(session).ok()?;
    let whole = verify(&session).is_ok_and(|report| report.is_whole());
    let mut bytes = Vec::new();
    for process in &session.manifest().processes {
        let Ok(mut events) = session.events(process) else { continue };
        while let Ok(Some(event)) = events.next_event() {
            bytes.extend_from_slice(event.record.body);
        }
    }
    Some((whole, bytes))
}

/// The file with one bit of the byte at `at` changed.
fn with_bit_changed(whole: &[u8], at: usize) -> Vec<u8> {
    let mut changed = whole.to_vec();
    changed[at] ^= 1 << (at % 8);
    changed
}

#[test]
fn a_log_with_any_byte_changed() {
    let (dir, log, _) = small();
    let whole = fs::read(&log).expect("the log can be read");
    let session = dir.path().join("store/latest");
    let undamaged = read(&session);
    assert!(undamaged.as_ref().is_some_and(|(whole, _)| *whole));
    for at in 0..whole.len() {
        fs::write(&log, with_bit_changed(&whole, at)).expect("the log can be written");
        let found = read(&session).expect("the manifest is as it was");
        // One bit of a zstd frame's header has no meaning.
        let harmless = undamaged.as_ref() == Some(&found);
        assert!(!found.0 || harmless, "byte {at} of {} changed", whole.len());
    }
    // The commands themselves, for some of them.
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(&log, with_bit_changed(&whole, at)).expect("the log can be written");
        each(dir.path(), &format!("byte {at} changed"));
    }
    // What a changed byte means for a replay: an error, not another output.
    for at in (0..whole.len()).step_by(whole.len() / 16) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        fs::write(&log, &changed).expect("the log can be written");
        let replay = rr_run(dir.path(), &["--replay"]);
        let orderly = [Some(0), Some(120), Some(121)].contains(&replay.code);
        assert!(orderly, "byte {at} changed: {replay}");
    }
}

#[test]
fn a_manifest_cut_or_changed() {
    let (dir, _, manifest) = small();
    let whole = fs::read(&manifest).expect("the manifest can be read");
    for length in (0..whole.len()).step_by(whole.len() / 60) {
        fs::write(&manifest, &whole[..length]).expect("the manifest can be written");
        each(dir.path(), &format!("manifest cut at {length}"));
    }
    let session = dir.path().join("store/latest");
    for at in 0..whole.len() {
        fs::write(&manifest, with_bit_changed(&whole, at)).expect("the manifest can be written");
        // Not every byte means something to a reader; none makes it fail otherwise.
        let _ = read(&session);
    }
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[at] ^= 0x11;
        fs::write(&manifest, &changed).expect("the manifest can be written");
        each(dir.path(), &format!("manifest byte {at} changed"));
    }
    fs::remove_file(&manifest).expect("the manifest can be removed");
    each(dir.path(), "no manifest");
}

#[test]
fn a_newer_version() {
    let (dir, _, manifest) = small();
    let text = fs::read_to_string(&manifest).expect("the manifest can be read");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let version = json.get_mut("format").or(None).map(|v| v.take());
    let key = if version.is_some() { "format" } else { "version" };
    json[key] = 9999.into();
    fs::write(&manifest, json.to_string()).expect("the manifest can be written");
    fails(&rr_run(dir.path(), &["show"]), 121, "9999");
    fails(&rr_run(dir.path(), &["--replay"]), 121, "9999");
}

#[test]
fn a_log_that_is_missing() {
    let (dir, log, _) = small();
    fs::remove_file(&log).expect("the log can be removed");
    let output = rr_run(dir.path(), &["verify"]);
    assert_eq!(output.code, Some(121), "{output}");
    each(dir.path(), "no log");
}
