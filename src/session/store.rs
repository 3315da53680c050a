//! The store: the directory that sessions are kept in.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{MANIFEST, Manifest, Session, read_manifest};
use crate::error::{Error, Result};

/// Name of the link to the newest session.
pub const LATEST: &str = "latest";
/// Name of the directory of kept files that sessions share; begins with a dot, as no session's.
const KEPT: &str = ".kept";
/// Matches named in the message about an ambiguous name.
const MATCHES_SHOWN: usize = 4;

/// A directory of sessions.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// One session of a store, as [`Store::list`] finds it.
#[derive(Debug)]
pub struct Entry {
    /// Name of its directory.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its manifest, or why that can't be read.
    pub manifest: Result<Manifest>,
}

impl Store {
    /// The store in `dir` (`-o DIR`), else in `$RR_RUN_DIR`, else in `$XDG_STATE_HOME/rr-run`,
    /// else in `~/.local/state/rr-run`. Nothing is created yet.
    ///
    /// # Errors
    /// [`Error::Machine`] if none of these is set, and the user has no home.
    pub fn new(dir: Option<&Path>) -> Result<Store> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = dir
            .map(Path::to_owned)
            .or_else(|| set("RR_RUN_DIR"))
            .or_else(|| {
                // The XDG specification has relative paths ignored.
                set("XDG_STATE_HOME").filter(|p| p.is_absolute()).map(|p| p.join("rr-run"))
            })
            // $HOME, else what the system knows of this user.
            .or_else(|| Some(std::env::home_dir()?.join(".local/state/rr-run")))
            .ok_or_else(|| Error::Machine {
                doing: "choose a directory for sessions".into(),
                reason: "none of -o, RR_RUN_DIR, XDG_STATE_HOME and HOME is set".into(),
            })?;
        let dir = std::path::absolute(&dir).map_err(Error::file("find", &dir))?;
        Ok(Store { dir })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the session that `name` means: its name or a unique beginning of it, or
    /// a path to its directory, or to a store, whose latest is taken. Without a name the latest.
    ///
    /// # Errors
    /// [`Error::SessionMissing`], [`Error::SessionAmbiguous`], [`Error::NoSession`].
    pub fn locate(&self, name: Option<&OsStr>) -> Result<PathBuf> {
        let Some(name) = name else { return self.latest() };
        let inside = self.dir.join(name);
        if inside.join(MANIFEST).is_file() {
            return fs::canonicalize(&inside).map_err(Error::file("find", &inside));
        }
        let path = std::path::absolute(name).map_err(Error::file("find", Path::new(name)))?;
        if path.join(MANIFEST).is_file() {
            return Ok(path);
        }
        if path.join(LATEST).is_symlink() {
            return Store { dir: path }.latest();
        }
        let text = name.to_string_lossy();
        let mut matches = self.names()?;
        matches.retain(|n| n.starts_with(&*text));
        match matches.as_slice() {
            [] => Err(Error::SessionMissing { name: text.into(), store: self.dir.clone() }),
            [one] => Ok(self.dir.join(one)),
            [..] => {
                matches.truncate(MATCHES_SHOWN);
                Err(Error::SessionAmbiguous { name: text.into(), matches: matches.join(", ") })
            }
        }
    }

    /// Locates and opens a session.
    ///
    /// # Errors
    /// Those of [`Store::locate`] and [`Session::open`].
    pub fn open(&self, name: Option<&OsStr>) -> Result<Session> {
        Session::open(&self.locate(name)?)
    }

    /// All sessions, oldest first.
    ///
    /// # Errors
    /// The system's; a store that does not exist is empty.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self
            .names()?
            .into_iter()
            .map(|name| {
                let dir = self.dir.join(&name);
                Entry { manifest: read_manifest(&dir), name, dir }
            })
            .collect();
        entries.sort_by_key(|e| e.manifest.as_ref().map_or(0, |m| m.started_ns));
        Ok(entries)
    }

    /// The directory of kept files that sessions of this store share by hard links, made if
    /// need be; None if it can't be.
    pub fn kept_dir(&self) -> Option<PathBuf> {
        let dir = self.dir.join(KEPT);
        private().recursive(true).create(&dir).ok()?;
        fs::canonicalize(dir).ok()
    }

    /// Takes the kept file with this identity out of those that sessions of the store around the
    /// session in `dir` share.
    pub(crate) fn forget_kept(dir: &Path, identity: u64) {
        if let Some(store) = dir.parent() {
            let _ = fs::remove_file(store.join(KEPT).join(format!("{identity:016x}")));
        }
    }

    /// Removes the kept files that no session has any more.
    pub fn prune_kept(&self) {
        for entry in fs::read_dir(self.dir.join(KEPT)).into_iter().flatten().flatten() {
            if entry.metadata().is_ok_and(|meta| meta.nlink() == 1) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Makes the directory of a new session and points `latest` to it.
    ///
    /// Without a name it is made of the time and the program's name, so that names sort by age.
    ///
    /// # Errors
    /// [`Error::SessionExists`], [`Error::Usage`] for an impossible name, or the system's.
    pub fn create(&self, name: Option<&str>, program: &OsStr) -> Result<PathBuf> {
        if let Some(name) = name {
            check_name(name)?;
        }
        private().recursive(true).create(&self.dir).map_err(Error::file("create", &self.dir))?;
        let base = name.map_or_else(|| time_name(SystemTime::now(), program), str::to_owned);
        let mut chosen = base.clone();
        for again in 2.. {
            let dir = self.dir.join(&chosen);
            match private().create(&dir) {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::AlreadyExists && name.is_none() => {
                    chosen = format!("{base}-{again}");
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    return Err(Error::SessionExists { name: chosen });
                }
                Err(e) => return Err(Error::file("create", &dir)(e)),
            }
        }
        let dir = self.dir.join(&chosen);
        for sub in ["procs", "files"] {
            let sub = dir.join(sub);
            private().create(&sub).map_err(Error::file("create", &sub))?;
        }
        self.point_latest(&chosen)?;
        Ok(dir)
    }

    /// A directory in the store that is no session yet, with the directories of one; removed when
    /// it is dropped.
    ///
    /// # Errors
    /// The system's.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        let failed = || Error::file("create a directory in", &self.dir);
        private().recursive(true).create(&self.dir).map_err(failed())?;
        let scratch =
            tempfile::Builder::new().prefix(".new-").tempdir_in(&self.dir).map_err(failed())?;
        for sub in ["procs", "files"] {
            private().create(scratch.path().join(sub)).map_err(failed())?;
        }
        Ok(scratch)
    }

    /// Makes a finished [`Store::scratch`] a session; its directory.
    ///
    /// # Errors
    /// [`Error::SessionExists`], [`Error::Usage`] for an impossible name, or the system's.
    pub fn adopt(&self, scratch: tempfile::TempDir, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let dir = self.dir.join(name);
        match renameat_with(CWD, scratch.path(), CWD, &dir, RenameFlags::NOREPLACE) {
            Ok(()) => {
                // It is not there any more under its old name.
                let _ = scratch.keep();
                Ok(dir)
            }
            Err(Errno::EXIST) => Err(Error::SessionExists { name: name.to_owned() }),
            Err(e) => Err(Error::file("create", &dir)(e.into())),
        }
    }

    fn point_latest(&self, name: &str) -> Result<()> {
        // A link is replaced by renaming another over it, so that there is always one.
        let link = self.dir.join(LATEST);
        let fresh = self.dir.join(format!(".{LATEST}-{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(name, &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(Error::file("write", &link))
    }

    fn latest(&self) -> Result<PathBuf> {
        if let Ok(dir) = fs::canonicalize(self.dir.join(LATEST))
            && dir.join(MANIFEST).is_file()
        {
            return Ok(dir);
        }
        // The latest was removed, or the link with it.
        let newest = self.list()?.pop().map(|e| e.dir);
        newest.ok_or_else(|| Error::NoSession { store: self.dir.clone() })
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = || Error::file("list", &self.dir);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed()(e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            let is_link = entry.file_type().is_ok_and(|t| t.is_symlink());
            if !is_link && entry.path().join(MANIFEST).is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A builder of directories that only their owner can use.
fn private() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') || name == LATEST {
        return Err(Error::Usage(format!("'{name}' can't be the name of a session")));
    }
    Ok(())
}

/// `20261123T005257.123Z-curl`.
fn time_name(time: SystemTime, program: &OsStr) -> String {
    let stamp = humantime::format_rfc3339_millis(time).to_string().replace(['-', ':'], "");
    let program = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    let program: String = program.chars().take(40).map(plain).collect();
    format!("{stamp}-{program}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;
    use crate::session::write_manifest;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(dir.path())).unwrap();
        (dir, store)
    }

    fn add(store: &Store, name: Option<&str>, started_ns: u64) -> PathBuf {
        let dir = store.create(name, OsStr::new("/bin/curl x")).unwrap();
        let manifest = Manifest { format: 1, started_ns, ..Manifest::default() };
        write_manifest(&dir, &manifest, &mut Redactor::off()).unwrap();
        dir
    }

    #[test]
    fn a_session_is_found_by_name_beginning_path_store_or_as_the_latest() {
        let (_keep, store) = store();
        assert!(matches!(store.locate(None), Err(Error::NoSession { .. })));
        let one = add(&store, Some("one"), 1);
        let two = add(&store, None, 2);
        assert!(two.file_name().unwrap().to_str().unwrap().ends_with("Z-curl_x"));
        assert_eq!(store.locate(None).unwrap(), two);
        assert_eq!(store.locate(Some(OsStr::new("on"))).unwrap(), one);
        assert_eq!(store.locate(Some(one.as_os_str())).unwrap(), one);
        assert_eq!(store.locate(Some(store.dir().as_os_str())).unwrap(), two);
        fs::remove_dir_all(&two).unwrap();
        assert_eq!(store.locate(None).unwrap(), one);
        assert!(matches!(
            store.locate(Some(OsStr::new("three"))),
            Err(Error::SessionMissing { .. })
        ));
        assert!(matches!(
            store.create(Some("one"), OsStr::new("x")),
            Err(Error::SessionExists { .. })
        ));
    }
}
