//! Arenas in memory that nobody needs any more: their host was killed, and their session is gone.

use std::fs::{self, DirEntry, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use log_format::arena::stop;
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use super::{ARENA, ARENA_PREFIX, remove_arena_file};
use crate::log::map::{ArenaMap, ring, text};

/// Age from which secrets without their arena belong to no recording that is just starting.
const SECRETS_AGE: Duration = Duration::from_secs(3600);

/// Removes this user's stale arenas in `memory`, and the directories of killed replays.
///
/// An arena whose session is still there is left: opening the session completes it. What can't be
/// looked at is left, too.
pub(crate) fn sweep(memory: &Path) {
    let uid = geteuid().as_raw();
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let named = entry.file_name().as_bytes().starts_with(ARENA_PREFIX.as_bytes());
        if let Ok(meta) = entry.metadata()
            && named
            && meta.uid() == uid
        {
            one(&entry, &meta);
        }
    }
}

fn one(entry: &DirEntry, meta: &fs::Metadata) {
    let path = entry.path();
    if meta.is_dir() {
        if abandoned(&path.join(ARENA)).is_some() {
            let _ = fs::remove_dir_all(&path);
        }
    } else if let Some(arena) = of_secrets(&path) {
        let old = meta.modified().ok().and_then(|time| time.elapsed().ok());
        if !arena.exists() && old.is_some_and(|age| age > SECRETS_AGE) {
            let _ = fs::remove_file(&path);
        }
    } else if let Some(arena) = abandoned(&path)
        && !has_session(&arena, &path)
    {
        let_go(&arena);
        remove_arena_file(&path);
    }
}

/// Guests that still run go on unrecorded, and so does what they execute.
pub(super) fn let_go(arena: &ArenaMap) {
    let word = &arena.header().stop;
    let _ = word.compare_exchange(stop::NO, stop::HOST_GONE, Ordering::AcqRel, Ordering::Acquire);
    ring(&arena.header().host_bell);
}

/// The arena beside which secrets of this name stand.
fn of_secrets(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?;
    let arena = path.with_file_name(stem);
    (crate::redact::stash_of(&arena) == path).then_some(arena)
}

/// The arena of a host that does not live any more.
fn abandoned(path: &Path) -> Option<ArenaMap> {
    // A host holds the lock, be it in another namespace of processes; one that could not lock, or
    // of an older version, is found by its pid.
    File::open(path).ok()?.try_lock().ok()?;
    let arena = ArenaMap::open(path).ok()?;
    let host = Pid::from_raw(arena.header().host_pid.load(Ordering::Acquire))?;
    (test_kill_process(host) == Err(Errno::SRCH)).then_some(arena)
}

/// Whether the session that the arena belongs to is there.
fn has_session(arena: &ArenaMap, path: &Path) -> bool {
    let files_dir = text(&arena.header().files_dir);
    let session = Path::new(&files_dir).parent();
    session.is_some_and(|dir| fs::read_link(dir.join(ARENA)).is_ok_and(|to| to == path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::map::set_text;

    /// An arena of the host with this pid, for a session in `dir`.
    fn arena(memory: &Path, name: &str, host: i32, dir: &Path) -> PathBuf {
        let path = memory.join(format!("{ARENA_PREFIX}{name}"));
        let arena = ArenaMap::create(&path).unwrap();
        let header = arena.header();
        header.magic.store(log_format::arena::MAGIC, Ordering::Relaxed);
        header.version.store(log_format::VERSION, Ordering::Relaxed);
        header.host_pid.store(host, Ordering::Relaxed);
        assert!(set_text(&header.files_dir, dir.join("files").as_os_str().as_bytes()));
        fs::write(crate::redact::stash_of(&path), "secret").unwrap();
        path
    }

    #[test]
    fn only_what_belongs_to_nobody_is_removed() {
        let memory = tempfile::tempdir().unwrap();
        let session = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id() as i32;
        child.wait().unwrap();
        let own = std::process::id() as i32;
        let gone = session.path().join("removed");
        let left = |path: &Path| path.exists() && crate::redact::stash_of(path).exists();
        let stale = arena(memory.path(), "stale", dead, &gone);
        let living = arena(memory.path(), "living", own, &gone);
        let killed = arena(memory.path(), "killed", dead, session.path());
        std::os::unix::fs::symlink(&killed, session.path().join(ARENA)).unwrap();
        let locked = arena(memory.path(), "locked", dead, &gone);
        let lock = File::open(&locked).unwrap();
        lock.lock().unwrap();
        let other = memory.path().join("rr-run-other");
        fs::write(&other, "no arena").unwrap();
        let replay = memory.path().join("rr-run-replay");
        fs::create_dir(&replay).unwrap();
        fs::rename(arena(memory.path(), "of-a-replay", dead, &gone), replay.join(ARENA)).unwrap();
        let fresh = memory.path().join("rr-run-starting.secrets");
        fs::write(&fresh, "secret").unwrap();
        sweep(memory.path());
        assert!(!stale.exists() && !crate::redact::stash_of(&stale).exists());
        assert!(!replay.exists());
        assert!(left(&living) && left(&killed) && left(&locked));
        assert!(other.exists() && fresh.exists());
    }
}
