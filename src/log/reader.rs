//! Events of one process, read from its log files with bounded memory.

use std::path::Path;
use std::sync::{Arc, Mutex};

use log_format::record::{HEADER_BYTES, Header, Kind, Malformed, Record};

use super::ahead::Ahead;
use super::chunk;
use super::frames::{FrameAt, Frames};
use super::map::ArenaMap;
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::redact::Redactor;

/// One event, borrowed from the reader until the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its number in its process's order.
    pub step: u64,
    /// The record, checked: its call's buffers parse.
    pub record: Record<'a>,
    /// All bytes of the record, header first.
    pub bytes: &'a [u8],
    /// Where they start in the process's log.
    pub offset: u64,
}

impl Event<'_> {
    /// When it had happened by CLOCK_MONOTONIC, nanoseconds, where that was noted: see
    /// [`log_format::record::extra::TIME`].
    pub fn time_ns(&self) -> Option<u64> {
        match self.record.header.kind {
            Kind::Call | Kind::Start => self.record.call().ok()?.time_ns(),
            _ => None,
        }
    }
}

/// Where a part of a process's log stands in its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Where it starts in the log, bytes.
    pub start: u64,
    /// Bytes of the log in it.
    pub len: u32,
    /// The frame.
    pub at: FrameAt,
}

/// Reads the events of one process in order.
///
/// ```no_run
/// # fn f(session: &rr_run::session::Session) -> Result<(), rr_run::error::Error> {
/// for process in &session.manifest().processes {
///     let mut events = session.events(process)?;
///     while let Some(event) = events.next_event()? {
///         println!("{} {} {:?}", process.id, event.step, event.record.header.kind);
///     }
/// }
/// # Ok(()) }
/// ```
///
/// Memory: one slot's bytes beyond the largest record.
pub struct Events {
    frames: Frames,
    /// Bytes of the stream not yet consumed, from `pos`.
    buf: Vec<u8>,
    pos: usize,
    /// Offset in the stream of `buf[pos]`.
    offset: u64,
    step: u64,
    /// Checkpoint of the newest frame: a record with this step starts at this stream offset.
    mark: Option<(u64, u64)>,
    /// Bytes the whole stream must have, if that is known.
    expected_bytes: Option<u64>,
    started: bool,
    done: bool,
    /// Frames read so far.
    places: Vec<FramePlace>,
    /// What a running recording has not written yet.
    tail: Option<Tail>,
    /// Reads the frames in place of `frames`, which says where they are.
    ahead: Option<Ahead>,
}

impl Events {
    /// The events of the process with `key`, in the session at `session`.
    ///
    /// With `ragged_end` the log may end anywhere (a session whose host still writes). With
    /// `expected_bytes` a log that ends earlier is damaged.
    ///
    /// # Errors
    /// Lack of memory.
    pub fn open(
        session: &Path,
        key: u64,
        ragged_end: bool,
        expected_bytes: Option<u64>,
    ) -> Result<Events> {
        Ok(Events {
            frames: Frames::open(session, key, ragged_end)?,
            buf: Vec::new(),
            pos: 0,
            offset: 0,
            step: 0,
            mark: None,
            expected_bytes,
            started: false,
            done: false,
            places: Vec::new(),
            tail: None,
            ahead: None,
        })
    }

    /// Has frames read and decompressed by threads of their own until the next
    /// [`Events::seek`], for a pass over a long log that is finished.
    ///
    /// # Errors
    /// No thread or memory for it.
    pub fn read_ahead(&mut self) -> Result<()> {
        if self.tail.is_none() && self.ahead.is_none() {
            self.ahead = Some(Ahead::begin(&self.frames)?);
        }
        Ok(())
    }

    /// Goes on behind the log files with what stands in the arena of the running recording.
    pub fn with_arena(mut self, arena: Arc<ArenaMap>, redactor: Arc<Mutex<Redactor>>) -> Events {
        self.tail = Some(Tail::new(arena, redactor));
        self
    }

    /// Continues at the last checkpoint at or before `step` (one per frame), so that
    /// [`Events::next_event`] reaches it after at most one frame's events.
    ///
    /// # Errors
    /// As [`Events::next_event`].
    pub fn seek(&mut self, step: u64) -> Result<()> {
        self.ahead = None;
        self.frames.jump(FrameAt::default());
        let mut best = None;
        let mut offset = 0u64;
        loop {
            let at = self.frames.position();
            let Some(header) = self.frames.skip()? else { break };
            if header.first_record < header.raw_len {
                if header.first_step > step && best.is_some() {
                    break;
                }
                best = Some((at, offset, header));
            }
            offset += u64::from(header.raw_len);
        }
        self.buf.clear();
        (self.pos, self.offset, self.mark, self.done) = (0, 0, None, false);
        self.started = false;
        let Some((at, offset, header)) = best else {
            self.frames.jump(FrameAt::default());
            return Ok(());
        };
        self.frames.jump(at);
        self.frames.read(&mut self.buf)?;
        self.pos = header.first_record as usize;
        self.offset = offset + u64::from(header.first_record);
        self.step = header.first_step;
        self.started = true;
        Ok(())
    }

    /// The next event; none at the end of the log.
    ///
    /// A log that was cut inside a record ends before it ([`Events::cut_bytes`]).
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::SessionNewer`], which name what could be read, or the
    /// system's. After an error there are no more events.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        if self.done {
            return Ok(None);
        }
        match self.ready()? {
            Some(len) => self.take(len, true).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Events::next_event`], but the event stays the next one until [`Events::pass`].
    ///
    /// # Errors
    /// As [`Events::next_event`].
    pub fn peek(&mut self) -> Result<Option<Event<'_>>> {
        if self.done {
            return Ok(None);
        }
        match self.ready()? {
            Some(len) => self.take(len, false).map(Some),
            None => Ok(None),
        }
    }

    /// Passes over the event that [`Events::peek`] gave.
    pub fn pass(&mut self) {
        let word = self.buf.get(self.pos..).and_then(|rest| rest.first_chunk::<HEADER_BYTES>());
        if let Some(Ok(header)) = word.map(|w| Header::from_word(u64::from_le_bytes(*w))) {
            self.advance(header.len as usize);
        }
    }

    fn advance(&mut self, len: usize) {
        self.pos = (self.pos + len).min(self.buf.len());
        self.offset += len as u64;
        self.step += 1;
    }

    /// Where the frames read so far stand; the list begins anew.
    pub fn take_places(&mut self) -> Vec<FramePlace> {
        std::mem::take(&mut self.places)
    }

    /// Place in the log, and bytes, of what stood in the arena only.
    pub fn take_tail(&mut self) -> Option<(u64, Vec<u8>)> {
        self.tail.as_mut().and_then(Tail::take)
    }

    /// Gives back memory; there are no more events.
    pub fn close(&mut self) {
        self.done = true;
        (self.buf, self.pos) = (Vec::new(), 0);
        self.ahead = None;
        self.frames.jump(FrameAt::default());
    }

    /// Makes the next event whole; its length, or none at the end of the log.
    fn ready(&mut self) -> Result<Option<usize>> {
        match self.fill() {
            Ok(Some(len)) => Ok(Some(len)),
            Ok(None) => {
                self.done = true;
                self.check_end()?;
                Ok(None)
            }
            Err(e) => {
                self.done = true;
                Err(self.explain(e))
            }
        }
    }

    /// Steps given so far end before this one.
    pub fn next_step(&self) -> u64 {
        self.step
    }

    /// Bytes of the stream before the next event.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of an incomplete record at the end of the log: the process was killed in it.
    pub fn cut_bytes(&self) -> u64 {
        if self.done { (self.buf.len() - self.pos) as u64 } else { 0 }
    }

    /// Makes the next record whole in `buf`; its length, or none at the end of the log.
    fn fill(&mut self) -> Result<Option<usize>> {
        loop {
            let rest = self.buf.get(self.pos..).unwrap_or_default();
            if let Some(word) = rest.first_chunk::<HEADER_BYTES>() {
                let header = Header::from_word(u64::from_le_bytes(*word))
                    .map_err(|bad| malformed(&self.frames, self.readable(), bad))?;
                if rest.len() >= header.len as usize {
                    return Ok(Some(header.len as usize));
                }
            }
            self.buf.drain(..self.pos);
            self.pos = 0;
            let before = self.buf.len() as u64;
            let start = self.offset + before;
            let Some((first_record, first_step)) = self.more(start)? else { return Ok(None) };
            if u64::from(first_record) < self.buf.len() as u64 - before {
                self.mark = Some((start + u64::from(first_record), first_step));
                if !self.started {
                    self.step = first_step;
                    self.started = true;
                }
            }
        }
    }

    /// Appends the next frame's bytes, or the next slot's; where the first record of it starts,
    /// and its step.
    fn more(&mut self, start: u64) -> Result<Option<(u32, u64)>> {
        let in_arena = self.tail.as_ref().is_some_and(Tail::has_begun);
        if !in_arena && let Some(frame) = self.frame()? {
            let next = self.frames.position();
            let offset = next.offset - chunk::HEADER_BYTES as u64 - u64::from(frame.stored_len);
            let at = FrameAt { file: next.file, offset, seq: frame.seq };
            self.places.push(FramePlace { start, len: frame.raw_len, at });
            return Ok(Some((frame.first_record, frame.first_step)));
        }
        let Some(tail) = &mut self.tail else { return Ok(None) };
        let seq = self.frames.position().seq;
        if let Some(found) = tail.read(self.frames.key(), seq, start, &mut self.buf) {
            return Ok(Some(found));
        }
        if in_arena {
            return Ok(None);
        }
        // The slot may have been written to the file while it was looked for.
        let Some(frame) = self.frames.read(&mut self.buf)? else { return Ok(None) };
        Ok(Some((frame.first_record, frame.first_step)))
    }

    /// Appends the next frame's bytes.
    fn frame(&mut self) -> Result<Option<chunk::Header>> {
        let Some(ahead) = &mut self.ahead else { return self.frames.read(&mut self.buf) };
        let Some((header, next)) = ahead.read(&mut self.buf)? else { return Ok(None) };
        self.frames.jump(next);
        Ok(Some(header))
    }

    fn take(&mut self, len: usize, pass: bool) -> Result<Event<'_>> {
        if let Some((at, step)) = self.mark.filter(|(at, _)| *at <= self.offset) {
            self.mark = None;
            if (at, step) != (self.offset, self.step) {
                self.done = true;
                let what = format!("a checkpoint of step {step} stands at step {}", self.step);
                return Err(Error::damaged(&self.frames.path(), what, self.readable()));
            }
        }
        let (start, offset, step) = (self.pos, self.offset, self.step);
        if pass {
            self.advance(len);
        }
        let Events { frames, buf, done, .. } = self;
        let bytes = &buf[start..start + len];
        match Record::parse(bytes) {
            Ok(record) => Ok(Event { step, record, bytes, offset }),
            Err(bad) => {
                *done = true;
                Err(malformed(frames, readable(offset, step), bad))
            }
        }
    }

    fn check_end(&self) -> Result<()> {
        let have = self.offset + (self.buf.len() - self.pos) as u64;
        match self.expected_bytes {
            Some(expected) if have < expected => {
                let what = format!("the log ends after {have} of {expected} bytes");
                Err(Error::damaged(&self.frames.path(), what, self.readable()))
            }
            _ => Ok(()),
        }
    }

    /// Replaces what an error says is readable by steps, which users know.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Damaged { path, what, .. } => {
                Error::Damaged { path, what, readable: self.readable() }
            }
            other => other,
        }
    }

    fn readable(&self) -> String {
        readable(self.offset, self.step)
    }
}

fn malformed(frames: &Frames, readable: String, bad: Malformed) -> Error {
    let what = match bad {
        Malformed::Kind(kind) => format!("a record of unknown kind {kind}"),
        Malformed::Length(len) => format!("a record of impossible length {len}"),
        Malformed::Incomplete | Malformed::Body => "a record is damaged".to_owned(),
    };
    Error::damaged(&frames.path(), what, readable)
}

fn readable(offset: u64, step: u64) -> String {
    match offset {
        0 => "nothing of this process is readable".to_owned(),
        _ => format!("its events before step {step} are readable"),
    }
}
