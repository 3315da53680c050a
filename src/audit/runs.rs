//! The runs that an audit compares: recordings of one program, or replays of one session.
//!
//! Each run is an `rr-run` process of its own, so that what the guest puts out can be captured
//! and nothing of one run stays for the next.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::profile::Output;
use crate::error::{Error, Result};
use crate::session::{Session, Status, Store};

/// What is kept of a failed run's messages, bytes.
const MESSAGE_BYTES: u64 = 4096;

/// How to record a program several times.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `rr-run` to run.
    pub exe: PathBuf,
    /// How often.
    pub runs: usize,
    /// Options of `rr-run record` besides the seed, such as `--time frozen`.
    pub options: Vec<OsString>,
    /// Text of the seed that all runs have.
    pub seed: String,
    /// Standard input of each run; empty if none.
    pub stdin: Option<PathBuf>,
    /// Program and arguments.
    pub command: Vec<OsString>,
}

/// One replay of a session.
#[derive(Debug)]
pub struct Replayed {
    /// Exit code of the replay.
    pub code: Option<i32>,
    /// What it put out.
    pub outputs: [Output; 2],
    /// Its report, if it diverged.
    pub divergence: Option<serde_json::Value>,
    /// The beginning of its standard error.
    pub message: String,
}

/// Records the program as often as the plan says; the sessions.
///
/// # Errors
/// [`Error::Undecided`] if a run leaves no whole session, with what it said.
pub fn record(store: &Store, plan: &Plan) -> Result<Vec<Session>> {
    let stamp = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let stamp = stamp.replace(['-', ':'], "");
    // One file for all runs' messages: programs look at the attributes of their standard error.
    let mut messages = scratch()?;
    (1..=plan.runs)
        .map(|n| record_one(store, plan, &format!("{stamp}-audit-{n}"), &mut messages))
        .collect()
}

fn record_one(store: &Store, plan: &Plan, name: &str, messages: &mut File) -> Result<Session> {
    let stdin = match &plan.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(Error::file("read", path))?),
        None => Stdio::null(),
    };
    let used = messages.stream_position().map_err(Error::io("use a temporary file"))?;
    Command::new(&plan.exe)
        .arg("record")
        .arg("-o")
        .arg(store.dir())
        .args(["--name", name, "--seed", &plan.seed])
        // The certificates of two sessions differ.
        .args(["--tls", "passive"])
        .args(&plan.options)
        .arg("--")
        .args(&plan.command)
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(clone(messages)?)
        .status()
        .map_err(Error::file("execute", &plan.exe))?;
    let undecided = |reason: String| Error::Undecided { what: format!("run {name}"), reason };
    let session = match Session::open(&store.dir().join(name)) {
        Ok(session) => session,
        Err(_) => return Err(undecided(text(messages, used)?)),
    };
    match &session.manifest().status {
        Status::Complete => Ok(session),
        Status::CutShort { reason } => Err(undecided(reason.clone())),
        Status::Recording => Err(undecided("its recording did not end".into())),
    }
}

/// Replays a session once.
///
/// # Errors
/// rr-run can't be run.
pub fn replay(exe: &Path, session: &Session) -> Result<Replayed> {
    let dir = tempfile::tempdir().map_err(Error::io("create a temporary directory"))?;
    let json = dir.path().join("divergence.json");
    let (out, mut err) = (scratch()?, scratch()?);
    let status = Command::new(exe)
        .args(["replay", "--json"])
        .arg(&json)
        .arg(session.dir())
        .stdin(Stdio::null())
        .stdout(clone(&out)?)
        .stderr(clone(&err)?)
        .status()
        .map_err(Error::file("execute", exe))?;
    let divergence = fs::read(&json).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let message = text(&mut err, 0)?;
    let outputs = [Output::captured("stdout", out)?, Output::captured("stderr", err)?];
    Ok(Replayed { code: status.code(), outputs, divergence, message })
}

fn scratch() -> Result<File> {
    tempfile::tempfile().map_err(Error::io("create a temporary file"))
}

fn clone(file: &File) -> Result<File> {
    file.try_clone().map_err(Error::io("open a temporary file"))
}

/// What a file has from an offset, or the beginning of that, as text on one line.
fn text(file: &mut File, from: u64) -> Result<String> {
    let reading = || Error::io("read a temporary file");
    file.seek(SeekFrom::Start(from)).map_err(reading())?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES).read_to_end(&mut bytes).map_err(reading())?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}
