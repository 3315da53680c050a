//! The host's side of recording: moves full slots from the arena into the session.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log_format::arena::{
    PLAIN_KEY, SLOT_BYTES, SLOT_COUNT, SlotHeader, proc_state, slot_state, stop,
};

use super::chunk::{Encoder, Place};
use super::map::{ArenaMap, ring};
use super::scan::{Scan, SeenFile};
use super::table::Table;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::intercept::journal::Journal;
use crate::redact::Redactor;

/// Bytes of a session's logs that are compressed by the quickest level.
pub(crate) const QUICK_BYTES: u64 = 4 << 20;
/// Free slots kept ready: one for each guest and so many more, twice as many each time that there
/// were none, but not more than the second number.
const FREE_SLOTS: (u32, u32) = (1, 32);
/// Slots allocated at most, beside two for each guest: guests that log faster than the host
/// drains then wait for it, instead of filling the disk with arena.
const SLOTS_SHARED_MAX: u32 = 256;

/// Limits and form of what is written.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// zstd level; 0 = not compressed.
    pub compress: i32,
    /// Size at which a process's log goes on in a new file, bytes.
    pub rotate_bytes: u64,
    /// Size of all logs at which recording stops, bytes; 0 = no limit.
    pub size_bytes_max: u64,
}

/// One process's log and what was seen in it.
#[derive(Debug)]
pub struct Drained {
    /// Its files.
    pub writer: Writer,
    /// What passed by.
    pub scan: Scan,
    /// Pid, as its entry says.
    pub pid: i32,
    /// Parent's key, as its entry says.
    pub parent_key: u64,
    /// Which child of its parent, as its entry says.
    pub ordinal: u32,
    /// Whether it ended in an orderly way.
    pub exited: bool,
    /// Records it could not log.
    pub dropped: u64,
    /// Programs that it started once it could no longer be intercepted.
    pub unseen: u32,
    /// An output number that it took and never logged.
    pub hole: Option<u64>,
}

impl Drained {
    /// What log files say, written by `writer` and seen by `scan`.
    pub fn new(writer: Writer, scan: Scan) -> Drained {
        Drained {
            pid: scan.start.map_or(0, |s| s.pid),
            parent_key: scan.start.map_or(0, |s| s.parent_key),
            ordinal: scan.start.map_or(0, |s| s.ordinal),
            exited: scan.exit.is_some(),
            dropped: 0,
            unseen: 0,
            hole: None,
            writer,
            scan,
        }
    }
}

/// All that was recorded.
#[derive(Debug, Default)]
pub struct Collected {
    /// Processes by key.
    pub drained: BTreeMap<u64, Drained>,
    /// Files that they mapped or executed, by identity.
    pub files: BTreeMap<u64, SeenFile>,
}

impl Collected {
    /// Adds a process. Its files go to those of all, because most processes of a session use
    /// the same.
    pub fn add(&mut self, key: u64, mut drained: Drained) {
        take_files(&mut self.files, &mut drained.scan);
        self.drained.insert(key, drained);
    }
}

fn take_files(files: &mut BTreeMap<u64, SeenFile>, scan: &mut Scan) {
    for (identity, file) in scan.files.drain() {
        match files.entry(identity) {
            Entry::Occupied(known) => known.into_mut().merge(file),
            Entry::Vacant(place) => {
                place.insert(file);
            }
        }
    }
}

/// Moves slots into the session's files.
pub struct Drain {
    arena: Arc<ArenaMap>,
    session: PathBuf,
    limits: Limits,
    encoder: Encoder,
    /// Slots that have disk space: those below this number.
    allocated: u32,
    /// Free slots kept ready beside one for each guest: few, for slots used again are in caches.
    ready: u32,
    /// Processes seen so far, and the files of those that have ended.
    collected: Collected,
    /// Guests alive.
    pub table: Table,
    /// Plaintext of TLS connections that waits to be stored.
    pub(crate) plain: Option<Arc<Journal>>,
    /// Takes secrets out of what is written.
    pub redactor: Redactor,
    raw: Vec<u8>,
    failure: Option<String>,
}

impl Drain {
    /// A drain of `arena` into the session in the directory `session`.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn new(arena: Arc<ArenaMap>, session: &Path, limits: Limits) -> Result<Drain> {
        Ok(Drain {
            arena,
            session: session.to_owned(),
            limits,
            encoder: Encoder::new(limits.compress)
                .and_then(|encoder| encoder.quick_first(QUICK_BYTES))
                .map_err(Error::io("set up compression"))?,
            allocated: 0,
            ready: FREE_SLOTS.0,
            collected: Collected::default(),
            table: Table::default(),
            plain: None,
            redactor: Redactor::off(),
            raw: Vec::new(),
            failure: None,
        })
    }

    /// Goes on from what a killed host had written.
    pub fn resume(&mut self, collected: Collected) {
        self.collected = collected;
    }

    /// Gives guests free slots, so that there are always some ready.
    ///
    /// # Errors
    /// A full disk, before the first guest; later the recording is stopped instead.
    pub fn provide_slots(&mut self) -> Result<()> {
        let guests = self.table.guests().count() as u32;
        let limit = (SLOTS_SHARED_MAX + 2 * guests).min(SLOT_COUNT as u32);
        let slots = self.arena.slots().iter().take(self.allocated as usize);
        let mut free =
            slots.filter(|s| s.state.load(Ordering::Acquire) == slot_state::FREE).count() as u32;
        if free == 0 && self.allocated > 0 {
            self.ready = (self.ready * 2).min(FREE_SLOTS.1);
        }
        let ready = (self.ready + guests).min(FREE_SLOTS.1);
        let mut added = false;
        while free < ready && self.allocated < limit {
            if let Err(e) = self.arena.allocate_slot(self.allocated, SLOT_BYTES) {
                if self.allocated == 0 {
                    return Err(Error::io("reserve disk space for the log")(e));
                }
                // Guests still have the slots there are; they go round as they are drained.
                break;
            }
            self.arena.push_free(self.allocated);
            self.allocated += 1;
            free += 1;
            added = true;
        }
        if added {
            ring(&self.arena.header().host_bell);
        }
        Ok(())
    }

    /// One round: writes full slots, and the last slots of processes that have ended.
    ///
    /// Failure to write stops the recording, not the guests: see [`Drain::stopped`].
    pub fn round(&mut self) {
        let _ = self.provide_slots();
        self.collect();
    }

    fn collect(&mut self) {
        self.table.update(&self.arena);
        self.take_full();
        self.take_plain();
        let ended: Vec<usize> = self
            .table
            .guests()
            .filter(|(_, g)| g.gone || g.state == proc_state::EXITED)
            .map(|(index, _)| index)
            .collect();
        for index in ended {
            self.take_ended(index);
        }
    }

    /// The last round: takes also what processes have logged that still run. They are no longer
    /// recorded after it.
    pub fn finish(&mut self) {
        self.collect();
        let all: Vec<usize> = self.table.guests().map(|(index, _)| index).collect();
        for index in all {
            if let Some(entry) = self.arena.procs().get(index) {
                self.take_rest(entry.key.load(Ordering::Acquire), index);
            }
        }
    }

    /// What was recorded.
    pub fn into_collected(mut self) -> Collected {
        for drained in self.collected.drained.values_mut() {
            take_files(&mut self.collected.files, &mut drained.scan);
        }
        self.collected
    }

    /// Why recording stopped, if it did: one of `log_format::arena::stop`'s values and, for a
    /// failure of the system, its message.
    pub fn stopped(&self) -> (u32, Option<&str>) {
        (self.arena.header().stop.load(Ordering::Acquire), self.failure.as_deref())
    }

    /// Tells guests to go on without recording, and wakes those that wait for a slot.
    pub fn stop(&self, why: u32) {
        let word = &self.arena.header().stop;
        let _ = word.compare_exchange(stop::NO, why, Ordering::AcqRel, Ordering::Acquire);
        ring(&self.arena.header().host_bell);
    }

    /// Writes the slots on the full list.
    fn take_full(&mut self) {
        let mut slots = self.arena.take_all(&self.arena.header().full);
        let arena = self.arena.clone();
        if self.allocated == 0 {
            // A killed host may have taken slots off the list and not written them: those behind
            // them would not be next.
            let full = |slot: &SlotHeader| slot.state.load(Ordering::Acquire) == slot_state::FULL;
            let all = (0..).zip(arena.slots());
            slots = all.filter_map(|(number, slot)| full(slot).then_some(number)).collect();
        }
        slots.sort_by_key(|s| {
            let slot = arena.slot(*s);
            (slot.key.load(Ordering::Relaxed), slot.seq.load(Ordering::Relaxed))
        });
        for slot in slots {
            // Guests that log faster than this thread writes go on meanwhile.
            let none_free = arena.header().free.load(Ordering::Acquire) as u32 == 0;
            if none_free && self.allocated > 0 {
                let _ = self.provide_slots();
            }
            self.write(slot);
        }
    }

    /// Writes the plaintext that waits.
    fn take_plain(&mut self) {
        let Some(journal) = self.plain.clone() else { return };
        while let Some(frame) = journal.take() {
            let seq = self.collected.drained.get(&PLAIN_KEY).map_or(0, |d| d.writer.frames);
            let place =
                Place { key: PLAIN_KEY, seq, first_record: 0, first_step: frame.first_step };
            let mut bytes = frame.bytes;
            self.store(place, usize::MAX, &mut bytes);
        }
    }

    /// Writes what an ended process has left, and frees its entry.
    fn take_ended(&mut self, index: usize) {
        let arena = self.arena.clone();
        let Some(entry) = arena.procs().get(index) else { return };
        let key = entry.key.load(Ordering::Acquire);
        let state = entry.state.load(Ordering::Acquire);
        // It may have handed its last slot over before it ended.
        let untold = state == proc_state::EXITED
            && self.collected.drained.get(&key).is_none_or(|d| !d.exited);
        if entry.slot.load(Ordering::Acquire) != 0 || state == proc_state::LIVE || untold {
            self.take_rest(key, index);
            entry.slot.store(0, Ordering::Release);
        }
        let gone = self.table.guests().any(|(i, g)| i == index && g.gone);
        if gone {
            self.table.remove(&arena, index);
        }
    }

    /// Writes every slot of a process, full or not, and notes how it ended.
    fn take_rest(&mut self, key: u64, index: usize) {
        // A slot that is on the list must not be taken twice.
        self.take_full();
        let arena = self.arena.clone();
        let mut slots: Vec<(u32, u32)> = Vec::new();
        // A drain that goes on after a killed host does not know how many were in use.
        let known = if self.allocated == 0 { SLOT_COUNT } else { self.allocated as usize };
        for (number, slot) in arena.slots().iter().take(known).enumerate() {
            let state = slot.state.load(Ordering::Acquire);
            if matches!(state, slot_state::FILLING | slot_state::FULL)
                && slot.key.load(Ordering::Acquire) == key
            {
                slots.push((slot.seq.load(Ordering::Acquire), number as u32));
            }
        }
        slots.sort_unstable();
        for (_, slot) in slots {
            self.write(slot);
        }
        let Some(entry) = arena.procs().get(index) else { return };
        let pending = entry.pending_output.load(Ordering::Acquire).checked_sub(1);
        let dropped = entry.dropped.load(Ordering::Acquire);
        let unseen = entry.unseen.load(Ordering::Acquire);
        let exited = entry.state.load(Ordering::Acquire) == proc_state::EXITED;
        let drained = self.process(key, Some(index));
        drained.dropped = dropped;
        drained.unseen = unseen;
        drained.exited = exited;
        // Logged, and killed before it could say so: no hole.
        drained.hole = pending.filter(|n| !exited && drained.scan.last_output != Some(*n));
        if let Some(drained) = self.collected.drained.get_mut(&key) {
            take_files(&mut self.collected.files, &mut drained.scan);
        }
    }

    fn process(&mut self, key: u64, index: Option<usize>) -> &mut Drained {
        let entry = index.and_then(|i| self.arena.procs().get(i));
        let entry = entry.filter(|e| e.key.load(Ordering::Acquire) == key);
        let session = &self.session;
        let fresh = || Drained::new(Writer::new(session, key), Scan::default());
        let drained = self.collected.drained.entry(key).or_insert_with(fresh);
        if let Some(entry) = entry
            && drained.pid == 0
        {
            drained.pid = entry.pid.load(Ordering::Acquire);
            drained.parent_key = entry.parent_key.load(Ordering::Acquire);
            drained.ordinal = entry.ordinal.load(Ordering::Acquire);
        }
        drained
    }

    /// Writes one slot into its process's log and gives it back.
    fn write(&mut self, number: u32) {
        let arena = self.arena.clone();
        let slot = arena.slot(number);
        let committed = slot.committed.load(Ordering::Acquire) as usize;
        let place = Place {
            key: slot.key.load(Ordering::Acquire),
            seq: slot.seq.load(Ordering::Acquire),
            first_record: slot.first_record.load(Ordering::Acquire),
            first_step: slot.first_step.load(Ordering::Acquire),
        };
        let proc = slot.proc.load(Ordering::Acquire) as usize;
        let mut raw = std::mem::take(&mut self.raw);
        arena.read_slot(number, committed, &mut raw);
        self.store(place, proc, &mut raw);
        self.raw = raw;
        arena.push_free(number);
        ring(&arena.header().host_bell);
    }

    fn store(&mut self, place: Place, proc: usize, raw: &mut [u8]) {
        let limits = self.limits;
        let total: u64 = match limits.size_bytes_max {
            0 => 0,
            _ => self.collected.drained.values().map(|d| d.writer.stored_bytes).sum(),
        };
        self.process(place.key, Some(proc));
        let Some(drained) = self.collected.drained.get_mut(&place.key) else { return };
        // Not next: a slot that was written before the host was killed, or one behind a gap.
        // Broken: a killed host left a damaged file, behind which nothing can be read.
        let next = place.seq == drained.writer.frames && !drained.scan.broken;
        if raw.is_empty() || !next || self.failure.is_some() {
            return;
        }
        if limits.size_bytes_max != 0 && total >= limits.size_bytes_max {
            self.stop(stop::SIZE_LIMIT);
            return;
        }
        let redacted = self.redactor.frame(place.key, raw);
        let encoder = &mut self.encoder;
        match drained.writer.append(encoder, place, redacted, limits.rotate_bytes) {
            Ok(()) => drained.scan.feed(redacted.bytes()),
            Err(e) => {
                self.failure = Some(e.to_string());
                self.stop(stop::DISK_FULL);
            }
        }
    }
}
