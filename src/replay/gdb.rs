//! A replay under gdb.
//!
//! gdb's own environment must not hold the shim, and what it gives its program is not what the
//! guest must get. So gdb runs `rr-run exec-guest FILE`, which takes on the recorded attributes
//! and executes the guest with exactly the arguments and environment that the file holds; gdb
//! stops there, before the guest's first instruction.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::setrlimit;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::launch::environment;
use crate::launch::spawn::{Spawn, turn_aslr_off};
use crate::session::facts;
use crate::session::manifest::ByteText;

/// What `exec-guest` executes.
#[derive(Serialize, Deserialize)]
struct Plan {
    filename: ByteText,
    argv: Vec<ByteText>,
    env: Vec<ByteText>,
    cwd: PathBuf,
    umask: u32,
    /// Name, soft limit, hard limit.
    rlimits: Vec<(String, u64, u64)>,
}

fn texts(strings: &[CString]) -> Vec<ByteText> {
    strings.iter().map(|s| ByteText(s.as_bytes().to_vec())).collect()
}

/// Starts gdb on the guest; gdb's pid. `arguments` are gdb's own, of the user.
///
/// # Errors
/// [`Error::Machine`] if there is no gdb, or the system's.
pub(super) fn start(
    spawn: &Spawn,
    scratch: &Path,
    trap_tsc: bool,
    arguments: &[OsString],
) -> Result<Pid> {
    let recorded = spawn.replay.as_ref();
    let name = |wanted| {
        let found = facts::RLIMITS.into_iter().find(|(resource, _)| *resource == wanted);
        found.map_or("", |(_, name)| name)
    };
    let limits = spawn.rlimits.iter();
    let plan = Plan {
        filename: ByteText(spawn.filename.as_bytes().to_vec()),
        argv: texts(&spawn.argv),
        env: texts(&spawn.env),
        cwd: recorded.map_or_else(|| "/".into(), |r| r.cwd.clone()),
        umask: recorded.map_or(0o022, |r| r.umask),
        rlimits: limits.map(|(r, soft, hard)| (name(*r).to_owned(), *soft, *hard)).collect(),
    };
    let path = scratch.join("guest.json");
    let json = serde_json::to_vec(&plan).map_err(|e| Error::file("write", &path)(e.into()))?;
    std::fs::write(&path, json).map_err(Error::file("write", &path))?;
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let mut gdb = Command::new("gdb");
    gdb.arg("-q");
    let mut setup = vec![
        "set startup-with-shell off",
        "set disable-randomization on",
        "set breakpoint pending on",
        // The shim's own: every call that is trapped is one.
        "handle SIGSYS nostop noprint pass",
    ];
    if trap_tsc {
        setup.push("handle SIGSEGV nostop noprint pass");
    }
    setup.extend(["tcatch exec", "run"]);
    for command in setup {
        gdb.arg("-ex").arg(command);
    }
    gdb.args(arguments).arg("--args").arg(program).arg("exec-guest").arg(path);
    match gdb.spawn() {
        Ok(child) => Ok(Pid::from_raw(child.id() as i32)),
        Err(e) => Err(Error::Machine { doing: "start gdb".into(), reason: e.to_string() }),
    }
}

/// Becomes the guest that `path` describes.
///
/// # Errors
/// Always, if it returns.
pub fn exec_guest(path: &Path) -> Error {
    let planned = || -> Result<Plan> {
        let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::file("read", path)(e.into()))
    };
    let plan = match planned() {
        Ok(plan) => plan,
        Err(e) => return e,
    };
    turn_aslr_off();
    if let Err(e) = std::env::set_current_dir(&plan.cwd) {
        return Error::file("change to", &plan.cwd)(e);
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(plan.umask));
    for (name, soft, hard) in &plan.rlimits {
        let known = facts::RLIMITS.into_iter().find(|(_, known)| known == name);
        if let Some((resource, _)) = known {
            // As without gdb: a limit that can't be had is answered by the log.
            let _ = setrlimit(resource, *soft, *hard);
        }
    }
    let strings = |all: &[ByteText]| -> Result<Vec<CString>> {
        all.iter().map(|s| environment::c_string(s.0.clone())).collect()
    };
    let done = || -> Result<()> {
        let filename = environment::c_string(plan.filename.as_os_str().as_bytes())?;
        let (argv, env) = (strings(&plan.argv)?, strings(&plan.env)?);
        let Err(e) = nix::unistd::execve(&filename, &argv, &env);
        Err(Error::file("execute", plan.filename.as_path())(e.into()))
    };
    match done() {
        Ok(()) => Error::Usage("exec-guest returned".into()),
        Err(e) => e,
    }
}
