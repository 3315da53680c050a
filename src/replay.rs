//! Replaying: the recorded process tree again, from its log alone.

pub mod divergence;
pub mod files;
pub mod gdb;
mod judge;
mod loader;
pub mod stack;
mod standstill;
mod until;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log_format::arena::{Mode, ROOT_KEY, option, proc_state};
use nix::sys::resource::RLIM_INFINITY;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use divergence::{Report, What};
use judge::{Judge, Wrong};
use standstill::Standstill;
pub use until::Until;

use crate::error::{Error, Result};
use crate::launch::code::Known;
use crate::launch::spawn::{Recorded, Signals, Spawn, raise_file_limit, spawn, turn_aslr_off};
use crate::launch::{environment, opens, setup, shim};
use crate::log::feed::Feed;
use crate::log::map::{ArenaMap, ring, wait};
use crate::log::output::Output;
use crate::log::table::Table;
use crate::policy::Policy;
use crate::record::{ring_at_end, scratch_dir};
use crate::redact::marks::Marks;
use crate::report::out::tell;
use crate::report::{out, units};
use crate::session::manifest::{Entropy, Manifest, Time, unhex};
use crate::session::{self, Session, Status, facts};

/// How often the host looks for processes that have ended, if nothing wakes it.
const TICK: Duration = Duration::from_millis(100);
/// As in a recording: from a parent's reservation to the child's first sign of life.
const BIRTH: Duration = Duration::from_millis(500);
/// A replay that takes longer shows its progress on a terminal.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Link in a replay's own directory to the session that is replayed, for those who watch it.
pub(crate) const SESSION_LINK: &str = "session";

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct Replaying {
    /// Where to stop.
    pub until: Option<Until>,
    /// Where to write the report of a divergence as JSON.
    pub json: Option<PathBuf>,
    /// Run under gdb, with these arguments of its own.
    pub gdb: Option<Vec<OsString>>,
}

/// Replays a session; the code to exit with: the recorded one.
///
/// # Errors
/// [`Error::Diverged`] after the report has been shown; the session or a file of it is unusable.
pub fn replay(session: &Session, replaying: &Replaying) -> Result<u8> {
    if session.manifest().status == Status::Recording {
        return Err(Error::SessionBusy { name: session.name().to_owned() });
    }
    let mut run = Run::start(session, replaying)?;
    let end = run.follow();
    run.output.round();
    run.progress.clear();
    let result = match end {
        Ok(End::Finished) if replaying.gdb.is_some() => Ok(0),
        Ok(End::Finished) => run.check_end(),
        Ok(End::Interrupted(signal)) => Ok(128 + signal as u8),
        // While its processes still live: their stacks are part of the report.
        Ok(End::Diverged) => run.diverged(),
        Ok(End::Wrong(wrong)) => Err(run.wrong(What::End, wrong)),
        Ok(End::Standstill) => run.standstill(),
        Err(e) => Err(e),
    };
    run.kill_all();
    result
}

/// How following a replay ended.
enum End {
    Finished,
    /// By a signal to the host.
    Interrupted(i32),
    Diverged,
    /// A process ended otherwise than recorded.
    Wrong(Wrong),
    /// No process goes on.
    Standstill,
}

struct Run<'a> {
    session: &'a Session,
    replaying: &'a Replaying,
    arena: Arc<ArenaMap>,
    feed: Feed,
    output: Output,
    table: Table,
    signals: Signals,
    /// The root guest, or gdb.
    root: Pid,
    root_status: Option<i32>,
    /// Wait statuses by pid, of the root and of orphans that the host has adopted.
    statuses: HashMap<i32, i32>,
    judge: Judge<'a>,
    /// A divergence was shown, and gdb still runs.
    told: bool,
    progress: Progress,
    /// Holds the arena and the links to kept files; removed with it.
    _scratch: tempfile::TempDir,
}

impl<'a> Run<'a> {
    fn start(session: &'a Session, replaying: &'a Replaying) -> Result<Run<'a>> {
        let manifest = session.manifest();
        let until = match &replaying.until {
            Some(until) => Some((manifest.named(&until.process)?.key, until.step)),
            None => None,
        };
        // The guest's own limits are the recorded ones.
        raise_file_limit()?;
        let shim = shim::install()?;
        let scratch = scratch_dir()?;
        // Without it the replay can't be watched, and goes on all the same.
        let _ = std::os::unix::fs::symlink(session.dir(), scratch.path().join(SESSION_LINK));
        let files_dir = scratch.path().join("files");
        std::fs::create_dir(&files_dir).map_err(Error::file("create", &files_dir))?;
        files::prepare(session, &files_dir)?;
        let recorded_cwd = manifest.program.cwd.as_path();
        let cwd = if recorded_cwd.is_dir() { recorded_cwd } else { Path::new("/") };
        let start = files::start(session, &files_dir, cwd)?;
        let arena_path = scratch.path().join(session::ARENA);
        let options = &manifest.options;
        let setup = setup::Setup {
            mode: Mode::Replay,
            options: setup::bit(options.entropy == Entropy::Os, option::ENTROPY_OS)
                | setup::bit(options.time == Time::Frozen, option::TIME_FROZEN)
                | setup::bit(options.trap_tsc, option::TRAP_TSC),
            seed: seed(session)?,
            started_ns: manifest.started_ns,
            frozen_ns: options.frozen_ns,
            frozen_mono_ns: options.frozen_mono_ns,
            files_dir: &files_dir,
            shim: &shim,
            path: &arena_path,
            cache_dir: None,
            until,
            policy: Policy::default(),
        };
        let arena = Arc::new(setup.create()?);
        let store = session.dir().parent().unwrap_or(session.dir());
        let _ = Known::load(store, &arena.header().code);
        let mut feed = Feed::new(arena.clone(), session.dir(), false);
        feed.accept(Marks::read(session.dir())?);
        feed.round()?;
        // A recording without randomisation replays without; one with it can't be exact anyway.
        if options.aslr_off && !turn_aslr_off() {
            return Err(Error::Machine {
                doing: "replay".into(),
                reason: "address space randomisation can't be turned off here".into(),
            });
        }
        let _ = nix::sys::prctl::set_child_subreaper(true);
        let bell = arena.clone();
        // gdb gets the terminal's signals itself.
        let forward = replaying.gdb.is_some();
        let signals = Signals::take(forward, move || ring(&bell.header().doorbell))?;
        // gdb itself starts the guest that it looks at.
        let answers = loader::Answers::new(session, &files_dir);
        let answers = answers.filter(|_| replaying.gdb.is_none());
        let (asked, opens) = answers.is_some().then(opens::channel).transpose()?.unzip();
        let strings = start.argv.into_iter().map(environment::c_string);
        let env = environment::guest(&manifest.program.env, &start.filename, &shim, &arena_path)?;
        let start = Spawn {
            filename: environment::c_string(start.filename.into_encoded_bytes())?,
            argv: strings.collect::<Result<_>>()?,
            env,
            rlimits: rlimits(manifest),
            replay: Some(Recorded { cwd: cwd.to_owned(), umask: manifest.program.umask, opens }),
        };
        let root = match &replaying.gdb {
            Some(arguments) => gdb::start(&start, scratch.path(), options.trap_tsc, arguments)?,
            None => spawn(&start, &signals)?,
        };
        if let (Some(answers), Some(asked)) = (answers, asked) {
            // The child has a copy of its end.
            drop(start);
            loader::serve(answers, &asked)?;
        }
        ring_at_end(root, arena.clone())?;
        Ok(Run {
            session,
            replaying,
            output: Output::new(arena.clone(), &manifest.output_holes),
            arena,
            feed,
            table: Table::default(),
            signals,
            root,
            root_status: None,
            statuses: HashMap::new(),
            judge: Judge::new(manifest),
            told: false,
            progress: Progress::new(manifest.processes.first().map_or(0, |p| p.events)),
            _scratch: scratch,
        })
    }

    /// Serves the guests until all have ended.
    fn follow(&mut self) -> Result<End> {
        let mut root_ended: Option<Instant> = None;
        let mut standstill = Standstill::new();
        let arena = self.arena.clone();
        let under_gdb = self.replaying.gdb.is_some();
        let header = arena.header();
        loop {
            let seen = header.doorbell.load(Ordering::Acquire);
            self.reap();
            self.table.update(&arena);
            let wrong = self.take_ended();
            self.feed.round()?;
            self.output.round();
            if header.divergence.state.load(Ordering::Acquire) == 2 && !self.told {
                if !under_gdb {
                    return Ok(End::Diverged);
                }
                // The guest stands where it differs; gdb can look at it.
                let _ = self.diverged();
                self.told = true;
            }
            if let Some(signal) = self.signals.got() {
                return Ok(End::Interrupted(signal));
            }
            if let Some(wrong) = wrong.filter(|_| !under_gdb) {
                return Ok(End::Wrong(wrong));
            }
            if !under_gdb && standstill.look(&arena, &self.table) {
                return Ok(End::Standstill);
            }
            if self.root_status.is_some() {
                let since = root_ended.get_or_insert_with(Instant::now).elapsed();
                let unborn = arena
                    .procs_used()
                    .iter()
                    .skip(1)
                    .any(|e| e.state.load(Ordering::Acquire) == proc_state::RESERVED);
                let all_ended = self.table.running().next().is_none();
                if under_gdb || all_ended && (!unborn || since > BIRTH) {
                    return Ok(End::Finished);
                }
            }
            if let Some(root) = arena.procs().first() {
                self.progress.show(root.steps.load(Ordering::Relaxed));
            }
            wait(&header.doorbell, seen, TICK);
        }
    }

    /// Frees the entries of processes that are gone; one that ended otherwise than recorded.
    fn take_ended(&mut self) -> Option<Wrong> {
        let arena = self.arena.clone();
        let gone = self.table.guests().filter(|(_, guest)| guest.gone);
        let gone: Vec<_> = gone.map(|(index, guest)| (index, guest.pid)).collect();
        let mut wrong = None;
        for (index, pid) in gone {
            let Some(entry) = arena.procs().get(index) else { continue };
            let status = self.statuses.get(&pid).copied();
            let status = status.or_else(|| judge::status_of_zombie(pid));
            wrong = wrong.or(self.judge.end_of(entry, status));
            if index != 0 {
                self.feed.remove(index);
                self.table.remove(&arena, index);
            }
        }
        wrong
    }

    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let ended = match status {
                WaitStatus::Exited(pid, code) => (pid, (code & 0xff) << 8),
                WaitStatus::Signaled(pid, signal, _) => (pid, signal as i32),
                WaitStatus::StillAlive => return,
                _ => continue,
            };
            self.statuses.insert(ended.0.as_raw(), ended.1);
            if ended.0 == self.root {
                self.root_status = Some(ended.1);
            }
        }
    }

    fn kill_all(&mut self) {
        for pid in self.table.running().map(|g| g.pid).filter(|pid| *pid > 0) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if self.root_status.is_none() {
            let _ = kill(self.root, Signal::SIGKILL);
            let _ = waitpid(self.root, None);
        }
    }

    /// Compares how the processes ended with how they did while recording; the recorded code.
    fn check_end(&mut self) -> Result<u8> {
        let arena = self.arena.clone();
        let root = arena.procs().first();
        if root.is_some_and(|root| root.state.load(Ordering::Acquire) == proc_state::RESERVED) {
            return Err(Error::Machine {
                doing: format!("replay '{}'", self.session.name()),
                reason: "the program ran without loading the shim".into(),
            });
        }
        // Those that have said how they end need not be gone yet.
        let ended: Vec<_> = self.table.guests().map(|(index, guest)| (index, guest.pid)).collect();
        for (index, pid) in ended {
            let status = self.statuses.get(&pid).copied();
            if let Some(entry) = arena.procs().get(index)
                && let Some(wrong) = self.judge.end_of(entry, status)
            {
                return Err(self.wrong(What::End, wrong));
            }
        }
        if let Some(wrong) = self.judge.end_of_all(arena.header()) {
            return Err(self.wrong(What::End, wrong));
        }
        Ok(self.recorded_end())
    }

    /// The end of a replay that is as recorded: its exit code.
    fn recorded_end(&self) -> u8 {
        let manifest = self.session.manifest();
        if let Status::CutShort { reason } = &manifest.status {
            tell!("rr-run: the recording ends here: {reason}");
        }
        let unseen = manifest.processes.iter().filter(|p| p.opaque.is_some()).count();
        if unseen > 0 {
            let processes = units::plural(unseen, "process", "processes");
            out::note(&format!(
                "{processes} ran unseen while recording (`rr-run info` says why); what such a \
                 process itself wrote to stdout or stderr is not shown"
            ));
        }
        if let Some(until) = &self.replaying.until
            && let Some(process) = manifest.process(&until.process)
        {
            let (id, events, step) = (&process.id, process.events, until.step);
            out::note(&format!("process {id} has ended after {events} steps: no step {step}"));
        }
        let redacted = self.arena.header().redacted_writes.load(Ordering::Acquire);
        if redacted > 0 {
            let writes = units::plural(redacted as usize, "write", "writes");
            out::note(&format!(
                "{writes} to stdout or stderr shown with placeholders in the place of secrets, as \
                 the session has them"
            ));
        }
        manifest.exit_code.unwrap_or_default()
    }

    /// What to say where no process goes on: a recording that was cut short has not all that the
    /// others wait for.
    fn standstill(&self) -> Result<u8> {
        if matches!(self.session.manifest().status, Status::CutShort { .. }) {
            return Ok(self.recorded_end());
        }
        let waiting = standstill::waiting(&self.arena, &self.table, |key| self.id_of(key));
        let mut running: Vec<_> = self.table.guests().filter(|(_, guest)| guest.runs()).collect();
        running.sort_unstable_by_key(|(index, _)| *index);
        let (key, step) = running.first().map_or((ROOT_KEY, 0), |(index, guest)| {
            let entry = self.arena.procs().get(*index);
            (guest.key, entry.map_or(0, |entry| entry.steps.load(Ordering::Acquire)))
        });
        let actual = format!("all processes wait: {waiting}");
        Err(self.wrong(What::Standstill, Wrong { key, step, actual, failed: false }))
    }

    fn id_of(&self, key: u64) -> String {
        let process = self.session.manifest().processes.iter().find(|p| p.key == key);
        process.map_or_else(|| format!("{key:016x}"), |p| p.id.clone())
    }

    /// Shows a report of an end that was not recorded.
    fn wrong(&self, what: What, wrong: Wrong) -> Error {
        let Wrong { key, step, actual, failed } = wrong;
        if failed {
            let (id, name) = (self.id_of(key), self.session.name());
            return Error::Machine {
                doing: format!("replay process {id} of '{name}'"),
                reason: format!("the shim failed in it after step {step}, as said above"),
            };
        }
        self.tell(&Report::of_end(self.session, key, what, step, actual))
    }

    /// Shows the report of what the shim has told; its error, or the code of a `--until`.
    fn diverged(&self) -> Result<u8> {
        let report = Report::collect(self.session, &self.arena);
        let error = self.tell(&report);
        if report.what == What::Until { Ok(0) } else { Err(error) }
    }

    /// Shows a report on stderr, and as JSON where that is asked for.
    fn tell(&self, report: &Report) -> Error {
        let _ = std::io::stderr().write_all(report.text().as_bytes());
        if let Some(path) = &self.replaying.json {
            let json = serde_json::to_vec_pretty(report).map_err(std::io::Error::from);
            if let Err(e) = json.and_then(|json| std::fs::write(path, json)) {
                return Error::file("write", path)(e);
            }
        }
        Error::Diverged { session: self.session.name().to_owned(), step: report.step }
    }
}

fn seed(session: &Session) -> Result<[u8; 32]> {
    let bytes = unhex(&session.manifest().seed).and_then(|b| <[u8; 32]>::try_from(b).ok());
    bytes.ok_or_else(|| {
        let path = session.dir().join(session::MANIFEST);
        Error::damaged(&path, "the seed is no 64 hex digits", "the logs are readable")
    })
}

fn rlimits(manifest: &Manifest) -> Vec<(nix::sys::resource::Resource, u64, u64)> {
    let value = |limit: Option<u64>| limit.unwrap_or(RLIM_INFINITY);
    let recorded = manifest.program.rlimits.iter();
    let known = recorded.filter_map(|limit| {
        let (resource, _) = facts::RLIMITS.into_iter().find(|(_, name)| *name == limit.name)?;
        Some((resource, value(limit.soft), value(limit.hard)))
    });
    known.collect()
}

/// A line on stderr that says how far a long replay is.
struct Progress {
    events: u64,
    started: Instant,
    shown: bool,
    terminal: bool,
}

impl Progress {
    fn new(events: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { events, started: Instant::now(), shown: false, terminal }
    }

    fn show(&mut self, step: u64) {
        if !self.terminal || self.started.elapsed() < PROGRESS_AFTER {
            return;
        }
        self.shown = true;
        let percent = (step * 100).checked_div(self.events).unwrap_or(0).min(100);
        let line =
            format!("\r\x1b[Krr-run: replaying, step {step} of {} ({percent} %)", self.events);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
