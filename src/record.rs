//! Recording: a guest with its processes, from start to manifest.

mod children;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log_format::arena::{Mode, ROOT_KEY, option, proc_state, stop};
use nix::sys::resource::Resource;

use children::Children;
pub use children::ring_at_end;

use crate::error::{Error, Result};
use crate::intercept::{self, Interception};
use crate::launch::code::Known;
use crate::launch::spawn::{Spawn, raise_descriptor_limit, raise_file_limit, turn_aslr_off};
use crate::launch::{elf, environment, privileges, setup, shim};
use crate::log::drain::{Drain, Limits};
use crate::log::map::{ArenaMap, wait};
use crate::log::table::Table;
use crate::policy::Policy;
use crate::redact::{self, Redactor};
use crate::report::out::tell;
use crate::session::manifest::{
    ByteText, Entropy, Manifest, Options, Program, Status, Time, TlsMode,
};
use crate::session::{self, Store, facts, finish, git};
use crate::telemetry::watch::{Telemetry, Watch};

/// How often the host looks for processes that were killed, if nothing wakes it.
const TICK: Duration = Duration::from_millis(100);
/// How long a process may take from its parent's reservation to its own first sign of life,
/// after everyone else has ended.
const BIRTH: Duration = Duration::from_millis(500);

/// The program and what it sees.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Text of the seed, see [`setup::seed`].
    pub seed: Option<String>,
    /// Where randomness comes from.
    pub entropy: Entropy,
    /// Which clock it sees.
    pub time: Time,
    /// Where a frozen clock stands: wall clock and monotonic clock, nanoseconds; now by default.
    pub frozen_at: Option<(u64, u64)>,
    /// Trap and log `rdtsc`.
    pub trap_tsc: bool,
}

/// How to record.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The program.
    pub guest: Guest,
    /// Name of the session, if the user chose one.
    pub name: Option<String>,
    /// zstd level, file and session sizes.
    pub limits: Limits,
    /// A call returns once what it logged is written.
    pub foreground: bool,
    /// How long to wait for other processes after the root's end.
    pub linger: Duration,
    /// End the guest if a call can't be recorded.
    pub strict: bool,
    /// What to do about TLS.
    pub tls: TlsMode,
    /// Where events are told.
    pub telemetry: Telemetry,
    /// What the program may do.
    pub policy: Policy,
    /// What to do about secrets.
    pub redact: redact::Options,
}

/// Records a program into a new session of `store`; the code to exit with.
///
/// # Errors
/// The program can't be run or recorded, or the session not be written. Once the program runs,
/// failures to record are told on stderr and in the manifest, and its exit code is given.
pub fn record(store: &Store, recording: &Recording) -> Result<u8> {
    let guest = &recording.guest;
    let (filename, mut program) = program(&guest.command)?;
    let cwd = program.cwd.as_path().to_owned();
    let git = git::ask(&cwd, store.dir());
    let mut limits: Vec<_> = raise_file_limit()?.into_iter().collect();
    let shim = shim::install()?;
    let seed = setup::seed(guest.seed.as_deref())?;
    let started_ns = setup::now_ns();
    let (frozen_ns, frozen_mono_ns) =
        guest.frozen_at.unwrap_or_else(|| (started_ns, setup::monotonic_ns()));
    let strings = |all: &'_ [ByteText]| all.iter().map(|t| t.0.clone()).collect::<Vec<_>>();
    let (env, argv) = (strings(&program.env), strings(&program.argv));
    let mut redactor = Redactor::new(&recording.redact, &env, &argv)?;
    let dir = store.create(recording.name.as_deref(), &filename)?;
    let Some(_lock) = session::lock(&dir)? else {
        return Err(Error::SessionBusy { name: dir.display().to_string() });
    };
    let executable = program.executable.as_path();
    program.identity = executable.metadata().map_or(0, |meta| finish::identity(&meta));
    let copy = privileges::plain_copy(&program, &dir)?.map(PathBuf::into_os_string);
    let interception = intercept::prepare(recording.tls, &dir, &cwd, &mut program.env)?;
    if interception.is_some() {
        limits.extend(raise_descriptor_limit());
    }
    let aslr_off = turn_aslr_off();
    let mut manifest = Manifest {
        format: log_format::VERSION,
        rr_run: env!("CARGO_PKG_VERSION").into(),
        shim: shim::HASH.into(),
        name: dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        status: Status::Recording,
        started_ns,
        started_mono_ns: setup::monotonic_ns(),
        options: Options {
            entropy: guest.entropy,
            time: guest.time,
            compress: recording.limits.compress,
            size_bytes_max: recording.limits.size_bytes_max,
            rotate_bytes: recording.limits.rotate_bytes,
            linger_seconds: recording.linger.as_secs_f64(),
            strict: recording.strict,
            trap_tsc: guest.trap_tsc,
            frozen_ns,
            frozen_mono_ns,
            aslr_off,
            tls: recording.tls,
            policy: recording.policy.clone(),
            redact: !recording.redact.off,
        },
        seed: seed.iter().map(|b| format!("{b:02x}")).collect(),
        program,
        machine: facts::machine(),
        git: git.and_then(git::Asked::answer),
        ..Manifest::default()
    };
    if !aslr_off {
        manifest.warnings.push(ASLR_WARNING.into());
        tell!("rr-run: {ASLR_WARNING}");
    }
    if copy.is_some() {
        manifest.warnings.push(privileges::COPIED.into());
    }
    session::write_manifest(&dir, &manifest, &mut redactor)?;
    // Without secrets.
    let shown = session::read_manifest(&dir)?;
    let followers = recording.telemetry.followers(&shown)?;
    session::sweep::sweep(Path::new(session::MEMORY));
    let arena_path = arena_file(&dir)?;
    redactor.stash(&arena_path);
    let kept_dir = store.kept_dir();
    let options = option_bits(guest)
        | setup::bit(recording.strict, option::STRICT)
        | setup::bit(recording.foreground, option::FOREGROUND);
    let setup = setup::Setup {
        mode: Mode::Record,
        options,
        seed,
        started_ns,
        frozen_ns,
        frozen_mono_ns,
        files_dir: &dir.join("files"),
        shim: &shim,
        path: &arena_path,
        cache_dir: kept_dir.as_deref(),
        until: None,
        policy: recording.policy.clone(),
    };
    let arena = Arc::new(setup.create()?);
    let code = Known::load(dir.parent().unwrap_or(&dir), &arena.header().code);
    let mut drain = Drain::new(arena.clone(), &dir, recording.limits)?;
    drain.redactor = redactor;
    drain.provide_slots()?;
    let listening = interception.map(|i| i.listen(&arena, &arena_path)).transpose()?;
    let executed = copy.unwrap_or(filename);
    let start = spawn_of(&executed, &manifest.program, &shim, &arena_path, limits)?;
    let mut children = Children::start(&start, &arena)?;
    // After the guest, which inherits neither its signal mask nor anything else of it.
    let telemetry = Watch::start(&dir, &shown, followers)?;
    let interception = listening.map(Interception::start).transpose()?;
    drain.plain = interception.as_ref().map(Interception::journal);
    let meanwhile = || {
        if let Some(interception) = &interception {
            interception.make_wanted(&arena);
        }
    };
    let ended = follow(&mut drain, &mut children, &arena, recording.linger, meanwhile);
    if let Some(interception) = interception {
        interception.finish(|| drain.round(), recording.linger);
    }
    drain.finish();
    code.save(&arena.header().code);
    let (stopped, failure) = drain.stopped();
    let reason = ended.or_else(|| stop_reason(stopped, failure));
    let mut redactor = std::mem::take(&mut drain.redactor);
    let collected = drain.into_collected();
    let loaded = collected.drained.contains_key(&ROOT_KEY) || stopped != stop::NO;
    finish::fill(&mut manifest, &dir, collected, &children.statuses, reason.is_some());
    let status = children.root_status().unwrap_or_default();
    let code = exit_code(status);
    manifest.wait_status = Some(status);
    manifest.exit_code = Some(code);
    manifest.ended_ns = setup::now_ns();
    manifest.status = match &reason {
        None => Status::Complete,
        Some(reason) => Status::CutShort { reason: reason.clone() },
    };
    let redacted = redactor.finish(&dir, &mut manifest);
    let written = redacted.and_then(|()| session::write_manifest(&dir, &manifest, &mut redactor));
    if written.is_ok() {
        session::remove_arena(&dir);
    }
    let told = telemetry.map_or(Ok(()), Watch::finish);
    if !loaded {
        return Err(Error::Machine {
            doing: format!("record {}", Path::new(&executed).display()),
            reason: "the program ran without loading the shim".into(),
        });
    }
    if let Some(reason) = reason {
        tell!("rr-run: the session ends early: {reason}");
    }
    for e in [written, told].into_iter().filter_map(Result::err) {
        tell!("rr-run: failed to {e}\ntry: {}", e.advice());
    }
    Ok(code)
}

const ASLR_WARNING: &str = "address space randomisation can't be turned off here, so that a \
                            process replay may not be exact; see `rr-run doctor`";

/// Runs a program with seeded randomness (and a frozen clock) and records nothing; its exit code.
///
/// # Errors
/// The program can't be run.
pub fn run_seeded(guest: &Guest) -> Result<u8> {
    let (filename, program) = program(&guest.command)?;
    let file_limit = raise_file_limit()?;
    let shim = shim::install()?;
    let scratch = scratch_dir()?;
    let arena_path = scratch.path().join(session::ARENA);
    turn_aslr_off();
    let setup = setup::Setup {
        mode: Mode::Seeded,
        options: option_bits(guest),
        seed: setup::seed(guest.seed.as_deref())?,
        started_ns: setup::now_ns(),
        frozen_ns: guest.frozen_at.map_or_else(setup::now_ns, |at| at.0),
        frozen_mono_ns: guest.frozen_at.map_or_else(setup::monotonic_ns, |at| at.1),
        files_dir: scratch.path(),
        shim: &shim,
        path: &arena_path,
        cache_dir: None,
        until: None,
        policy: Policy::default(),
    };
    let arena = Arc::new(setup.create()?);
    let limits = file_limit.into_iter().collect();
    let start = spawn_of(&filename, &program, &shim, &arena_path, limits)?;
    attend(&start, &arena, || {})
}

/// Starts a guest that is not recorded, and waits for its end; its exit code. `meanwhile` is done
/// whenever a guest rings.
///
/// # Errors
/// The program can't be run.
pub(crate) fn attend(
    start: &Spawn,
    arena: &Arc<ArenaMap>,
    mut meanwhile: impl FnMut(),
) -> Result<u8> {
    let mut children = Children::start(start, arena)?;
    let mut table = Table::default();
    loop {
        let seen = arena.header().doorbell.load(Ordering::Acquire);
        children.reap();
        table.update(arena);
        let gone: Vec<usize> = table.guests().filter(|(_, g)| g.gone).map(|(i, _)| i).collect();
        for index in gone {
            table.remove(arena, index);
        }
        meanwhile();
        if let Some(status) = children.root_status() {
            return Ok(exit_code(status));
        }
        wait(&arena.header().doorbell, seen, TICK);
    }
}

fn option_bits(guest: &Guest) -> u32 {
    setup::bit(guest.entropy == Entropy::Os, option::ENTROPY_OS)
        | setup::bit(guest.time == Time::Frozen, option::TIME_FROZEN)
        | setup::bit(guest.trap_tsc, option::TRAP_TSC)
}

/// Path for a session's arena: in memory if there is room, with a link to it in the session, for
/// every page of a file on disk would be written out and given back.
fn arena_file(dir: &Path) -> Result<PathBuf> {
    let link = dir.join(session::ARENA);
    let Some(memory) = roomy_memory() else { return Ok(link) };
    let name = format!("{}{:x}-{:x}", session::ARENA_PREFIX, std::process::id(), setup::now_ns());
    let path = memory.join(name);
    std::os::unix::fs::symlink(&path, &link).map_err(Error::file("create", &link))?;
    Ok(path)
}

/// The memory file system, if it has room for a busy session.
fn roomy_memory() -> Option<&'static Path> {
    const ROOM_BYTES_MIN: u64 = 512 << 20;
    let memory = Path::new(session::MEMORY);
    let room = nix::sys::statvfs::statvfs(memory).ok()?;
    let writable = nix::unistd::access(memory, nix::unistd::AccessFlags::W_OK).is_ok();
    let bytes = room.blocks_available() * room.fragment_size();
    (writable && bytes >= ROOM_BYTES_MIN).then_some(memory)
}

/// A private directory for an arena that is not part of a session.
///
/// # Errors
/// The system's.
pub fn scratch_dir() -> Result<tempfile::TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| Path::new(d).is_absolute());
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("rr-run-");
        builder
    };
    let memory = roomy_memory().and_then(|dir| builder().tempdir_in(dir).ok());
    if let Some(made) = memory {
        return Ok(made);
    }
    if let Some(made) = runtime.and_then(|dir| builder().tempdir_in(dir).ok()) {
        return Ok(made);
    }
    builder().tempdir().map_err(Error::io("create a temporary directory"))
}

/// How the root is started while it is recorded: as the user's shell would have.
pub(crate) fn spawn_of(
    filename: &OsStr,
    program: &Program,
    shim: &Path,
    arena: &Path,
    rlimits: Vec<(Resource, u64, u64)>,
) -> Result<Spawn> {
    let argv = program.argv.iter().map(|arg| environment::c_string(arg.0.clone()));
    Ok(Spawn {
        filename: environment::c_string(filename.as_bytes())?,
        argv: argv.collect::<Result<_>>()?,
        env: environment::guest(&program.env, filename, shim, arena)?,
        rlimits,
        replay: None,
    })
}

/// The file name for execve, and what the manifest says of the program.
pub(crate) fn program(command: &[OsString]) -> Result<(OsString, Program)> {
    let name = command.first().ok_or_else(|| Error::Usage("there is no program".into()))?;
    let found = elf::find(Path::new(name))?;
    let interpreters = elf::interpreters(&found)?;
    let cwd = std::env::current_dir().map_err(Error::io("find the working directory"))?;
    let env = environment::inherited();
    let program = Program {
        argv: command.iter().map(ByteText::from).collect(),
        filename: ByteText::from(&found),
        executable: ByteText::from(&cwd.join(&found)),
        interpreters: interpreters.into_iter().map(ByteText).collect(),
        identity: 0,
        preload: environment::value(&env, b"LD_PRELOAD").map(|v| ByteText(v.to_vec())),
        env,
        cwd: ByteText::from(&cwd),
        umask: facts::file_mask(),
        rlimits: facts::rlimits(),
    };
    Ok((found.into_os_string(), program))
}

/// Drains until all guests have ended, or the root and the time to linger; why it was cut short.
fn follow(
    drain: &mut Drain,
    children: &mut Children,
    arena: &ArenaMap,
    linger: Duration,
    meanwhile: impl Fn(),
) -> Option<String> {
    let mut root_ended: Option<Instant> = None;
    loop {
        let seen = arena.header().doorbell.load(Ordering::Acquire);
        arena.header().heartbeat.fetch_add(1, Ordering::AcqRel);
        children.reap();
        meanwhile();
        drain.round();
        if children.root_status().is_some() {
            let since = root_ended.get_or_insert_with(Instant::now).elapsed();
            let left: Vec<i32> = drain.table.running().map(|g| g.pid).collect();
            let unborn = arena
                .procs_used()
                .iter()
                .skip(1)
                .any(|e| e.state.load(Ordering::Acquire) == proc_state::RESERVED);
            if left.is_empty() && (!unborn || since > BIRTH) {
                return None;
            }
            if !left.is_empty() && since > linger {
                drain.stop(stop::CLOSED);
                let pids = left.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
                return Some(format!(
                    "processes still ran {} s after the program's end: {pids}",
                    linger.as_secs_f64()
                ));
            }
        }
        wait(&arena.header().doorbell, seen, TICK);
    }
}

/// What a value of `log_format::arena::stop` means to the user.
pub fn stop_reason(stopped: u32, failure: Option<&str>) -> Option<String> {
    let reason = match stopped {
        stop::NO => return None,
        stop::SIZE_LIMIT => "it reached its size limit (--max-size)".into(),
        stop::DISK_FULL => format!("it could not be written: {}", failure.unwrap_or("disk full")),
        stop::HOST_GONE => "rr-run was killed".into(),
        stop::CLOSED => "processes still ran".into(),
        other => format!("recording stopped (code {other})"),
    };
    Some(reason)
}

/// The exit code that stands for a wait status: the guest's own, or 128 + the signal's number.
pub fn exit_code(wait_status: i32) -> u8 {
    match wait_status & 0x7f {
        0 => (wait_status >> 8) as u8,
        signal => 128 + signal as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!((exit_code(0x700), exit_code(9), exit_code(0x8b)), (7, 137, 139));
    }
}
