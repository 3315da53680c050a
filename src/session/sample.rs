//! Sessions made by hand, for tests.

use std::path::Path;

use log_format::arena::{ROOT_KEY, child_key};
use log_format::record::{Dir, Header, Kind, buf_words, call_words, extra};

use super::manifest::{Counts, Manifest, Process, Status};
use super::{Session, Store, write_manifest};
use crate::log::chunk::{Encoder, Place};
use crate::log::writer::Writer;
use crate::redact::{Redacted, Redactor};

/// The records of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// Each record's bytes.
    pub(crate) records: Vec<Vec<u8>>,
}

/// One record: header, and words of a body.
pub(crate) fn record(kind: Kind, flags: u8, thread: u16, body: &[u8]) -> Vec<u8> {
    let len = (8 + body.len()).next_multiple_of(8);
    let header = Header { kind, flags, thread, len: len as u32 };
    let mut out = header.to_word().to_le_bytes().to_vec();
    out.extend_from_slice(body);
    out.resize(len, 0);
    out
}

/// A call: number, arguments, result, buffers (argument, direction, content).
pub(crate) fn call(nr: u16, args: &[u64], ret: i64, bufs: &[(u8, Dir, &[u8])]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    let word = |w: u64, body: &mut Vec<u8>| body.extend_from_slice(&w.to_le_bytes());
    for w in call_words(nr, args.len() as u8, bufs.len() as u16, ret) {
        word(w, &mut body);
    }
    for w in args {
        word(*w, &mut body);
    }
    for (arg, dir, bytes) in bufs {
        for w in buf_words(bytes.len() as u32, *arg, *dir, 0, 0x7000) {
            word(w, &mut body);
        }
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    record(Kind::Call, 0, 0, &body)
}

impl Log {
    pub(crate) fn push(&mut self, record: Vec<u8>) -> &mut Log {
        self.records.push(record);
        self
    }

    /// A call without buffers.
    pub(crate) fn call(&mut self, nr: u16, args: &[u64], ret: i64) -> &mut Log {
        self.push(call(nr, args, ret, &[]))
    }

    /// A reading of the clock.
    pub(crate) fn clock(&mut self, ns: u64) -> &mut Log {
        self.push(record(Kind::Clock, 1, 0, &ns.to_le_bytes()))
    }

    /// A write to stdout, with its number in the session.
    pub(crate) fn stdout(&mut self, number: u64, text: &[u8]) -> &mut Log {
        let output = [number.to_le_bytes(), 1u64.to_le_bytes()].concat();
        let bufs = [(1, Dir::In, text), (extra::OUTPUT, Dir::Extra, &output[..])];
        self.push(call(1, &[1, 0x7000, text.len() as u64], text.len() as i64, &bufs))
    }

    /// The process's end.
    pub(crate) fn exit(&mut self, status: u64) -> &mut Log {
        self.push(record(Kind::Exit, 0, 0, &status.to_le_bytes()))
    }
}

/// Writes a session with a root and its children, each with a pid.
pub(crate) fn session(store: &Store, name: &str, logs: &[(i32, Log)]) -> Session {
    let dir = store.create(Some(name), "sample".as_ref()).unwrap();
    let mut manifest = Manifest {
        format: log_format::VERSION,
        name: name.into(),
        status: Status::Complete,
        exit_code: Some(0),
        ..Manifest::default()
    };
    for (i, (pid, log)) in logs.iter().enumerate() {
        let ordinal = i as u32;
        let (key, id) = match i {
            0 => (ROOT_KEY, "1".to_owned()),
            _ => (child_key(ROOT_KEY, ordinal), format!("1.{i}")),
        };
        let (bytes, frames) = write(&dir, key, log);
        manifest.processes.push(Process {
            id,
            key,
            parent_key: if i == 0 { 0 } else { ROOT_KEY },
            ordinal,
            pid: *pid,
            complete: true,
            events: log.records.len() as u64,
            bytes,
            stored_bytes: bytes,
            frames,
            ..Process::default()
        });
    }
    let sum = |field: fn(&Process) -> u64| manifest.processes.iter().map(field).sum();
    let (events, bytes) = (sum(|p| p.events), sum(|p| p.bytes));
    manifest.counts = Counts { events, bytes, ..Counts::default() };
    write_manifest(&dir, &manifest, &mut Redactor::off()).unwrap();
    Session::open(&dir).unwrap()
}

/// Writes a log in frames of a few records.
fn write(dir: &Path, key: u64, log: &Log) -> (u64, u32) {
    let mut writer = Writer::new(dir, key);
    let mut encoder = Encoder::new(1).unwrap();
    for (i, records) in log.records.chunks(3).enumerate() {
        let place = Place { key, seq: i as u32, first_record: 0, first_step: i as u64 * 3 };
        let raw = records.concat();
        writer.append(&mut encoder, place, Redacted::of_test(&raw), u64::MAX).unwrap();
    }
    (writer.bytes, writer.frames)
}
