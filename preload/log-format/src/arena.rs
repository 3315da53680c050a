//! The arena: the file that the host creates and every guest process maps at [`BASE`].
//!
//! ```text
//! 0        PROCS_AT        SLOTS_AT         SOCKETS_AT   OUTPUT_AT     HANDED_AT  DATA_AT
//! | header | ProcEntry * n | SlotHeader * n | Socket * n | output ring | u64 * n | slot data ...
//!
//!   MARKS_AT
//! | marks |
//! ```
//!
//! The file is sparse. Only slots whose bytes the host has allocated with `fallocate` are ever
//! on the free list, so a write by the shim cannot hit a full disk (which would be SIGBUS).
//!
//! Lists are Treiber stacks of slot numbers. A head packs a tag (upper 32 bits, incremented by
//! every push and pop, against ABA) and slot number + 1 (lower 32 bits, 0 = empty).

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::pids::Pids;
use crate::policy::PolicyHeader;
use crate::processes::Claims;
use crate::tellings::Tellings;

/// First eight bytes of an arena.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RRRUNARN");
/// Address at which every guest process maps the arena, in both modes.
pub const BASE: u64 = 0x2000_0000_0000;
/// Most processes alive at once in one session.
pub const PROC_COUNT: usize = 4096;
/// Number of slots.
pub const SLOT_COUNT: usize = 4096;
/// Bytes of log data in one slot.
pub const SLOT_BYTES: usize = 256 * 1024;
/// Bytes of the ring that carries stdout and stderr of a replay to the host.
pub const OUTPUT_BYTES: usize = 1 << 20;
/// Bytes reserved for [`ArenaHeader`].
pub const HEADER_BYTES: usize = 144 * 1024;
/// Offset of the process entries.
pub const PROCS_AT: usize = HEADER_BYTES;
/// Offset of the slot headers.
pub const SLOTS_AT: usize = PROCS_AT + PROC_COUNT * size_of::<ProcEntry>();
/// Sockets of guests whose other end is the host, at most.
pub const SOCKET_COUNT: usize = 2048;
/// Offset of the sockets.
pub const SOCKETS_AT: usize = SLOTS_AT + SLOT_COUNT * size_of::<SlotHeader>();
/// Offset of the output ring.
pub const OUTPUT_AT: usize = SOCKETS_AT + SOCKET_COUNT * size_of::<Socket>();
/// Descriptors that images hand over to those that they execute, at most: see [`handed`].
pub const HANDED_COUNT: usize = 4096;
/// Offset of the descriptors that are handed over.
pub const HANDED_AT: usize = OUTPUT_AT + OUTPUT_BYTES;
/// Offset of the first slot's data.
pub const DATA_AT: usize =
    (HANDED_AT + HANDED_COUNT * size_of::<u64>()).next_multiple_of(SLOT_BYTES);
/// Offset of the marks of placeholders in fed slots, see [`marks_offset`].
pub const MARKS_AT: usize = DATA_AT + SLOT_COUNT * SLOT_BYTES;
/// Most marks of one slot.
pub const MARKS_MAX: usize = 1023;
/// Bytes of one slot's marks: their number (u32, and padding), then for each its place in the slot
/// and its length (u32 each), by place.
pub const MARKS_BYTES: usize = 8 + MARKS_MAX * 8;
/// Size of the whole file.
pub const ARENA_BYTES: usize = MARKS_AT + SLOT_COUNT * MARKS_BYTES;

/// What the shim does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Perform calls and log them.
    Record = 1,
    /// Answer calls from the log.
    Replay = 2,
    /// Perform calls with seeded randomness, log nothing (`--seed` without `--record`).
    Seeded = 3,
    /// Perform calls, but for the network (connections and name lookups go to the host's player),
    /// clocks and randomness, which come from a recording.
    Network = 4,
}

impl Mode {
    /// Reads the mode's number as it stands in the header.
    pub fn from_u32(value: u32) -> Option<Mode> {
        [Mode::Record, Mode::Replay, Mode::Seeded, Mode::Network]
            .into_iter()
            .find(|m| *m as u32 == value)
    }
}

/// Option bits in [`ArenaHeader::options`].
pub mod option {
    /// Randomness comes from the operating system and is logged (`--entropy os`).
    pub const ENTROPY_OS: u32 = 1;
    /// The clock stands still at [`super::ArenaHeader::frozen_ns`] (`--time frozen`).
    pub const TIME_FROZEN: u32 = 2;
    /// Trap `rdtsc` everywhere with PR_SET_TSC (the clock is then read by syscalls).
    pub const TRAP_TSC: u32 = 4;
    /// A failure to record ends the guest (`--strict-record`).
    pub const STRICT: u32 = 8;
    /// The real clock in [`super::Mode::Network`].
    pub const LIVE_CLOCK: u32 = 16;
    /// A call returns once the host has written what it logged (`--foreground`).
    pub const FOREGROUND: u32 = 32;
}

/// An internet address as it stands in the arena.
#[repr(C)]
pub struct Address {
    /// 4 or 6 in bits 0 to 15, port in bits 16 to 31.
    pub kind_port: AtomicU32,
    /// Of [`Socket::local`]: port of the connection's other end, 0 if that does not matter.
    pub other_port: AtomicU32,
    /// The address's bytes in network order; of version 4 the first four.
    pub ip: [AtomicU64; 2],
}

impl Address {
    /// Reads the address: version (4 or 6), port, bytes.
    pub fn get(&self) -> (u8, u16, [u8; 16]) {
        let word = self.kind_port.load(Ordering::Acquire);
        let mut ip = [0; 16];
        for (to, from) in ip.chunks_exact_mut(8).zip(&self.ip) {
            to.copy_from_slice(&from.load(Ordering::Relaxed).to_le_bytes());
        }
        (word as u8, (word >> 16) as u16, ip)
    }

    /// Stores an address.
    pub fn set(&self, version: u8, port: u16, ip: [u8; 16]) {
        let halves = u128::from_le_bytes(ip);
        self.ip[0].store(halves as u64, Ordering::Relaxed);
        self.ip[1].store((halves >> 64) as u64, Ordering::Relaxed);
        self.kind_port.store(u32::from(version) | u32::from(port) << 16, Ordering::Release);
    }
}

/// States of a [`Socket`].
pub mod socket_state {
    /// Unused.
    pub const FREE: u32 = 0;
    /// Being filled in.
    pub const RESERVED: u32 = 1;
    /// The guest's socket is (about to be) connected to the host.
    pub const OPEN: u32 = 2;
    /// The shim refused the connection; only for the host's report.
    pub const REFUSED: u32 = 3;
    /// The connection is real; only for the host's report.
    pub const LIVE: u32 = 4;
    /// The player has ended the connection, whose guest may not have read all of it: free if no
    /// other is.
    pub const ENDED: u32 = 5;
}

/// A socket of a guest whose other end is the host, found by the ports of both ends.
#[repr(C)]
pub struct Socket {
    /// One of [`socket_state`]'s values.
    pub state: AtomicU32,
    /// The guest's descriptor when it was made.
    pub fd: AtomicI32,
    /// Key of the process that made it.
    pub process: AtomicU64,
    /// Steps of that process then.
    pub step: AtomicU64,
    /// Where the registers stand that the thread which made it had at its latest call, in the
    /// kernel's order (`gregset_t`). (network replay)
    pub regs_at: AtomicU64,
    /// That thread's id, as the guest knows it.
    pub tid: AtomicI32,
    /// The exchange whose recorded answer the player has sent last, the whole of it; 0: none yet.
    /// (network replay)
    pub answered: AtomicU32,
    /// The guest's end: loopback address and port.
    pub local: Address,
    /// The other end as the guest sees it.
    pub peer: Address,
    /// The guest's end as the guest sees it; version 0: as it is.
    pub shown: Address,
}

/// Destinations that [`NetHeader::served`] can hold.
pub const SERVED_MAX: usize = 256;

/// Most files whose shared mappings are kept as writes to the file change them.
pub const MAPPED_FILES: usize = 256;

/// Before the path of a program in which the shim will be.
pub const IS_ENTERED: u8 = b'+';
/// Before that of one which it can't enter.
pub const IS_OPAQUE: u8 = b'-';

/// What [`Mode::Network`] needs.
#[repr(C)]
pub struct NetHeader {
    /// The player's TCP ports on 127.0.0.1 and ::1 (0: none).
    pub player: [AtomicU32; 2],
    /// The player's DNS port on 127.0.0.1 and ::1, UDP and TCP.
    pub dns: [AtomicU32; 2],
    /// 1: connections to hosts that are not known here go to the player as well, which decides;
    /// 0: they are refused.
    pub others: AtomicU32,
    /// Used entries of `served`.
    pub served_count: AtomicU32,
    /// What is added to the real wall clock, nanoseconds (two's complement).
    pub wall_offset_ns: AtomicU64,
    /// What is added to the real monotonic clock, nanoseconds (two's complement).
    pub mono_offset_ns: AtomicU64,
    /// Programs that are executed: [`IS_ENTERED`] or [`IS_OPAQUE`], and the path.
    pub programs: Tellings,
    /// Loopback destinations that the player serves; others on loopback are live.
    pub served: [Address; SERVED_MAX],
    /// Used entries of `failed`.
    pub failed_count: AtomicU32,
    /// Destinations that could not be reached while recording, and can't be now.
    pub failed: [Address; SERVED_MAX],
    /// Recorded pids and the live ones that stand for them.
    pub pids: Pids,
    /// Recorded processes that live ones stand for.
    pub claims: Claims,
    /// NUL-terminated directory of recorded clock readings and processes.
    pub clocks_dir: [AtomicU8; 1024],
}

/// How many files may have a stand-in.
pub const STAND_INS: usize = 16;

/// A file that guests get when they open another one to read it.
#[repr(C)]
pub struct StandIn {
    /// NUL-terminated end of the paths it stands in for, from a `/` on; empty: unused.
    pub ending: [AtomicU8; 256],
    /// NUL-terminated path of the file that is opened.
    pub file: [AtomicU8; 1024],
    /// One of [`stand_in`]'s values. The shim changes [`stand_in::LATE`] to
    /// [`stand_in::WANTED`] and waits for the host.
    pub state: AtomicU32,
}

/// Whether a stand-in can be opened: values of [`StandIn::state`].
pub mod stand_in {
    /// It is there.
    pub const READY: u32 = 0;
    /// The host makes it once someone wants it: most programs don't.
    pub const LATE: u32 = 1;
    /// Someone waits for it.
    pub const WANTED: u32 = 2;
    /// It could not be made.
    pub const FAILED: u32 = 3;
}

/// What interception of TLS needs, while recording.
#[repr(C)]
pub struct TlsHeader {
    /// NUL-terminated path of the Unix socket where the host takes connections over; empty: TLS
    /// is not intercepted.
    pub socket_path: [AtomicU8; 112],
    /// Bundles of certificates with the session's own in them.
    pub stand_ins: [StandIn; STAND_INS],
}

/// Sum of the lengths of the LD_PRELOAD value, the RR_RUN_ARENA value, the executed file name and
/// RR_RUN_PAD, kept equal in both modes so that the guest's initial stack is laid out equally.
pub const PAD_TOTAL: usize = 4096;

/// Why recording stopped early: values of [`ArenaHeader::stop`].
pub mod stop {
    /// Recording goes on.
    pub const NO: u32 = 0;
    /// The session reached its size limit.
    pub const SIZE_LIMIT: u32 = 1;
    /// The file system of the session is full.
    pub const DISK_FULL: u32 = 2;
    /// The host has ended or was killed.
    pub const HOST_GONE: u32 = 3;
    /// The host closed the session while processes were still running.
    pub const CLOSED: u32 = 4;
}

/// First page(s) of the arena.
#[repr(C)]
pub struct ArenaHeader {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`crate::VERSION`].
    pub version: AtomicU32,
    /// [`Mode`].
    pub mode: AtomicU32,
    /// [`option`] bits.
    pub options: AtomicU32,
    /// Pid of the host, for the shim to see whether it still lives.
    pub host_pid: AtomicI32,
    /// Futex: the shim adds one and wakes the host when there is work for it.
    pub doorbell: AtomicU32,
    /// Futex: the host adds one and wakes all shims after it freed or fed slots.
    pub host_bell: AtomicU32,
    /// One of [`stop`]'s values; once not 0, shims pass calls through unrecorded.
    pub stop: AtomicU32,
    /// Number of process entries that have ever been used: the host scans up to here.
    pub procs_used: AtomicU32,
    /// Stack of free, allocated slots.
    pub free: AtomicU64,
    /// Stack of full slots that wait for the host.
    pub full: AtomicU64,
    /// Next number of a write to the session's stdout or stderr: their order over processes.
    /// Recording: fetched before each such write. Replay: number whose turn it is (a futex on
    /// the low half: [`ArenaHeader::output_bell`]).
    pub output_seq: AtomicU64,
    /// Futex: incremented whenever `output_seq` or the ring moves on replay.
    pub output_bell: AtomicU32,
    /// Padding.
    pub pad0: AtomicU32,
    /// Bytes ever put into the output ring (shim) ...
    pub output_written: AtomicU64,
    /// ... and taken out of it (host).
    pub output_read: AtomicU64,
    /// Futex, the token of all processes that share writable memory. 0 free, 1 held, 2 contended.
    pub shared_token: AtomicU32,
    /// 1: a thread has waited long for the shared token; its holder gives it up at its next call.
    pub shared_wanted: AtomicU32,
    /// Acquisitions of the shared token so far: their order over processes. On replay, the
    /// number of the acquisition whose turn it is.
    pub shared_seq: AtomicU64,
    /// Futex: changed with `shared_seq` on replay.
    pub shared_bell: AtomicU32,
    /// Pid of the shared token's holder while recording, to notice that it was killed.
    pub shared_holder: AtomicI32,
    /// Wall clock of `--time frozen`, nanoseconds since the epoch.
    pub frozen_ns: AtomicU64,
    /// Monotonic clock of `--time frozen`, nanoseconds.
    pub frozen_mono_ns: AtomicU64,
    /// Wall clock at the start of the recording, nanoseconds since the epoch: files changed
    /// later were made by the run and are kept.
    pub started_ns: AtomicU64,
    /// The session's seed, 256 bits.
    pub seed: [AtomicU8; 32],
    /// Replay: stop the process with the key `until_key` before this step (0 = never).
    pub until_step: AtomicU64,
    /// Lowest process entry that diverged + 1 (0 = none): see [`ArenaHeader::divergence`].
    pub diverged: AtomicU32,
    /// Bytes of the processor's extended state that are saved, once a guest has asked for it
    /// (cpuid takes long in a virtual machine); 0 before.
    pub xstate_bytes: AtomicU32,
    /// What the first divergence was.
    pub divergence: DivergenceEntry,
    /// NUL-terminated directory of files kept by content: written by the shim while recording,
    /// read on replay (`<files_dir>/<16 hex digits of the file's identity>`).
    pub files_dir: [AtomicU8; 1024],
    /// NUL-terminated directory of the kept files that sessions share, or empty.
    pub cache_dir: [AtomicU8; 1024],
    /// NUL-terminated path of the shim itself, for LD_PRELOAD of the programs a guest executes.
    pub shim_path: [AtomicU8; 256],
    /// NUL-terminated path of this arena.
    pub arena_path: [AtomicU8; 1024],
    /// For [`Mode::Network`].
    pub net: NetHeader,
    /// For [`Mode::Record`].
    pub tls: TlsHeader,
    /// What the guest may not do.
    pub policy: PolicyHeader,
    /// Replay: writes to stdout or stderr so far in which placeholders of secrets stand.
    pub redacted_writes: AtomicU64,
    /// Replay: which process `until_step` is about.
    pub until_key: AtomicU64,
    /// What is known of the code in files.
    pub code: crate::code::Table,
    /// Grows while the host lives, for guests that can't see it: those in other pid namespaces
    /// and those with seccomp filters. (record)
    pub heartbeat: AtomicU32,
    /// Recording: files that are mapped shared, by [`crate::record::MappedWrite::inode`]; 0 where
    /// there is none.
    pub mapped_files: [AtomicU64; MAPPED_FILES],
    /// Padding.
    pub pad1: AtomicU32,
}

/// The shim's account of a divergence; the host adds stack and context from the live process.
#[repr(C)]
pub struct DivergenceEntry {
    /// 0 none, 1 being written, 2 complete (a futex).
    pub state: AtomicU32,
    /// One of [`divergence`]'s values.
    pub kind: AtomicU32,
    /// Index of the process entry.
    pub proc: AtomicU32,
    /// Ordinal of the thread.
    pub thread: AtomicU32,
    /// Step of the record that was expected.
    pub step: AtomicU64,
    /// Real pid of the replaying process.
    pub pid: AtomicI32,
    /// Real tid of the replaying thread.
    pub tid: AtomicI32,
    /// What the guest did: a syscall number, or a pseudo call (`record::kind`) | 0x1_0000.
    pub actual_nr: AtomicU32,
    /// Number of valid words in `actual_args`.
    pub actual_nargs: AtomicU32,
    /// Arguments of the actual call.
    pub actual_args: [AtomicU64; 6],
    /// Argument that differs (or of whose buffer the bytes differ); 255: none.
    pub arg: AtomicU32,
    /// Length of `actual_bytes`.
    pub actual_len: AtomicU32,
    /// Offset into the compared buffer of the first differing byte.
    pub offset: AtomicU64,
    /// Offset into the buffer at which `actual_bytes` starts.
    pub actual_at: AtomicU64,
    /// Actual result, where results are compared (memory calls).
    pub actual_ret: AtomicU64,
    /// Guest registers: rip, rsp, rbp.
    pub regs: [AtomicU64; 3],
    /// Bytes of the actual buffer around the difference.
    pub actual_bytes: [AtomicU8; 1024],
}

/// Kinds of divergence.
pub mod divergence {
    /// Another call than the recorded one.
    pub const CALL: u32 = 1;
    /// The same call with another scalar argument.
    pub const ARGUMENT: u32 = 2;
    /// The same call with other bytes in a buffer it passes.
    pub const BUFFER: u32 = 3;
    /// A memory call gave another address than recorded.
    pub const RESULT: u32 = 4;
    /// Another thread than the recorded one made the next call.
    pub const THREAD: u32 = 5;
    /// The guest made a call after the end of its log.
    pub const PAST_END: u32 = 6;
    /// A mapped or executed file is missing or not the recorded one.
    pub const FILE: u32 = 7;
    /// The log's bytes make no sense (damaged session).
    pub const LOG: u32 = 8;
    /// A process that is not in the recording was started.
    pub const PROCESS: u32 = 9;
    /// The requested `--until` step was reached (not an error).
    pub const UNTIL: u32 = 10;
}

/// States of a [`ProcEntry`].
pub mod proc_state {
    /// Entry unused.
    pub const FREE: u32 = 0;
    /// Reserved by a parent that is about to create the process.
    pub const RESERVED: u32 = 1;
    /// The process runs.
    pub const LIVE: u32 = 2;
    /// The process ended in an orderly way; its log is complete.
    pub const EXITED: u32 = 3;
    /// The process executed a program that can't be intercepted.
    pub const OPAQUE: u32 = 4;
}

/// A word about a descriptor that is handed over at an exec, where [`ProcEntry::std_fds`] has no
/// room for it: index of the process entry + 1 in the upper 24 bits, what it is in the next 8, its
/// number in the lower 32. 0: unused.
pub mod handed {
    /// The word for a descriptor.
    pub const fn word(proc: u32, what: u8, fd: u32) -> u64 {
        (proc as u64 + 1) << 40 | (what as u64) << 32 | fd as u64
    }

    /// What a word says of the process entry `proc`: what the descriptor is, and its number.
    pub const fn read(word: u64, proc: u32) -> Option<(u8, u32)> {
        if word >> 40 == proc as u64 + 1 { Some(((word >> 32) as u8, word as u32)) } else { None }
    }
}

/// Feed slots that can be queued for one replaying process.
pub const FEED_LEN: usize = 4;

/// One guest process. An exec keeps the entry.
#[repr(C, align(64))]
pub struct ProcEntry {
    /// One of [`proc_state`]'s values.
    pub state: AtomicU32,
    /// Real pid, 0 until the process runs.
    pub pid: AtomicI32,
    /// Key, stable over replays: [`child_key`] of the parent's key and `ordinal`.
    pub key: AtomicU64,
    /// Key of the parent; 0 for the root.
    pub parent_key: AtomicU64,
    /// Which child of its parent this is, from 1; 0 for the root.
    pub ordinal: AtomicU32,
    /// Successful execs so far.
    pub generation: AtomicU32,
    /// Children created so far.
    pub children: AtomicU32,
    /// Slot being filled + 1; 0: none yet. (record)
    pub slot: AtomicU32,
    /// Slots started so far: the next [`SlotHeader::seq`]. (record)
    pub slots_started: AtomicU32,
    /// Exit status as wait(2) gives it, valid in state EXITED.
    pub status: AtomicU32,
    /// Events so far.
    pub steps: AtomicU64,
    /// Output number taken and not yet logged + 1 (0 none): a hole if the process is killed here.
    pub pending_output: AtomicU64,
    /// Which fds are the session's stdin, stdout, stderr, for the next image after an exec:
    /// two bits per fd (0 none, 1 stdin, 2 stdout, 3 stderr).
    pub std_fds: [AtomicU64; 8],
    /// Slots queued by the host: ring of slot number + 1. (replay)
    pub feed: [AtomicU32; FEED_LEN],
    /// Slots ever queued (host).
    pub feed_written: AtomicU32,
    /// Slots ever taken (shim).
    pub feed_read: AtomicU32,
    /// 1 when no slot follows those queued.
    pub feed_end: AtomicU32,
    /// Position inside the current slot, kept over exec. (replay)
    pub feed_pos: AtomicU32,
    /// Records dropped because recording had stopped.
    pub dropped: AtomicU64,
    /// 1 during an exec of a process that holds the shared token: the new image gives it up.
    pub holds_shared: AtomicU32,
    /// Descriptors that are handed over by [`handed`].
    pub handed: AtomicU32,
    /// [`ProcEntry::image_tag`] of the image whose memory another process has written: it takes
    /// part in the shared token from its next call on. (record)
    pub written: AtomicU32,
    /// Bits of [`proc_trait`], kept over an exec. (record)
    pub traits: AtomicU32,
    /// 1 while the parent is creating the process, and has to do with this entry: it must not be
    /// freed before that, even if the process has ended.
    pub held: AtomicU32,
    /// Programs that could be intercepted, but were started by one that can't: they run unseen,
    /// for no entry is theirs. (record)
    pub unseen: AtomicU32,
}

impl ProcEntry {
    /// Tells the images apart that have this entry one after the other; never 0.
    pub fn image_tag(&self) -> u32 {
        let generation = self.generation.load(Ordering::Acquire);
        child_key(self.key.load(Ordering::Acquire), generation) as u32 | 1
    }
}

/// What the shim must know of a process: bits of [`ProcEntry::traits`].
pub mod proc_trait {
    /// It is in another pid namespace than the host.
    pub const FOREIGN: u32 = 1;
    /// Its children are, because it called unshare or setns.
    pub const FOREIGN_CHILDREN: u32 = 2;
    /// Its parent, which is in the host's pid namespace, enters its pid.
    pub const TOLD: u32 = 4;
    /// It has a seccomp filter.
    pub const FILTERED: u32 = 8;
    /// Traits of a child of a process with these traits.
    pub const fn of_child(parent: u32, new_pid_namespace: bool) -> u32 {
        let filtered = parent & FILTERED;
        if parent & FOREIGN != 0 {
            filtered | FOREIGN
        } else if parent & FOREIGN_CHILDREN != 0 || new_pid_namespace {
            filtered | FOREIGN | TOLD
        } else {
            filtered
        }
    }
}

/// States of a slot.
pub mod slot_state {
    /// On the free list (or never allocated).
    pub const FREE: u32 = 0;
    /// Being filled by a process.
    pub const FILLING: u32 = 1;
    /// Full, on the full list.
    pub const FULL: u32 = 2;
    /// Fed to a replaying process.
    pub const FED: u32 = 3;
}

/// Header of one slot; its data is at [`slot_offset`].
#[repr(C, align(64))]
pub struct SlotHeader {
    /// One of [`slot_state`]'s values.
    pub state: AtomicU32,
    /// Next slot + 1 in the list this slot is on.
    pub next: AtomicU32,
    /// Index of the process entry it belongs to.
    pub proc: AtomicU32,
    /// Position in the process's stream: 0, 1, 2 ...
    pub seq: AtomicU32,
    /// Key of the process.
    pub key: AtomicU64,
    /// Bytes of complete records. The last word written for a record: what it covers is valid.
    pub committed: AtomicU32,
    /// Offset of the first record that *starts* in this slot ([`SLOT_BYTES`] if none does).
    pub first_record: AtomicU32,
    /// Step of that record.
    pub first_step: AtomicU64,
}

const _: () = assert!(size_of::<ArenaHeader>() <= HEADER_BYTES);
const _: () = assert!(size_of::<ProcEntry>() == 192);
const _: () = assert!(size_of::<SlotHeader>() == 64);
const _: () = assert!(size_of::<Socket>() == 112);
const _: () = assert!(SOCKETS_AT.is_multiple_of(64));
const _: () = assert!(DATA_AT.is_multiple_of(4096) && SLOT_BYTES.is_multiple_of(4096));

/// File offset of a slot's data.
pub const fn slot_offset(slot: usize) -> usize {
    DATA_AT + slot * SLOT_BYTES
}

/// File offset of a slot's marks. (replay)
pub const fn marks_offset(slot: usize) -> usize {
    MARKS_AT + slot * MARKS_BYTES
}

/// Key of the root process.
pub const ROOT_KEY: u64 = 1;
/// Key of the log of plaintext, which is no process's: see [`crate::record::plain`].
pub const PLAIN_KEY: u64 = u64::from_be_bytes(*b"plaintls");

/// Key of the `ordinal`-th child (from 1) of the process with `parent` key.
///
/// A finalizer of the splitmix64 family: well mixed, and the same on every machine.
pub const fn child_key(parent: u64, ordinal: u32) -> u64 {
    let mut z = parent ^ (ordinal as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Pushes `slot` on the list with this `head`; `slots` gives each slot's header.
pub fn push<'a>(head: &AtomicU64, slot: u32, slots: impl Fn(u32) -> &'a SlotHeader) {
    let mut old = head.load(Ordering::Acquire);
    loop {
        slots(slot).next.store(old as u32, Ordering::Relaxed);
        let new = (old >> 32).wrapping_add(1) << 32 | u64::from(slot + 1);
        match head.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(now) => old = now,
        }
    }
}

/// Pops a slot from the list with this `head`.
pub fn pop<'a>(head: &AtomicU64, slots: impl Fn(u32) -> &'a SlotHeader) -> Option<u32> {
    let mut old = head.load(Ordering::Acquire);
    loop {
        let slot = (old as u32).checked_sub(1).filter(|s| (*s as usize) < SLOT_COUNT)?;
        let next = slots(slot).next.load(Ordering::Relaxed);
        let new = (old >> 32).wrapping_add(1) << 32 | u64::from(next);
        match head.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(slot),
            Err(now) => old = now,
        }
    }
}
