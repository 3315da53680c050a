//! Reads the process's stream on replay, as the host feeds it.
#![allow(unsafe_code, reason = "reads from the mapped slots")]

use core::sync::atomic::Ordering;

use log_format::arena::{self as layout, FEED_LEN, slot_state};
use log_format::record::{Header, Malformed};

use crate::arena;
use crate::sys::{copy_checked, die, futex_wait};

/// Longest wait for the feed before the host is looked for, milliseconds.
const WAIT_MS: u64 = 100;

/// Where the next byte comes from.
pub struct Cursor {
    base: *const u8,
    pos: usize,
    len: usize,
    slot: u32,
    proc: u32,
    /// A buffer that was compared has placeholders in it.
    pub saw_mark: bool,
}

impl Cursor {
    /// A cursor for the process entry `proc`, which continues where the image before an exec
    /// had stopped.
    pub fn new(proc: u32) -> Cursor {
        let entry = arena::proc(proc);
        let mut cursor =
            Cursor { base: core::ptr::null(), pos: 0, len: 0, slot: 0, proc, saw_mark: false };
        if let Some(slot) = entry.slot.load(Ordering::Acquire).checked_sub(1) {
            cursor.slot = slot;
            cursor.base = arena::slot_data(slot);
            cursor.pos = entry.feed_pos.load(Ordering::Acquire) as usize;
            cursor.len = arena::slot(slot).committed.load(Ordering::Acquire) as usize;
        }
        cursor
    }

    /// Keeps the position for the image after an exec.
    pub fn save(&self) {
        arena::proc(self.proc).feed_pos.store(self.pos as u32, Ordering::Release);
    }

    /// Makes bytes available; false at the end of the log.
    fn fill(&mut self) -> bool {
        while self.pos == self.len {
            let entry = arena::proc(self.proc);
            let header = arena::header();
            if !self.base.is_null() {
                self.base = core::ptr::null();
                entry.slot.store(0, Ordering::Release);
                arena::slot(self.slot).state.store(slot_state::FREE, Ordering::Release);
                layout::push(&header.free, self.slot, arena::slot);
                arena::ring();
            }
            let bell = header.host_bell.load(Ordering::Acquire);
            let end = entry.feed_end.load(Ordering::Acquire);
            let read = entry.feed_read.load(Ordering::Acquire);
            if entry.feed_written.load(Ordering::Acquire) == read {
                if end != 0 {
                    return false;
                }
                arena::ring();
                futex_wait(&header.host_bell, bell, WAIT_MS, true);
                if !arena::host_lives() {
                    die(1);
                }
                continue;
            }
            let queued = entry.feed.get(read as usize % FEED_LEN);
            let slot = queued.map_or(0, |slot| slot.load(Ordering::Acquire)).wrapping_sub(1);
            entry.slot.store(slot.wrapping_add(1), Ordering::Release);
            entry.feed_read.store(read.wrapping_add(1), Ordering::Release);
            arena::ring();
            self.slot = slot;
            self.base = arena::slot_data(slot);
            self.pos = 0;
            self.len = (arena::slot(slot).committed.load(Ordering::Acquire) as usize)
                .min(layout::SLOT_BYTES);
        }
        true
    }

    /// The next record's header, left in place; None at the end of the log.
    pub fn peek(&mut self) -> Option<Result<Header, Malformed>> {
        if !self.fill() {
            return None;
        }
        if self.len - self.pos < 8 {
            return Some(Err(Malformed::Incomplete));
        }
        // SAFETY: eight bytes are left in the slot.
        let word = unsafe { self.base.add(self.pos).cast::<u64>().read_unaligned() };
        Some(Header::from_word(word))
    }

    /// The first ten words of the next record, left in place, if they lie in one slot.
    pub fn ahead(&mut self) -> Option<[u64; 10]> {
        const AHEAD_BYTES: usize = 80;
        if !self.fill() || self.len - self.pos < AHEAD_BYTES {
            return None;
        }
        // SAFETY: as many bytes are left in the slot.
        Some(unsafe { self.base.add(self.pos).cast::<[u64; 10]>().read_unaligned() })
    }

    /// The next eight bytes; 0 at the end of the log.
    pub fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Fills `into`; false if the log ends before.
    pub fn bytes(&mut self, into: &mut [u8]) -> bool {
        self.each_part(into.len(), |_, _, at, part, len| {
            let to = into.get_mut(at..at + len);
            // SAFETY: `part` has `len` readable bytes.
            to.is_some_and(|to| unsafe { copy_checked(to.as_mut_ptr(), part, len) })
        })
    }

    /// Copies the next `len` bytes to the guest's `addr`; false if the log ends or the guest's
    /// memory is not writable there.
    pub fn copy_out(&mut self, addr: u64, len: usize) -> bool {
        self.each_part(len, |_, _, at, part, len| {
            // SAFETY: `part` has `len` readable bytes; a fault at the guest's address is caught.
            unsafe { copy_checked((addr + at as u64) as *mut u8, part, len) }
        })
    }

    /// Offset of the first of the next `len` bytes that differs from the guest's at `addr`, but for
    /// placeholders, where any bytes are right: `tolerated` gets those that differ, as recorded.
    pub fn differs(
        &mut self,
        addr: u64,
        len: usize,
        tolerated: &mut impl FnMut(u64, &[u8]),
    ) -> Option<u64> {
        let (mut found, mut saw_mark) = (None, false);
        self.each_part(len, |slot, pos, at, part, len| {
            saw_mark |= is_marked(slot, pos, len);
            let mut done = 0;
            while done < len && found.is_none() {
                let mut guest = [0u8; 256];
                let n = (len - done).min(guest.len());
                let from = addr + (at + done) as u64;
                // SAFETY: `guest` is ours; a fault at the guest's address is caught.
                if !unsafe { copy_checked(guest.as_mut_ptr(), from as *const u8, n) } {
                    found = Some((at + done) as u64);
                    break;
                }
                // SAFETY: `part` has `len` readable bytes.
                let recorded = unsafe { core::slice::from_raw_parts(part.add(done), n) };
                let mut i = 0;
                while let Some(next) = recorded.iter().zip(&guest).skip(i).position(|(a, b)| a != b)
                {
                    i += next;
                    let Some(end) = end_of_mark(slot, pos + done + i) else {
                        found = Some((at + done + i) as u64);
                        break;
                    };
                    let end = (end - pos - done).min(n);
                    if let Some(bytes) = recorded.get(i..end) {
                        tolerated(from + i as u64, bytes);
                    }
                    i = end;
                }
                done += n;
            }
            true
        });
        self.saw_mark |= saw_mark;
        found
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: usize) {
        self.each_part(len, |_, _, _, _, _| true);
    }

    /// Calls `f` for each stretch of the next `len` bytes that lies in one slot: with the slot, the
    /// place in it, the offset in these bytes, their address and number.
    fn each_part(
        &mut self,
        len: usize,
        mut f: impl FnMut(u32, usize, usize, *const u8, usize) -> bool,
    ) -> bool {
        let (mut at, mut ok) = (0, true);
        while at < len {
            if !self.fill() {
                return false;
            }
            let part = (len - at).min(self.len - self.pos);
            // SAFETY: pos is inside the slot.
            ok &= f(self.slot, self.pos, at, unsafe { self.base.add(self.pos) }, part);
            self.pos += part;
            at += part;
        }
        ok
    }
}

/// Where the placeholder ends that covers this place of a slot; None if none does.
fn end_of_mark(slot: u32, at: usize) -> Option<usize> {
    mark_after(slot, at).filter(|(start, _)| *start <= at).map(|(_, end)| end)
}

/// Whether a placeholder stands in `len` bytes of a slot.
fn is_marked(slot: u32, at: usize, len: usize) -> bool {
    mark_after(slot, at).is_some_and(|(start, _)| start < at + len)
}

/// The first placeholder of a slot that ends behind this place: its start and end.
fn mark_after(slot: u32, at: usize) -> Option<(usize, usize)> {
    let (count, marks) = arena::slot_marks(slot);
    let bounds = |i: usize| {
        // SAFETY: below the number of marks that stand there.
        let [start, len] = unsafe { marks.add(i).read() };
        (start as usize, start as usize + len as usize)
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if bounds(middle).1 > at {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < count).then(|| bounds(low))
}
