//! What a manifest says of the machine and of how the program was started.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::manifest::{Git, Machine, Rlimit};

/// Longest time that git may take.
const GIT_TIME_MAX: Duration = Duration::from_secs(2);

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
    let cpu = first_processor().unwrap_or_default();
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

/// What /proc/cpuinfo says of the first processor; the kernel takes its time for all.
fn first_processor() -> std::io::Result<String> {
    const BYTES_MAX: u64 = 8 << 10;
    let mut text = Vec::new();
    fs::File::open("/proc/cpuinfo")?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A question to git that is being answered.
#[derive(Debug)]
pub struct AskedGit {
    child: Child,
    pipe: ChildStdout,
    deadline: Instant,
}

/// Asks git for the work tree that `dir` is in, if it is in one.
pub fn ask_git(dir: &Path) -> Option<AskedGit> {
    dir.ancestors().find(|d| d.join(".git").exists())?;
    let mut child = Command::new("git")
        // Threads of its own for the index would cost more than they save.
        .args(["-c", "core.preloadIndex=false", "--no-optional-locks"])
        .args(["status", "--porcelain=v2", "--branch"])
        .args(["--no-ahead-behind", "--untracked-files=no"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let pipe = child.stdout.take()?;
    Some(AskedGit { child, pipe, deadline: Instant::now() + GIT_TIME_MAX })
}

impl AskedGit {
    /// The answer, if git gives one in time.
    pub fn answer(mut self) -> Option<Git> {
        // One page is more than the commit and the first change; git waits or fails when it has
        // more to say.
        let mut text = [0; 4096];
        let mut len = 0;
        while let Some(room) = text.get_mut(len..).filter(|room| !room.is_empty())
            && self.is_ready()
        {
            match self.pipe.read(room) {
                Ok(n) if n > 0 => len += n,
                _ => break,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = String::from_utf8_lossy(text.get(..len)?);
        let commit = text.lines().find_map(|line| line.strip_prefix("# branch.oid "))?;
        // "(initial)" where there is no commit.
        let commit = Some(commit).filter(|c| c.bytes().all(|b| b.is_ascii_hexdigit()))?.to_owned();
        Some(Git { commit, dirty: text.lines().any(|line| !line.starts_with('#')) })
    }

    /// Waits until there is something to read, or the end; false if the time is over.
    fn is_ready(&self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        poll(&mut fds, timeout.as_ref()).is_ok_and(|n| n > 0)
    }
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
        let git = |dir: &Path| ask_git(dir).and_then(AskedGit::answer);
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
