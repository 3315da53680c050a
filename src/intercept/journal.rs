//! The log of plaintext while it is written: records wait here until the drain stores them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use log_format::arena::SLOT_BYTES;
use log_format::record::{HEADER_BYTES, Header, Kind, plain};
use serde::Serialize;

use crate::launch::setup::monotonic_ns;
use crate::log::map::{ArenaMap, ring};

/// Waiting bytes from which the drain is woken.
const WAKE_BYTES: usize = 128 * 1024;
/// Waiting bytes from which connections wait for the drain.
const FULL_BYTES: usize = 8 << 20;
/// Most data in one record.
pub(super) const DATA_BYTES_MAX: usize = 32 * 1024;
const _: () = assert!(DATA_BYTES_MAX + 64 <= SLOT_BYTES);

/// Records that wait to be stored.
pub(crate) struct Journal {
    waiting: Mutex<Waiting>,
    arena: Arc<ArenaMap>,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Step of the first record that waits.
    step: u64,
    wakers: Vec<Waker>,
}

/// Whole records, for one frame.
pub(crate) struct Frame {
    pub(crate) first_step: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Journal {
    /// A journal whose records the drain of `arena` stores.
    pub(super) fn new(arena: Arc<ArenaMap>) -> Journal {
        Journal { waiting: Mutex::default(), arena }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record of one of [`plain`]'s kinds; data has at most [`DATA_BYTES_MAX`].
    pub(super) fn add(&self, what: u8, connection: u32, data: &[u8]) {
        let len = HEADER_BYTES + plain::BODY_BYTES + data.len().next_multiple_of(8);
        let header = Header { kind: Kind::Plain, flags: what, thread: 0, len: len as u32 };
        let mut record = Vec::with_capacity(len);
        record.extend_from_slice(&header.to_word().to_le_bytes());
        record.extend_from_slice(&connection.to_le_bytes());
        record.extend_from_slice(&(data.len() as u32).to_le_bytes());
        record.extend_from_slice(&monotonic_ns().to_le_bytes());
        record.extend_from_slice(data);
        record.resize(len, 0);
        let mut waiting = self.waiting();
        let before = waiting.bytes;
        waiting.bytes += len;
        waiting.records.push_back(record);
        let wake = before < WAKE_BYTES && waiting.bytes >= WAKE_BYTES;
        drop(waiting);
        if wake {
            ring(&self.arena.header().doorbell);
        }
    }

    /// Adds a record whose data is JSON.
    pub(super) fn add_json(&self, what: u8, connection: u32, value: &impl Serialize) {
        // Texts and numbers always have a JSON form.
        let mut json = serde_json::to_vec(value).unwrap_or_default();
        json.truncate(DATA_BYTES_MAX);
        self.add(what, connection, &json);
    }

    /// Whether there is room for more data.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if waiting.bytes < FULL_BYTES {
            return Poll::Ready(());
        }
        waiting.wakers.push(context.waker().clone());
        Poll::Pending
    }

    /// Takes records for one frame, at most a slot's bytes; none if nothing waits.
    pub(crate) fn take(&self) -> Option<Frame> {
        let mut waiting = self.waiting();
        let mut frame = Frame { first_step: waiting.step, bytes: Vec::new() };
        while let Some(record) = waiting.records.front()
            && frame.bytes.len() + record.len() <= SLOT_BYTES
        {
            frame.bytes.extend_from_slice(record);
            waiting.bytes -= record.len();
            waiting.step += 1;
            waiting.records.pop_front();
        }
        if waiting.bytes < FULL_BYTES {
            waiting.wakers.drain(..).for_each(Waker::wake);
        }
        (!frame.bytes.is_empty()).then_some(frame)
    }
}
