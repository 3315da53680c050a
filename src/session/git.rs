//! Which commit a work tree is at, and whether its files were changed.
//!
//! Git is asked, and its answer remembered in the store, with a hash of the state of all that it
//! came from: to start git takes as long as to start a short program, to look whether a few
//! hundred files are as they were takes much less.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, statat};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::finish::{identity, identity_of};
use super::manifest::Git;

/// Longest time that git may take.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Files in this number are looked at about as fast by git itself, which has threads for it.
const FILES_MAX: usize = 20_000;
/// Bytes of their names.
const NAMES_BYTES_MAX: usize = 4 << 20;
/// How old the last change must be for a further one to be seen by its time.
const SETTLED: Duration = Duration::from_secs(2);
/// Variables by which git looks elsewhere than in the directory.
const ELSEWHERE: [&str; 5] =
    ["GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_COUNT"];
/// Beginning of the names of the files in the store that remember answers.
const FILE: &str = ".git-";

/// An answer, and what it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// Identity of the index.
    index: u64,
    /// Names of the tracked files, each with a NUL behind it.
    names: Vec<u8>,
    /// Hash of their state, and of the repository's.
    state: u64,
    git: Git,
}

/// A question about a work tree.
#[derive(Debug)]
pub enum Asked {
    /// Nothing has changed since it was answered.
    Known(Git),
    /// Git is at it.
    Running(Question),
}

/// A question to git that is being answered.
#[derive(Debug)]
pub struct Question {
    child: Child,
    pipe: ChildStdout,
    deadline: Instant,
    /// Where to remember the answer, with what it comes from.
    memory: Option<(PathBuf, Remembered)>,
}

/// Asks for the work tree that `dir` is in, if it is in one; answers are remembered in `store`.
pub fn ask(dir: &Path, store: &Path) -> Option<Asked> {
    ask_of(dir, store, SETTLED)
}

fn ask_of(dir: &Path, store: &Path, settled: Duration) -> Option<Asked> {
    let root = dir.ancestors().find(|d| d.join(".git").exists())?;
    let place = store.join(format!("{FILE}{:016x}", xxh3_64(root.as_os_str().as_bytes())));
    let old = fs::read(&place).ok().and_then(|b| postcard::from_bytes::<Remembered>(&b).ok());
    // Before git is asked: what changes meanwhile is then seen the next time.
    let now = look(root, old.as_ref(), settled);
    if let (Some(old), Some(now)) = (&old, &now)
        && (old.index, old.state) == (now.index, now.state)
    {
        return Some(Asked::Known(old.git.clone()));
    }
    let status = ["status", "--porcelain=v2", "--branch", "--no-ahead-behind"];
    let mut question = Question::start(dir, &[&status[..], &["--untracked-files=no"]].concat())?;
    question.memory = now.map(|now| (place, now));
    Some(Asked::Running(question))
}

/// The state of a work tree, to be told from others; none where it can't be by few looks, or was
/// changed too recently. What was remembered of it saves asking for the names.
///
/// Configuration outside the repository is not looked at.
fn look(root: &Path, old: Option<&Remembered>, settled: Duration) -> Option<Remembered> {
    let git = root.join(".git");
    let set = |name: &&str| std::env::var_os(name).is_some();
    let elsewhere = ELSEWHERE.iter().any(set);
    let has = |path: &str| root.join(path).exists();
    if elsewhere || !git.is_dir() || has(".git/reftable") || has(".gitmodules") {
        return None;
    }
    let index = identity(&git.join("index").metadata().ok()?);
    let names = match old.filter(|old| old.index == index) {
        Some(old) => old.names.clone(),
        None => {
            let names = Question::start(root, &["ls-files", "-z"])?.text(NAMES_BYTES_MAX)?;
            // A list that was cut is none.
            Some(names).filter(|names| names.len() < NAMES_BYTES_MAX)?
        }
    };
    let mut state = Xxh3Default::new();
    let head = fs::read(git.join("HEAD")).ok()?;
    state.update(&head);
    if let Some(name) = head.strip_prefix(b"ref: ") {
        let name = OsStr::from_bytes(name.trim_ascii());
        state.update(&fs::read(git.join(name)).unwrap_or_default());
    }
    let of_git = [c".git/packed-refs", c".git/config", c".git/info/attributes"];
    let tracked = names.split_inclusive(|byte| *byte == 0);
    let tracked = tracked.filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    let dir = File::open(root).ok()?;
    let (mut count, mut newest) = (0, 0);
    for name in of_git.into_iter().chain(tracked) {
        count += 1;
        // A file that is gone has a state, too.
        let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let identity = stat.as_ref().map_or(0, identity_of);
        state.update(&identity.to_le_bytes());
        newest = stat.map_or(newest, |s| newest.max(s.st_mtime).max(s.st_ctime));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let newest = Duration::from_secs(newest.try_into().unwrap_or(0));
    let is_told_apart = count <= FILES_MAX && newest + settled <= now;
    let state = state.digest();
    is_told_apart.then(|| Remembered { index, names, state, git: Git::default() })
}

impl Asked {
    /// The answer, if git gives one in time.
    pub fn answer(self) -> Option<Git> {
        let mut question = match self {
            Asked::Known(git) => return Some(git),
            Asked::Running(question) => question,
        };
        // One page is more than the commit and the first change.
        let text = question.text(4096)?;
        let text = String::from_utf8_lossy(&text);
        let commit = text.lines().find_map(|line| line.strip_prefix("# branch.oid "))?;
        // "(initial)" where there is no commit.
        let commit = Some(commit).filter(|c| c.bytes().all(|b| b.is_ascii_hexdigit()))?.to_owned();
        let git = Git { commit, dirty: text.lines().any(|line| !line.starts_with('#')) };
        if let Some((place, now)) = question.memory {
            // Failure only costs time later.
            let _ = remember(&place, &Remembered { git: git.clone(), ..now });
        }
        Some(git)
    }
}

fn remember(place: &Path, what: &Remembered) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(what).map_err(std::io::Error::other)?;
    let dir = place.parent().unwrap_or(place);
    let mut file = tempfile::Builder::new().prefix(FILE).tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, &bytes)?;
    file.persist(place).map_err(|e| e.error).map(drop)
}

impl Question {
    fn start(dir: &Path, args: &[&str]) -> Option<Question> {
        let mut child = Command::new("git")
            // Threads of its own for the index would cost more than they save.
            .args(["-c", "core.preloadIndex=false", "--no-optional-locks"])
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let pipe = child.stdout.take()?;
        Some(Question { child, pipe, deadline: Instant::now() + TIME_MAX, memory: None })
    }

    /// What git says, up to `max` bytes; it waits or fails when it has more to say. None if it
    /// fails otherwise, or the time is over.
    fn text(&mut self, max: usize) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut part = [0; 4096];
        let ended = loop {
            let room = part.len().min(max - text.len());
            if room == 0 || !self.is_ready() {
                break false;
            }
            match self.pipe.read(&mut part[..room]) {
                Ok(0) | Err(_) => break true,
                Ok(n) => text.extend_from_slice(&part[..n]),
            }
        };
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().ok()?;
        (status.success() || text.len() == max).then_some(text)
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

    struct Tree {
        dir: tempfile::TempDir,
        store: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Tree {
            Tree { dir: tempfile::tempdir().unwrap(), store: tempfile::tempdir().unwrap() }
        }

        fn git(&self, args: &[&str]) {
            let who = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let all = [&who[..], args].concat();
            let done = Command::new("git").args(all).current_dir(self.dir.path()).output();
            assert!(done.unwrap().status.success(), "{args:?}");
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).unwrap();
        }

        fn ask(&self) -> Option<Asked> {
            ask_of(self.dir.path(), self.store.path(), Duration::ZERO)
        }

        /// Asks twice; the second answer is remembered. What git itself says.
        fn answer(&self) -> Git {
            let asked = self.ask().unwrap();
            assert!(matches!(asked, Asked::Running(_)));
            let first = asked.answer().unwrap();
            let Some(Asked::Known(second)) = self.ask() else { panic!("not remembered") };
            assert_eq!(first, second);
            first
        }
    }

    #[test]
    fn a_work_tree_is_described_and_other_places_have_none() {
        let tree = Tree::new();
        assert!(tree.ask().is_none());
        tree.git(&["init", "-q"]);
        assert_eq!(tree.ask().and_then(Asked::answer), None);
        tree.write("f", "1");
        tree.git(&["add", "f"]);
        tree.git(&["commit", "-qm", "x"]);
        let clean = tree.answer();
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));
    }

    #[test]
    fn each_change_is_seen_behind_what_was_remembered() {
        let tree = Tree::new();
        tree.git(&["init", "-q"]);
        for name in ["f", "g"] {
            tree.write(name, "1");
        }
        tree.git(&["add", "."]);
        tree.git(&["commit", "-qm", "x"]);
        let first = tree.answer();
        let dirty = |dirty| Git { dirty, ..first.clone() };
        tree.write("f", "22");
        assert_eq!(tree.answer(), dirty(true));
        tree.write("g", "22");
        assert_eq!(tree.answer(), dirty(true));
        tree.git(&["checkout", "-q", "."]);
        assert_eq!(tree.answer(), dirty(false));
        fs::remove_file(tree.dir.path().join("g")).unwrap();
        assert_eq!(tree.answer(), dirty(true));
        tree.git(&["add", "-A"]);
        assert_eq!(tree.answer(), dirty(true));
        tree.git(&["commit", "-qm", "y"]);
        let second = tree.answer();
        assert!(second.commit != first.commit && !second.dirty);
        tree.git(&["reset", "-q", "--soft", "HEAD^"]);
        assert_eq!(tree.answer(), dirty(true));
        tree.git(&["pack-refs", "--all"]);
        assert_eq!(tree.answer(), dirty(true));
        tree.write("new", "untracked");
        assert!(matches!(tree.ask(), Some(Asked::Known(git)) if git == dirty(true)));
    }

    #[test]
    fn what_can_not_be_told_apart_is_not_remembered() {
        let tree = Tree::new();
        tree.git(&["init", "-q"]);
        tree.write("f", "1");
        tree.git(&["add", "f"]);
        tree.git(&["commit", "-qm", "x"]);
        let just_now = || ask(tree.dir.path(), tree.store.path());
        assert!(just_now().and_then(Asked::answer).is_some());
        assert!(matches!(just_now(), Some(Asked::Running(_))));
        tree.answer();
        for entry in fs::read_dir(tree.store.path()).unwrap() {
            fs::write(entry.unwrap().path(), "damaged").unwrap();
        }
        assert!(matches!(tree.ask(), Some(Asked::Running(_))));
    }
}
