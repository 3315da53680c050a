//! What a session does at one moment.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log_format::arena::proc_state;

use super::view::{Call, Line, Process, View};
use crate::error::Result;
use crate::launch::setup::now_ns;
use crate::log::map::ArenaMap;
use crate::report::units;
use crate::session::{ARENA, Manifest, Session, Status};
use crate::stream::connection::Peer;
use crate::stream::summary::call_summaries;
use crate::stream::{CallEnd, Tls};

/// Rates that are kept for the graph.
const RATES_MAX: usize = 60;
/// Reading the streams takes at most this part of the time.
const PAUSE_FACTOR: u32 = 6;

/// Looks at a session again and again.
pub(super) struct Sampler {
    dir: PathBuf,
    /// Events of each process at the last look, and when that was.
    before: Option<(Instant, HashMap<u64, u64>, u64)>,
    rates: VecDeque<u64>,
    /// What streams said when they were read last.
    streams: Streams,
    read: Option<(Instant, Duration)>,
}

#[derive(Clone, Default)]
struct Streams {
    connections: Vec<Line>,
    open: usize,
    calls: Vec<Call>,
    call_count: usize,
    tokens: u64,
}

impl Sampler {
    pub(super) fn new(dir: PathBuf) -> Sampler {
        let (rates, streams) = (VecDeque::new(), Streams::default());
        Sampler { dir, before: None, rates, streams, read: None }
    }

    /// What there is now.
    ///
    /// # Errors
    /// The session can't be read.
    pub(super) fn take(&mut self) -> Result<View> {
        let session = Session::open(&self.dir)?;
        let manifest = session.manifest();
        let live = manifest.status == Status::Recording;
        let replay = if live { None } else { replay_of(&self.dir) };
        let arena = if live { ArenaMap::look(&self.dir.join(ARENA)) } else { replay };
        let mut processes = processes(manifest, arena.as_ref(), live);
        let due = self.read.is_none_or(|(at, took)| at.elapsed() > took * PAUSE_FACTOR);
        if due && (live || self.read.is_none()) {
            let began = Instant::now();
            self.streams = streams(&session)?;
            self.read = Some((Instant::now(), began.elapsed()));
        }
        let now = Instant::now();
        let tokens = self.streams.tokens;
        let (mut rate, mut token_rate) = (0, 0);
        if let Some((at, events, tokens_before)) = &self.before {
            let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
            let per_second = |n: u64| (n as f64 / seconds) as u64;
            for process in &mut processes {
                let before = events.get(&process.key).copied().unwrap_or(0);
                process.rate = per_second(process.events.saturating_sub(before));
                rate += process.rate;
            }
            token_rate = per_second(tokens.saturating_sub(*tokens_before));
            self.rates.push_back(rate);
            if self.rates.len() > RATES_MAX {
                self.rates.pop_front();
            }
        }
        let by_key = processes.iter().map(|p| (p.key, p.events)).collect();
        self.before = Some((now, by_key, tokens));
        let differs = |a: &ArenaMap| a.header().divergence.state.load(Ordering::Acquire) != 0;
        let state = match (live, &arena) {
            (true, _) => "recording".to_owned(),
            (false, Some(_)) => "replaying".to_owned(),
            (false, None) => units::status(&manifest.status),
        };
        let until_ns = if manifest.ended_ns == 0 { now_ns() } else { manifest.ended_ns };
        let Streams { connections, open, calls, call_count, .. } = self.streams.clone();
        Ok(View {
            name: manifest.name.clone(),
            command: units::command(&manifest.program.argv, 60),
            state,
            elapsed_ns: until_ns.saturating_sub(manifest.started_ns),
            events: processes.iter().map(|p| p.events).sum(),
            rate,
            rates: self.rates.iter().copied().collect(),
            log_bytes: size(&self.dir.join("procs")),
            redactions: (!live).then(|| manifest.redactions.rules.values().sum()),
            mismatches: u64::from(arena.as_ref().is_some_and(differs)),
            processes,
            connections,
            open,
            calls,
            call_count,
            tokens,
            token_rate,
        })
    }
}

/// Bytes of the files in a directory.
fn size(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// The arena of a process replay of this session that goes on.
fn replay_of(dir: &Path) -> Option<ArenaMap> {
    let places = [
        Some(PathBuf::from(crate::session::MEMORY)),
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(std::env::temp_dir()),
    ];
    let entries = places.into_iter().flatten().filter_map(|place| fs::read_dir(place).ok());
    entries.flatten().flatten().find_map(|entry| {
        let target = fs::read_link(entry.path().join(crate::replay::SESSION_LINK)).ok()?;
        let same = fs::canonicalize(target).ok()? == fs::canonicalize(dir).ok()?;
        same.then(|| ArenaMap::look(&entry.path().join(ARENA))).flatten()
    })
}

fn processes(manifest: &Manifest, arena: Option<&ArenaMap>, live: bool) -> Vec<Process> {
    let entries: HashMap<u64, (u64, u32)> = arena
        .iter()
        .flat_map(|arena| arena.procs_used())
        .map(|entry| {
            let steps = entry.steps.load(Ordering::Relaxed);
            let state = entry.state.load(Ordering::Acquire);
            (entry.key.load(Ordering::Acquire), (steps, state))
        })
        .collect();
    let shown = manifest.processes.iter().map(|process| {
        let entry = entries.get(&process.key);
        let running = entry.is_some_and(|(_, state)| *state == proc_state::LIVE);
        let events = match (entry, live || arena.is_none()) {
            (Some((steps, _)), _) => *steps,
            (None, true) => process.events,
            // Not begun yet, or ended, in the replay.
            (None, false) => 0,
        };
        let state = match (running, arena.is_some()) {
            (true, _) => "running".into(),
            (false, true) => "-".into(),
            (false, false) => units::end(process),
        };
        Process {
            key: process.key,
            id: process.id.clone(),
            pid: process.pid,
            state,
            events,
            rate: 0,
            command: units::command(&process.argv, 60),
        }
    });
    let mut shown: Vec<Process> = shown.collect();
    // Those that run first.
    shown.sort_by_key(|process| process.state != "running");
    shown
}

fn streams(session: &Session) -> Result<Streams> {
    let traffic = session.traffic()?;
    let mut all: Vec<_> = traffic.connections().iter().rev().collect();
    all.sort_by_key(|connection| connection.closed_ns.is_some());
    let open = all.iter().filter(|connection| connection.closed_ns.is_none()).count();
    let line = |connection: &&crate::stream::Connection| {
        let peer = match (&connection.host, &connection.peer) {
            (Some(host), Peer::Inet(peer)) => format!("{host}:{}", peer.port()),
            (None, Peer::Inet(peer)) => peer.to_string(),
            (_, Peer::Unix(path)) => path.clone(),
        };
        let tls = match &connection.tls {
            Tls::None => "-",
            Tls::Intercepted { .. } => "read",
            Tls::Opaque { .. } => "not read",
        };
        let state = if connection.closed_ns.is_none() { "open" } else { "closed" };
        let (sent, received) = (connection.sent_bytes, connection.received_bytes);
        Line { peer, tls, state, sent, received }
    };
    let connections = all.iter().take(20).map(line).collect();
    let summaries = call_summaries(session, &traffic)?;
    let call = |call: &crate::stream::summary::CallSummary| Call {
        id: call.id.to_string(),
        model: call.model.clone().unwrap_or_else(|| "-".into()),
        state: match &call.end {
            CallEnd::Complete => "complete",
            CallEnd::Open => "streaming",
            CallEnd::Failed => "failed",
            CallEnd::Cut(_) => "cut",
        },
        tokens: call.tokens,
        first_ns: call.time_to_first_token_ns,
        rate: call.tokens_per_second,
    };
    Ok(Streams {
        connections,
        open,
        calls: summaries.iter().rev().take(20).map(call).collect(),
        call_count: summaries.len(),
        tokens: summaries.iter().map(|call| call.tokens).sum(),
    })
}
