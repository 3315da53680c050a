//! The shim's view of the mapped arena.
#![allow(unsafe_code, reason = "typed access to the shared mapping")]

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use log_format::arena::{
    self, ArenaHeader, Mode, ProcEntry, SlotHeader, Socket, proc_trait, socket_state,
};

use crate::sys::{futex_wait, futex_wake, sys};

static MAPPED: AtomicBool = AtomicBool::new(false);
/// This process's traits.
static TRAITS: AtomicU32 = AtomicU32::new(0);
/// The host's last heartbeat seen, and how often it was still the same since.
static BEAT: AtomicU32 = AtomicU32::new(0);
static MISSED: AtomicU32 = AtomicU32::new(0);
/// Looks without a heartbeat after which the host counts as gone. There is one look for every
/// [`SPINS`] or every tenth of a second.
const MISSED_MAX: u32 = 300;
/// How often a wait without a call looks for what it waits for.
const SPINS: u32 = 1_000_000;

/// Maps the arena file at its fixed address.
///
/// # Errors
/// A sentence that says what failed.
pub fn map(path: *const u8) -> Result<(), &'static [u8]> {
    // SAFETY: path is a NUL-terminated string; the address range is reserved for the arena and
    // MAP_FIXED_NOREPLACE refuses to replace anything.
    unsafe {
        let fd = sys!(libc::SYS_open, path, libc::O_RDWR | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(b"failed to open the session's arena");
        }
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let at = sys!(libc::SYS_mmap, arena::BASE, arena::ARENA_BYTES, prot, flags, fd, 0);
        sys!(libc::SYS_close, fd);
        if at as u64 != arena::BASE {
            return Err(b"failed to map the session's arena (is the address space limited?)");
        }
    }
    MAPPED.store(true, Ordering::Release);
    let header = header();
    if header.magic.load(Ordering::Acquire) != arena::MAGIC
        || header.version.load(Ordering::Relaxed) != log_format::VERSION
    {
        return Err(b"failed to understand the arena: it is of another version of rr-run");
    }
    Ok(())
}

/// The arena's header.
pub fn header() -> &'static ArenaHeader {
    debug_assert!(MAPPED.load(Ordering::Relaxed));
    // SAFETY: `map` succeeded before any caller runs; the mapping is never removed and all
    // fields are atomics.
    unsafe { &*(arena::BASE as *const ArenaHeader) }
}

/// A process entry.
pub fn proc(index: u32) -> &'static ProcEntry {
    let at = arena::BASE
        + (arena::PROCS_AT + index as usize % arena::PROC_COUNT * size_of::<ProcEntry>()) as u64;
    // SAFETY: as for `header`; the index is reduced to the table's length.
    unsafe { &*(at as *const ProcEntry) }
}

/// A slot's header.
pub fn slot(index: u32) -> &'static SlotHeader {
    let at = arena::BASE
        + (arena::SLOTS_AT + index as usize % arena::SLOT_COUNT * size_of::<SlotHeader>()) as u64;
    // SAFETY: as for `proc`.
    unsafe { &*(at as *const SlotHeader) }
}

/// Address of a slot's data.
pub fn slot_data(index: u32) -> *mut u8 {
    (arena::BASE + arena::slot_offset(index as usize % arena::SLOT_COUNT) as u64) as *mut u8
}

/// Where placeholders stand in a fed slot: the number of these stretches, then place and length of
/// each.
pub fn slot_marks(index: u32) -> (usize, *const [u32; 2]) {
    let at = arena::BASE + arena::marks_offset(index as usize % arena::SLOT_COUNT) as u64;
    // SAFETY: as for `header`; the host wrote them before it queued the slot.
    let count = unsafe { (at as *const u64).read_volatile() } as usize;
    (count.min(arena::MARKS_MAX), (at + 8) as *const [u32; 2])
}

/// All sockets.
pub fn sockets() -> &'static [Socket] {
    let at = (arena::BASE + arena::SOCKETS_AT as u64) as *const Socket;
    // SAFETY: as for `header`: SOCKET_COUNT of them stand there.
    unsafe { core::slice::from_raw_parts(at, arena::SOCKET_COUNT) }
}

/// Reserves a socket's entry; None if all are taken.
pub fn reserve_socket() -> Option<&'static Socket> {
    use socket_state::{ENDED, FREE, RESERVED};
    let take = |from: u32| {
        sockets().iter().find(|socket| {
            socket.state.load(Ordering::Relaxed) == from
                && socket
                    .state
                    .compare_exchange(from, RESERVED, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
        })
    };
    take(FREE).or_else(|| take(ENDED))
}

/// Words about descriptors that are handed over at an exec.
pub fn handed() -> &'static [AtomicU64] {
    let at = (arena::BASE + arena::HANDED_AT as u64) as *const AtomicU64;
    // SAFETY: as for `header`: HANDED_COUNT of them stand there.
    unsafe { core::slice::from_raw_parts(at, arena::HANDED_COUNT) }
}

/// The output ring.
pub fn output() -> *mut u8 {
    (arena::BASE + arena::OUTPUT_AT as u64) as *mut u8
}

/// Takes over the traits of this process's entry.
pub fn adopt(entry: &ProcEntry) {
    // Only recordings have them: a replay makes no such namespace or filter.
    if header().mode.load(Ordering::Relaxed) == Mode::Record as u32 {
        TRAITS.store(entry.traits.load(Ordering::Acquire), Ordering::Relaxed);
    }
}

/// Adds traits to this process and its entry.
pub fn add_traits(entry: &ProcEntry, traits: u32) {
    entry.traits.fetch_or(traits, Ordering::AcqRel);
    adopt(entry);
}

/// True in another pid namespace than the host's: pids mean other processes there.
pub fn is_foreign() -> bool {
    TRAITS.load(Ordering::Relaxed) & proc_trait::FOREIGN != 0
}

/// True if a seccomp filter may forbid calls that the guest itself does not make.
pub fn is_filtered() -> bool {
    TRAITS.load(Ordering::Relaxed) & proc_trait::FILTERED != 0
}

/// Tells the host that there is work. It looks by itself now and then, for those that may not
/// wake it.
pub fn ring() {
    let header = header();
    header.doorbell.fetch_add(1, Ordering::AcqRel);
    if !is_filtered() {
        futex_wake(&header.doorbell, u32::MAX >> 1, true);
    }
}

/// Waits until the host rings, or a while; `bell` is what `host_bell` was.
pub fn wait_for_host(bell: u32, timeout_ms: u64) {
    let word = &header().host_bell;
    if !is_filtered() {
        futex_wait(word, bell, timeout_ms, true);
        return;
    }
    for _ in 0..SPINS {
        if word.load(Ordering::Acquire) != bell {
            return;
        }
        core::hint::spin_loop();
    }
}

/// True while the host lives; a zombie does not. (A pid that was reused meanwhile would be taken
/// for it.)
pub fn host_lives() -> bool {
    if is_foreign() || is_filtered() {
        let beat = header().heartbeat.load(Ordering::Acquire);
        if BEAT.swap(beat, Ordering::Relaxed) != beat {
            MISSED.store(0, Ordering::Relaxed);
        }
        return MISSED.fetch_add(1, Ordering::Relaxed) < MISSED_MAX;
    }
    let pid = header().host_pid.load(Ordering::Relaxed);
    pid > 0 && !crate::watchdog::is_dead(pid)
}

/// Copies a NUL-terminated header string into `to`; its length.
pub fn string(from: &[AtomicU8], to: &mut [u8]) -> usize {
    let mut len = 0;
    for (byte, to) in from.iter().zip(to.iter_mut()) {
        *to = byte.load(Ordering::Relaxed);
        if *to == 0 {
            break;
        }
        len += 1;
    }
    len
}

/// The entries that have ever been used.
pub fn entries() -> impl Iterator<Item = &'static ProcEntry> {
    (0..header().procs_used.load(Ordering::Acquire)).map(proc)
}

/// The entry of the process that runs with this pid.
pub fn entry_of(pid: i32) -> Option<&'static ProcEntry> {
    entries().find(|entry| {
        let live = entry.state.load(Ordering::Acquire) == arena::proc_state::LIVE;
        live && entry.pid.load(Ordering::Acquire) == pid
    })
}

/// Reserves an entry for a child; None if processes that run have all of them.
pub fn reserve_proc() -> Option<u32> {
    const ATTEMPTS: u32 = 200;
    const WAIT_MS: u64 = 10;
    for _ in 0..ATTEMPTS {
        let bell = header().host_bell.load(Ordering::Acquire);
        let mut ended = false;
        let found = find_proc(&mut ended);
        if found.is_some() || !ended || !host_lives() {
            return found;
        }
        // The host frees the entries of processes that have ended.
        ring();
        futex_wait(&header().host_bell, bell, WAIT_MS, true);
    }
    None
}

/// `ended`: an entry that is in use belongs to a process that has ended.
fn find_proc(ended: &mut bool) -> Option<u32> {
    use log_format::arena::proc_state::{EXITED, FREE, RESERVED};
    for index in 0..arena::PROC_COUNT as u32 {
        let entry = proc(index);
        let state = &entry.state;
        match state.load(Ordering::Relaxed) {
            FREE => {}
            EXITED => {
                *ended = true;
                continue;
            }
            _ => continue,
        }
        if state.compare_exchange(FREE, RESERVED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            header().procs_used.fetch_max(index + 1, Ordering::AcqRel);
            return Some(index);
        }
    }
    None
}

/// Makes a reserved entry as new.
pub fn reset(entry: &ProcEntry) {
    for zero in [&entry.generation, &entry.children, &entry.slot, &entry.slots_started] {
        zero.store(0, Ordering::Relaxed);
    }
    entry.holds_shared.store(0, Ordering::Relaxed);
    for zero in [&entry.status, &entry.feed_written, &entry.feed_read, &entry.feed_end] {
        zero.store(0, Ordering::Relaxed);
    }
    entry.feed_pos.store(0, Ordering::Relaxed);
    entry.steps.store(0, Ordering::Relaxed);
    entry.pending_output.store(0, Ordering::Relaxed);
    entry.dropped.store(0, Ordering::Relaxed);
    entry.pid.store(0, Ordering::Relaxed);
}
