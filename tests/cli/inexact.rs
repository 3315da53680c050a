//! What a replay can't reproduce is counted, and named first when the replay differs.

use super::{place, rr_run, works};
use crate::harness::{Output, c_program};

const DIVERGED: i32 = 120;

/// The causes that a report of a divergence names.
fn causes(output: &Output) -> Vec<String> {
    let err = output.err();
    let lines = err.lines().skip_while(|line| !line.contains("common causes:")).skip(1);
    lines.take_while(|line| line.starts_with("  - ")).map(str::to_owned).collect()
}

#[test]
fn a_signal_that_comes_while_the_program_computes() {
    let dir = place();
    let program = c_program("inexact").display().to_string();
    works(&rr_run(dir.path(), &["--record", &program]));
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains("1 signal that came while the program made no call"), "{info}");
    let json = works(&rr_run(dir.path(), &["info", "--json"]));
    assert!(json.contains("\"inexact_signals\": 1"), "{json}");
    let replayed = rr_run(dir.path(), &["--replay"]);
    assert_eq!(replayed.code, Some(DIVERGED), "{replayed}");
    let causes = causes(&replayed);
    let first = causes.first().map_or("", String::as_str);
    assert!(first.contains("a signal that came while the program made no call"), "{causes:?}");
}

#[test]
fn random_numbers_of_the_processor() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !flags.split_whitespace().any(|flag| flag == "rdrand") {
        eprintln!("not run: this processor has no rdrand");
        return;
    }
    let dir = place();
    let program = c_program("rdrand").display().to_string();
    works(&rr_run(dir.path(), &["--record", &program]));
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains("random_instructions 1"), "{info}");
    assert!(info.contains(&format!("which are not recorded: {program}")), "{info}");
    let replayed = rr_run(dir.path(), &["--replay"]);
    assert_eq!(replayed.code, Some(DIVERGED), "{replayed}");
    let causes = causes(&replayed);
    let first = causes.first().map_or("", String::as_str);
    assert!(first.contains("random numbers of the processor"), "{causes:?}");
}

/// OpenSSL has the instructions as well, and is told not to use them.
#[test]
fn openssl_is_not_suspected() {
    let dir = place();
    let said = works(&rr_run(dir.path(), &["--record", "openssl", "rand", "-hex", "8"]));
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said);
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(!info.contains("random_instructions"), "{info}");
}
