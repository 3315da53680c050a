//! Nothing leaves: what crosses an interface to the world is watched.

use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Case, Output, ROOT, RR_RUN, Recording, clean_environment, network_namespace, run,
};

/// A network with a world behind it, that never answers.
const WORLD: &str = "set -e; ip link set lo up; ip link add out0 type veth peer name world; \
    for i in out0 world; do ip link set $i up; done; \
    ip address add 198.51.100.2/24 dev out0; ip address add 2001:db8::2/64 dev out0 nodad; \
    ip neighbour add 198.51.100.1 lladdr 02:00:00:00:00:01 dev out0; \
    ip neighbour add 2001:db8::1 lladdr 02:00:00:00:00:01 dev out0; \
    ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8::1; \
    exec \"$@\"";

/// Runs a command in such a network; what it prints, and what went out.
fn watched(recording: &Recording, argv: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(network_namespace()).args(["sh", "-c", WORLD, "sh", "python3"]);
    command.arg(format!("{ROOT}/tests/programs/watch.py")).args(argv);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path()).env("RES_OPTIONS", "timeout:1 attempts:1");
    run(&mut command, b"", Duration::from_secs(120))
}

fn gone_out(output: &Output) -> Vec<String> {
    output.out().lines().filter_map(|line| line.strip_prefix("out: ")).map(str::to_owned).collect()
}

#[test]
fn nothing_leaves() {
    let outside = format!("{ROOT}/tests/programs/outside.py");
    let stream = "curl -sS \"http://localhost:$1/stream?n=3&ms=1\"";
    let recording = Case::bash(&format!("{stream}; echo $1"))
        .args(["bash", "{http}"])
        .server()
        .record()
        .unwrap();
    let session = recording.session.display().to_string();
    // That the watch would see it.
    let bare = watched(&recording, &["python3", &outside]);
    let went = gone_out(&bare);
    for expected in [
        "192.0.2.1 6",
        "192.0.2.2 17",
        "192.0.2.3 17",
        "192.0.2.4 17",
        "192.0.2.5 6",
        "192.0.2.9 1",
        "2001:db8:1::1 6",
        "2001:db8:1::2 17",
        "2001:db8:1::3 17",
        "2001:db8:1::5 6",
        "224.0.0.251 17",
        "frame",
    ] {
        assert!(went.iter().any(|line| line == expected), "{expected} is missing in {bare}");
    }
    // Together with what was recorded, and in every mode that has no real service.
    let script = format!("{stream}; python3 {outside}");
    let port = recording.output.out().lines().last().unwrap().to_owned();
    for mode in ["strict", "warn"] {
        let options = [RR_RUN, "replay", "--network", "--mode", mode, &session, "--"];
        let replay =
            watched(&recording, &[&options[..], &["bash", "-c", &script, "bash", &port]].concat());
        let streamed = recording.output.out().lines().next().unwrap().to_owned();
        assert!(replay.out().starts_with(&streamed), "{replay}");
        assert_eq!(gone_out(&replay), Vec::<String>::new(), "{replay}");
        assert!(replay.out().contains("\nquic ECONNREFUSED\n"), "{replay}");
    }
}
