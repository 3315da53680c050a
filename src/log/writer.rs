//! The log files of one process, written frame by frame.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::chunk::{Encoder, Place};
use super::frames::{Frames, log_path};
use crate::error::Result;

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
    /// # Errors
    /// Damage before the end, or the system's.
    pub fn resume(session: &Path, key: u64, mut seen: impl FnMut(&[u8])) -> Result<Writer> {
        let mut writer = Writer::new(session, key);
        let mut frames = Frames::open(session, key, true)?;
        let mut raw = Vec::new();
        loop {
            raw.clear();
            let Some(header) = frames.read(&mut raw)? else { break };
            seen(&raw);
            writer.bytes += u64::from(header.raw_len);
            let at = frames.position();
            if at.file != writer.number {
                writer.stored_bytes += writer.file_bytes;
            }
            (writer.number, writer.file_bytes, writer.frames) = (at.file, at.offset, at.seq);
        }
        writer.stored_bytes += writer.file_bytes;
        let path = log_path(session, key, writer.number);
        let cut =
            File::options().write(true).open(&path).and_then(|f| f.set_len(writer.file_bytes));
        match cut {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(crate::error::Error::file("shorten", &path)(e));
            }
            _ => {}
        }
        // A file that was begun and holds no whole frame.
        let _ = fs::remove_file(log_path(session, key, writer.number + 1));
        Ok(writer)
    }

    /// Appends one slot's bytes, in a new file if the present one has reached `rotate_bytes`.
    ///
    /// # Errors
    /// The system's; what was written of the frame is cut off again.
    pub fn append(
        &mut self,
        encoder: &mut Encoder,
        place: Place,
        raw: &[u8],
        rotate_bytes: u64,
    ) -> std::io::Result<()> {
        let frame = encoder.encode(place, raw);
        if self.file_bytes > 0 && self.file_bytes + frame.len() as u64 > rotate_bytes {
            self.number += 1;
            self.file_bytes = 0;
        }
        let path = log_path(&self.session, self.key, self.number);
        let mut file = File::options().create(true).append(true).open(&path)?;
        if let Err(e) = file.write_all(frame) {
            let _ = file.set_len(self.file_bytes);
            return Err(e);
        }
        self.file_bytes += frame.len() as u64;
        self.stored_bytes += frame.len() as u64;
        self.bytes += raw.len() as u64;
        self.frames += 1;
        Ok(())
    }
}
