//! The arena in the host's memory: the only place where the host touches shared memory.
#![expect(unsafe_code, reason = "memory shared with other processes can't be borrowed otherwise")]

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use log_format::arena::{
    self, ARENA_BYTES, ArenaHeader, HANDED_AT, HANDED_COUNT, MARKS_MAX, OUTPUT_AT, OUTPUT_BYTES,
    PROC_COUNT, PROCS_AT, ProcEntry, SLOT_BYTES, SLOT_COUNT, SLOTS_AT, SOCKET_COUNT, SOCKETS_AT,
    SlotHeader, Socket,
};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;
use rustix::thread::futex;

use crate::error::{Error, Result};

/// A mapped arena.
pub struct ArenaMap {
    map: MmapRaw,
    file: File,
}

impl ArenaMap {
    /// Creates the arena file at `path`, readable by its owner only, sparse and all zero. It is
    /// locked (flock) as long as this process has it.
    ///
    /// # Errors
    /// The system's; a file that exists is one.
    pub fn create(path: &Path) -> Result<ArenaMap> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::file("create", path))?;
        // Where files can't be locked, only the host's pid tells that it lives.
        let _ = file.lock();
        file.set_len(ARENA_BYTES as u64).map_err(Error::file("resize", path))?;
        ArenaMap::map(file, path)
    }

    /// Maps the arena that a killed host left behind.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not one, [`Error::SessionNewer`], or the system's.
    pub fn open(path: &Path) -> Result<ArenaMap> {
        let file =
            File::options().read(true).write(true).open(path).map_err(Error::file("open", path))?;
        let size = file.metadata().map_err(Error::file("read", path))?.len();
        let kept = "what stands in the log files is readable";
        if size != ARENA_BYTES as u64 {
            return Err(Error::damaged(path, format!("it has {size} bytes"), kept));
        }
        let arena = ArenaMap::map(file, path)?;
        let version = arena.header().version.load(Ordering::Acquire);
        if arena.header().magic.load(Ordering::Acquire) != arena::MAGIC {
            return Err(Error::damaged(path, "it is no arena", kept));
        }
        if version > log_format::VERSION {
            let path = path.to_owned();
            return Err(Error::SessionNewer { path, found: version, known: log_format::VERSION });
        }
        Ok(arena)
    }

    /// Maps the arena of a running recording to look at, not to write to; none if it is gone.
    pub fn look(path: &Path) -> Option<ArenaMap> {
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.len() != ARENA_BYTES as u64 {
            return None;
        }
        let map = MmapOptions::new().len(ARENA_BYTES).map_raw_read_only(&file).ok()?;
        let arena = ArenaMap { map, file };
        let header = arena.header();
        let known = header.magic.load(Ordering::Acquire) == arena::MAGIC
            && header.version.load(Ordering::Acquire) == log_format::VERSION;
        known.then_some(arena)
    }

    fn map(file: File, path: &Path) -> Result<ArenaMap> {
        let map =
            MmapOptions::new().len(ARENA_BYTES).map_raw(&file).map_err(Error::file("map", path))?;
        Ok(ArenaMap { map, file })
    }

    /// The header.
    pub fn header(&self) -> &ArenaHeader {
        // SAFETY: the mapping has ARENA_BYTES bytes, begins page-aligned with the header, lives
        // as long as `self`, and every field is atomic: writes of other processes are allowed.
        unsafe { &*self.map.as_ptr().cast::<ArenaHeader>() }
    }

    /// All process entries.
    pub fn procs(&self) -> &[ProcEntry] {
        // SAFETY: PROC_COUNT entries stand at PROCS_AT inside the mapping, aligned to 64 as
        // PROCS_AT is; all their fields are atomic, and any bits are valid.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(PROCS_AT).cast(), PROC_COUNT) }
    }

    /// The process entries that have ever been used.
    pub fn procs_used(&self) -> &[ProcEntry] {
        let used = self.header().procs_used.load(Ordering::Acquire) as usize;
        &self.procs()[..used.min(PROC_COUNT)]
    }

    /// All slot headers.
    pub fn slots(&self) -> &[SlotHeader] {
        // SAFETY: as for `procs`: SLOT_COUNT headers of atomics stand at SLOTS_AT, aligned to 64.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(SLOTS_AT).cast(), SLOT_COUNT) }
    }

    /// All sockets whose other end is the host.
    pub fn sockets(&self) -> &[Socket] {
        // SAFETY: as for `procs`: SOCKET_COUNT entries of atomics stand at SOCKETS_AT.
        unsafe {
            std::slice::from_raw_parts(self.map.as_ptr().add(SOCKETS_AT).cast(), SOCKET_COUNT)
        }
    }

    /// The header of one slot; slot numbers come from lists, which hold only valid ones.
    pub fn slot(&self, slot: u32) -> &SlotHeader {
        &self.slots()[slot as usize % SLOT_COUNT]
    }

    /// Copies the first `len` bytes of a slot into `out`, replacing its content. What can't be read
    /// is zero.
    ///
    /// By the file: through the mapping each page would be a fault, and then resident here too.
    pub fn read_slot(&self, slot: u32, len: usize, out: &mut Vec<u8>) {
        // What stood there before is overwritten: zeroing it first would be one copy more.
        out.resize(len.min(SLOT_BYTES), 0);
        let at = arena::slot_offset(slot as usize % SLOT_COUNT);
        if self.file.read_exact_at(out, at as u64).is_err() {
            out.fill(0);
        }
    }

    /// Copies `bytes` into a slot, from offset `from` on; what does not fit is left out.
    ///
    /// # Errors
    /// The system's: a full disk.
    pub fn write_slot(&self, slot: u32, from: usize, bytes: &[u8]) -> std::io::Result<()> {
        let from = from.min(SLOT_BYTES);
        let bytes = &bytes[..bytes.len().min(SLOT_BYTES - from)];
        let at = arena::slot_offset(slot as usize % SLOT_COUNT) + from;
        self.file.write_all_at(bytes, at as u64)
    }

    /// Tells the shim where placeholders stand in a slot: places and lengths, in order.
    ///
    /// # Errors
    /// The system's: a full disk.
    pub fn write_marks(&self, slot: u32, marks: &[(u32, u32)]) -> std::io::Result<()> {
        let marks = &marks[..marks.len().min(MARKS_MAX)];
        let mut bytes = Vec::with_capacity(8 + marks.len() * 8);
        bytes.extend_from_slice(&(marks.len() as u64).to_le_bytes());
        for (at, len) in marks {
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        let at = arena::marks_offset(slot as usize % SLOT_COUNT);
        self.file.write_all_at(&bytes, at as u64)
    }

    /// Copies bytes of the output ring, from `position` on (counted since the start).
    pub fn read_output(&self, position: u64, out: &mut [u8]) {
        let start = position as usize % OUTPUT_BYTES;
        let len = out.len().min(OUTPUT_BYTES);
        let first = len.min(OUTPUT_BYTES - start);
        // SAFETY: the ring lies inside the mapping, both parts inside the ring, and `out` has
        // `len` bytes. The shim does not write there before `output_read` has passed.
        unsafe {
            let ring = self.map.as_ptr().add(OUTPUT_AT);
            std::ptr::copy_nonoverlapping(ring.add(start), out.as_mut_ptr(), first);
            std::ptr::copy_nonoverlapping(ring, out.as_mut_ptr().add(first), len - first);
        }
    }

    /// Reserves disk space for the header and for what this mode writes: a replay the ring for
    /// its output, a recording the sockets whose other end is the host, and room for
    /// descriptors that are handed over.
    ///
    /// # Errors
    /// The system's: a full disk.
    pub fn allocate_header(&self, replay: bool) -> std::io::Result<()> {
        self.fallocate(0, PROCS_AT)?;
        match replay {
            true => self.fallocate(OUTPUT_AT, OUTPUT_BYTES),
            false => {
                self.fallocate(SOCKETS_AT, SOCKET_COUNT * size_of::<Socket>())?;
                self.fallocate(HANDED_AT, HANDED_COUNT * size_of::<u64>())
            }
        }
    }

    /// Reserves disk space for the process entries from `first` to before `end`.
    ///
    /// # Errors
    /// The system's: a full disk.
    pub fn allocate_procs(&self, first: usize, end: usize) -> std::io::Result<()> {
        let entry = size_of::<ProcEntry>();
        let end = end.min(PROC_COUNT);
        self.fallocate(PROCS_AT + first * entry, end.saturating_sub(first) * entry)
    }

    /// Reserves disk space for the first `len` bytes of one slot and for its header, so that
    /// writing to it can't fail.
    ///
    /// # Errors
    /// The system's: a full disk.
    pub fn allocate_slot(&self, slot: u32, len: usize) -> std::io::Result<()> {
        const HEADER: usize = size_of::<SlotHeader>();
        self.fallocate(SLOTS_AT + slot as usize * HEADER, HEADER)?;
        self.fallocate(arena::slot_offset(slot as usize), len.min(SLOT_BYTES))
    }

    fn fallocate(&self, at: usize, len: usize) -> std::io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(self.file.as_fd(), flags, at as u64, len as u64) {
            // A file system without fallocate: pages are allocated when they are written.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Pops a slot from the free list.
    pub fn pop_free(&self) -> Option<u32> {
        arena::pop(&self.header().free, |slot| self.slot(slot))
    }

    /// Puts a slot on the free list and wakes who waits for one.
    pub fn push_free(&self, slot: u32) {
        self.slot(slot).state.store(arena::slot_state::FREE, Ordering::Release);
        arena::push(&self.header().free, slot, |slot| self.slot(slot));
    }

    /// Takes the whole list with this head; the slots, newest first.
    pub fn take_all(&self, head: &AtomicU64) -> Vec<u32> {
        let mut old = head.load(Ordering::Acquire);
        loop {
            let empty = (old >> 32).wrapping_add(1) << 32;
            match head.compare_exchange_weak(old, empty, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        let mut taken = Vec::new();
        let mut next = old as u32;
        // A damaged list could be a ring.
        while let Some(slot) = next.checked_sub(1).filter(|s| (*s as usize) < SLOT_COUNT)
            && taken.len() < SLOT_COUNT
        {
            taken.push(slot);
            next = self.slot(slot).next.load(Ordering::Relaxed);
        }
        taken
    }
}

/// Sleeps until `word` is no longer `seen`, somebody wakes it, or the time is over.
pub fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    let timeout = rustix::time::Timespec::try_from(timeout).ok();
    // All ends of the wait are alike: the caller looks again.
    let _ = futex::wait(word, futex::Flags::empty(), seen, timeout.as_ref());
}

/// Adds one to `word` and wakes all who wait on it.
pub fn ring(word: &AtomicU32) {
    word.fetch_add(1, Ordering::AcqRel);
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

/// Stores a NUL-terminated text; false if it does not fit.
pub fn set_text(field: &[AtomicU8], text: &[u8]) -> bool {
    if text.len() >= field.len() || text.contains(&0) {
        return false;
    }
    for (to, from) in field.iter().zip(text.iter().chain(std::iter::once(&0))) {
        to.store(*from, Ordering::Relaxed);
    }
    true
}

/// Reads a NUL-terminated text.
pub fn text(field: &[AtomicU8]) -> OsString {
    let bytes = field.iter().map(|byte| byte.load(Ordering::Relaxed)).take_while(|b| *b != 0);
    OsString::from_vec(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_back_what_was_pushed_and_slots_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("arena");
        let arena = ArenaMap::create(&path).unwrap();
        for slot in 0..5 {
            arena.allocate_slot(slot, 8).unwrap();
            arena.push_free(slot);
        }
        assert_eq!(arena.pop_free(), Some(4));
        assert_eq!(arena.take_all(&arena.header().free), [3, 2, 1, 0]);
        assert_eq!(arena.pop_free(), None);
        arena.write_slot(4095, 0, b"hello").unwrap();
        let mut out = Vec::new();
        arena.read_slot(4095, 5, &mut out);
        assert_eq!(out, b"hello");
        assert!(matches!(ArenaMap::open(&path), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let field = [const { AtomicU8::new(1) }; 4];
        assert!(set_text(&field, b"abc") && !set_text(&field, b"abcd") && !set_text(&field, b"\0"));
    }
}
