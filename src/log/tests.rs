//! The log as a whole: a shim made of a thread, killed anywhere; files damaged everywhere.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log_format::arena::{self, ROOT_KEY, SLOT_BYTES, proc_state, slot_state};
use log_format::record::{Header, Kind};

use super::drain::{Drain, Limits};
use super::map::{ArenaMap, ring, wait};
use super::reader::Events;
use crate::error::{Error, Result};
use crate::launch::setup::Setup;
use crate::policy::Policy;
use crate::redact::Redactor;
use crate::session::manifest::{Manifest, Options, Status};
use crate::session::{self, ARENA, Session};

const LIMITS: Limits = Limits { compress: 1, rotate_bytes: 200_000, size_bytes_max: 0 };

/// splitmix64: tests repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        arena::child_key(self.0, 1) % below
    }
}

/// Record number `step`: its content follows from the number.
fn record(step: u64) -> Vec<u8> {
    let mut dice = Dice(step);
    let len = match dice.roll(50) {
        0 => 8 * (1 + dice.roll(SLOT_BYTES as u64 / 4)),
        1 => 24 * SLOT_BYTES as u64 / 10 / 8 * 8,
        _ => 8 * (1 + dice.roll(20)),
    };
    let header = Header { kind: Kind::ThreadStart, flags: 0, thread: step as u16, len: len as u32 };
    let mut bytes = header.to_word().to_le_bytes().to_vec();
    while bytes.len() < len as usize {
        bytes.extend_from_slice(&(step ^ dice.roll(4)).to_le_bytes());
    }
    bytes
}

/// A killed shim: what it had not done yet it never does.
struct Killed;

/// What the shim does, on a thread, as `arena.rs` says; every step of the protocol may be the
/// last.
struct Shim {
    arena: Arc<ArenaMap>,
    slot: Option<u32>,
    at: usize,
    /// Protocol steps until it is killed.
    lives: u64,
    committed: u64,
}

impl Shim {
    fn new(arena: Arc<ArenaMap>, lives: u64) -> Shim {
        let root = &arena.procs()[0];
        root.pid.store(std::process::id() as i32, Ordering::Relaxed);
        root.state.store(proc_state::LIVE, Ordering::Release);
        Shim { arena, slot: None, at: 0, lives, committed: 0 }
    }

    fn live(&mut self) -> Result<(), Killed> {
        self.lives = self.lives.checked_sub(1).ok_or(Killed)?;
        Ok(())
    }

    fn next_slot(&mut self, step: u64, inside: usize) -> Result<(), Killed> {
        let arena = self.arena.clone();
        let entry = &arena.procs()[0];
        self.live()?;
        if let Some(full) = self.slot.take() {
            arena.slot(full).state.store(slot_state::FULL, Ordering::Release);
            self.live()?;
            arena::push(&arena.header().full, full, |slot| arena.slot(slot));
            ring(&arena.header().doorbell);
        }
        let number = loop {
            self.live()?;
            match arena.pop_free() {
                Some(slot) => break slot,
                None => std::thread::yield_now(),
            }
            self.lives += 1;
        };
        self.live()?;
        let slot = arena.slot(number);
        let seq = entry.slots_started.load(Ordering::Relaxed);
        slot.proc.store(0, Ordering::Relaxed);
        slot.key.store(ROOT_KEY, Ordering::Relaxed);
        slot.seq.store(seq, Ordering::Relaxed);
        slot.committed.store(0, Ordering::Relaxed);
        slot.first_record.store(inside.min(SLOT_BYTES) as u32, Ordering::Relaxed);
        slot.first_step.store(step, Ordering::Relaxed);
        slot.state.store(slot_state::FILLING, Ordering::Release);
        entry.slots_started.store(seq + 1, Ordering::Relaxed);
        entry.slot.store(number + 1, Ordering::Release);
        self.slot = Some(number);
        self.at = 0;
        Ok(())
    }

    fn append(&mut self, step: u64) -> Result<(), Killed> {
        let record = record(step);
        let mut done = 0;
        while done < record.len() {
            if self.slot.is_none() || self.at == SLOT_BYTES {
                let inside = record.len() - done;
                let (next, inside) = if done == 0 { (step, 0) } else { (step + 1, inside) };
                self.next_slot(next, inside)?;
            }
            let Some(number) = self.slot else { return Err(Killed) };
            let part = (record.len() - done).min(SLOT_BYTES - self.at);
            self.arena.write_slot(number, self.at, &record[done..done + part]).unwrap();
            self.at += part;
            done += part;
            // A record that goes on in another slot covers this one wholly.
            if done < record.len() {
                self.arena.slot(number).committed.store(self.at as u32, Ordering::Release);
            }
            self.live()?;
        }
        let Some(number) = self.slot else { return Err(Killed) };
        self.arena.slot(number).committed.store(self.at as u32, Ordering::Release);
        self.committed = step + 1;
        Ok(())
    }

    fn run(mut self, steps: u64) -> u64 {
        for step in 0..steps {
            if self.append(step).is_err() {
                break;
            }
        }
        self.committed
    }
}

fn session(dir: &Path) -> Arc<ArenaMap> {
    for sub in ["procs", "files"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    let manifest = Manifest {
        format: log_format::VERSION,
        name: "test".into(),
        options: Options { compress: 1, rotate_bytes: 200_000, ..Options::default() },
        ..Manifest::default()
    };
    session::write_manifest(dir, &manifest, &mut Redactor::off()).unwrap();
    let path = dir.join(ARENA);
    let setup = Setup {
        mode: arena::Mode::Record,
        options: 0,
        seed: [0; 32],
        started_ns: 0,
        frozen_ns: 0,
        cache_dir: None,
        frozen_mono_ns: 0,
        files_dir: dir,
        shim: Path::new("/s"),
        path: &path,
        until: None,
        policy: Policy::default(),
    };
    Arc::new(setup.create().unwrap())
}

/// Reads all events and compares them with what was written; how many there are.
fn check(events: &mut Events, from: u64) -> Result<u64> {
    let mut next = from;
    while let Some(event) = events.next_event()? {
        assert_eq!(event.step, next);
        assert!(event.bytes == record(next), "step {next}");
        next += 1;
    }
    Ok(next)
}

/// Reads all events by one thread and by several, which must find the same.
fn check_both(dir: &Path, ragged_end: bool, bytes: Option<u64>) -> Result<u64> {
    let mut events = Events::open(dir, ROOT_KEY, ragged_end, bytes).unwrap();
    let alone = check(&mut events, 0);
    let places = events.take_places();
    let mut events = Events::open(dir, ROOT_KEY, ragged_end, bytes).unwrap();
    events.read_ahead().unwrap();
    let ahead = check(&mut events, 0);
    assert_eq!(format!("{ahead:?}"), format!("{alone:?}"));
    assert_eq!(events.take_places(), places);
    assert!(events.next_event().unwrap().is_none());
    alone
}

#[test]
fn a_guest_killed_anywhere_leaves_all_it_had_committed() {
    let mut dice = Dice(1);
    for round in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        let arena = session(dir.path());
        let mut drain = Drain::new(arena.clone(), dir.path(), LIMITS).unwrap();
        drain.provide_slots().unwrap();
        let shim = Shim::new(arena.clone(), 1 + dice.roll(500));
        let writer = std::thread::spawn(move || shim.run(300));
        while !writer.is_finished() {
            let seen = arena.header().doorbell.load(Ordering::Acquire);
            drain.round();
            wait(&arena.header().doorbell, seen, Duration::from_millis(1));
        }
        let committed = writer.join().unwrap();
        drain.finish();
        let drained = drain.into_collected().drained;
        let events = drained.get(&ROOT_KEY).map_or(0, |d| {
            assert!(!d.scan.broken);
            d.scan.events
        });
        assert_eq!(events, committed, "round {round}");
        let bytes = drained.get(&ROOT_KEY).map(|d| d.writer.bytes);
        let mut events = Events::open(dir.path(), ROOT_KEY, false, bytes).unwrap();
        assert_eq!(check(&mut events, 0).unwrap(), committed, "round {round}");
    }
}

#[test]
fn a_killed_host_is_made_up_for_when_the_session_is_opened() {
    let mut dice = Dice(2);
    for round in 0..15 {
        let dir = tempfile::tempdir().unwrap();
        let arena = session(dir.path());
        let mut drain = Drain::new(arena.clone(), dir.path(), LIMITS).unwrap();
        drain.provide_slots().unwrap();
        let shim = Shim::new(arena.clone(), 1 + dice.roll(400));
        let rounds = dice.roll(20);
        let writer = std::thread::spawn(move || shim.run(120));
        for _ in 0..rounds {
            drain.round();
        }
        drop(drain);
        // The dead host's guests find no free slot at some point; a test must not wait for that.
        arena.header().free.store(0, Ordering::Release);
        while !writer.is_finished() && arena.header().free.load(Ordering::Acquire) as u32 == 0 {
            if waits_for_slot(&arena) {
                break;
            }
        }
        if round % 3 == 0 {
            // Killed while it wrote a frame: the last file ends with a part of one.
            let path = |n| super::frames::log_path(dir.path(), ROOT_KEY, n);
            if let Some(last) = (0..50).map(path).take_while(|p| p.exists()).last() {
                let bytes = std::fs::read(&last).unwrap();
                std::fs::write(&last, [&bytes[..], &bytes[..bytes.len().min(40)]].concat())
                    .unwrap();
            }
        }
        let committed = committed_in(&arena);
        let opened = Session::open(dir.path()).unwrap();
        assert!(matches!(opened.manifest().status, Status::CutShort { .. }));
        let seen = opened.manifest().processes.first().map_or(0, |process| {
            let mut events = opened.events(process).unwrap();
            let seen = check(&mut events, 0).unwrap();
            assert_eq!(seen, process.events);
            seen
        });
        if let Some(committed) = committed {
            assert!(seen >= committed, "round {round}: {seen} of {committed}");
        }
        // Unblock the thread and let it end.
        for _ in 0..2000 {
            if writer.is_finished() {
                break;
            }
            for slot in 2000..2040 {
                arena.push_free(slot);
            }
            std::thread::yield_now();
        }
        drop(writer);
        assert!(!dir.path().join(ARENA).exists());
        assert_eq!(Session::open(dir.path()).unwrap().manifest(), opened.manifest());
    }
}

/// Whether the simulated guest has no slot to go on with.
fn waits_for_slot(arena: &ArenaMap) -> bool {
    let entry = &arena.procs()[0];
    let Some(slot) = entry.slot.load(Ordering::Acquire).checked_sub(1) else { return true };
    arena.slot(slot).state.load(Ordering::Acquire) != slot_state::FILLING
}

/// Steps known to be committed: those before the last slot's first.
fn committed_in(arena: &ArenaMap) -> Option<u64> {
    let slot = arena.procs()[0].slot.load(Ordering::Acquire).checked_sub(1)?;
    let slot = arena.slot(slot);
    (slot.committed.load(Ordering::Acquire) > 0).then(|| {
        // The record that crosses into the slot may be incomplete.
        slot.first_step.load(Ordering::Acquire).saturating_sub(1)
    })
}

/// A small session, written and read back once.
fn written(dir: &Path, steps: u64) -> (HashMap<String, Vec<u8>>, u64) {
    let arena = session(dir);
    let mut drain = Drain::new(arena.clone(), dir, LIMITS).unwrap();
    drain.provide_slots().unwrap();
    let shim = Shim::new(arena, u64::MAX);
    std::thread::scope(|scope| {
        let done = scope.spawn(|| shim.run(steps));
        while !done.is_finished() {
            drain.round();
        }
        assert_eq!(done.join().unwrap(), steps);
    });
    drain.finish();
    let bytes = drain.into_collected().drained[&ROOT_KEY].writer.bytes;
    let files = std::fs::read_dir(dir.join("procs")).unwrap();
    let files = files.map(|f| f.unwrap().path());
    let read = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
    };
    (files.map(read).collect(), bytes)
}

#[test]
fn reading_can_start_at_any_step() {
    let dir = tempfile::tempdir().unwrap();
    let (files, bytes) = written(dir.path(), 300);
    assert!(files.len() > 1, "the test wants a rotated log");
    assert_eq!(check_both(dir.path(), false, Some(bytes)).unwrap(), 300);
    for step in (0..300).step_by(7) {
        let mut events = Events::open(dir.path(), ROOT_KEY, false, Some(bytes)).unwrap();
        events.seek(step).unwrap();
        let start = events.next_step();
        assert!(start <= step, "{start} for {step}");
        assert_eq!(check(&mut events, start).unwrap(), 300);
    }
}

#[test]
fn a_log_cut_at_any_byte_gives_a_prefix_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (files, bytes) = written(dir.path(), 20);
    let (name, whole) = files.iter().next().unwrap();
    assert_eq!(files.len(), 1);
    let path = dir.path().join("procs").join(name);
    let step = (whole.len() / 700).max(1);
    for cut in (0..whole.len()).step_by(step).chain(0..80) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let damaged = check_both(dir.path(), false, Some(bytes));
        assert!(matches!(damaged, Err(Error::Damaged { .. })), "cut at {cut}");
        assert!(check_both(dir.path(), true, None).unwrap() <= 20);
    }
}

#[test]
fn flipped_bits_give_an_error_or_the_same_events() {
    let dir = tempfile::tempdir().unwrap();
    let (files, bytes) = written(dir.path(), 20);
    let (name, whole) = files.iter().next().unwrap();
    let path = dir.path().join("procs").join(name);
    let mut dice = Dice(3);
    for _ in 0..200 {
        let mut bad = whole.clone();
        let at = dice.roll(whole.len() as u64) as usize;
        bad[at] ^= 1 << dice.roll(8);
        std::fs::write(&path, bad).unwrap();
        match check_both(dir.path(), false, Some(bytes)) {
            Ok(n) => assert_eq!(n, 20),
            Err(Error::Damaged { .. } | Error::SessionNewer { .. }) => {}
            Err(e) => panic!("byte {at}: {e}"),
        }
    }
}

#[test]
fn a_session_at_its_size_limit_ends_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let arena = session(dir.path());
    let limits = Limits { compress: 0, rotate_bytes: 1 << 30, size_bytes_max: 1_000_000 };
    let mut drain = Drain::new(arena.clone(), dir.path(), limits).unwrap();
    drain.provide_slots().unwrap();
    let shim = Shim::new(arena.clone(), 4000);
    let writer = std::thread::spawn(move || shim.run(2000));
    while !writer.is_finished() {
        let seen = arena.header().doorbell.load(Ordering::Acquire);
        drain.round();
        wait(&arena.header().doorbell, seen, Duration::from_millis(1));
    }
    drain.finish();
    assert_eq!(drain.stopped().0, arena::stop::SIZE_LIMIT);
    let drained = drain.into_collected().drained;
    let stored = drained[&ROOT_KEY].writer.stored_bytes;
    assert!((1_000_000..1_000_000 + 2 * SLOT_BYTES as u64).contains(&stored), "{stored}");
    let bytes = Some(drained[&ROOT_KEY].writer.bytes);
    let mut events = Events::open(dir.path(), ROOT_KEY, false, bytes).unwrap();
    assert_eq!(check(&mut events, 0).unwrap(), drained[&ROOT_KEY].scan.events);
}
