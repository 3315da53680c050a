//! The logs of two runs side by side.

use std::collections::BTreeMap;

use log_format::record::{Kind, Record};
use serde::Serialize;

use super::Source;
use super::compare::{Difference, difference, is_schedule};
use super::evidence::Evidence;
use super::fds::Fds;
use super::pids::Pids;
use crate::decode;
use crate::error::Result;
use crate::log::Events;
use crate::session::{Process, Session};

/// A difference with its place.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Id of the process, in the first run.
    pub process: String,
    /// Step in the first run's process; none if its log has ended there.
    pub step_a: Option<u64>,
    /// Step in the second run's.
    pub step_b: Option<u64>,
    /// Thread of the first run's event, or else of the second's.
    pub thread: u16,
    /// The first run's event as text.
    pub a: String,
    /// The second run's.
    pub b: String,
    /// How they differ.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What comparing one process's logs gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Walk {
    /// Pairs of events that were compared.
    pub compared: u64,
    /// Differences in what the program was given, by source.
    pub inputs: BTreeMap<Source, Input>,
    /// The first event at which the program did something else.
    pub behaviour: Option<Found>,
    /// Whether both logs were compared to their ends.
    pub to_the_end: bool,
}

/// Differences of one source in one process.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// The first.
    pub first: Found,
    /// How many.
    pub count: u64,
    /// Steps of the last, in both runs.
    pub last: (u64, u64),
    /// What the first run was given in them.
    #[serde(skip)]
    pub evidence: Evidence,
}

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Differences from these sources are passed over.
    pub ignore: Vec<Source>,
    /// Stop at the first difference.
    pub first_only: bool,
}

impl Walk {
    /// The first difference of all, by the first run's step.
    pub fn first(&self) -> Option<&Found> {
        let all = self.inputs.values().map(|input| &input.first).chain(&self.behaviour);
        all.min_by_key(|found| found.step_a.unwrap_or(u64::MAX))
    }
}

/// One side: the events of a process and what is needed to compare them.
struct Side {
    events: Events,
    pids: Pids,
    /// The event in hand, as logged and with its pids replaced; empty at the end.
    bytes: Vec<u8>,
    canonical: Vec<u8>,
    step: Option<u64>,
}

impl Side {
    fn open(session: &Session, process: &Process) -> Result<Side> {
        let events = session.events(process)?;
        let pids = Pids::new(session.manifest());
        Ok(Side { events, pids, bytes: Vec::new(), canonical: Vec::new(), step: None })
    }

    /// Takes the next event in hand; without `schedule` the next that tells of the program.
    fn next(&mut self, schedule: bool) -> Result<()> {
        let Side { events, pids, bytes, canonical, step } = self;
        bytes.clear();
        canonical.clear();
        *step = None;
        while let Some(event) = events.next_event()? {
            if schedule || !is_schedule(event.record.header.kind) {
                bytes.extend_from_slice(event.bytes);
                pids.canonical(&event.record, event.bytes, canonical);
                *step = Some(event.step);
                break;
            }
        }
        Ok(())
    }

    fn record(&self) -> Option<Record<'_>> {
        Record::parse(&self.bytes).ok()
    }

    fn kind(&self) -> Option<Kind> {
        self.record().map(|r| r.header.kind)
    }

    fn text(&self) -> String {
        let options = decode::Options::default();
        self.record().map_or_else(|| "the log ends".into(), |r| decode::record(&r, &options))
    }
}

/// Compares the logs of one process in two sessions.
///
/// Ends at the first difference in behaviour: what follows it can't be put side by side. Events
/// that tell only of the order of threads are compared up to the first that differs, and then
/// left out; a clock that one run reads more often is passed over.
///
/// # Errors
/// A log can't be read.
pub fn walk(a: (&Session, &Process), b: (&Session, &Process), options: &Options) -> Result<Walk> {
    let mut walk = Walk::default();
    let mut left = Side::open(a.0, a.1)?;
    let mut right = Side::open(b.0, b.1)?;
    let mut fds = Fds::default();
    let mut schedule = !options.ignore.contains(&Source::Schedule);
    let (mut more_left, mut more_right) = (true, true);
    loop {
        if std::mem::replace(&mut more_left, true) {
            left.next(schedule)?;
        }
        if std::mem::replace(&mut more_right, true) {
            right.next(schedule)?;
        }
        let (Some(one), Some(other)) = (left.record(), right.record()) else {
            break;
        };
        walk.compared += 1;
        if left.canonical != right.canonical {
            // Compared by what stands for pids, so that these are no difference.
            let both = (Record::parse(&left.canonical), Record::parse(&right.canonical));
            let (Ok(x), Ok(y)) = both else { break };
            if let Some(difference) = difference(&x, &y, &fds) {
                let source = difference.source;
                let (kind_a, kind_b) = (one.header.kind, other.header.kind);
                let stop = walk.note(&a.1.id, &left, &right, difference, options);
                if stop {
                    return Ok(walk);
                }
                match source {
                    Source::Schedule if schedule => {
                        // Both go on at their next event of the program itself.
                        schedule = false;
                        more_left = is_schedule(kind_a);
                        more_right = is_schedule(kind_b);
                        if more_left || more_right {
                            continue;
                        }
                        if one.header.thread != other.header.thread {
                            return Ok(walk);
                        }
                    }
                    // Other threads come in another order: they can't be put side by side.
                    Source::Schedule if one.header.thread != other.header.thread => {
                        return Ok(walk);
                    }
                    Source::Clock if kind_a != kind_b => {
                        more_left = matches!(kind_a, Kind::Clock | Kind::Tsc);
                        more_right = matches!(kind_b, Kind::Clock | Kind::Tsc);
                        continue;
                    }
                    // A signal that only one run got at this place.
                    Source::Signal if kind_a != kind_b => {
                        more_left = kind_a == Kind::Signal;
                        more_right = kind_b == Kind::Signal;
                        continue;
                    }
                    _ => {}
                }
            }
        }
        let call = one.call().ok().filter(|_| one.header.kind == Kind::Call);
        if let Some(call) = call {
            // The program may use what is no difference in itself: a pid in a file's name.
            let got = other.call().map_or(call.ret, |other| other.ret);
            if left.canonical == right.canonical && got != call.ret && !options.first_only {
                let what = "the process id".to_owned();
                let difference = Difference { source: Source::Pid, what, bytes: None };
                walk.note(&a.1.id, &left, &right, difference, options);
            }
            fds.follow(&call);
        }
    }
    // One log goes on after the other's end.
    while matches!(left.kind(), Some(kind) if is_schedule(kind)) {
        left.next(false)?;
    }
    while matches!(right.kind(), Some(kind) if is_schedule(kind)) {
        right.next(false)?;
    }
    walk.to_the_end = true;
    if left.step.is_some() || right.step.is_some() {
        let what = "one run's log goes on here".to_owned();
        let difference = Difference { source: Source::Behaviour, what, bytes: None };
        walk.note(&a.1.id, &left, &right, difference, options);
    }
    Ok(walk)
}

impl Walk {
    /// Keeps a difference; whether the walk ends here.
    fn note(
        &mut self,
        process: &str,
        left: &Side,
        right: &Side,
        difference: Difference,
        options: &Options,
    ) -> bool {
        let source = difference.source;
        let behaves = source == Source::Behaviour;
        if options.ignore.contains(&source) {
            return behaves;
        }
        let last = (left.step.unwrap_or(0), right.step.unwrap_or(0));
        if let Some(input) = self.inputs.get_mut(&source) {
            input.count += 1;
            input.last = last;
            if let Some(record) = left.record() {
                input.evidence.add(source, &record);
            }
            return false;
        }
        let thread = left.record().or(right.record()).map_or(0, |r| r.header.thread);
        let found = Found {
            process: process.to_owned(),
            step_a: left.step,
            step_b: right.step,
            thread,
            a: left.text(),
            b: right.text(),
            difference,
        };
        if behaves {
            self.behaviour = Some(found);
        } else {
            let mut evidence = Evidence::default();
            if let Some(record) = left.record() {
                evidence.add(source, &record);
            }
            self.inputs.insert(source, Input { first: found, count: 1, last, evidence });
        }
        behaves || options.first_only
    }
}

/// An event as a line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its step.
    pub step: u64,
    /// Its thread.
    pub thread: u16,
    /// The event.
    pub text: String,
}

/// Events of a process from step `from` up to, and without, step `to`.
///
/// # Errors
/// The log can't be read.
pub fn lines(session: &Session, process: &Process, from: u64, to: u64) -> Result<Vec<Line>> {
    let mut events = session.events(process)?;
    events.seek(from)?;
    let mut lines = Vec::new();
    while let Some(event) = events.next_event()? {
        if event.step >= to {
            break;
        }
        if event.step >= from {
            let text = decode::record(&event.record, &decode::Options::default());
            lines.push(Line { step: event.step, thread: event.record.header.thread, text });
        }
    }
    Ok(lines)
}
