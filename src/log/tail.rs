//! The end of a process's log while it is being recorded: slots that are not written yet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use log_format::arena::slot_state;

use super::map::ArenaMap;
use crate::redact::{Redactor, Unwritten};

/// Reads the slots of one process behind its log files.
pub(super) struct Tail {
    arena: Arc<ArenaMap>,
    /// Takes secrets out.
    redactor: Arc<Mutex<Redactor>>,
    unwritten: Unwritten,
    /// Slots read: the next one's position in the process's stream.
    next: Option<u32>,
    /// Whether the slot that is being filled was read: nothing follows.
    done: bool,
    /// Where in the log the first slot begins, and the bytes of all.
    bytes: Option<(u64, Vec<u8>)>,
}

impl Tail {
    pub(super) fn new(arena: Arc<ArenaMap>, redactor: Arc<Mutex<Redactor>>) -> Tail {
        Tail {
            arena,
            redactor,
            unwritten: Unwritten::default(),
            next: None,
            done: false,
            bytes: None,
        }
    }

    /// Whether a slot was read: no frame fits behind it.
    pub(super) fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// Place and bytes of what was read.
    pub(super) fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        self.bytes.take()
    }

    /// Appends the process's next slot; `seq` is that of the first one, `start` where it begins
    /// in the log. Offset and step of its first record.
    pub(super) fn read(
        &mut self,
        key: u64,
        seq: u32,
        start: u64,
        out: &mut Vec<u8>,
    ) -> Option<(u32, u64)> {
        if self.done {
            return None;
        }
        let seq = self.next.unwrap_or(seq);
        let arena = self.arena.clone();
        let is_it = |number: u32| {
            let slot = arena.slot(number);
            let state = slot.state.load(Ordering::Acquire);
            let here = matches!(state, slot_state::FILLING | slot_state::FULL)
                && slot.key.load(Ordering::Acquire) == key
                && slot.seq.load(Ordering::Acquire) == seq;
            here.then_some(state)
        };
        let (number, state) = (0..arena.slots().len() as u32).find_map(|n| Some((n, is_it(n)?)))?;
        let slot = arena.slot(number);
        let committed = slot.committed.load(Ordering::Acquire) as usize;
        let first = slot.first_record.load(Ordering::Acquire);
        let step = slot.first_step.load(Ordering::Acquire);
        let mut bytes = Vec::new();
        arena.read_slot(number, committed, &mut bytes);
        // Written to the log and given away meanwhile: the bytes may be another slot's.
        is_it(number)?;
        let mut redactor = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        redactor.unwritten(&mut self.unwritten, &mut bytes, first as usize);
        drop(redactor);
        self.done = state == slot_state::FILLING;
        self.next = Some(seq + 1);
        out.extend_from_slice(&bytes);
        self.bytes.get_or_insert((start, Vec::new())).1.extend_from_slice(&bytes);
        Some((first, step))
    }
}
