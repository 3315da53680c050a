//! Network replay: the program live, its network, clock and randomness from the recording.

mod agents;
mod clients;
mod heads;
mod interactive;
mod modes;
mod names;
mod others;
mod packets;
mod shim;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Output, RR_RUN, Recording, clean_environment, network_namespace, run};

/// `rr-run replay --network` of a recording, its server being stopped, in a network namespace that
/// has nothing but loopback.
fn command(recording: &Recording) -> Command {
    let mut command = Command::new("unshare");
    command.args(network_namespace());
    command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh", RR_RUN]);
    command.args(["replay", "--network", "--timing", "instant"]).arg(&recording.session);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path().join("home"));
    command.envs(recording.env.iter().map(|(name, value)| (name, value)));
    // Where recordings move their working directory to.
    command.current_dir(recording.dir.path().join("gone"));
    command
}

/// Runs a script in a network that has one address beside loopback, and mounts of its own.
fn with_address(script: &str, dir: &Path) -> Output {
    let network = "ip link set lo up; ip address add 192.0.2.7/32 dev lo;";
    let mut command = Command::new("unshare");
    command.args(network_namespace()).args(["-m", "bash", "-c", &format!("{network} {script}")]);
    clean_environment(&mut command);
    command.current_dir(dir).env("HOME", dir);
    run(&mut command, b"", Duration::from_secs(60))
}

fn replay(recording: &Recording, args: &[&str]) -> Output {
    run(command(recording).args(args), b"", Duration::from_secs(180))
}
