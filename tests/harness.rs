//! Runs one guest natively, recorded and replayed, and compares.
//!
//! A [`Case`] says what to run. [`Case::check`] runs it natively (is the test itself right?),
//! records it with the real binary, stops the server, moves the working directory away, replays
//! from another directory without network, and compares stdout, stderr and exit code with the
//! recording byte for byte. It also checks that the replays changed no file.
//!
//! `RR_TEST_LOOPS=30` records and replays that often and reports how many passed
//! (`scripts/soak` sets it). `RR_TEST_KEEP=1` keeps the directories of failed cases.

mod compile;
mod mock;
mod process;
mod pty;
mod server;
mod tls;

pub(crate) use compile::{c_program, rust_test};
pub(crate) use mock::{Mock, Running};
use process::converse;
pub(crate) use process::{Output, run};
pub(crate) use pty::run as run_on_terminal;
pub(crate) use server::Server;
pub(crate) use tls::Certificate;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The binary under test.
pub(crate) const RR_RUN: &str = env!("CARGO_BIN_EXE_rr-run");
/// The repository.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One guest and what is expected of it.
///
/// In arguments, environment values and files `{http}`, `{https}` and `{ca}` stand for the
/// server's ports and its CA's file, `{programs}` for tests/programs.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
    stdin: Vec<u8>,
    reads_late: bool,
    keys: Option<Vec<&'static str>>,
    server: bool,
    code: i32,
    says: Vec<String>,
    limit: Duration,
    compares_native: bool,
    record_options: Vec<String>,
}

/// What a recording left.
pub(crate) struct Recording {
    /// Holds everything below; removed on drop.
    pub(crate) dir: tempfile::TempDir,
    /// The session's directory.
    pub(crate) session: PathBuf,
    /// What the guest put out while it was recorded.
    pub(crate) output: Output,
    /// Variables that the case gave it.
    pub(crate) env: Vec<(String, String)>,
}

impl Case {
    /// A program found on PATH or by its path.
    pub(crate) fn new(program: impl Into<String>) -> Case {
        Case {
            argv: vec![program.into()],
            env: Vec::new(),
            files: Vec::new(),
            stdin: Vec::new(),
            reads_late: false,
            keys: None,
            server: false,
            code: 0,
            says: Vec::new(),
            limit: Duration::from_secs(60),
            compares_native: false,
            record_options: Vec::new(),
        }
    }

    /// A C program of tests/programs, compiled.
    pub(crate) fn c(name: &str) -> Case {
        Case::new(c_program(name).display().to_string())
    }

    /// A Python program of tests/programs, run by the Python that scripts/setup-tests installed.
    pub(crate) fn python(name: &str) -> Case {
        Case::new(python()).args(["-u", &format!("{{programs}}/{name}")])
    }

    /// A Node program of tests/programs.
    pub(crate) fn node(name: &str) -> Case {
        Case::new("node")
            .arg(format!("{{programs}}/{name}"))
            .env("NODE_PATH", format!("{ROOT}/tests/node_modules"))
            .env("NODE_EXTRA_CA_CERTS", "{ca}")
    }

    /// A script for bash.
    pub(crate) fn bash(script: &str) -> Case {
        Case::new("bash").args(["-c", script])
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Case {
        self.argv.push(arg.into());
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Case {
        self.argv.extend(args.into_iter().map(str::to_owned));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Case {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// A file in the working directory.
    pub(crate) fn file(mut self, name: &str, content: impl Into<String>) -> Case {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Case {
        self.stdin = bytes.into();
        self
    }

    /// Its output is read only when it has taken all of stdin.
    pub(crate) fn reads_late(mut self) -> Case {
        self.reads_late = true;
        self
    }

    /// Runs on a terminal, at which these lines are typed, each after the guest fell silent.
    pub(crate) fn types(mut self, keys: impl IntoIterator<Item = &'static str>) -> Case {
        self.keys = Some(keys.into_iter().collect());
        self
    }

    /// Has a server, running for as long as the guest runs natively and is recorded.
    pub(crate) fn server(mut self) -> Case {
        self.server = true;
        self
    }

    /// Ends with this exit code (128 + n for signal n) rather than 0.
    pub(crate) fn code(mut self, code: i32) -> Case {
        self.code = code;
        self
    }

    /// Writes this to stdout.
    pub(crate) fn says(mut self, text: &str) -> Case {
        self.says.push(text.to_owned());
        self
    }

    /// Records with these options.
    pub(crate) fn record_with<'a>(mut self, options: impl IntoIterator<Item = &'a str>) -> Case {
        self.record_options.extend(options.into_iter().map(str::to_owned));
        self
    }

    /// Takes longer than others.
    pub(crate) fn limit_s(mut self, seconds: u64) -> Case {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Puts out the same natively and recorded.
    pub(crate) fn same_as_native(mut self) -> Case {
        self.compares_native = true;
        self
    }

    /// The time limit of one run; four times as long on a loaded machine (`RR_TEST_SLOW=1`).
    fn limit(&self) -> Duration {
        if std::env::var_os("RR_TEST_SLOW").is_some_and(|slow| !slow.is_empty()) {
            self.limit * 4
        } else {
            self.limit
        }
    }

    /// Runs, records and replays as often as `RR_TEST_LOOPS` says; panics if anything differs.
    pub(crate) fn check(&self) {
        let loops: u32 =
            std::env::var("RR_TEST_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
        let mut failures = Vec::new();
        for number in 1..=loops {
            if let Err(failure) = self.once(number == 1) {
                eprintln!("loop {number} of {loops}: {failure}");
                failures.push(failure);
            }
        }
        if loops > 1 {
            println!("{} of {loops} loops passed", loops - failures.len() as u32);
        }
        if let Some(first) = failures.first() {
            panic!("{} of {loops} failed, first: {first}", failures.len());
        }
    }

    fn once(&self, natively: bool) -> Result<(), String> {
        if natively {
            self.native()?;
        }
        let recording = self.record()?;
        let result = self.replay(&recording);
        if result.is_err() && std::env::var_os("RR_TEST_KEEP").is_some() {
            eprintln!("kept: {}", recording.dir.keep().display());
        }
        result
    }

    fn native(&self) -> Result<Output, String> {
        let place = Place::new(self)?;
        let output = self.perform(&place, &mut place.command(self, None))?;
        self.expected("native run", &output)?;
        Ok(output)
    }

    /// Records once and checks what was expected.
    pub(crate) fn record(&self) -> Result<Recording, String> {
        let place = Place::new(self)?;
        let store = place.dir.path().join("store");
        let session = store.join("latest");
        let mut command = place.command(self, Some(&store));
        let output = self.perform(&place, &mut command)?;
        self.expected("recording", &output)
            .map_err(|e| format!("{e}\ncommand: {}", shown(&command)))?;
        let env = self.env.iter().map(|(n, v)| (n.clone(), place.filled(v))).collect();
        let Place { dir, server, .. } = place;
        if let Some(server) = server {
            server.stop();
        }
        if self.compares_native {
            same("recording", &self.native()?, &output)?;
        }
        let (cwd, gone) = (dir.path().join("cwd"), dir.path().join("gone"));
        std::fs::rename(&cwd, &gone).map_err(|e| format!("failed to move {cwd:?}: {e}"))?;
        Ok(Recording { dir, session, output, env })
    }

    /// Replays a recording and compares.
    pub(crate) fn replay(&self, recording: &Recording) -> Result<(), String> {
        let before = listing(recording.dir.path());
        let mut command = replay_command(&recording.session);
        let mut recorded = recording.output.clone();
        let replayed = if self.keys.is_some() {
            // The terminal adds carriage returns, or not, by its mode, and echoes what is typed.
            let mut replayed = pty::run(&command, &[], self.limit())?;
            recorded.stdout.retain(|byte| *byte != b'\r');
            replayed.stdout.retain(|byte| *byte != b'\r');
            // The terminal shows stderr too.
            replayed.stdout = without_notes(&without_progress(&replayed.stdout));
            replayed
        } else {
            run(&mut command, b"", self.limit())
        };
        same("replay", &recorded, &replayed)
            .map_err(|e| format!("{e}\ncommand: {}", shown(&command)))?;
        let after = listing(recording.dir.path());
        let changes: Vec<_> = before.symmetric_difference(&after).cloned().collect();
        if !changes.is_empty() {
            return Err(format!("the replay changed files: {}", changes.join(", ")));
        }
        Ok(())
    }

    fn perform(&self, place: &Place, command: &mut Command) -> Result<Output, String> {
        command.current_dir(place.dir.path().join("cwd"));
        match &self.keys {
            Some(keys) => pty::run(command, keys, self.limit()),
            None => Ok(converse(command, &self.stdin, self.limit(), self.reads_late)),
        }
    }

    fn expected(&self, what: &str, output: &Output) -> Result<(), String> {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let missing = self.says.iter().find(|text| !stdout.contains(*text));
        if output.code == Some(self.code) && missing.is_none() {
            return Ok(());
        }
        let mut message = format!(
            "{what} of {:?}: exit code {:?}, expected {}",
            self.argv, output.code, self.code
        );
        if let Some(text) = missing {
            let _ = write!(message, "; {text:?} is not in stdout");
        }
        let _ = write!(message, "\n{output}");
        Err(message)
    }
}

/// Where one run takes place: a directory with `cwd`, `home` and the session, and the server.
struct Place {
    dir: tempfile::TempDir,
    server: Option<Server>,
}

impl Place {
    fn new(case: &Case) -> Result<Place, String> {
        let make = || -> std::io::Result<Place> {
            let dir = tempfile::Builder::new().prefix("rr-run-test-").tempdir()?;
            for name in ["cwd", "home"] {
                std::fs::create_dir(dir.path().join(name))?;
            }
            let server = case.server.then(|| Server::start(dir.path())).transpose()?;
            let place = Place { dir, server };
            for (name, content) in &case.files {
                let path = place.dir.path().join("cwd").join(name);
                std::fs::write(path, place.filled(content))?;
            }
            Ok(place)
        };
        make().map_err(|e| format!("failed to prepare a directory: {e}"))
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.replace("{programs}", &format!("{ROOT}/tests/programs"));
        if let Some(server) = &self.server {
            text = text
                .replace("{http}", &server.http.to_string())
                .replace("{https}", &server.https.to_string())
                .replace("{ca}", &server.ca.display().to_string());
        }
        text
    }

    /// The command, under rr-run if there is a store to record to.
    fn command(&self, case: &Case, store: Option<&Path>) -> Command {
        let argv = case.argv.iter().map(|arg| self.filled(arg));
        let mut command = match store {
            Some(store) => {
                let mut command = Command::new(RR_RUN);
                command.arg("--record").arg("-o").arg(store);
                command.args(case.record_options.iter().map(|option| self.filled(option)));
                command.args(argv);
                command
            }
            None => {
                let mut argv = argv;
                let mut command = Command::new(argv.next().unwrap_or_default());
                command.args(argv);
                command
            }
        };
        clean_environment(&mut command);
        command.env("HOME", self.dir.path().join("home"));
        command.envs(case.env.iter().map(|(name, value)| (name, self.filled(value))));
        command
    }
}

/// Leaves of the environment only what programs need to be found.
pub(crate) fn clean_environment(command: &mut Command) {
    command.env_clear().env("LANG", "C.UTF-8").env("TERM", "xterm");
    for name in ["PATH", "RR_RUN_DIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// `rr-run --replay` of a session, without network, in another directory.
pub(crate) fn replay_command(session: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(network_namespace()).arg(RR_RUN).arg("--replay").arg(session);
    clean_environment(&mut command);
    command.env("HOME", "/nonexistent").current_dir("/");
    command
}

/// Options of unshare(1) for an empty network namespace, with or without privileges.
pub(crate) fn network_namespace() -> &'static [&'static str] {
    static OPTIONS: OnceLock<&'static [&'static str]> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let works = Command::new("unshare").args(["-n", "true"]).status();
        if works.is_ok_and(|status| status.success()) { &["-n"] } else { &["-rn"] }
    })
}

/// The Python of scripts/setup-tests.
pub(crate) fn python() -> String {
    format!("{ROOT}/tests/.venv/bin/python3")
}

/// What stands on stderr beside rr-run's remarks, which all begin alike and end with a newline:
/// the recorded program has not written them.
fn without_notes(stderr: &[u8]) -> Vec<u8> {
    const NOTE: &[u8] = b"rr-run: note: ";
    let mut left = stderr.to_vec();
    while let Some(at) = left.windows(NOTE.len()).position(|part| part == NOTE) {
        let len = left[at..].iter().position(|b| *b == b'\n').map_or(left.len() - at, |n| n + 1);
        left.drain(at..at + len);
    }
    left
}

/// What stands on a terminal beside the line that tells how far a long replay is, and beside that
/// line's removal at the end.
fn without_progress(terminal: &[u8]) -> Vec<u8> {
    const LINE: &[u8] = b"\x1b[Krr-run: replaying, ";
    const CLEAR: &[u8] = b"\x1b[K";
    let mut left = terminal.to_vec();
    let mut shown = false;
    while let Some(at) = left.windows(LINE.len()).position(|part| part == LINE) {
        let len = left[at..].iter().position(|b| *b == b')').map_or(left.len() - at, |n| n + 1);
        left.drain(at..at + len);
        shown = true;
    }
    if shown && let Some(at) = left.windows(CLEAR.len()).rposition(|part| part == CLEAR) {
        left.drain(at..at + CLEAR.len());
    }
    left
}

/// Compares two outputs byte for byte, but for remarks of rr-run's.
pub(crate) fn same(what: &str, expected: &Output, actual: &Output) -> Result<(), String> {
    let mut message = String::new();
    let [expected, actual] = &[expected, actual]
        .map(|output| Output { stderr: without_notes(&output.stderr), ..output.clone() });
    if expected.code != actual.code {
        let _ = writeln!(message, "exit code {:?}, recorded {:?}", actual.code, expected.code);
    }
    for (name, a, b) in
        [("stdout", &expected.stdout, &actual.stdout), ("stderr", &expected.stderr, &actual.stderr)]
    {
        if a == b {
            continue;
        }
        let at = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let from = at.saturating_sub(60);
        let part = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 200)]).into_owned()
        };
        let _ = writeln!(
            message,
            "{name} differs at byte {at} of {}:\n  expected {:?}\n  actual   {:?}",
            a.len(),
            part(a),
            part(b)
        );
    }
    if message.is_empty() {
        return Ok(());
    }
    let tail = String::from_utf8_lossy(&actual.stderr);
    let tail: String = tail.chars().take(3000).collect();
    Err(format!("{what} differs: {message}stderr: {tail}"))
}

/// A command as one could type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("{:?}", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// Every file below `dir` with size and time of change, but for the store's memory of hashes.
fn listing(dir: &Path) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                todo.push(entry.path());
            } else if entry.file_name() != ".hashes" {
                let time = meta.modified().ok();
                lines.insert(format!("{} {} {time:?}", entry.path().display(), meta.len()));
            }
        }
    }
    lines
}
