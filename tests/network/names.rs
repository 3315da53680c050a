//! Names are answered as while recording, and a host that is new fails the run.

use std::path::Path;

use super::with_address;
use crate::harness::{Output, ROOT, RR_RUN};

/// Runs a script in a network where resolvers have this file.
fn in_network(resolv_conf: &str, script: &str, dir: &Path) -> Output {
    std::fs::write(dir.join("resolv.conf"), resolv_conf).unwrap();
    with_address(&format!("mount --bind resolv.conf /etc/resolv.conf || exit; {script}"), dir)
}

/// Starts the name server and the page's.
const SERVED: &str =
    "nameserver 192.0.2.7\nsearch lan.example office.example\noptions timeout:5 attempts:1\n";
/// There is none, and the search list is another.
const ELSEWHERE: &str = "nameserver 203.0.113.3\nsearch cluster.local\noptions ndots:5\n";

fn recorded(dir: &Path, hosts: &str) -> Output {
    let guest = format!("{ROOT}/tests/programs/names.py");
    let script = format!(
        "coproc python3 {guest} serve 192.0.2.7; read -u ${{COPROC[0]}}; \
         {RR_RUN} record -o store --name names -- python3 {guest} {hosts}; \
         code=$?; kill $COPROC_PID; exit $code"
    );
    let output = in_network(SERVED, &script, dir);
    assert_eq!(output.code, Some(0), "{output}");
    output
}

fn replayed(dir: &Path, resolv_conf: &str, options: &str, hosts: &str) -> Output {
    let guest = format!("{ROOT}/tests/programs/names.py");
    let script =
        format!("{RR_RUN} replay --network -o store {options} names -- python3 {guest} {hosts}");
    in_network(resolv_conf, &script, dir)
}

#[test]
fn are_answered_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), "");
    let out = recording.out();
    for expected in [
        "alone.example ['192.0.2.50']\n",
        "missing.example [Errno -2]",
        "broken.example [Errno -3]",
        "hello",
        "b'page'\n",
    ] {
        assert!(out.contains(expected), "{expected}: {recording}");
    }
    for resolv_conf in [SERVED, ELSEWHERE] {
        let replay = replayed(dir.path(), resolv_conf, "", "");
        assert_eq!((replay.code, replay.out()), (Some(0), out.clone()), "{replay}");
    }
}

#[test]
fn a_new_host_is_a_mismatch() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), "");
    let same = recording.out();
    for mode in ["strict", "warn"] {
        let replay = replayed(dir.path(), SERVED, &format!("--mode {mode}"), "new.example");
        assert_eq!(replay.code, Some(119), "{replay}");
        assert_eq!(replay.out(), format!("{same}new.example 400\n"));
        assert!(replay.err().contains("GET new.example/"), "{replay}");
    }
    // One that is no more there than it was is none.
    let replay = replayed(dir.path(), SERVED, "", "missing.example");
    assert_eq!(replay.code, Some(0), "{replay}");
    assert!(replay.out().contains("missing.example <urlopen error [Errno -2]"), "{replay}");
    let replay = replayed(dir.path(), SERVED, "--optional new.example", "new.example");
    assert_eq!(replay.code, Some(0), "{replay}");
}

/// A host that a hybrid run has asked is there in the next one, whether it was new or could not be
/// reached while recording.
#[test]
fn hosts_of_layers_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let (late, alone) = ("late.example:8080", "alone.example:8080");
    let recording = recorded(dir.path(), alone);
    let unreachable = format!("{alone} <urlopen error [Errno 101] Network is unreachable>\n");
    let same = recording.out().strip_suffix(&unreachable).expect("no way there").to_owned();
    let again = replayed(dir.path(), ELSEWHERE, "", alone);
    assert!(again.code == Some(0) && !again.out().contains(&format!("{alone} b'page'")), "{again}");
    let guest = format!("{ROOT}/tests/programs/names.py");
    let allowed = "--fallback late.example --fallback alone.example";
    let hybrid = format!(
        "ip address add 192.0.2.50/32 dev lo; \
         coproc python3 {guest} serve 192.0.2.7; read -u ${{COPROC[0]}}; \
         {RR_RUN} replay --network -o store --mode hybrid {allowed} names \
         -- python3 {guest} {late} {alone}; code=$?; kill $COPROC_PID; exit $code"
    );
    let expected = format!("{same}{late} b'page'\n{alone} b'page'\n");
    let first = in_network(SERVED, &hybrid, dir.path());
    assert_eq!((first.code, first.out()), (Some(0), expected.clone()), "{first}");
    let next = replayed(dir.path(), ELSEWHERE, "", &format!("{late} {alone}"));
    assert_eq!((next.code, next.out()), (Some(0), expected), "{next}");
}
