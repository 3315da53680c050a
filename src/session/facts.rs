//! What a manifest says of the machine and of how the program was started.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::stat::{Mode, umask};

use super::manifest::{Git, Machine, Rlimit};

/// Longest time that git may take over both questions.
const GIT_MS_MAX: u64 = 2000;

/// All resource limits that a replay sets again.
pub const RLIMITS: [(Resource, &str); 16] = [
    (Resource::RLIMIT_AS, "RLIMIT_AS"),
    (Resource::RLIMIT_CORE, "RLIMIT_CORE"),
    (Resource::RLIMIT_CPU, "RLIMIT_CPU"),
    (Resource::RLIMIT_DATA, "RLIMIT_DATA"),
    (Resource::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
    (Resource::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
    (Resource::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
    (Resource::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
    (Resource::RLIMIT_NICE, "RLIMIT_NICE"),
    (Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
    (Resource::RLIMIT_NPROC, "RLIMIT_NPROC"),
    (Resource::RLIMIT_RSS, "RLIMIT_RSS"),
    (Resource::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
    (Resource::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    (Resource::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
    (Resource::RLIMIT_STACK, "RLIMIT_STACK"),
];

/// The resource limits of this process.
pub fn rlimits() -> Vec<Rlimit> {
    let limit = |value: u64| (value != RLIM_INFINITY).then_some(value);
    RLIMITS
        .into_iter()
        .filter_map(|(resource, name)| {
            let (soft, hard) = getrlimit(resource).ok()?;
            Some(Rlimit { name: name.into(), soft: limit(soft), hard: limit(hard) })
        })
        .collect()
}

/// The file mode creation mask of this process.
pub fn file_mask() -> u32 {
    // It can only be read by setting it.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}

/// This machine.
pub fn machine() -> Machine {
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut cpu_features: Vec<String> =
        field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    cpu_features.sort();
    let mut machine = Machine {
        cpu: field("model name").unwrap_or_default(),
        cpus: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        cpu_features,
        ..Machine::default()
    };
    if let Ok(uname) = nix::sys::utsname::uname() {
        machine.system = text(uname.sysname());
        machine.release = text(uname.release());
        machine.version = text(uname.version());
        machine.architecture = text(uname.machine());
        machine.host = text(uname.nodename());
    }
    machine
}

/// The git work tree that `dir` is in, if there is one and git answers in time.
pub fn git(dir: &Path) -> Option<Git> {
    dir.ancestors().find(|d| d.join(".git").exists())?;
    let deadline = Instant::now() + Duration::from_millis(GIT_MS_MAX);
    let commit = ask_git(dir, &["rev-parse", "HEAD"], deadline)?.trim().to_owned();
    let status = ["status", "--porcelain", "--untracked-files=no"];
    let dirty = !ask_git(dir, &status, deadline)?.is_empty();
    Some(Git { commit, dirty })
}

fn ask_git(dir: &Path, args: &[&str], deadline: Instant) -> Option<String> {
    let mut child = Command::new("git")
        .arg("--no-optional-locks")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut pipe = child.stdout.take()?;
    // One page is more than a commit, and enough to know that something has changed; git waits
    // or fails when it has more to say.
    let reader = std::thread::spawn(move || {
        let mut text = vec![0; 4096];
        let n = pipe.read(&mut text).unwrap_or(0);
        text.truncate(n);
        text
    });
    let mut status = None;
    while !reader.is_finished() || status.is_none() {
        status = match child.try_wait() {
            Ok(status) => status,
            Err(_) => return None,
        };
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = reader.join().ok()?;
    // Killed by the closed pipe: it had said enough.
    let usable = status.is_some_and(|s| s.success()) || !text.is_empty();
    usable.then(|| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let machine = machine();
        assert_eq!((machine.system.as_str(), machine.architecture.as_str()), ("Linux", "x86_64"));
        assert!(machine.cpu_features.iter().any(|f| f == "sse2"));
        assert!(rlimits().iter().any(|l| l.name == "RLIMIT_STACK"));
        assert_eq!(file_mask(), file_mask());
    }

    #[test]
    fn a_work_tree_is_described_and_other_places_have_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(git(dir.path()), None);
        let run = |args: &[&str]| {
            let quiet = Command::new("git").args(args).current_dir(dir.path()).output();
            quiet.unwrap().status.success()
        };
        assert!(run(&["init", "-q"]));
        fs::write(dir.path().join("f"), "1").unwrap();
        assert!(run(&["add", "f"]));
        let who = ["-c", "user.name=a", "-c", "user.email=a@b"];
        assert!(run(&[&who[..], &["commit", "-qm", "x"]].concat()));
        let clean = git(dir.path()).unwrap();
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));
        fs::write(dir.path().join("f"), "2").unwrap();
        assert!(git(dir.path()).unwrap().dirty);
    }
}
