//! The host's side of replaying: feeds logs to guests, slot by slot.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log_format::arena::{
    FEED_LEN, MARKS_MAX, ProcEntry, SLOT_BYTES, SLOT_COUNT, proc_state, slot_state,
};
use log_format::record::{HEADER_BYTES, Header};

use super::frames::Frames;
use super::map::{ArenaMap, ring};
use crate::error::{Error, Result};
use crate::redact::marks::Marks;

/// Feeds every guest of an arena with the log that has its key.
pub struct Feed {
    arena: Arc<ArenaMap>,
    session: PathBuf,
    ragged_end: bool,
    /// Slots that have disk space: those below this number.
    allocated: u32,
    /// By index of the process entry.
    streams: HashMap<usize, Stream>,
    /// Where placeholders stand in the logs.
    marks: Marks,
}

/// One guest's log on its way.
struct Stream {
    key: u64,
    pieces: Pieces,
    seq: u32,
    ended: bool,
}

impl Feed {
    /// A feed from the session in the directory `session`. With `ragged_end`, logs may end
    /// inside a frame.
    pub fn new(arena: Arc<ArenaMap>, session: &Path, ragged_end: bool) -> Feed {
        let session = session.to_owned();
        let (streams, marks) = (HashMap::new(), Marks::default());
        Feed { arena, session, ragged_end, allocated: 0, streams, marks }
    }

    /// Guests may differ from their logs where these have placeholders.
    pub fn accept(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// One round: queues slots for all guests, as many as they have room for.
    ///
    /// # Errors
    /// [`Error::Damaged`] or the system's: the guest that needs the log can't go on.
    pub fn round(&mut self) -> Result<()> {
        let arena = self.arena.clone();
        let mut fed = false;
        for (index, entry) in arena.procs_used().iter().enumerate() {
            let state = entry.state.load(Ordering::Acquire);
            let key = entry.key.load(Ordering::Acquire);
            if !matches!(state, proc_state::RESERVED | proc_state::LIVE) || key == 0 {
                self.streams.remove(&index);
                continue;
            }
            let known = self.streams.get(&index).is_some_and(|s| s.key == key);
            if !known {
                let pieces = Pieces::open(&self.session, key, self.ragged_end)?;
                self.streams.insert(index, Stream { key, pieces, seq: 0, ended: false });
            }
            fed |= self.feed(index, entry)?;
        }
        if fed {
            ring(&arena.header().host_bell);
        }
        Ok(())
    }

    fn feed(&mut self, index: usize, entry: &ProcEntry) -> Result<bool> {
        let mut fed = false;
        loop {
            let Some(stream) = self.streams.get_mut(&index).filter(|s| !s.ended) else {
                return Ok(fed);
            };
            let written = entry.feed_written.load(Ordering::Acquire);
            let read = entry.feed_read.load(Ordering::Acquire);
            if written.wrapping_sub(read) as usize >= FEED_LEN {
                return Ok(fed);
            }
            let Some(piece) = stream.pieces.next()? else {
                stream.ended = true;
                entry.feed_end.store(1, Ordering::Release);
                return Ok(true);
            };
            let slot = match self.arena.pop_free() {
                Some(slot) => slot,
                None if (self.allocated as usize) < SLOT_COUNT => {
                    self.allocated += 1;
                    self.allocated - 1
                }
                // The piece stays where it is until a guest gives a slot back.
                None => return Ok(fed),
            };
            self.arena
                .allocate_slot(slot, 0)
                .and_then(|()| self.arena.write_slot(slot, 0, stream.pieces.bytes(&piece)))
                .map_err(Error::io("feed the replay"))?;
            if !self.marks.is_empty() {
                let marks = slot_marks(&self.marks, stream.key, stream.pieces.at, piece.len);
                self.arena.write_marks(slot, &marks).map_err(Error::io("feed the replay"))?;
            }
            let header = self.arena.slot(slot);
            header.proc.store(index as u32, Ordering::Relaxed);
            header.key.store(stream.key, Ordering::Relaxed);
            header.seq.store(stream.seq, Ordering::Relaxed);
            header.first_record.store(piece.first_record as u32, Ordering::Relaxed);
            header.first_step.store(piece.first_step, Ordering::Relaxed);
            header.state.store(slot_state::FED, Ordering::Relaxed);
            header.committed.store(piece.len as u32, Ordering::Release);
            stream.seq += 1;
            stream.pieces.consume(&piece);
            if let Some(place) = entry.feed.get(written as usize % FEED_LEN) {
                place.store(slot + 1, Ordering::Release);
            }
            entry.feed_written.store(written.wrapping_add(1), Ordering::Release);
            fed = true;
        }
    }

    /// Takes back the slots that an ended guest has not consumed. To be called before its entry
    /// is freed.
    pub fn remove(&mut self, index: usize) {
        self.streams.remove(&index);
        let arena = self.arena.clone();
        let Some(entry) = arena.procs().get(index) else { return };
        let read = entry.feed_read.load(Ordering::Acquire);
        let queued = entry.feed_written.load(Ordering::Acquire).wrapping_sub(read);
        let ring = (0..queued.min(FEED_LEN as u32)).filter_map(|i| {
            entry
                .feed
                .get(read.wrapping_add(i) as usize % FEED_LEN)
                .map(|s| s.load(Ordering::Acquire))
        });
        let current = entry.slot.load(Ordering::Acquire);
        let slots: Vec<u32> = ring.chain([current]).filter_map(|s| s.checked_sub(1)).collect();
        for slot in slots {
            let header = arena.slot(slot);
            let mine = header.proc.load(Ordering::Acquire) as usize == index;
            if mine && header.state.load(Ordering::Acquire) == slot_state::FED {
                arena.push_free(slot);
            }
        }
    }
}

/// The marks of a piece of a log; so many that they would not fit are joined.
fn slot_marks(marks: &Marks, key: u64, at: u64, len: usize) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = marks.within(key, at, len).collect();
    let mut gap = 8;
    while all.len() > MARKS_MAX {
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (at, len) in all {
            match joined.last_mut().filter(|last| last.0 + last.1 + gap >= at) {
                Some(last) => last.1 = at + len - last.0,
                None => joined.push((at, len)),
            }
        }
        all = joined;
        gap *= 2;
    }
    all
}

/// A log's bytes cut into pieces of at most a slot, between records where that is possible, so
/// that guests find most records in one place.
struct Pieces {
    frames: Frames,
    buf: Vec<u8>,
    pos: usize,
    /// Where in the log the next piece starts.
    at: u64,
    /// Bytes left of a record that is larger than a slot and was begun.
    inside: usize,
    step: u64,
    ended: bool,
}

/// The next piece of a log.
struct Piece {
    len: usize,
    first_record: usize,
    first_step: u64,
    /// Records that start in it.
    records: u64,
    /// Bytes beyond it of the record it ends in.
    inside: usize,
}

impl Pieces {
    fn open(session: &Path, key: u64, ragged_end: bool) -> Result<Pieces> {
        let frames = Frames::open(session, key, ragged_end)?;
        Ok(Pieces { frames, buf: Vec::new(), pos: 0, at: 0, inside: 0, step: 0, ended: false })
    }

    /// The next piece, which stays the next until it is consumed; none at the end of the log.
    /// An incomplete record at the end is left out.
    fn next(&mut self) -> Result<Option<Piece>> {
        while !self.ended && self.buf.len() - self.pos < SLOT_BYTES {
            self.buf.drain(..self.pos);
            self.pos = 0;
            let first = self.buf.is_empty() && self.step == 0;
            match self.frames.read(&mut self.buf)? {
                Some(header) if first => self.step = header.first_step,
                Some(_) => {}
                None => self.ended = true,
            }
        }
        let rest = self.buf.get(self.pos..).unwrap_or_default();
        let first_record = self.inside.min(SLOT_BYTES);
        let mut piece =
            Piece { len: first_record, first_record, first_step: self.step, records: 0, inside: 0 };
        if self.inside > SLOT_BYTES {
            piece.inside = self.inside - SLOT_BYTES;
        }
        while piece.inside == 0
            && let Some(word) = rest.get(piece.len..).and_then(|r| r.first_chunk::<HEADER_BYTES>())
        {
            let header = Header::from_word(u64::from_le_bytes(*word)).map_err(|_| {
                let readable = format!("its events before step {} are readable", self.step);
                Error::damaged(&self.frames.path(), "a record is damaged", readable)
            })?;
            let len = header.len as usize;
            if piece.len + len <= SLOT_BYTES {
                if piece.len + len > rest.len() {
                    break;
                }
                piece.len += len;
            } else if piece.len == 0 {
                // Larger than a slot: the only kind of record that is cut.
                piece.len = SLOT_BYTES;
                piece.inside = len - SLOT_BYTES;
            } else {
                break;
            }
            piece.records += 1;
        }
        // The log ends inside a large record: guests must not see its beginning either, but they
        // have; they stop where it ends.
        piece.len = piece.len.min(rest.len());
        Ok((piece.len > 0).then_some(piece))
    }

    fn bytes(&self, piece: &Piece) -> &[u8] {
        self.buf.get(self.pos..self.pos + piece.len).unwrap_or_default()
    }

    fn consume(&mut self, piece: &Piece) {
        self.pos += piece.len;
        self.at += piece.len as u64;
        self.inside = piece.inside;
        self.step += piece.records;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::chunk::{Encoder, Place};
    use crate::log::writer::Writer;
    use crate::redact::Redacted;
    use log_format::record::Kind;

    fn record(len: usize, fill: u8) -> Vec<u8> {
        let kind = Kind::ThreadStart;
        let header = Header { kind, flags: 0, thread: 0, len: len as u32 };
        let mut bytes = header.to_word().to_le_bytes().to_vec();
        bytes.resize(len, fill);
        bytes
    }

    #[test]
    fn pieces_end_between_records_unless_one_is_larger_than_a_slot() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("procs")).unwrap();
        let lengths = [16, SLOT_BYTES - 8, 64, 3 * SLOT_BYTES + 24, 8, SLOT_BYTES, 4096, 40];
        let log: Vec<u8> =
            lengths.iter().enumerate().flat_map(|(i, len)| record(*len, i as u8)).collect();
        let mut writer = Writer::new(dir.path(), 5);
        let mut encoder = Encoder::new(1).unwrap();
        for (seq, raw) in log.chunks(SLOT_BYTES).enumerate() {
            let place = Place { key: 5, seq: seq as u32, first_record: 0, first_step: 0 };
            writer.append(&mut encoder, place, Redacted::of_test(raw), 1 << 30).unwrap();
        }
        // The rest of a record that was cut by a kill.
        let place = Place { key: 5, seq: writer.frames, first_record: 0, first_step: 0 };
        let cut = &record(80, 9)[..40];
        writer.append(&mut encoder, place, Redacted::of_test(cut), 1 << 30).unwrap();
        let mut pieces = Pieces::open(dir.path(), 5, false).unwrap();
        let (mut back, mut lens) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.next().unwrap() {
            back.extend_from_slice(pieces.bytes(&piece));
            lens.push((piece.len, piece.first_step));
            pieces.consume(&piece);
        }
        assert!(back == log);
        let s = SLOT_BYTES;
        let expected =
            [(16, 0), (s - 8, 1), (64, 2), (s, 3), (s, 4), (s, 4), (32, 4), (s, 5), (4136, 6)];
        assert_eq!(lens, expected);
    }
}
