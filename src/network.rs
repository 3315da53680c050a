//! Network replay: the program runs live, but for its network, clock and randomness.
//!
//! 1. [`run`] starts the guest with the shim in mode `Network`; its randomness has the recorded
//!    seed, its clocks the recorded readings ([`clocks`]), its processes the recorded ids.
//! 2. The shim connects the guest's sockets to a listener of [`accept`]'s here, and notes the
//!    destination; lookups go to [`dns`].
//! 3. Whoever answers ([`Answers`]) gets each connection with its destination.

pub mod accept;
pub mod asker;
pub mod clocks;
pub mod dns;
pub mod known;
mod processes;
pub mod programs;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use log_format::arena::{Mode, SERVED_MAX, option};

pub use accept::{Accepted, Answers, Attempt, GuestEnd, Verdict};

use crate::error::{Error, Result};
use crate::intercept::Trust;
use crate::launch::spawn::{raise_file_limit, turn_aslr_off};
use crate::launch::{setup, shim};
use crate::log::map::set_text;
use crate::policy::{self, Policy, Refusal};
use crate::record;
use crate::session::manifest::{ByteText, Manifest, unhex};
use crate::session::{self, Session};
use crate::stream::Lookup;

/// What a network replay runs, and what it is answered with.
pub struct Replay<'a> {
    /// The recording.
    pub session: &'a Session,
    /// Program and arguments, if not the recorded ones.
    pub command: Option<Vec<OsString>>,
    /// Variables that the guest gets beside its own: trust in the player's certificates.
    pub environment: Vec<ByteText>,
    /// Files that it opens in place of others, for the same reason.
    pub trust: Option<Trust>,
    /// The real clock.
    pub live_clock: bool,
    /// Real randomness.
    pub live_entropy: bool,
    /// Names and their recorded addresses.
    pub names: Vec<(String, Vec<IpAddr>)>,
    /// Lookups and their recorded answers.
    pub lookups: Vec<Lookup>,
    /// Other names that are given an address.
    pub other_names: Option<dns::Fits>,
    /// Hosts, by name or address, with or without port, that are meant to be real: connections to
    /// them are passed on.
    pub live: Option<dns::Fits>,
    /// Destinations on loopback that are answered here too; others there are live.
    pub served: Vec<SocketAddr>,
    /// Destinations elsewhere that can't be reached.
    pub failed: Vec<SocketAddr>,
    /// When answers had come: the guest's clock is lined up with them.
    pub answered: Vec<known::Answered>,
    /// Whether connections to destinations that are not known are answered, too (or refused).
    pub others: bool,
    /// What the program may do.
    pub policy: Policy,
    /// Answers connections.
    pub answers: Arc<dyn Answers>,
    /// Whether the guest is to be killed.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
}

/// How a network replay ended.
#[derive(Debug)]
pub struct Outcome {
    /// The guest's exit code, or 128 + the signal's number.
    pub code: u8,
    /// Connections and refusals, in order.
    pub attempts: Vec<Attempt>,
    /// Names that were looked up, and whether they were known.
    pub lookups: Vec<(String, bool)>,
    /// Calls that the policy forbade.
    pub denials: Vec<Refusal>,
    /// Programs that were executed, and whether the shim was in them.
    pub programs: Vec<(String, bool)>,
    /// How many of them are missing there: more were executed at once than can be told.
    pub programs_lost: u64,
}

/// Runs a program with its network answered from here; how it ended.
///
/// # Errors
/// The program or the session can't be used, or the system's.
pub fn run(replay: &Replay<'_>) -> Result<Outcome> {
    let manifest = replay.session.manifest();
    let recorded: Vec<OsString>;
    let command = match &replay.command {
        Some(command) => command,
        None => {
            recorded = manifest.program.argv.iter().map(|arg| arg.as_os_str().to_owned()).collect();
            &recorded
        }
    };
    let (filename, mut program) = record::program(command)?;
    program.env = environment(manifest, std::mem::take(&mut program.env), &replay.environment);
    let file_limit = raise_file_limit()?;
    let shim = shim::install()?;
    let scratch = record::scratch_dir()?;
    let clocks_dir = scratch.path().join("clocks");
    std::fs::create_dir(&clocks_dir).map_err(Error::file("create", &clocks_dir))?;
    if !replay.live_clock {
        clocks::write(replay.session, &replay.answered, &clocks_dir)?;
    }
    processes::write(replay.session, &clocks_dir, replay.live_entropy)?;
    let seed = unhex(&manifest.seed).and_then(|b| <[u8; 32]>::try_from(b).ok());
    let arena_path = scratch.path().join(session::ARENA);
    turn_aslr_off();
    let setup = setup::Setup {
        mode: Mode::Network,
        options: setup::bit(replay.live_clock, option::LIVE_CLOCK)
            | setup::bit(replay.live_entropy || seed.is_none(), option::ENTROPY_OS),
        seed: seed.unwrap_or_default(),
        started_ns: setup::now_ns(),
        frozen_ns: 0,
        frozen_mono_ns: 0,
        files_dir: scratch.path(),
        shim: &shim,
        path: &arena_path,
        cache_dir: None,
        until: None,
        policy: replay.policy.clone(),
    };
    let arena = Arc::new(setup.create()?);
    if let Some(trust) = &replay.trust {
        trust.tell(&arena);
    }
    let net = &arena.header().net;
    if !set_text(&net.clocks_dir, clocks_dir.as_os_str().as_encoded_bytes()) {
        return Err(Error::Usage(format!("the path {} is too long", clocks_dir.display())));
    }
    if !replay.live_entropy {
        processes::stand_for_the_parent(replay.session, &net.pids)?;
    }
    let offset = |recorded: u64, now: u64| recorded.wrapping_sub(now);
    net.wall_offset_ns.store(offset(manifest.started_ns, setup::now_ns()), Ordering::Relaxed);
    for (place, to) in net.served.iter().zip(&replay.served) {
        accept::store(place, *to);
    }
    net.served_count.store(replay.served.len().min(SERVED_MAX) as u32, Ordering::Release);
    for (place, to) in net.failed.iter().zip(&replay.failed) {
        accept::store(place, *to);
    }
    net.failed_count.store(replay.failed.len().min(SERVED_MAX) as u32, Ordering::Release);
    net.others.store(replay.others.into(), Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("start the player"))?;
    // Real hosts get addresses of their own: those of the recording may be others' as well.
    let is_live = |name: &str| replay.live.as_ref().is_some_and(|fits| fits(name));
    let recorded = replay.names.iter().filter(|(name, _)| !is_live(name)).cloned();
    let (other, live) = (replay.other_names.clone(), replay.live.clone());
    let lookups = replay.lookups.iter().filter(|lookup| !is_live(&lookup.name)).cloned();
    let names = dns::Names::new(recorded).with_recorded(lookups);
    let names = names.with_others(Arc::new(move |name: &str| {
        [&other, &live].into_iter().flatten().any(|fits| fits(name))
    }));
    let names = Arc::new(Mutex::new(names));
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let live = replay.live.as_ref();
    runtime.block_on(accept::listen(&arena, &names, &attempts, &replay.answers, live))?;
    let start = record::spawn_of(
        &filename,
        &program,
        &shim,
        &arena_path,
        file_limit.into_iter().collect(),
    )?;
    let (mut denials, mut taken) = (Vec::new(), 0);
    let mut seen = programs::Programs::new(program.executable.as_path().display().to_string());
    let mut collect = || {
        if let Some(trust) = &replay.trust {
            trust.make_wanted(&arena);
        }
        accept::collect(&arena, &attempts);
        denials.extend(policy::denials(&arena.header().policy, &mut taken));
        seen.look(&arena);
        if (replay.is_over)() {
            programs::end(&arena);
        }
    };
    let code = record::attend(&start, &arena, &mut collect)?;
    collect();
    runtime.shutdown_background();
    let lookups = names.lock().map(|names| names.asked().to_vec()).unwrap_or_default();
    let attempts = attempts.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
    let (programs, programs_lost) = seen.into_all();
    Ok(Outcome { code, attempts, lookups, denials, programs, programs_lost })
}

/// The caller's environment, what of the recorded one it lacks, and the additions; in the recorded
/// order, which programs show that print it.
fn environment(manifest: &Manifest, own: Vec<ByteText>, added: &[ByteText]) -> Vec<ByteText> {
    fn name(entry: &ByteText) -> &[u8] {
        entry.0.split(|b| *b == b'=').next().unwrap_or_default()
    }
    let recorded = &manifest.program.env;
    let mut out: Vec<ByteText> = added.to_vec();
    for entry in own.into_iter().chain(recorded.iter().cloned()) {
        if !out.iter().any(|known| name(known) == name(&entry)) {
            out.push(entry);
        }
    }
    let place = |entry: &ByteText| recorded.iter().position(|known| name(known) == name(entry));
    out.sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
    out
}
