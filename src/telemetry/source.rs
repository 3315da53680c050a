//! The events of a session.

mod io;

use std::collections::{HashMap, HashSet, VecDeque};

use super::create::{
    EventContext, create_recording_checkpoint_event, create_recording_start_event,
    create_recording_stop_event, create_streaming_llm_chunk_event,
    create_streaming_llm_finish_event, create_streaming_llm_start_event,
};
use super::event::{DeterminismEvent, EventDetail, TelemetryEvent};
use crate::error::Result;
use crate::session::manifest::Entropy;
use crate::session::{Manifest, Session, Status};
use crate::stream::connection::merge;
use crate::stream::{CallEnd, End, Exchange, LlmCall, Summary, Traffic, llm_calls};
use io::Teller;

/// Gets what happens in a session.
pub trait Observer {
    /// An event. Those of one process come in their order, those of all nearly so.
    ///
    /// # Errors
    /// Whatever keeps the observer from going on.
    fn event(&mut self, event: TelemetryEvent) -> Result<()>;

    /// A call of a model has ended. Calls come in the order in which they began.
    ///
    /// # Errors
    /// Whatever keeps the observer from going on.
    fn call(&mut self, _exchange: &Exchange, _call: &LlmCall) -> Result<()> {
        Ok(())
    }

    /// An exchange that is no call of a model has ended.
    ///
    /// # Errors
    /// Whatever keeps the observer from going on.
    fn exchange(&mut self, _exchange: &Exchange) -> Result<()> {
        Ok(())
    }

    /// All that there is at present was told; with the manifest of a session that is finished:
    /// nothing more will come.
    ///
    /// # Errors
    /// Whatever keeps the observer from going on.
    fn round(&mut self, _finished: Option<&Manifest>) -> Result<()> {
        Ok(())
    }
}

/// Which events are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The start and the end of the recording (or how far it is); not of what is replayed.
    pub recording: bool,
    /// Input, output, clocks and randomness; not those of calls of models alone.
    pub io: bool,
}

/// What was told already of a session that is being recorded.
#[derive(Debug, Default)]
pub struct Seen {
    started: bool,
    /// By process: steps before this one.
    steps: HashMap<u64, u64>,
    /// By connection: segments told, and whether it was told that it has been closed.
    connections: HashMap<(u64, u64, i32), (u64, bool)>,
    /// Exchanges of which all is told.
    finished: HashSet<ExchangeKey>,
    /// Calls of the others: number in the session, chunks told.
    calls: HashMap<(ExchangeKey, u32), (u64, usize)>,
    /// Calls so far.
    last_call: u64,
}

/// An exchange by what stays the same while a recording goes on: process, step and time of its
/// request, and which of several with the same.
type ExchangeKey = (u64, u64, u64, u32);

/// All events of a session, to a function.
///
/// # Errors
/// The session can't be read, or the function's. What damaged logs don't tell is in the result.
///
/// ```no_run
/// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
/// rr_run::telemetry::events(session, false, &mut |event| {
///     println!("{} {}", event.time, event.detail.name());
///     Ok(())
/// })?;
/// # Ok(()) }
/// ```
pub fn events(
    session: &Session,
    content: bool,
    each: &mut dyn FnMut(TelemetryEvent) -> Result<()>,
) -> Result<Vec<String>> {
    struct Each<'a>(&'a mut dyn FnMut(TelemetryEvent) -> Result<()>);
    impl Observer for Each<'_> {
        fn event(&mut self, event: TelemetryEvent) -> Result<()> {
            (self.0)(event)
        }
    }
    let context = EventContext { content, ..EventContext::new(session.manifest()) };
    let options = Options { recording: true, io: true };
    observe(session, &context, options, &mut Seen::default(), &mut Each(each))
}

/// Tells an observer what `seen` does not have yet.
///
/// # Errors
/// The session can't be read, or the observer's. What damaged logs don't tell is in the result.
pub fn observe(
    session: &Session,
    context: &EventContext,
    options: Options,
    seen: &mut Seen,
    observer: &mut dyn Observer,
) -> Result<Vec<String>> {
    let manifest = session.manifest();
    let live = manifest.status == Status::Recording;
    if !std::mem::replace(&mut seen.started, true) && options.recording {
        observer.event(create_recording_start_event(context, manifest))?;
        observer.event(seed_event(session, context))?;
    }
    let traffic = session.traffic()?;
    let mut told = calls(session, &traffic, context, seen, observer)?;
    told.sort_by_key(|event| event.time_ns);
    let mut damage = traffic.damage().to_vec();
    let mut last_ns = traffic.last_ns();
    if options.io {
        let mut teller = Teller::new(session, context, seen, &traffic, observer, told.into());
        let merged = merge(session, &mut teller)?;
        teller.finish()?;
        last_ns = last_ns.max(merged.last_ns);
        damage.extend(merged.damage.into_iter().filter(|d| !traffic.damage().contains(d)));
    } else {
        told.into_iter().try_for_each(|event| observer.event(event))?;
    }
    if options.recording && live {
        let mut manifest = manifest.clone();
        for process in &mut manifest.processes {
            process.events = seen.steps.get(&process.key).copied().unwrap_or(0);
        }
        let manifest = &manifest;
        observer.event(create_recording_checkpoint_event(context, manifest, last_ns))?;
    } else if options.recording {
        observer.event(create_recording_stop_event(context, manifest, last_ns))?;
    }
    Ok(damage)
}

fn seed_event(session: &Session, context: &EventContext) -> TelemetryEvent {
    let manifest = session.manifest();
    let seeded = manifest.options.entropy == Entropy::Seeded;
    let hash = blake3::derive_key("rr-run seed fingerprint", manifest.seed.as_bytes());
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let detail = DeterminismEvent {
        source: if seeded { "seeded" } else { "os" }.into(),
        seed_fingerprint: seeded.then_some(hash),
        ..DeterminismEvent::default()
    };
    context.part(0, EventDetail::DeterminismSeed(detail))
}

/// The events of calls that were not told yet.
fn calls(
    session: &Session,
    traffic: &Traffic,
    context: &EventContext,
    seen: &mut Seen,
    observer: &mut dyn Observer,
) -> Result<Vec<TelemetryEvent>> {
    let live = session.manifest().status == Status::Recording;
    let ids: HashMap<u64, &str> =
        session.manifest().processes.iter().map(|p| (p.key, p.id.as_str())).collect();
    let mut told = Vec::new();
    let mut last: Option<ExchangeKey> = None;
    for summary in traffic.summaries() {
        let key = exchange_key(summary, last);
        last = Some(key);
        if seen.finished.contains(&key) {
            continue;
        }
        let exchange = traffic.exchange(summary.id)?;
        let mut goes_on = live && exchange.end == End::Open;
        let process = ids.get(&exchange.request.process).map(|id| (*id).to_owned());
        let calls = llm_calls(&exchange)?;
        if calls.is_empty() && !goes_on {
            observer.exchange(&exchange)?;
        }
        for call in calls {
            let call_key = (key, call.id.turn);
            let known = seen.calls.contains_key(&call_key);
            if !known {
                seen.last_call += 1;
            }
            let (index, chunks) = *seen.calls.entry(call_key).or_insert((seen.last_call, 0));
            let before = told.len();
            if !known {
                told.push(create_streaming_llm_start_event(context, &exchange, &call, index));
            }
            for token in call.tokens.iter().skip(chunks) {
                let event =
                    create_streaming_llm_chunk_event(context, &exchange, &call, index, token);
                told.push(event);
            }
            let ended = !(live && call.end == CallEnd::Open);
            if ended && chunks != usize::MAX {
                told.push(create_streaming_llm_finish_event(context, &exchange, &call, index));
                observer.call(&exchange, &call)?;
            }
            goes_on |= !ended;
            for event in &mut told[before..] {
                event.process.clone_from(&process);
            }
            let chunks = if ended { usize::MAX } else { call.tokens.len() };
            seen.calls.insert(call_key, (index, chunks));
        }
        if !goes_on {
            seen.finished.insert(key);
            seen.calls.retain(|(of, _), _| *of != key);
        }
    }
    Ok(told)
}

fn exchange_key(summary: &Summary, last: Option<ExchangeKey>) -> ExchangeKey {
    let (process, step, time) = (summary.process, summary.step, summary.started_ns);
    let again = last.filter(|last| (last.0, last.1, last.2) == (process, step, time));
    (process, step, time, again.map_or(0, |last| last.3 + 1))
}

/// Events that wait for their time.
type Waiting = VecDeque<TelemetryEvent>;
