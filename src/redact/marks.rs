//! Where a session's logs hold placeholders: a replay accepts other bytes there.
//!
//! ```text
//! redactions: | magic u64 | version u32 | 0 u32 | hash u64 | by key, in postcard's encoding |
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// Name of the file in a session's directory.
pub const FILE: &str = "redactions";
const MAGIC: u64 = u64::from_le_bytes(*b"RRREDACT");
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;

/// A stretch of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// Where it starts in the log, bytes.
    pub at: u64,
    /// Its length, bytes.
    pub len: u32,
}

impl Mark {
    fn end(&self) -> u64 {
        self.at + u64::from(self.len)
    }
}

/// All stretches of placeholders, by the logs' keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    logs: BTreeMap<u64, Vec<Mark>>,
}

impl Marks {
    /// Adds a stretch.
    pub fn add(&mut self, key: u64, at: u64, len: usize) {
        let Ok(len) = u32::try_from(len) else { return };
        let log = self.logs.entry(key).or_default();
        if let Some(last) = log.last_mut().filter(|last| last.end() == at)
            && let Some(sum) = last.len.checked_add(len)
        {
            last.len = sum;
            return;
        }
        log.push(Mark { at, len });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Puts them in order and joins those that touch.
    pub fn settle(&mut self) {
        for log in self.logs.values_mut() {
            log.sort_unstable_by_key(|m| m.at);
            let mut settled: Vec<Mark> = Vec::with_capacity(log.len());
            for mark in log.drain(..) {
                match settled.last_mut().filter(|last| last.end() >= mark.at) {
                    Some(last) => {
                        let end = last.end().max(mark.end());
                        last.len = u32::try_from(end - last.at).unwrap_or(u32::MAX);
                    }
                    None => settled.push(mark),
                }
            }
            *log = settled;
        }
    }

    /// The stretches that touch `len` bytes of a log from `start` on, cut to these and counted
    /// from their start. Must be settled.
    pub fn within(&self, key: u64, start: u64, len: usize) -> impl Iterator<Item = (u32, u32)> {
        let log = self.logs.get(&key).map_or(&[][..], Vec::as_slice);
        let end = start + len as u64;
        let first = log.partition_point(|m| m.end() <= start);
        log[first..].iter().take_while(move |m| m.at < end).map(move |m| {
            let (from, to) = (m.at.max(start), m.end().min(end));
            ((from - start) as u32, (to - from) as u32)
        })
    }

    /// Writes the file in a session's directory, if there are any.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        if self.is_empty() {
            return Ok(());
        }
        let failed = || Error::file("write", &path);
        let body =
            postcard::to_stdvec(&self.logs).map_err(|e| failed()(std::io::Error::other(e)))?;
        let mut file =
            tempfile::Builder::new().prefix(".redactions").tempfile_in(dir).map_err(failed())?;
        let words = [MAGIC, VERSION.into(), xxh3_64(&body)];
        let header: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        file.write_all(&header).and_then(|()| file.write_all(&body)).map_err(failed())?;
        file.persist(&path).map_err(|e| failed()(e.error))?;
        Ok(())
    }

    /// Reads the file in a session's directory; none without one.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::SessionNewer`] or the system's.
    pub fn read(dir: &Path) -> Result<Marks> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Marks::default()),
            Err(e) => return Err(Error::file("read", &path)(e)),
        };
        let damaged = |what: &str| Error::damaged(&path, what, "the logs are readable");
        let word = |at: usize| {
            bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
        };
        if word(0) != MAGIC {
            return Err(damaged("it is no list of redactions"));
        }
        if word(8) > u64::from(VERSION) {
            let (found, known) = (word(8) as u32, VERSION);
            return Err(Error::SessionNewer { path, found, known });
        }
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if word(16) != xxh3_64(body) {
            return Err(damaged("its checksum is wrong"));
        }
        let logs = postcard::from_bytes(body).map_err(|e| damaged(&e.to_string()))?;
        let mut marks = Marks { logs };
        marks.settle();
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_joined_stored_and_cut() {
        let mut marks = Marks::default();
        for (at, len) in [(50, 10), (10, 5), (15, 5), (55, 20), (100, 1)] {
            marks.add(7, at, len);
        }
        marks.settle();
        let dir = tempfile::tempdir().unwrap();
        marks.write(dir.path()).unwrap();
        assert_eq!(Marks::read(dir.path()).unwrap(), marks);
        let within = |start, len| marks.within(7, start, len).collect::<Vec<_>>();
        assert_eq!(within(0, 200), [(10, 10), (50, 25), (100, 1)]);
        assert_eq!(within(12, 40), [(0, 8), (38, 2)]);
        assert_eq!(within(20, 30), []);
        assert_eq!(marks.within(8, 0, 1000).count(), 0);
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks::default();
        marks.add(1, 2, 3);
        marks.write(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x55;
            fs::write(&path, &bad).unwrap();
            let read = Marks::read(dir.path());
            assert!(read.is_err() || (8..16).contains(&at), "byte {at}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Marks::read(dir.path()).unwrap().is_empty());
    }
}
