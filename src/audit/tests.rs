//! Sessions made by hand, compared.

use log_format::record::{Dir, Kind};
use proptest::prelude::*;

use super::Source;
use super::profile::Profile;
use super::report::{Audit, Run, SessionDiff, audit_text, diff_text};
use crate::session::sample::{Log, call, record, session};
use crate::session::{Session, Store};

const READ: u16 = 0;
const OPENAT: u16 = 257;
const GETPID: u16 = 39;
const KILL: u16 = 62;
const GETRANDOM: u16 = 318;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(Some(dir.path())).unwrap();
    (dir, store)
}

fn compare(a: &Session, b: &Session) -> Run {
    let (pa, pb) = (Profile::of(a).unwrap(), Profile::of(b).unwrap());
    Run::recorded((a, &pa), (b, &pb)).unwrap()
}

/// A program that reads the clock, its pid, random bytes, and prints.
fn program(pid: i32, ns: u64, random: &[u8], text: &[u8]) -> Log {
    let mut log = Log::default();
    log.clock(ns)
        .call(GETPID, &[], pid.into())
        .call(KILL, &[pid as u64, 0], 0)
        .push(call(GETRANDOM, &[0x7000, 8, 0], 8, &[(0, Dir::Out, random)]))
        .stdout(0, text)
        .exit(0);
    log
}

#[test]
fn pids_are_no_difference_and_clocks_have_no_effect() {
    let (_keep, store) = store();
    let a = session(&store, "a", &[(70, program(70, 1, b"12345678", b"hi\n"))]);
    let same = session(&store, "same", &[(71, program(71, 1, b"12345678", b"hi\n"))]);
    let diff = SessionDiff::between(&a, &same, &[], 2).unwrap();
    assert!(diff.is_equal(), "{}", diff_text(&diff));
    assert!(compare(&a, &same).events_same);
    let later = session(&store, "later", &[(72, program(72, 2, b"12345678", b"hi\n"))]);
    let run = compare(&a, &later);
    assert_eq!((run.same, run.events_same), (Some(true), false));
    assert!(SessionDiff::between(&a, &later, &[Source::Clock], 2).unwrap().is_equal());
    let diff = SessionDiff::between(&a, &later, &[], 2).unwrap();
    assert_eq!(diff.found[0].difference.source, Source::Clock);
    assert_eq!(diff.found[0].step_a, Some(0));
}

#[test]
fn another_output_is_blamed_on_the_nearest_input() {
    let (_keep, store) = store();
    let a = session(&store, "a", &[(70, program(70, 1, b"12345678", b"got 1\n"))]);
    let b = session(&store, "b", &[(70, program(70, 2, b"87654321", b"got 8\n"))]);
    let run = compare(&a, &b);
    assert_eq!(run.same, Some(false));
    assert_eq!(run.outputs[0].bytes.offset, 4);
    assert_eq!(run.outputs[0].a, Some((0, 4)));
    assert_eq!(run.divergence.as_ref().and_then(|d| d.step_a), Some(4));
    let sources: Vec<Source> = run.sources.iter().map(|blame| blame.source).collect();
    assert_eq!(sources, [Source::Random, Source::Clock]);
    let audit = Audit { what: "two runs".into(), reference: "a".into(), runs: vec![run] };
    let text = audit_text(&audit);
    for part in ["stdout from byte 4", "randomness", "the clock", "+ \"got 8\\n\""] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(matches!(audit.junit()[0].verdict, crate::report::junit::Verdict::Failed(..)));
}

#[test]
fn outputs_of_several_processes_count_in_the_order_of_their_writes() {
    let (_keep, store) = store();
    let log = |writes: &[(u64, &[u8])]| {
        let mut log = Log::default();
        for (number, text) in writes {
            log.stdout(*number, text);
        }
        log.exit(0);
        log
    };
    let logs = |a: Log, b: Log| [(1, a), (2, b)];
    let first = logs(log(&[(0, b"one "), (2, b"three")]), log(&[(1, b"two ")]));
    // The same bytes, in other pieces.
    let split = logs(log(&[(0, b"one "), (3, b"three")]), log(&[(1, b"tw"), (2, b"o ")]));
    let swapped = logs(log(&[(1, b"one "), (2, b"three")]), log(&[(0, b"two ")]));
    let a = session(&store, "a", &first);
    assert_eq!(compare(&a, &session(&store, "split", &split)).same, Some(true));
    let run = compare(&a, &session(&store, "swapped", &swapped));
    assert_eq!(run.same, Some(false));
    assert_eq!(run.outputs[0].bytes.offset, 0);
}

#[test]
fn another_call_another_file_and_another_end_are_behaviour() {
    let (_keep, store) = store();
    let open = |path: &[u8]| call(OPENAT, &[0xffff_ff9c, 0x7000, 0, 0], 3, &[(1, Dir::In, path)]);
    let log = |path: &[u8], status: u64| {
        let mut log = Log::default();
        log.push(open(path)).push(record(Kind::Exit, 0, 0, &status.to_le_bytes()));
        log
    };
    let a = session(&store, "a", &[(1, log(b"/a\0", 0))]);
    for (name, other, step) in [("path", log(b"/b\0", 0), 0), ("end", log(b"/a\0", 256), 1)] {
        let b = session(&store, name, &[(1, other)]);
        let diff = SessionDiff::between(&a, &b, &[], 3).unwrap();
        assert_eq!(diff.found[0].difference.source, Source::Behaviour, "{name}");
        assert_eq!(diff.found[0].step_a, Some(step), "{name}");
        assert!(diff_text(&diff).contains("\n-"), "{}", diff_text(&diff));
    }
    // An exit code that differs decides, though no byte of output does.
    assert_eq!(compare(&a, &Session::open(&store.dir().join("end")).unwrap()).same, Some(false));
}

#[test]
fn a_shorter_log_and_a_missing_process_are_named() {
    let (_keep, store) = store();
    let mut log = Log::default();
    log.call(GETPID, &[], 9).call(GETPID, &[], 9);
    let longer = session(&store, "longer", &[(9, log.clone()), (10, Log::default())]);
    log.records.pop();
    let shorter = session(&store, "shorter", &[(9, log)]);
    let diff = SessionDiff::between(&longer, &shorter, &[], 3).unwrap();
    assert_eq!((diff.found[0].step_a, diff.found[0].step_b), (Some(1), None));
    assert_eq!(diff.only_a, ["1.1"]);
    assert!(diff_text(&diff).contains("the other's log has ended"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One changed event among many is found at its step, whatever its place.
    #[test]
    fn the_first_difference_is_found_at_its_step(
        len in 1usize..40,
        at in any::<prop::sample::Index>(),
    ) {
        let (_keep, store) = store();
        let at = at.index(len);
        let log = |changed: bool| {
            let mut log = Log::default();
            for i in 0..len {
                let byte = [i as u8, u8::from(changed && i >= at)];
                log.push(call(READ, &[0, 0x7000, 2], 2, &[(1, Dir::Out, &byte)]));
            }
            log
        };
        let a = session(&store, "a", &[(1, log(false))]);
        let b = session(&store, "b", &[(1, log(true))]);
        let diff = SessionDiff::between(&a, &b, &[], 1).unwrap();
        prop_assert_eq!(diff.found[0].step_a, Some(at as u64));
        prop_assert_eq!(diff.found[0].difference.bytes.as_ref().map(|b| b.offset), Some(1));
        // The rolling hash tells the same.
        let hashes = [&a, &b].map(|s| Profile::of(s).unwrap().processes);
        prop_assert_ne!(&hashes[0], &hashes[1]);
    }
}
