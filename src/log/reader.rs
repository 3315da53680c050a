//! Events of one process, read from its log files with bounded memory.

use std::path::Path;

use log_format::record::{HEADER_BYTES, Header, Malformed, Record};

use super::frames::{FrameAt, Frames};
use crate::error::{Error, Result};

/// One event, borrowed from the reader until the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its number in its process's order.
    pub step: u64,
    /// The record, checked: its call's buffers parse.
    pub record: Record<'a>,
    /// All bytes of the record, header first.
    pub bytes: &'a [u8],
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
        })
    }

    /// Continues at the last checkpoint at or before `step` (one per frame), so that
    /// [`Events::next_event`] reaches it after at most one frame's events.
    ///
    /// # Errors
    /// As [`Events::next_event`].
    pub fn seek(&mut self, step: u64) -> Result<()> {
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
        match self.fill() {
            Ok(Some(len)) => self.take(len).map(Some),
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
            let Some(frame) = self.frames.read(&mut self.buf)? else { return Ok(None) };
            if frame.first_record < frame.raw_len {
                let at = self.offset + before + u64::from(frame.first_record);
                self.mark = Some((at, frame.first_step));
                if !self.started {
                    self.step = frame.first_step;
                    self.started = true;
                }
            }
        }
    }

    fn take(&mut self, len: usize) -> Result<Event<'_>> {
        if let Some((at, step)) = self.mark.filter(|(at, _)| *at <= self.offset) {
            self.mark = None;
            if (at, step) != (self.offset, self.step) {
                self.done = true;
                let what = format!("a checkpoint of step {step} stands at step {}", self.step);
                return Err(Error::damaged(&self.frames.path(), what, self.readable()));
            }
        }
        let Events { frames, buf, pos, offset, step, done, .. } = self;
        let bytes = &buf[*pos..*pos + len];
        match Record::parse(bytes) {
            Ok(record) => {
                let event = Event { step: *step, record, bytes };
                *pos += len;
                *offset += len as u64;
                *step += 1;
                Ok(event)
            }
            Err(bad) => {
                *done = true;
                Err(malformed(frames, readable(*offset, *step), bad))
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
