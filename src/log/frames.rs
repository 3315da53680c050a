//! The frames of one process's log files, in order.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::chunk::{BadFrame, Decoder, HEADER_BYTES, Header};
use crate::error::{Error, Result};

/// Path of the `number`-th log file of the process with this key, in a session's directory.
pub fn log_path(session: &Path, key: u64, number: u32) -> PathBuf {
    session.join(format!("procs/{key:016x}.{number}.log"))
}

/// Where a frame stands: file number and offset, for [`Frames::jump`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameAt {
    /// Number of the file.
    pub file: u32,
    /// Offset of the frame in it, bytes.
    pub offset: u64,
    /// `seq` of the frame.
    pub seq: u32,
}

/// Reads the frames of one process, one at a time.
pub struct Frames {
    session: PathBuf,
    key: u64,
    file: Option<BufReader<File>>,
    at: FrameAt,
    ragged_end: bool,
    decoder: Decoder,
    payload: Vec<u8>,
}

impl Frames {
    /// The frames of the process with this key. With `ragged_end`, a file that ends inside a
    /// frame is a stream's end (its host is still writing, or was killed), else an error.
    ///
    /// # Errors
    /// Lack of memory. A process that logged nothing has no file, and no frames.
    pub fn open(session: &Path, key: u64, ragged_end: bool) -> Result<Frames> {
        Ok(Frames {
            session: session.to_owned(),
            key,
            file: None,
            at: FrameAt::default(),
            ragged_end,
            decoder: Decoder::new().map_err(Error::io("set up decompression"))?,
            payload: Vec::new(),
        })
    }

    /// Another reader of them, from the same place on.
    ///
    /// # Errors
    /// Lack of memory.
    pub(super) fn again(&self) -> Result<Frames> {
        let mut again = Frames::open(&self.session, self.key, self.ragged_end)?;
        again.jump(self.at);
        Ok(again)
    }

    /// Key of the process.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Where the next frame is expected.
    pub fn position(&self) -> FrameAt {
        self.at
    }

    /// The file that is being read.
    pub fn path(&self) -> PathBuf {
        log_path(&self.session, self.key, self.at.file)
    }

    /// Continues at a place that [`Frames::position`] gave earlier.
    pub fn jump(&mut self, to: FrameAt) {
        self.at = to;
        self.file = None;
    }

    /// Appends the next frame's raw bytes to `out`; none at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::SessionNewer`] or the system's.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<Option<Header>> {
        let Some(header) = self.header()? else { return Ok(None) };
        self.payload.resize(header.stored_len as usize, 0);
        let Some(file) = &mut self.file else { return Ok(None) };
        match file.read_exact(&mut self.payload) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return self.truncated(),
            Err(e) => return Err(Error::file("read", &self.path())(e)),
        }
        self.decoder.decode(&header, &self.payload, out).map_err(|bad| self.damaged(&bad))?;
        self.advance(&header);
        Ok(Some(header))
    }

    /// Passes over the next frame without looking at its payload; none at the end.
    ///
    /// # Errors
    /// As [`Frames::read`].
    pub fn skip(&mut self) -> Result<Option<Header>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let path = self.path();
        let Some(file) = &mut self.file else { return Ok(None) };
        let left = file.get_ref().metadata().map_err(Error::file("read", &path))?.len();
        if left < self.at.offset + (HEADER_BYTES as u64) + u64::from(header.stored_len) {
            return self.truncated();
        }
        file.seek_relative(header.stored_len.into()).map_err(Error::file("read", &path))?;
        self.advance(&header);
        Ok(Some(header))
    }

    fn advance(&mut self, header: &Header) {
        self.at.offset += HEADER_BYTES as u64 + u64::from(header.stored_len);
        self.at.seq += 1;
    }

    /// The next frame's header, over the ends of files.
    fn header(&mut self) -> Result<Option<Header>> {
        loop {
            if self.file.is_none() && !self.open_file()? {
                return Ok(None);
            }
            let path = self.path();
            let Some(file) = &mut self.file else { return Ok(None) };
            let mut bytes = [0; HEADER_BYTES];
            let got = read_up_to(file, &mut bytes).map_err(Error::file("read", &path))?;
            if got == 0 {
                if !log_path(&self.session, self.key, self.at.file + 1).exists() {
                    self.file = None;
                    return Ok(None);
                }
                self.at = FrameAt { file: self.at.file + 1, offset: 0, seq: self.at.seq };
                self.file = None;
                continue;
            }
            if got < HEADER_BYTES {
                return self.truncated();
            }
            let header = Header::from_bytes(&bytes).map_err(|bad| self.damaged(&bad))?;
            if header.key != self.key || header.seq != self.at.seq {
                return Err(Error::damaged(
                    &path,
                    format!("frame {} is missing", self.at.seq),
                    self.readable(),
                ));
            }
            return Ok(Some(header));
        }
    }

    fn open_file(&mut self) -> Result<bool> {
        use std::io::Seek;
        let path = self.path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::file("read", &path)(e)),
        };
        if self.at.offset > 0 {
            file.seek(std::io::SeekFrom::Start(self.at.offset))
                .map_err(Error::file("read", &path))?;
        }
        self.file = Some(BufReader::with_capacity(64 * 1024, file));
        Ok(true)
    }

    fn truncated<T>(&mut self) -> Result<Option<T>> {
        // Only a stream's last file may end inside a frame.
        let last = !log_path(&self.session, self.key, self.at.file + 1).exists();
        if self.ragged_end && last {
            self.file = None;
            return Ok(None);
        }
        Err(self.damaged(&BadFrame::Truncated))
    }

    fn damaged(&self, bad: &BadFrame) -> Error {
        match bad {
            BadFrame::Version(found) if *found > log_format::VERSION => {
                Error::SessionNewer { path: self.path(), found: *found, known: log_format::VERSION }
            }
            _ => Error::damaged(&self.path(), bad.to_string(), self.readable()),
        }
    }

    fn readable(&self) -> String {
        match self.at.seq {
            0 => "nothing of this process is readable".to_owned(),
            n => format!("its first {n} frames are readable"),
        }
    }
}

fn read_up_to(file: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match file.read(&mut into[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
