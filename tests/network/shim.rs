//! What the shim does. The answers come from examples/own_player.rs, which says where each
//! connection was meant to go.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, ROOT, RR_RUN, Recording, c_program, run};

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

#[test]
fn datagrams_are_stopped_however_they_are_sent() {
    let program = c_program("datagrams");
    let (_, shown, report) = replay(&program.display().to_string(), &[]);
    let expected = "sent 2, 3 bytes and 3: Success\n\
                    sent 1, 3 bytes and 0: Success\n\
                    sent -1, 0 bytes and 0: Connection refused\n\
                    got one\ngot two\ngot one\n\
                    packets Address family not supported by protocol\n";
    assert_eq!(shown, expected);
    assert_eq!(report.matches("Refused 192.0.2.7:9999").count(), 2, "{report}");
}

/// The shim is not in them, and nothing would answer them but the world.
#[test]
fn programs_that_can_not_be_entered_have_no_network() {
    let script = c_program("offline").display().to_string();
    let recording = Case::bash(&script).record().unwrap();
    let all = ["unix", "netlink", "inet", "inet6", "narrow", "child"];
    assert_eq!(recording.output.out(), all.map(|kind| format!("{kind} made\n")).concat());
    let output = super::replay(&recording, &[]);
    let expected = "unix made\nnetlink made\ninet refused\ninet6 refused\nnarrow refused\n\
                    child refused\n";
    assert_eq!((output.code, output.out().as_str()), (Some(0), expected), "{output}");
    assert!(output.err().contains("without a network, for lack of the shim"), "{output}");
}

#[test]
fn a_clock_does_not_fall_behind_one_that_runs_on() {
    let dir = tempfile::tempdir().unwrap();
    let program = c_program("order").display().to_string();
    let script = format!("{program} {}/there", dir.path().display());
    let (recording, shown, _) = replay(&script, &[]);
    assert_eq!(
        (recording.output.out(), shown.as_str()),
        ("same, onwards\n".into(), "later, onwards\n")
    );
}

/// And so what is printed of them is the same; calls with them reach the processes that are meant.
#[test]
fn processes_have_their_recorded_ids() {
    let pids = format!("{ROOT}/tests/programs/pids.py");
    let jobs = "echo $$ $PPID; sleep 30 & p=$!; echo $p; kill $p; wait $p; echo $?; \
                (echo $BASHPID); sh -c 'echo $$ $PPID'; cat /proc/$$/comm; \
                set -m; sleep 30 & kill %1; wait %1; echo $?; jobs -p; \
                trap 'echo told' USR1; (kill -USR1 $$); echo; timeout 3 true; echo $?; \
                node -e 'const child = require(\"child_process\").spawn(\"sleep\", [\"30\"], \
                {detached: true}); console.log(process.pid, process.ppid, child.pid); \
                process.kill(-child.pid); child.on(\"exit\", (_, s) => console.log(s))'";
    let script = format!("python3 {pids}; {jobs}");
    let recording = Case::bash(&script).record().unwrap();
    let shown = recording.output.out();
    for line in ["['usr1', 'usr1', 'usr1']", "True True", "ended -15", "name cat", "SIGTERM"] {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
    // Others have the numbers meanwhile, or near ones.
    for _ in 0..3 {
        let output = super::replay(&recording, &["--allow-unused"]);
        assert_eq!((output.code, output.out()), (Some(0), shown.clone()), "{output}");
    }
    let live = super::replay(&recording, &["--allow-unused", "--live-entropy"]);
    assert_ne!(live.out(), shown);
}

/// Readings come by their ordinals: those of a time that was longer in the recording do not hold up
/// a timer.
#[test]
fn waits_end_when_they_have_timed_out() {
    let timers = |sleep: &str| format!("python3 {ROOT}/tests/programs/timers.py {sleep}");
    let recording = Case::bash(&timers("0.5")).record().unwrap();
    let shown = recording.output.out();
    assert_eq!(shown.matches(" ended\n").count(), 10, "{shown}");
    let script = timers("0.05");
    let start = std::time::Instant::now();
    let output = super::replay(&recording, &["--allow-unused", "--", "bash", "-c", &script]);
    assert_eq!((output.code, output.out()), (Some(0), shown), "{output}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Children that are made in another order have the clocks, seeds and ids of those that executed
/// the same.
#[test]
fn children_stand_for_those_that_executed_the_same() {
    let jobs =
        |how: &str, names: &str| format!("python3 {ROOT}/tests/programs/jobs.py {how} {names}");
    for how in ["vfork", "fork"] {
        let recording = Case::bash(&jobs(how, "a b c d b")).record().unwrap();
        let shown = recording.output.out();
        for names in ["a b c d b", "d c b a b", "b b d c a"] {
            let script = jobs(how, names);
            let output =
                super::replay(&recording, &["--allow-unused", "--", "bash", "-c", &script]);
            assert_eq!((output.code, output.out()), (Some(0), shown.clone()), "{names}: {output}");
        }
        // Another one in the place of the first.
        let script = jobs(how, "e d c b a");
        let output = super::replay(&recording, &["--allow-unused", "--", "bash", "-c", &script]);
        let all = output.out();
        for line in shown.lines().filter(|line| line.starts_with(['c', 'd'])) {
            assert!(all.contains(line), "{line} is missing: {output}");
        }
        assert!(all.contains("[0, 0, 0, 0, 0] 5"), "{output}");
    }
}

/// Programs read the clock more often, or less, until an answer comes: from then on they read what
/// was read then.
#[test]
fn clocks_are_lined_up_with_answers() {
    for url in ["http://localhost:{http}/stream?n=20&ms=2", "https://localhost:{https}/stream?n=20"]
    {
        let program = format!("{ROOT}/tests/programs/ticking.py");
        let case = Case::new("python3").args([program.as_str(), url]).file("readings", "5");
        let recording = case.env("SSL_CERT_FILE", "{ca}").server().record().unwrap();
        for readings in ["0", "5", "9", "200"] {
            std::fs::write(recording.dir.path().join("gone/readings"), readings).unwrap();
            let output = super::replay(&recording, &[]);
            let shown = recording.output.out();
            assert_eq!((output.code, output.out()), (Some(0), shown), "{readings}: {output}");
        }
    }
}
