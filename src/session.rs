//! Sessions: one run of a process tree, one directory.
//!
//! ```text
//! <store>/latest -> <name>
//! <store>/<name>/manifest.json      what, where, when, how it ended
//! <store>/<name>/lock               locked while the host records
//! <store>/<name>/arena              while recording, or after the host was killed
//! <store>/<name>/procs/<key>.<n>.log  the log of each process, see log::chunk; that of plaintext
//!                                   has a key of its own, see intercept::plain
//! <store>/<name>/ca-bundle*         certificates that guests were told to trust
//! <store>/<name>/redactions         where placeholders of secrets stand in the logs
//! <store>/<name>/files/<identity>   kept copies of files that were mapped or executed
//! ```

pub mod facts;
pub mod finish;
pub mod git;
pub mod hashes;
pub mod manifest;
pub mod pack;
mod recover;
#[cfg(test)]
pub(crate) mod sample;
pub mod store;
pub(crate) mod sweep;
pub mod verify;

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};
use crate::log::Events;
use crate::log::map::ArenaMap;
use crate::redact::{self, Redactor};
pub use manifest::{Manifest, Process, Status};
pub use store::Store;

/// Name of the manifest in a session's directory.
pub const MANIFEST: &str = "manifest.json";
/// Name of the file that a recording host holds locked.
pub const LOCK: &str = "lock";
/// Name of the arena while recording.
pub const ARENA: &str = "arena";

/// The memory file system, where arenas are if there is room.
pub(crate) const MEMORY: &str = "/dev/shm";
/// How the names of arenas there begin.
pub(crate) const ARENA_PREFIX: &str = "rr-run-";

/// Removes a session's arena, and the file in memory that it may link to.
pub(crate) fn remove_arena(dir: &Path) {
    let path = dir.join(ARENA);
    let ours = |target: &PathBuf| {
        let name =
            target.file_name().is_some_and(|n| n.as_bytes().starts_with(ARENA_PREFIX.as_bytes()));
        name && target.parent() == Some(Path::new(MEMORY))
    };
    if let Some(target) = fs::read_link(&path).ok().filter(ours) {
        remove_arena_file(&target);
    }
    remove_arena_file(&path);
}

/// Removes an arena with what stands beside it: the secrets of its recording, and the socket where
/// connections are taken over.
fn remove_arena_file(arena: &Path) {
    let mut socket = arena.as_os_str().to_owned();
    socket.push(crate::intercept::SOCKET_ENDING);
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(redact::stash_of(arena));
    let _ = fs::remove_file(arena);
}

/// Largest manifest that is read, bytes.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A session on disk, its manifest read.
#[derive(Clone)]
pub struct Session {
    dir: PathBuf,
    manifest: Manifest,
    /// The arena of a session that is being recorded, and what takes its secrets out.
    arena: Option<(Arc<ArenaMap>, Arc<Mutex<Redactor>>)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens the session in `dir`.
    ///
    /// A session whose host was killed is first completed from its arena, as far as guests had
    /// logged, and marked as cut short. One that is being recorded opens with status
    /// [`Status::Recording`], and its processes are those that have logged something so far.
    ///
    /// # Errors
    /// [`Error::SessionMissing`], [`Error::Damaged`], [`Error::SessionNewer`] or the system's.
    pub fn open(dir: &Path) -> Result<Session> {
        let mut manifest = read_manifest(dir)?;
        if manifest.status == Status::Recording {
            manifest = recover::recover(dir, manifest)?;
        }
        let live = manifest.status == Status::Recording;
        let arena = live.then(|| ArenaMap::look(&dir.join(ARENA))).flatten();
        let arena = match arena {
            None => None,
            Some(arena) => {
                let redactor = Redactor::recover(dir, &manifest)?;
                Some((Arc::new(arena), Arc::new(Mutex::new(redactor))))
            }
        };
        Ok(Session { dir: dir.to_owned(), manifest, arena })
    }

    /// The session in `dir` with this manifest, whatever it is.
    pub(crate) fn unchecked(dir: &Path, manifest: Manifest) -> Session {
        Session { dir: dir.to_owned(), manifest, arena: None }
    }

    /// The session's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its name: that of the directory.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// What its manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The events of one of its processes.
    ///
    /// # Errors
    /// As [`Events::open`].
    pub fn events(&self, process: &Process) -> Result<Events> {
        let live = self.manifest.status == Status::Recording;
        let expected = (!live).then_some(process.bytes);
        let events = Events::open(&self.dir, process.key, live, expected)?;
        Ok(match &self.arena {
            Some((arena, redactor)) => events.with_arena(arena.clone(), redactor.clone()),
            None => events,
        })
    }

    /// Whether a host is recording it at this moment.
    pub fn is_live(&self) -> bool {
        is_locked(&self.dir)
    }
}

/// Reads the manifest of the session in `dir`.
///
/// # Errors
/// As [`Session::open`].
pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let size = match fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(Error::SessionMissing {
                name: dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned(),
                store: dir.parent().unwrap_or(dir).to_owned(),
            });
        }
        Err(e) => return Err(Error::file("read", &path)(e)),
    };
    let logs = "the logs under procs/ may still be whole";
    if size > MANIFEST_BYTES_MAX {
        return Err(Error::damaged(&path, format!("{size} bytes are too many"), logs));
    }
    let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
    // The version alone is read first: a newer manifest need not parse as today's.
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let damaged = |e: serde_json::Error| Error::damaged(&path, e.to_string(), logs);
    let version: Version = serde_json::from_slice(&bytes).map_err(damaged)?;
    if version.format > log_format::VERSION {
        let (found, known) = (version.format, log_format::VERSION);
        return Err(Error::SessionNewer { path, found, known });
    }
    serde_json::from_slice(&bytes).map_err(damaged)
}

/// Writes the manifest of the session in `dir`, without secrets, replacing the old one at once or
/// not at all.
///
/// # Errors
/// The system's.
pub fn write_manifest(dir: &Path, manifest: &Manifest, redactor: &mut Redactor) -> Result<()> {
    let path = dir.join(MANIFEST);
    let failed = || Error::file("write", &path);
    let mut file =
        tempfile::Builder::new().prefix(".manifest").tempfile_in(dir).map_err(failed())?;
    let json = match redactor.is_on() {
        false => serde_json::to_vec_pretty(manifest),
        true => serde_json::to_value(manifest).and_then(|mut value| {
            redactor.json(&mut value);
            // In the order of the fields.
            serde_json::to_vec_pretty(&serde_json::from_value::<Manifest>(value)?)
        }),
    };
    let json = json.map_err(|e| failed()(e.into()))?;
    file.write_all(&json).and_then(|()| file.write_all(b"\n")).map_err(failed())?;
    file.persist(&path).map_err(|e| failed()(e.error))?;
    Ok(())
}

/// Takes the lock of the session in `dir`; none if another process holds it.
///
/// # Errors
/// The system's.
pub fn lock(dir: &Path) -> Result<Option<File>> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::file("lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(Error::file("lock", &path)(e)),
    }
}

/// Whether a host is recording the session in `dir` at this moment.
pub fn is_locked(dir: &Path) -> bool {
    File::open(dir.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Removes the session in `dir`.
///
/// # Errors
/// [`Error::SessionBusy`] while it is being recorded, or the system's.
pub fn remove(dir: &Path) -> Result<()> {
    // Held while removing, so that nothing else completes or reads it meanwhile.
    let Some(_lock) = lock(dir)? else {
        let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
        return Err(Error::SessionBusy { name });
    };
    // The manifest goes first: what is left after a crash is no session any more.
    fs::remove_file(dir.join(MANIFEST)).map_err(Error::file("remove", dir))?;
    if let Ok(arena) = ArenaMap::open(&dir.join(ARENA)) {
        sweep::let_go(&arena);
    }
    remove_arena(dir);
    fs::remove_dir_all(dir).map_err(Error::file("remove", dir))
}
