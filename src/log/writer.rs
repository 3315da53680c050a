//! The log files of one process, written frame by frame.

use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};

use super::chunk::{Encoder, Frame, Place};
use super::frames::{Frames, log_path};
use crate::error::{Error, Result};
use crate::redact::Redacted;

/// Appends frames to the log files of one process.
///
/// A frame is written by one write call at the end of the file, and a file is closed in between:
/// thousands of processes need no descriptors, and a killed host loses no whole frame.
#[derive(Debug)]
pub struct Writer {
    session: PathBuf,
    key: u64,
    number: u32,
    file_bytes: u64,
    /// Frames written: the `seq` that is next.
    pub frames: u32,
    /// Bytes of the log.
    pub bytes: u64,
    /// Bytes of its files.
    pub stored_bytes: u64,
}

impl Writer {
    /// A writer for a process that has no file yet.
    pub fn new(session: &Path, key: u64) -> Writer {
        let session = session.to_owned();
        Writer { session, key, number: 0, file_bytes: 0, frames: 0, bytes: 0, stored_bytes: 0 }
    }

    /// A writer that goes on after the last whole frame that a killed host has written, and cuts
    /// off what follows it. `seen` gets each frame's raw bytes.
    ///
    /// Beside the writer: damage before the end, or the system's error. The writer then knows the
    /// part before it.
    pub fn resume(session: &Path, key: u64, mut seen: impl FnMut(&[u8])) -> (Writer, Result<()>) {
        let mut writer = Writer::new(session, key);
        let done = writer.pass_written(&mut seen).and_then(|()| writer.cut_tail());
        (writer, done)
    }

    fn pass_written(&mut self, seen: &mut impl FnMut(&[u8])) -> Result<()> {
        let mut frames = Frames::open(&self.session, self.key, true)?;
        let mut raw = Vec::new();
        while frames.read(&mut raw)?.is_some() {
            seen(&raw);
            let at = frames.position();
            let before = if at.file == self.number { self.file_bytes } else { 0 };
            self.bytes += raw.len() as u64;
            self.stored_bytes += at.offset - before;
            (self.number, self.file_bytes, self.frames) = (at.file, at.offset, at.seq);
            raw.clear();
        }
        Ok(())
    }

    /// Cuts off a frame that was begun.
    fn cut_tail(&self) -> Result<()> {
        // It may be the first of a new file.
        let _ = fs::remove_file(log_path(&self.session, self.key, self.number + 1));
        let path = log_path(&self.session, self.key, self.number);
        let file = match File::options().write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::file("shorten", &path)(e)),
        };
        file.set_len(self.file_bytes).map_err(Error::file("shorten", &path))
    }

    /// Appends one slot's bytes, in a new file if the present one has reached `rotate_bytes`.
    ///
    /// # Errors
    /// The system's; what was written of the frame is cut off again.
    pub fn append(
        &mut self,
        encoder: &mut Encoder,
        place: Place,
        redacted: Redacted<'_>,
        rotate_bytes: u64,
    ) -> std::io::Result<()> {
        let raw = redacted.bytes();
        let frame = encoder.encode(place, raw);
        if self.file_bytes > 0 && self.file_bytes + frame.bytes() > rotate_bytes {
            self.number += 1;
            self.file_bytes = 0;
        }
        let path = log_path(&self.session, self.key, self.number);
        let mut file = File::options().create(true).append(true).open(&path)?;
        if let Err(e) = write_frame(&mut file, frame) {
            let _ = file.set_len(self.file_bytes);
            return Err(e);
        }
        self.file_bytes += frame.bytes();
        self.stored_bytes += frame.bytes();
        self.bytes += raw.len() as u64;
        self.frames += 1;
        Ok(())
    }
}

/// By one call, unless the system takes it in parts.
fn write_frame(file: &mut File, frame: Frame<'_>) -> std::io::Result<()> {
    let parts = [IoSlice::new(&frame.header), IoSlice::new(frame.payload)];
    let done = file.write_vectored(&parts)?;
    file.write_all(frame.header.get(done..).unwrap_or_default())?;
    file.write_all(frame.payload.get(done.saturating_sub(frame.header.len())..).unwrap_or_default())
}
