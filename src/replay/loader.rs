//! The files that a loader asks for before the shim is there, where they are gone or changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::launch::opens::{Answer, Asked, Listener};
use crate::session::{Session, finish};

/// Longest name looked at, bytes.
const NAME_BYTES_MAX: usize = 4096;
/// What the loader reads to find the program's own directory (`$ORIGIN`).
const SELF: &[u8] = b"/proc/self/exe";

/// What loaders are answered.
#[derive(Debug)]
pub(super) struct Answers {
    /// Where the file is that was opened by this name.
    opens: HashMap<Vec<u8>, PathBuf>,
    /// Recorded path of each copy, which a program may run from.
    programs: HashMap<PathBuf, Vec<u8>>,
}

impl Answers {
    /// Finds the names that do not lead to the recorded files any more; none if all do.
    /// `files_dir` has the links to kept copies.
    pub(super) fn new(session: &Session, files_dir: &Path) -> Option<Answers> {
        let manifest = session.manifest();
        let cwd = manifest.program.cwd.as_path();
        let (mut opens, mut programs) = (HashMap::new(), HashMap::new());
        for file in &manifest.files {
            let link = files_dir.join(format!("{:016x}", file.identity));
            let copy = fs::canonicalize(link).ok();
            for name in &file.names {
                let leads = fs::metadata(cwd.join(name.as_path()))
                    .is_ok_and(|meta| finish::identity(&meta) == file.identity);
                if !leads {
                    let place = copy.clone().unwrap_or_else(|| file.path.as_path().to_owned());
                    opens.insert(name.0.clone(), place);
                }
            }
            if let Some(copy) = copy {
                programs.insert(copy, file.path.0.clone());
            }
        }
        let any_named = manifest.files.iter().any(|file| !file.names.is_empty());
        (!opens.is_empty() || !programs.is_empty() && any_named)
            .then_some(Answers { opens, programs })
    }

    fn answer(&self, asked: &Asked) -> Answer {
        match asked.nr {
            libc::SYS_openat => self.open(asked),
            libc::SYS_readlink => self.origin(asked),
            _ => None,
        }
        .unwrap_or(Answer::Performed)
    }

    fn open(&self, asked: &Asked) -> Option<Answer> {
        let place = self.opens.get(&string(asked.tid, asked.args[1])?)?;
        Some(Answer::Opened(OwnedFd::from(File::open(place).ok()?)))
    }

    fn origin(&self, asked: &Asked) -> Option<Answer> {
        let [path, to, room, ..] = asked.args;
        if string(asked.tid, path)? != SELF {
            return None;
        }
        let runs = fs::read_link(format!("/proc/{}/exe", asked.tid)).ok()?;
        let recorded = self.programs.get(&runs)?;
        let len = recorded.len().min(room as usize);
        let memory = File::options().write(true).open(memory_of(asked.tid)).ok()?;
        memory.write_all_at(&recorded[..len], to).ok()?;
        Some(Answer::Returns(len as i64))
    }
}

fn memory_of(tid: u32) -> String {
    format!("/proc/{tid}/mem")
}

/// The NUL-terminated string at an address of a process.
fn string(tid: u32, at: u64) -> Option<Vec<u8>> {
    let memory = File::open(memory_of(tid)).ok()?;
    let mut bytes = vec![0; NAME_BYTES_MAX];
    let read = memory.read_at(&mut bytes, at).ok()?;
    let end = bytes[..read].iter().position(|byte| *byte == 0)?;
    bytes.truncate(end);
    Some(bytes)
}

/// Answers the loaders of the process that was started with the other end of `socket`, in a thread
/// that ends with the last of them.
///
/// # Errors
/// The system's.
pub(super) fn serve(answers: Answers, socket: &OwnedFd) -> Result<()> {
    let Some(listener) = Listener::receive(socket) else {
        // No filters here: the loader says itself which file it does not find.
        return Ok(());
    };
    let answering = move || {
        while let Some(asked) = listener.next() {
            listener.answer(&asked, answers.answer(&asked));
        }
    };
    std::thread::Builder::new()
        .name("loaders".into())
        .spawn(answering)
        .map_err(Error::io("start a thread"))?;
    Ok(())
}
