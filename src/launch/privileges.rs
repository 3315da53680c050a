//! What executing a file changes in this process's rights.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use log_format::privileges::{CAPABILITY_BYTES, Caller, Effect, Marks, effect};
use rustix::fs::{StatVfsMountFlags, fgetxattr, fstatvfs};
use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set, no_new_privs};

use crate::error::{Error, Result};
use crate::session::manifest::{Manifest, Program};

/// For the user, of a program that runs from [`plain_copy`].
pub const COPIED: &str = "the program is setuid to the user who ran it: it ran from a copy \
                          without the bit, so that its addresses were not randomised";

/// What the marks of an open file come to if this process executes it.
///
/// # Errors
/// The system's.
pub fn of(file: &File) -> std::io::Result<Effect> {
    let meta = file.metadata()?;
    let mut bytes = [0; CAPABILITY_BYTES];
    // An error means that there are none.
    let len = fgetxattr(file, "security.capability", &mut bytes[..]).unwrap_or(0);
    let capabilities = bytes.get(..len).unwrap_or(&[]);
    let mut marks = Marks { mode: meta.mode(), uid: meta.uid(), gid: meta.gid(), capabilities };
    let mut caller = Caller {
        uid: getuid().as_raw(),
        euid: geteuid().as_raw(),
        gid: getgid().as_raw(),
        egid: getegid().as_raw(),
        ..Caller::default()
    };
    if marks.any() {
        let ignored = fstatvfs(file).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID))
            || no_new_privs().unwrap_or(false);
        if ignored {
            marks = Marks { mode: 0, capabilities: &[], ..marks };
        } else {
            (caller.permitted, caller.inheritable, caller.bounding) = sets()?;
        }
    }
    Ok(effect(&marks, &caller))
}

/// A copy without marks in a new session's files, if the program needs one to be replayed.
///
/// # Errors
/// The system's.
pub fn plain_copy(program: &Program, session: &Path) -> Result<Option<PathBuf>> {
    let path = program.executable.as_path();
    // Of a script the marks mean nothing.
    if !program.interpreters.is_empty() {
        return Ok(None);
    }
    let mut from = File::open(path).map_err(Error::file("read", path))?;
    if of(&from).map_err(Error::file("read", path))? != Effect::Randomised {
        return Ok(None);
    }
    let copy = session.join(Manifest::kept_path(program.identity));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o700);
    let mut to = options.open(&copy).map_err(Error::file("create", &copy))?;
    std::io::copy(&mut from, &mut to).map_err(Error::file("write", &copy))?;
    Ok(Some(copy))
}

/// Permitted, inheritable and bounding set of this thread.
fn sets() -> std::io::Result<(u64, u64, u64)> {
    let own = capabilities(None)?;
    let bounding = CapabilitySet::all()
        .iter()
        .filter(|one| capability_is_in_bounding_set(*one).unwrap_or(false))
        .fold(CapabilitySet::empty(), |all, one| all | one);
    Ok((own.permitted.bits(), own.inheritable.bits(), bounding.bits()))
}
