//! Can this machine record and replay exactly?
//!
//! Nothing is guessed from version numbers where it can be tried: what could hurt is tried in a
//! forked child (`probe`), and at the end a small program is recorded and replayed.

mod around;
mod probe;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::error::Result;
use crate::launch::shim;
use crate::log::map::ArenaMap;
use crate::report::units;
use crate::session::Store;
use probe::Outcome;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As needed.
    Ok,
    /// rr-run works, with a limit.
    Warn,
    /// rr-run does not work, or not exactly.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it ended.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What follows from that; empty if nothing.
    pub follows: &'static str,
    /// What to do about it; empty if nothing.
    pub advice: &'static str,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, level: Level::Ok, found: found.into(), follows: "", advice: "" }
    }

    fn warn(self, follows: &'static str, advice: &'static str) -> Check {
        Check { level: Level::Warn, follows, advice, ..self }
    }

    fn fail(self, follows: &'static str, advice: &'static str) -> Check {
        Check { level: Level::Fail, follows, advice, ..self }
    }
}

/// Makes all checks. `store` is where sessions would be kept.
///
/// To be called while this process has a single thread, because it forks.
pub fn examine(store: &Store) -> Vec<Check> {
    let mut checks = vec![
        around::kernel(),
        around::architecture(),
        dispatch(),
        aslr(),
        vdso(),
        segment_base(),
        tsc(),
        around::seccomp(),
        around::tracer(),
        around::emulator(),
        around::container(),
        around::clock_source(),
        around::limits(),
        around::random_instructions(),
        Check::ok("ptrace, PMU", "not needed"),
        shim_file(),
    ];
    checks.extend(store_directory(store));
    if checks.iter().all(|check| check.level != Level::Fail) {
        checks.push(whole(store));
    }
    checks
}

const SANDBOX: &str = "another kernel (5.11 or newer), or a container whose seccomp profile allows \
                       prctl(PR_SET_SYSCALL_USER_DISPATCH)";

fn dispatch() -> Check {
    const NAME: &str = "syscall user dispatch";
    const FOLLOWS: &str = "calls made without libc's functions can't be seen: nothing can be \
                           recorded or replayed exactly";
    match probe::syscall_user_dispatch() {
        Outcome::Worked => Check::ok(NAME, "armed, trapped a call and returned"),
        other => Check::ok(NAME, other.to_string()).fail(FOLLOWS, SANDBOX),
    }
}

fn aslr() -> Check {
    const NAME: &str = "fixed addresses";
    match probe::fixed_addresses() {
        Outcome::Worked => Check::ok(NAME, "personality(ADDR_NO_RANDOMIZE) is accepted"),
        other => Check::ok(NAME, other.to_string()).warn(
            "addresses differ from run to run, so a replay may diverge",
            "docker run --security-opt seccomp=unconfined, or a profile that allows personality",
        ),
    }
}

fn vdso() -> Check {
    const NAME: &str = "vDSO";
    match probe::move_vdso() {
        Outcome::Worked => Check::ok(NAME, "can be moved and replaced"),
        other => Check::ok(NAME, other.to_string()).fail(
            "clock readings can't be intercepted where libc itself makes them",
            "a kernel without mseal on system mappings (CONFIG_MSEAL_SYSTEM_MAPPINGS=n)",
        ),
    }
}

fn segment_base() -> Check {
    const NAME: &str = "%gs";
    match probe::segment_base() {
        Outcome::Worked => Check::ok(NAME, "can be set (arch_prctl)"),
        other => Check::ok(NAME, other.to_string()).fail(
            "the shim has no place for what it knows of a thread",
            "a kernel or sandbox that allows arch_prctl(ARCH_SET_GS)",
        ),
    }
}

fn tsc() -> Check {
    const NAME: &str = "rdtsc";
    match probe::trap_tsc() {
        Outcome::Worked => Check::ok(NAME, "can be trapped (PR_SET_TSC)"),
        other => Check::ok(NAME, other.to_string()).warn(
            "programs that read the counter themselves (JIT compilers, rustls) may not replay",
            "a kernel or sandbox that allows prctl(PR_SET_TSC)",
        ),
    }
}

fn shim_file() -> Check {
    const NAME: &str = "shim";
    match shim::install() {
        Ok(path) => Check::ok(NAME, path.display().to_string()),
        Err(e) => Check::ok(NAME, format!("failed to {e}")).fail(
            "programs can't load it, and nothing is recorded",
            "/tmp, /var/tmp or /dev/shm mounted without noexec, and writable",
        ),
    }
}

/// Free space below which a warning is given, and below which nothing can be recorded.
const SPACE_WARN: u64 = 1 << 30;
const SPACE_FAIL: u64 = 64 << 20;

/// A session's directory is made, and an arena in it, as a recording would.
fn store_directory(store: &Store) -> Vec<Check> {
    const NAME: &str = "sessions";
    let scratch = match store.scratch() {
        Ok(scratch) => scratch,
        Err(e) => {
            let check = Check::ok(NAME, format!("failed to {e}"));
            return vec![check.fail("no session can be written", "-o DIR, or RR_RUN_DIR")];
        }
    };
    let place = Check::ok(NAME, format!("{} is writable", store.dir().display()));
    let arena = ArenaMap::create(&scratch.path().join(crate::session::ARENA)).and_then(|arena| {
        arena.allocate_header(false).map_err(crate::error::Error::io("reserve space"))
    });
    let mapped = match arena {
        Ok(()) => Check::ok("shared log", "can be created, reserved and mapped there"),
        Err(e) => Check::ok("shared log", format!("failed to {e}")).fail(
            "programs and rr-run have no log to share",
            "-o DIR on a local file system with fallocate (ext4, xfs, btrfs, tmpfs)",
        ),
    };
    vec![place, mapped, space(scratch.path())]
}

fn space(dir: &Path) -> Check {
    const NAME: &str = "free space";
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        return Check::ok(NAME, "unknown");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let check = Check::ok(NAME, units::bytes(free));
    match free {
        _ if free < SPACE_FAIL => check.fail("a recording would end at once", "-o DIR elsewhere"),
        _ if free < SPACE_WARN => check
            .warn("a long recording may end early", "--max-size, -o DIR elsewhere, `rr-run rm`"),
        _ => check,
    }
}

/// What is recorded and replayed as the last check: a clock, randomness, a child process.
const PROGRAM: [&str; 3] = ["/bin/sh", "-c", "date +%s%N; echo $$; exit 7"];

fn whole(store: &Store) -> Check {
    const NAME: &str = "record and replay";
    match record_and_replay(store) {
        Ok(Ok(())) => Check::ok(NAME, "a shell script gave the same output and exit code"),
        Ok(Err(what)) => Check::ok(NAME, what).fail(
            "rr-run does not work here, though all it needs was found",
            "a report with the output of `rr-run doctor --json`",
        ),
        Err(e) => Check::ok(NAME, format!("failed to {e}")).fail("rr-run does not work here", ""),
    }
}

/// Both halves as processes of their own; what went wrong.
fn record_and_replay(store: &Store) -> Result<Result<(), String>> {
    let io = |what: &str| crate::error::Error::io(what.to_owned());
    let scratch = store.scratch()?;
    let exe = std::env::current_exe().map_err(io("find rr-run's own file"))?;
    let run = |args: &[&str]| {
        let mut command = Command::new(&exe);
        command.args(args).arg("-o").arg(scratch.path()).stdin(Stdio::null());
        command
    };
    let recorded =
        run(&["record"]).arg("--").args(PROGRAM).output().map_err(io("execute rr-run"))?;
    let replayed = run(&["replay"]).output().map_err(io("execute rr-run"))?;
    let says = |what: &str, output: &std::process::Output| {
        let text = String::from_utf8_lossy(&output.stderr);
        Ok(Err(format!("{what}: {}; {}", output.status, text.lines().next().unwrap_or_default())))
    };
    if recorded.status.code() != Some(7) || recorded.stdout.is_empty() {
        return says("recording", &recorded);
    }
    if replayed.status != recorded.status || replayed.stdout != recorded.stdout {
        return says("replaying", &replayed);
    }
    Ok(Ok(()))
}

/// A file of /proc or /sys as text, empty if it can't be read.
fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
