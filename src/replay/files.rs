//! The files a replay needs: originals where they are unchanged, kept copies elsewhere.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use log_format::privileges::Effect;

use crate::error::{Error, Result};
use crate::launch::privileges;
use crate::session::hashes::Hashes;
use crate::session::manifest::{File, Manifest};
use crate::session::{Session, finish};

/// Checks every file of the session's manifest, and links kept copies of those that are missing
/// or changed into `files_dir`, where the shim looks first.
///
/// # Errors
/// [`Error::FileChanged`] for the first file that is neither as recorded nor kept.
pub fn prepare(session: &Session, files_dir: &Path) -> Result<()> {
    let mut hashes = Hashes::load(session.dir().parent().unwrap_or(session.dir()));
    let mut result = Ok(());
    for file in &session.manifest().files {
        result = one(session, file, files_dir, &mut hashes);
        if result.is_err() {
            break;
        }
    }
    hashes.save();
    result
}

fn one(session: &Session, file: &File, files_dir: &Path, hashes: &mut Hashes) -> Result<()> {
    // The original has secrets that the guest had not got.
    let difference = if file.redacted {
        Some("it is redacted")
    } else if file.kept && from_a_copy(session, file) {
        Some("it ran from a copy")
    } else {
        difference(file, hashes)
    };
    let differs = match difference {
        None => return Ok(()),
        Some(differs) => differs,
    };
    let copy = session.dir().join(Manifest::kept_path(file.identity));
    if file.kept && copy.is_file() {
        let link = files_dir.join(format!("{:016x}", file.identity));
        return std::os::unix::fs::symlink(&copy, &link).map_err(Error::file("link", &link));
    }
    // Its content at the time is not known, so nothing can be said here; the shim compares what
    // it can when the guest maps it.
    if file.blake3.is_empty() {
        return Ok(());
    }
    Err(Error::FileChanged { path: file.path.as_path().to_owned(), reason: differs.into() })
}

/// True for a program whose addresses would be randomised, and for the copy that ran instead.
fn from_a_copy(session: &Session, file: &File) -> bool {
    let path = file.path.as_path();
    let marked = || {
        fs::File::open(path)
            .and_then(|file| privileges::of(&file))
            .is_ok_and(|effect| effect != Effect::None)
    };
    path.starts_with(session.dir()) || file.executed && marked()
}

/// How the original differs from what was recorded, if it does.
fn difference(file: &File, hashes: &mut Hashes) -> Option<&'static str> {
    let path = file.path.as_path();
    let Ok(meta) = fs::metadata(path) else { return Some("it is missing") };
    let identity = finish::identity(&meta);
    if identity == file.identity {
        return None;
    }
    if !meta.is_file() {
        return Some("it is no longer a regular file");
    }
    if meta.len() != file.size {
        return Some("its size has changed");
    }
    let same = hashes.of(identity, path).is_some_and(|hash| hash == file.blake3);
    (!same).then_some("its content has changed")
}

/// What is executed to start the root again.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// File name for execve.
    pub filename: OsString,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
}

/// Chooses the file to execute: the recorded one if it is unchanged; for a script that is not,
/// its interpreter, given the words that the kernel would have given it; else a kept copy.
///
/// # Errors
/// [`Error::FileChanged`].
pub fn start(session: &Session, files_dir: &Path, cwd: &Path) -> Result<Start> {
    let manifest = session.manifest();
    let program = &manifest.program;
    let argv: Vec<Vec<u8>> = program.argv.iter().map(|a| a.0.clone()).collect();
    let executable = program.executable.as_path();
    let linked = files_dir.join(format!("{:016x}", program.identity));
    if linked.exists() {
        return Ok(Start { filename: linked.into_os_string(), argv });
    }
    let recorded = manifest.files.iter().find(|f| f.identity == program.identity);
    let unchanged = |path: &Path| {
        fs::metadata(path).is_ok_and(|meta| {
            // Content was compared by `prepare` if the manifest knows the file.
            finish::identity(&meta) == program.identity || recorded.is_some()
        })
    };
    if unchanged(executable) {
        // The name as it was given, if it still leads there: guests can see it.
        let given = program.filename.as_path();
        let same = fs::canonicalize(cwd.join(given)).ok() == fs::canonicalize(executable).ok();
        let filename = if same { given } else { executable };
        return Ok(Start { filename: filename.as_os_str().to_owned(), argv });
    }
    let Some(interpreter) = program.interpreters.first() else {
        return Err(Error::FileChanged {
            path: PathBuf::from(executable),
            reason: "it is missing or changed".into(),
        });
    };
    let words = program.interpreters.iter().map(|w| w.0.clone());
    let rest = argv.iter().skip(1).cloned();
    let argv = words.chain([program.filename.0.clone()]).chain(rest).collect();
    Ok(Start { filename: interpreter.as_os_str().to_owned(), argv })
}
