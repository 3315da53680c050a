//! What the shim does. The answers come from examples/own_player.rs, which says where each
//! connection was meant to go.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, RR_RUN, Recording, run};

/// Records `script` in bash, and replays its network; the recording, stdout and stderr.
fn replay(script: &str, names: &[&str]) -> (Recording, String, String) {
    let recording = Case::bash(script).record().unwrap();
    let player = Path::new(RR_RUN).parent().unwrap().join("examples/own_player");
    let mut command = Command::new(player);
    command.arg(&recording.session).args(names).args(["--", "bash", "-c", script]);
    let output = run(&mut command, b"", Duration::from_secs(60));
    (recording, output.out(), output.err())
}

#[test]
fn connections_go_to_the_player_with_their_destinations() {
    let script = "curl -sS http://api.example.org:8080/x; curl -sS http://240.0.0.9/; \
                  curl -sS -o /dev/null http://unknown.example.org/ 2>&1; echo done";
    let (_, shown, report) = replay(script, &["api.example.org=192.0.2.8"]);
    assert!(shown.contains("you wanted 192.0.2.8:8080\nyou wanted 240.0.0.9:80\n"), "{shown}");
    assert!(shown.contains("Could not resolve host: unknown.example.org"), "{shown}");
    for line in ["Answered 192.0.2.8:8080", "known api.example.org", "unknown unknown.example.org"]
    {
        assert!(report.lines().any(|l| l == line), "{line} is missing in {report}");
    }
}

#[test]
fn clocks_and_randomness_are_the_recorded_ones() {
    let script = "date +%s%N; sh -c 'date +%N; sleep 0.01; date +%T.%N'; \
                  python3 -c 'import time, uuid, random, datetime as d; \
                  print(time.time(), time.monotonic(), uuid.uuid4(), random.random(), \
                  d.datetime.now())'";
    let (recording, shown, _) = replay(script, &[]);
    assert_eq!(String::from_utf8_lossy(&recording.output.stdout), shown);
}
