//! The index of a session's exchanges: everything but the bodies, which stay in the logs.
//!
//! ```text
//!  0: magic u64, version u32, reserved u32
//! 16: tables_at u64, tables_len u64, tables_hash u64
//! 40: details, one exchange after another, each in postcard's encoding
//! tables_at: the tables, in postcard's encoding: what they were made from, frames, connections,
//!            lookups, summaries with the place of each exchange's details
//! ```
//!
//! It stands in `streams.idx` of a session and is made when it is first needed. It holds what
//! the logs say and nothing else, so it is made anew whenever it does not fit to them.

mod build;
mod stored;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use log_format::arena::PLAIN_KEY;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::connection::{Connection, Lookup};
use super::traffic::Summary;
use crate::error::Result;
use crate::log::frames::FrameAt;
use crate::log::reader::FramePlace;
use crate::session::{Session, Status};
pub(super) use build::build;
pub(super) use stored::Stored;

/// Name of the index in a session's directory.
pub(super) const INDEX: &str = "streams.idx";

const MAGIC: u64 = u64::from_le_bytes(*b"RRRUNIDX");
/// Version of the index's own format; another one is made anew.
const VERSION: u32 = 4;
const HEADER_BYTES: usize = 40;
/// Largest tables that are read, bytes.
const TABLES_BYTES_MAX: u64 = 1 << 30;

/// Where details are.
pub(super) enum Details {
    Memory(Vec<u8>),
    File(File),
}

/// An index.
pub(super) struct Index {
    pub(super) tables: Tables,
    pub(super) details: Details,
    /// Ends of logs that are not written yet (a running session).
    pub(super) tails: HashMap<u64, (u64, Vec<u8>)>,
}

/// What an index says at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tables {
    /// The logs it was made from.
    made_from: Vec<MadeFrom>,
    pub(super) frames: Vec<(u64, Vec<Place>)>,
    #[serde(with = "as_json")]
    pub(super) connections: Vec<Connection>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) no_lookups: bool,
    pub(super) summaries: Vec<Summary>,
    /// Where each summary's details are: place and length, bytes.
    pub(super) places: Vec<(u64, u32)>,
    pub(super) damage: Vec<String>,
    /// When the last event happened.
    pub(super) last_ns: u64,
}

/// Connections stand as JSON in the tables: postcard can't read enums with a tag of their own.
mod as_json {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use super::Connection;

    pub(super) fn serialize<S: Serializer>(all: &[Connection], to: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(all).map_err(ser::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Connection>, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// The state of a process's log files.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MadeFrom {
    key: u64,
    /// Size and modification time of each file.
    files: Vec<(u64, i64)>,
}

/// A [`FramePlace`] as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    start: u64,
    len: u32,
    file: u32,
    offset: u64,
    seq: u32,
}

impl From<FramePlace> for Place {
    fn from(p: FramePlace) -> Place {
        let FramePlace { start, len, at: FrameAt { file, offset, seq } } = p;
        Place { start, len, file, offset, seq }
    }
}

impl From<&Place> for FramePlace {
    fn from(p: &Place) -> FramePlace {
        let Place { start, len, file, offset, seq } = *p;
        FramePlace { start, len, at: FrameAt { file, offset, seq } }
    }
}

/// The index of a session: the stored one if it fits, or else a new one.
///
/// # Errors
/// The system's.
pub(super) fn open(session: &Session) -> Result<Index> {
    let live = session.manifest().status == Status::Recording;
    let state = made_from(session);
    if !live && let Some(index) = read(&session.dir().join(INDEX), &state) {
        return Ok(index);
    }
    let mut index = build(session)?;
    index.tables.made_from = state;
    if !live && let Details::Memory(details) = &index.details {
        // One that can't be stored is made again the next time.
        let _ = write(session.dir(), &index.tables, details);
    }
    Ok(index)
}

fn made_from(session: &Session) -> Vec<MadeFrom> {
    use std::os::unix::fs::MetadataExt;
    let state = |key| {
        let files = (0..)
            .map_while(|n| fs::metadata(crate::log::frames::log_path(session.dir(), key, n)).ok())
            .map(|meta| (meta.size(), meta.mtime().wrapping_mul(1_000_000_000) + meta.mtime_nsec()))
            .collect();
        MadeFrom { key, files }
    };
    let keys = session.manifest().processes.iter().map(|p| p.key);
    keys.chain([PLAIN_KEY]).map(state).collect()
}

fn read(path: &Path, state: &[MadeFrom]) -> Option<Index> {
    let file = File::open(path).ok()?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let word = |at: usize| {
        header.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
    };
    let (at, len, hash) = (word(16), word(24), word(32));
    if word(0) != MAGIC || word(8) != u64::from(VERSION) || len > TABLES_BYTES_MAX {
        return None;
    }
    if at.checked_add(len)? != file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at).ok()?;
    if xxh3_64(&bytes) != hash {
        return None;
    }
    let tables: Tables = postcard::from_bytes(&bytes).ok()?;
    let fits = tables.made_from == state && tables.places.len() == tables.summaries.len();
    fits.then(|| Index { tables, details: Details::File(file), tails: HashMap::new() })
}

fn write(dir: &Path, tables: &Tables, details: &[u8]) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(tables).map_err(std::io::Error::other)?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let at = (HEADER_BYTES + details.len()) as u64;
    for word in [MAGIC, VERSION.into(), at, bytes.len() as u64, xxh3_64(&bytes)] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    let mut file = tempfile::Builder::new().prefix(".streams").tempfile_in(dir)?;
    file.write_all(&header)?;
    file.write_all(details)?;
    file.write_all(&bytes)?;
    file.persist(dir.join(INDEX)).map_err(|e| e.error)?;
    Ok(())
}

impl Index {
    /// The details of the exchange with this index.
    pub(super) fn details(&self, index: usize) -> Option<Stored> {
        let (at, len) = *self.tables.places.get(index)?;
        match &self.details {
            Details::Memory(bytes) => {
                let at = usize::try_from(at).ok()?;
                postcard::from_bytes(bytes.get(at..at.checked_add(len as usize)?)?).ok()
            }
            Details::File(file) => {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, at + HEADER_BYTES as u64).ok()?;
                postcard::from_bytes(&bytes).ok()
            }
        }
    }
}
