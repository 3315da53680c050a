//! The shim as a file that guests can preload.
//!
//! It is embedded in this program and written to a directory whose path holds neither a space
//! nor a colon, which LD_PRELOAD could not express. Its name holds the hash of its content: every
//! version of rr-run has its own, and a file in place is checked, never trusted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use crate::error::{Error, Result};

/// The shared object.
pub static SHIM: &[u8] = include_bytes!(env!("RR_RUN_SHIM"));

/// Where it is put, in the order of preference.
const DIRECTORIES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What tells one shim from another: 16 hex digits.
pub const HASH: &str = env!("RR_RUN_SHIM_HASH");

/// Writes the shim where guests can load it, unless it is there already; its path.
///
/// # Errors
/// [`Error::Machine`] if no directory takes it.
pub fn install() -> Result<PathBuf> {
    let mut reasons = Vec::new();
    for directory in DIRECTORIES {
        match install_in(Path::new(directory)) {
            Ok(path) => return Ok(path),
            Err(e) => reasons.push(format!("{directory}: {e}")),
        }
    }
    Err(Error::Machine {
        doing: "put the shim where programs can load it".into(),
        reason: reasons.join("; "),
    })
}

fn install_in(directory: &Path) -> std::io::Result<PathBuf> {
    let mount = rustix::fs::statvfs(directory)?;
    if mount.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(std::io::Error::other("mounted noexec"));
    }
    let uid = rustix::process::geteuid().as_raw();
    let path = directory.join(format!("rr-run-{uid:08x}-{HASH}.so"));
    if is_ours(&path, uid) {
        return Ok(path);
    }
    // A rename replaces whatever stands there, in one step; where another user's file may not be
    // replaced (sticky directory), it fails and the next directory is tried.
    let mut file = tempfile::Builder::new().prefix(".rr-run-").tempfile_in(directory)?;
    file.write_all(SHIM)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o555))?;
    file.persist(&path).map_err(|e| e.error)?;
    if is_ours(&path, uid) { Ok(path) } else { Err(std::io::Error::other("not as written")) }
}

/// Whether the file is one of this user's that nobody else can change, with the right content.
fn is_ours(path: &Path, uid: u32) -> bool {
    let right = |meta: fs::Metadata| {
        meta.is_file()
            && meta.uid() == uid
            && meta.mode() & 0o022 == 0
            && meta.len() == SHIM.len() as u64
    };
    // Looked at without following links, then opened, then looked at again: /tmp is everyone's.
    fs::symlink_metadata(path).is_ok_and(right)
        && File::open(path)
            .is_ok_and(|file| file.metadata().is_ok_and(right) && holds_shim(file).unwrap_or(false))
}

/// In pieces: a buffer for all of it would be new memory at every start.
fn holds_shim(mut file: File) -> std::io::Result<bool> {
    let (mut part, mut left) = ([0; 16 << 10], SHIM);
    loop {
        let len = file.read(&mut part)?;
        match left.strip_prefix(&part[..len]) {
            Some(rest) if len > 0 => left = rest,
            rest => return Ok(rest.is_some_and(<[u8]>::is_empty)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tampered_shim_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = install_in(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), SHIM);
        assert_eq!(install_in(dir.path()).unwrap(), path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"something else").unwrap();
        assert_eq!(install_in(dir.path()).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), SHIM);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = install_in(dir.path()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        install_in(dir.path()).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
}
