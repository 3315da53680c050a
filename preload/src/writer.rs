//! Appends records to the process's stream of slots.
#![allow(unsafe_code, reason = "copies into the mapped slots")]

use core::sync::atomic::{AtomicU32, Ordering};

use log_format::arena::{self as layout, SLOT_BYTES, option, slot_state, stop};

use crate::arena;
use crate::sys::{copy_checked, sys};

/// How much of a slot is made present at once, bytes: a fault for each page costs more than
/// writing it.
const AHEAD_BYTES: usize = 64 * 1024;
/// Longest wait for a free slot before the host is looked for, milliseconds.
const WAIT_MS: u64 = 100;

/// Where the next byte goes.
pub struct Writer {
    base: *mut u8,
    pos: usize,
    /// The slot's pages up to here are present.
    present: usize,
    slot: u32,
    proc: u32,
    /// The slot's `committed`, while the slot has a first record: what the fast way needs.
    committed: *const AtomicU32,
    /// Set when recording stopped for good.
    stopped: bool,
    /// Each record is written by the host before its call returns.
    foreground: bool,
}

impl Writer {
    /// A writer for the process entry `proc`, which continues the entry's current slot.
    pub fn new(proc: u32) -> Writer {
        let entry = arena::proc(proc);
        let mut writer = Writer {
            base: core::ptr::null_mut(),
            pos: SLOT_BYTES,
            present: SLOT_BYTES,
            slot: 0,
            proc,
            committed: core::ptr::null(),
            stopped: false,
            foreground: arena::header().options.load(Ordering::Relaxed) & option::FOREGROUND != 0,
        };
        if let Some(slot) = entry.slot.load(Ordering::Acquire).checked_sub(1) {
            writer.slot = slot;
            writer.base = arena::slot_data(slot);
            writer.pos = arena::slot(slot).committed.load(Ordering::Acquire) as usize;
        }
        writer
    }

    /// Bytes that fit without a new slot.
    #[inline(always)]
    pub fn room(&self) -> usize {
        SLOT_BYTES - self.pos
    }

    /// Must be called before each record of `len` bytes: makes sure there is a slot, and notes the
    /// record as the slot's first if it is. False: recording has stopped.
    #[inline(always)]
    pub fn begin(&mut self, step: u64, len: usize) -> bool {
        if self.stopped || arena::header().stop.load(Ordering::Relaxed) != stop::NO {
            self.stopped = true;
            return false;
        }
        if self.room() == 0 && !self.next_slot() {
            return false;
        }
        let slot = arena::slot(self.slot);
        if slot.first_record.load(Ordering::Relaxed) == SLOT_BYTES as u32 {
            slot.first_step.store(step, Ordering::Relaxed);
            slot.first_record.store(self.pos as u32, Ordering::Release);
        }
        self.committed = &raw const slot.committed;
        if self.pos + len > self.present {
            self.populate(len);
        }
        true
    }

    /// Makes the pages present that are written next, for a record of `len` bytes and others;
    /// where the kernel can't (before 5.14) or a seccomp filter may forbid it, each comes with its
    /// first byte.
    #[cold]
    fn populate(&mut self, len: usize) {
        const MADV_POPULATE_WRITE: u64 = 23;
        let end = (self.pos + len).next_multiple_of(AHEAD_BYTES).min(SLOT_BYTES);
        if end <= self.present || arena::is_filtered() {
            return;
        }
        // SAFETY: the range lies in the slot, which is mapped and whose bytes are allocated.
        unsafe {
            let from = self.base.add(self.present);
            sys!(libc::SYS_madvise, from, end - self.present, MADV_POPULATE_WRITE);
        }
        self.present = end;
    }

    /// Appends a record of two words at once; false if that takes more than two stores.
    #[inline(always)]
    pub fn append_pair(&mut self, words: [u64; 2]) -> bool {
        if self.committed.is_null()
            || self.pos + 16 > self.present
            || arena::header().stop.load(Ordering::Relaxed) != stop::NO
        {
            return false;
        }
        // SAFETY: the slot has room at `pos`, a multiple of eight; `committed` is not null and
        // points to the header of this slot in the mapped arena.
        unsafe {
            self.base.add(self.pos).cast::<[u64; 2]>().write(words);
            self.pos += 16;
            (*self.committed).store(self.pos as u32, Ordering::Release);
        }
        true
    }

    /// Appends words.
    #[inline(always)]
    pub fn words(&mut self, words: &[u64]) {
        if self.room() >= size_of_val(words) {
            // SAFETY: positions are multiples of eight; the slot is ours and has room for all.
            unsafe {
                let to = self.base.add(self.pos).cast::<u64>();
                to.copy_from_nonoverlapping(words.as_ptr(), words.len());
            }
            self.pos += size_of_val(words);
            return;
        }
        for word in words {
            if self.room() == 0 && !self.next_slot() {
                return;
            }
            // SAFETY: positions are multiples of eight and below SLOT_BYTES; the slot is ours.
            unsafe { self.base.add(self.pos).cast::<u64>().write(*word) };
            self.pos += 8;
        }
    }

    /// Appends `len` bytes from memory that may be the guest's, padded to a multiple of eight;
    /// unreadable bytes become zero.
    #[inline(always)]
    pub fn memory(&mut self, mut from: u64, len: usize) {
        let mut left = len;
        while left > 0 {
            if self.room() == 0 && !self.next_slot() {
                return;
            }
            let part = left.min(self.room());
            // SAFETY: the slot has room for `part` bytes; a fault in the source is caught.
            unsafe {
                let to = self.base.add(self.pos);
                if !copy_checked(to, from as *const u8, part) {
                    core::ptr::write_bytes(to, 0, part);
                }
            }
            self.pos += part;
            from += part as u64;
            left -= part;
        }
        // Slots end at multiples of eight, so the padding always fits where the data ended.
        while !self.pos.is_multiple_of(8) {
            // SAFETY: as above.
            unsafe { self.base.add(self.pos).write(0) };
            self.pos += 1;
        }
    }

    /// Makes all that was appended visible: the record is in the log from here on.
    #[inline(always)]
    pub fn commit(&mut self) {
        if !self.stopped {
            arena::slot(self.slot).committed.store(self.pos as u32, Ordering::Release);
            if self.foreground {
                self.await_drain();
            }
        }
    }

    /// Hands the current slot over and waits until the host has written it.
    #[cold]
    fn await_drain(&mut self) {
        let header = arena::header();
        let slot = arena::slot(self.slot);
        let ours = (slot.key.load(Ordering::Relaxed), slot.seq.load(Ordering::Relaxed));
        self.hand_over();
        loop {
            let bell = header.host_bell.load(Ordering::Acquire);
            let now = (slot.key.load(Ordering::Relaxed), slot.seq.load(Ordering::Relaxed));
            if slot.state.load(Ordering::Acquire) != slot_state::FULL
                || now != ours
                || header.stop.load(Ordering::Relaxed) != stop::NO
            {
                return;
            }
            arena::wait_for_host(bell, WAIT_MS);
            if !arena::host_lives() {
                header.stop.store(stop::HOST_GONE, Ordering::Release);
            }
        }
    }

    /// Puts the current slot on the list of those that the host is to write.
    fn hand_over(&mut self) {
        self.committed = core::ptr::null();
        self.base = core::ptr::null_mut();
        self.pos = SLOT_BYTES;
        self.present = SLOT_BYTES;
        arena::proc(self.proc).slot.store(0, Ordering::Release);
        arena::slot(self.slot).state.store(slot_state::FULL, Ordering::Release);
        layout::push(&arena::header().full, self.slot, arena::slot);
        arena::ring();
    }

    /// Hands the current slot over and takes a free one.
    #[cold]
    fn next_slot(&mut self) -> bool {
        if self.stopped {
            return false;
        }
        let entry = arena::proc(self.proc);
        let header = arena::header();
        if !self.base.is_null() {
            arena::slot(self.slot).committed.store(SLOT_BYTES as u32, Ordering::Release);
            self.hand_over();
        }
        let index = loop {
            let bell = header.host_bell.load(Ordering::Acquire);
            if header.stop.load(Ordering::Relaxed) != stop::NO {
                break None;
            }
            if let Some(index) = layout::pop(&header.free, arena::slot) {
                break Some(index);
            }
            arena::ring();
            arena::wait_for_host(bell, WAIT_MS);
            if !arena::host_lives() {
                header.stop.store(stop::HOST_GONE, Ordering::Release);
                break None;
            }
        };
        let Some(index) = index else {
            self.stopped = true;
            return false;
        };
        let slot = arena::slot(index);
        slot.proc.store(self.proc, Ordering::Relaxed);
        slot.key.store(entry.key.load(Ordering::Relaxed), Ordering::Relaxed);
        slot.seq.store(entry.slots_started.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        slot.committed.store(0, Ordering::Relaxed);
        slot.first_record.store(SLOT_BYTES as u32, Ordering::Relaxed);
        slot.first_step.store(0, Ordering::Relaxed);
        slot.state.store(slot_state::FILLING, Ordering::Release);
        entry.slot.store(index + 1, Ordering::Release);
        self.slot = index;
        self.base = arena::slot_data(index);
        self.pos = 0;
        self.present = 0;
        self.populate(1);
        true
    }
}
