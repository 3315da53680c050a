//! Reading a session's logs by position.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use super::body::Source;
use crate::error::{Error, Result};
use crate::log::frames::{Frames, log_path};
use crate::log::reader::FramePlace;

/// Frames kept in memory.
const FRAMES_KEPT: usize = 8;
/// Readers of frames that are kept, each where it has stopped.
const READERS_KEPT: usize = 4;

/// The logs of a session, whose frames' places are known.
pub(super) struct Logs {
    session: PathBuf,
    frames: HashMap<u64, Vec<FramePlace>>,
    /// Ends of logs that are not written yet: place in the log, and bytes.
    tails: HashMap<u64, (u64, Bytes)>,
    /// The frames read last, oldest first: process, place in its log, bytes.
    kept: Mutex<Vec<(u64, u64, Bytes)>>,
    /// Those that nobody reads with at present.
    readers: Mutex<Vec<Frames>>,
}

impl Logs {
    pub(super) fn new(
        session: PathBuf,
        frames: HashMap<u64, Vec<FramePlace>>,
        tails: HashMap<u64, (u64, Vec<u8>)>,
    ) -> Logs {
        let tails = tails.into_iter().map(|(key, (at, bytes))| (key, (at, bytes.into()))).collect();
        Logs { session, frames, tails, kept: Mutex::default(), readers: Mutex::default() }
    }

    /// Reads one frame.
    fn frame(&self, process: u64, place: &FramePlace) -> Result<Bytes> {
        let fits = |reader: &Frames| reader.key() == process && reader.position() == place.at;
        let known = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.iter().position(fits).map(|i| readers.swap_remove(i))
        };
        let mut reader = match known {
            Some(reader) => reader,
            None => {
                let mut reader = Frames::open(&self.session, process, true)?;
                reader.jump(place.at);
                reader
            }
        };
        let mut raw = Vec::with_capacity(place.len as usize);
        reader.read(&mut raw)?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() >= READERS_KEPT {
            readers.remove(0);
        }
        readers.push(reader);
        Ok(raw.into())
    }

    /// The bytes of the log from `offset` to the end of the frame that it stands in.
    fn at(&self, process: u64, offset: u64) -> Result<Bytes> {
        let inside = |start: u64, bytes: &Bytes| {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            (from < bytes.len()).then(|| bytes.slice(from..))
        };
        let tail = self.tails.get(&process).and_then(|(start, bytes)| inside(*start, bytes));
        if let Some(found) = tail {
            return Ok(found);
        }
        let places = self.frames.get(&process).map_or(&[][..], Vec::as_slice);
        let index = places.partition_point(|p| p.start <= offset).checked_sub(1);
        let place = index.and_then(|i| places.get(i));
        let place = place.filter(|p| offset < p.start + u64::from(p.len));
        let Some(place) = place else {
            let what = format!("no frame holds byte {offset}");
            let path = log_path(&self.session, process, 0);
            return Err(Error::damaged(&path, what, "what else stands there is readable"));
        };
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let known = kept.iter().find(|(key, at, _)| (*key, *at) == (process, place.start));
            if let Some(found) = known.and_then(|(_, at, bytes)| inside(*at, bytes)) {
                return Ok(found);
            }
        }
        let raw = self.frame(process, place)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= FRAMES_KEPT {
            kept.remove(0);
        }
        kept.push((process, place.start, raw.clone()));
        inside(place.start, &raw).ok_or_else(|| {
            let path = log_path(&self.session, process, place.at.file);
            Error::damaged(&path, "a frame is shorter than it was", "the rest is readable")
        })
    }
}

impl Source for Logs {
    fn read(&self, process: u64, offset: u64, len: usize, out: &mut BytesMut) -> Result<()> {
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let found = self.at(process, offset)?;
            let part = found.slice(..left.min(found.len()));
            out.extend_from_slice(&part);
            offset += part.len() as u64;
            left -= part.len();
        }
        Ok(())
    }
}
