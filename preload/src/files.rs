//! Files that replay must have again: those that are mapped or executed.
//!
//! Recording: each gets an identity; what is not the system's own is copied to the session.
//! Replay: the kept copy, if the host offers one under that identity, else the file itself.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

mod privileges;
mod reach;
mod script;

pub use reach::{Reach, born_ns, regular};
pub use script::{Script, script};

use core::sync::atomic::Ordering;

use log_format::arena::Mode;
use log_format::privileges::Effect;
use log_format::record::{FILE_ID_BYTES, FileId, file_identity, note};
use log_format::table::Memory;

use crate::cursor::Cursor;
use crate::maps::Mapped;
use crate::replay::Extras;
use crate::sys::{Guest, sys};
use crate::thread::Thread;
use crate::{arena, record};

/// Longest path handled.
pub const PATH_BYTES: usize = 1024;
/// Longest name of a kept file.
pub const NAME_BYTES: usize = PATH_BYTES + 64;

/// Flags of [`FileId::flags`].
pub mod kept {
    /// A copy is in the session.
    pub const COPY: u32 = 1;
    /// Executed.
    pub const EXECUTED: u32 = 2;
    /// Mapped shared and writable.
    pub const SHARED: u32 = 4;
    /// A copy was needed and could not be made.
    pub const FAILED: u32 = 8;
    /// Executed as a copy, for the sake of the file's set-user-id bit.
    pub const COPIED: u32 = 16;
}

/// An identity and its path, as they stand in the log.
#[derive(Clone, Copy)]
pub struct Identified {
    bytes: [u8; FILE_ID_BYTES + PATH_BYTES],
    len: usize,
    /// The fixed part.
    pub id: FileId,
}

impl Identified {
    /// No file.
    pub const NONE: Identified = Identified {
        bytes: [0; FILE_ID_BYTES + PATH_BYTES],
        len: 0,
        id: FileId {
            identity: 0,
            dev: 0,
            ino: 0,
            size: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            mode: 0,
            flags: 0,
        },
    };

    /// The log's bytes; empty if the file could not be identified.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Its path; empty if it could not be identified.
    pub fn path(&self) -> &[u8] {
        self.bytes.get(FILE_ID_BYTES..self.len).unwrap_or(&[])
    }

    fn store(&mut self) {
        let id = &self.id;
        let words = [id.identity, id.dev, id.ino, id.size, id.mtime_ns, id.ctime_ns];
        for (to, word) in self.bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        self.bytes[48..52].copy_from_slice(&id.mode.to_le_bytes());
        self.bytes[52..56].copy_from_slice(&id.flags.to_le_bytes());
    }
}

const _: () = assert!(FILE_ID_BYTES == 56);

/// Reads an identity from the log.
pub fn read_id(cursor: &mut Cursor) -> FileId {
    let [identity, dev, ino, size, mtime_ns, ctime_ns] = [(); 6].map(|()| cursor.word());
    let last = cursor.word();
    FileId {
        identity,
        dev,
        ino,
        size,
        mtime_ns,
        ctime_ns,
        mode: last as u32,
        flags: (last >> 32) as u32,
    }
}

/// [`identify`] for a file that may be `last`, which is then kept for the next time: the loader
/// maps each library in several pieces. True if it was identified now.
pub fn identify_again(fd: u64, flags: u32, last: &mut Identified) -> bool {
    // SAFETY: all zeros are a valid stat; the kernel fills it.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    let known = last.len > 0
        && flags == 0
        && last.id.flags & !(kept::COPY | kept::FAILED) == 0
        && unsafe { sys!(libc::SYS_fstat, fd, &raw mut stat) } == 0
        && last.id.identity == identity_of(&stat).0;
    if !known {
        *last = identify(fd, flags);
    }
    !known
}

/// Tells of a file that replay needs and of which no copy could be made: `bytes` are its identity
/// as the log has it.
pub fn note_if_not_kept(t: &mut Thread, bytes: &[u8]) {
    const FLAGS_AT: usize = 52;
    let flags = bytes.get(FLAGS_AT..).and_then(|bytes| bytes.first_chunk());
    if flags.is_some_and(|flags| u32::from_le_bytes(*flags) & kept::FAILED != 0) {
        record::note(t, note::NOT_KEPT, bytes.get(FILE_ID_BYTES..).unwrap_or(&[]));
    }
}

/// Identity of a file, and when it and its inode were changed, nanoseconds.
fn identity_of(stat: &libc::stat) -> (u64, u64, u64) {
    let ns = |s: i64, ns: i64| (s as u64).wrapping_mul(1_000_000_000).wrapping_add(ns as u64);
    let mtime_ns = ns(stat.st_mtime, stat.st_mtime_nsec);
    let ctime_ns = ns(stat.st_ctime, stat.st_ctime_nsec);
    let size = stat.st_size as u64;
    (file_identity(stat.st_dev, stat.st_ino, size, mtime_ns, ctime_ns), mtime_ns, ctime_ns)
}

/// Identity of the file with this NUL-terminated name.
pub fn named(name: &[u8; PATH_BYTES]) -> Option<u64> {
    // SAFETY: all zeros are a valid stat, which the kernel fills; the name ends with a NUL.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        let there = sys!(libc::SYS_stat, name.as_ptr(), &raw mut stat) == 0;
        there.then(|| identity_of(&stat).0)
    }
}

/// Identifies an open file and keeps a copy if replay may need one. Only regular files.
pub fn identify(fd: u64, flags: u32) -> Identified {
    let mut file = Identified::NONE;
    // SAFETY: stat and path buffers are ours; `fd` is only looked at.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        if sys!(libc::SYS_fstat, fd, &raw mut stat) != 0
            || stat.st_mode & libc::S_IFMT != libc::S_IFREG
        {
            return file;
        }
        let mut link = [0u8; 32];
        proc_fd(fd, &mut link);
        let room = &mut file.bytes[FILE_ID_BYTES..];
        let n = sys!(libc::SYS_readlink, link.as_ptr(), room.as_mut_ptr(), PATH_BYTES);
        let path = room.get(..n.max(0) as usize).unwrap_or(&[]);
        let left = gone(path, &stat);
        file.len = FILE_ID_BYTES + left.unwrap_or(path.len());
        let (identity, mtime_ns, ctime_ns) = identity_of(&stat);
        file.id = FileId {
            identity,
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mtime_ns,
            ctime_ns,
            mode: stat.st_mode,
            flags,
        };
        let fresh = mtime_ns >= arena::header().started_ns.load(Ordering::Relaxed);
        let own = fresh || left.is_some() || stat.st_uid != 0 || !of_the_system(file.path());
        if own || flags & (kept::SHARED | kept::COPIED) != 0 {
            file.id.flags |= if keep(fd, &file.id) { kept::COPY } else { kept::FAILED };
        }
    }
    file.store();
    file
}

/// What the kernel adds to the name of a file that has been removed or replaced.
const DELETED: &[u8] = b" (deleted)";

/// Length of the path without [`DELETED`], if another file or none is there by now.
fn gone(path: &[u8], stat: &libc::stat) -> Option<usize> {
    let rest = path.strip_suffix(DELETED)?;
    if path.starts_with(b"/memfd:") {
        return None;
    }
    let mut name = [0u8; PATH_BYTES];
    name.get_mut(..path.len())?.copy_from_slice(path);
    *name.get_mut(path.len())? = 0;
    // SAFETY: all zeros are a valid stat, which the kernel fills; the name ends with a NUL.
    let named_so = unsafe {
        let mut found: libc::stat = core::mem::zeroed();
        sys!(libc::SYS_stat, name.as_ptr(), &raw mut found) == 0 && found.st_ino == stat.st_ino
    };
    (!named_so).then_some(rest.len())
}

/// Opens a mapped file, even if another one has its name by now; a negative errno if it can't be.
pub fn open_mapped(file: &Mapped<'_>) -> i64 {
    const FLAGS: i32 = libc::O_RDONLY | libc::O_CLOEXEC;
    const PLACES: &[u8] = b"/proc/self/map_files/";
    let mut name = [0u8; PATH_BYTES];
    let Some(to) = name.get_mut(..file.path.len()) else { return -i64::from(libc::ENAMETOOLONG) };
    to.copy_from_slice(file.path);
    // SAFETY: NUL-terminated names of ours, and a buffer for the link.
    let opened = unsafe { sys!(libc::SYS_open, name.as_ptr(), FLAGS) };
    if opened >= 0 || !file.path.ends_with(DELETED) {
        return opened;
    }
    let exe = c"/proc/self/exe".as_ptr();
    // SAFETY: as above.
    let n = unsafe { sys!(libc::SYS_readlink, exe, name.as_mut_ptr(), name.len()) };
    if name.get(..n.max(0) as usize) == Some(file.path) {
        // SAFETY: as above.
        return unsafe { sys!(libc::SYS_open, exe, FLAGS) };
    }
    // Only with privileges. The name is the range as maps has it, without leading zeros.
    name.fill(0);
    let range = file.range.iter().skip_while(|b| **b == b'0');
    for (to, byte) in name.iter_mut().zip(PLACES.iter().chain(range)) {
        *to = *byte;
    }
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_open, name.as_ptr(), FLAGS) }
}

/// True for what a distribution installs.
pub fn of_the_system(path: &[u8]) -> bool {
    let prefixes: [&[u8]; 7] =
        [b"/usr/lib", b"/usr/bin/", b"/usr/sbin/", b"/lib", b"/bin/", b"/sbin/", b"/etc/ld.so"];
    let others: [&[u8]; 2] = [b"/usr/share/", b"/usr/libexec/"];
    prefixes.iter().chain(&others).any(|prefix| path.starts_with(prefix))
}

/// Writes `/proc/self/fd/<fd>`, NUL-terminated if `to` was zero.
pub fn proc_fd(fd: u64, to: &mut [u8; 32]) {
    let head = b"/proc/self/fd/";
    to[..head.len()].copy_from_slice(head);
    let mut digits = [0u8; 10];
    let (mut n, mut count) = (fd as u32, 0);
    loop {
        digits[count] = b'0' + (n % 10) as u8;
        n /= 10;
        count += 1;
        if n == 0 {
            break;
        }
    }
    for i in 0..count {
        to[head.len() + i] = digits[count - 1 - i];
    }
}

/// `<dir>/<16 hex digits><suffix>`, NUL-terminated; false if `dir` is empty or too long.
fn kept_name(
    dir: &[core::sync::atomic::AtomicU8],
    identity: u64,
    suffix: &[u8],
    to: &mut [u8; NAME_BYTES],
) -> bool {
    let len = arena::string(dir, to);
    if len == 0 || len >= PATH_BYTES {
        return false;
    }
    to[len] = b'/';
    for i in 0..16 {
        let digit = (identity >> (60 - i * 4) & 15) as u8;
        to[len + 1 + i] = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    }
    let end = len + 17;
    to[end..end + suffix.len()].copy_from_slice(suffix);
    to[end + suffix.len()] = 0;
    true
}

/// Puts a copy of the file into the session; true if one is there.
fn keep(fd: u64, id: &FileId) -> bool {
    let header = arena::header();
    let (mut name, mut shared) = ([0; NAME_BYTES], [0; NAME_BYTES]);
    let mut part = [0; NAME_BYTES];
    if !kept_name(&header.files_dir, id.identity, b"", &mut name) {
        return false;
    }
    let cached = kept_name(&header.cache_dir, id.identity, b"", &mut shared);
    // SAFETY: gettid takes no argument.
    let tid = unsafe { sys!(libc::SYS_gettid) } as u32;
    let suffix =
        [b'.', b'a' + (tid & 15) as u8, b'a' + (tid >> 4 & 15) as u8, b'a' + (tid >> 8 & 15) as u8];
    kept_name(&header.files_dir, id.identity, &suffix, &mut part);
    // SAFETY: NUL-terminated names of ours; the guest's fd is only read at explicit offsets.
    unsafe {
        if sys!(libc::SYS_access, name.as_ptr(), 0) == 0
            || cached && sys!(libc::SYS_link, shared.as_ptr(), name.as_ptr()) == 0
        {
            return true;
        }
        let mut limit = [u64::MAX; 2];
        sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_FSIZE, 0, limit.as_mut_ptr());
        if id.size > limit[0] {
            // The kernel would send SIGXFSZ.
            return false;
        }
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
        let to = sys!(libc::SYS_open, part.as_ptr(), flags, 0o700);
        if to < 0 {
            return false;
        }
        let mut at = 0u64;
        while at < id.size {
            let left = id.size - at;
            let mut n = sys!(libc::SYS_copy_file_range, fd, &raw mut at, to, 0, left, 0);
            if n <= 0 {
                n = sys!(libc::SYS_sendfile, to, fd, &raw mut at, left);
            }
            if n <= 0 {
                break;
            }
        }
        sys!(libc::SYS_close, to);
        if at < id.size || sys!(libc::SYS_rename, part.as_ptr(), name.as_ptr()) != 0 {
            sys!(libc::SYS_unlink, part.as_ptr());
            return false;
        }
        if cached {
            sys!(libc::SYS_link, name.as_ptr(), shared.as_ptr());
        }
    }
    true
}

/// What an exec is about to run.
pub struct Target {
    file: Identified,
    interpreter: Identified,
    /// Why the program can't be intercepted.
    pub opaque: Option<&'static [u8]>,
}

/// Why a program runs from a copy; the text of a note.
pub const COPIED: &[u8] = b"a setuid program of this user runs from a copy without the bit, \
                            so that its addresses are not randomised; it sees the copy's name in \
                            /proc";

impl Target {
    /// The executed file, as the log has it.
    pub fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    /// Path of a script's interpreter, or empty.
    pub fn interpreter_path(&self) -> &[u8] {
        self.interpreter.path()
    }

    /// The interpreter of a script, as the log has it.
    pub fn interpreter_bytes(&self) -> &[u8] {
        self.interpreter.bytes()
    }

    /// NUL-terminated path of the copy that must be executed instead, and its length, if so.
    pub fn copy(&self, to: &mut [u8; NAME_BYTES]) -> Option<usize> {
        let copied = self.opaque.is_none() && self.file.id.flags & kept::COPIED != 0;
        if !copied || !kept_name(&arena::header().files_dir, self.file.id.identity, b"", to) {
            return None;
        }
        to.iter().position(|byte| *byte == 0)
    }
}

/// Looks at what `path` would execute.
pub fn executable(dirfd: u64, path: u64, flags: u64) -> Target {
    let mut target = Target { file: Identified::NONE, interpreter: Identified::NONE, opaque: None };
    let at_empty =
        flags & libc::AT_EMPTY_PATH as u64 != 0 && Guest.u32(path).unwrap_or(0) & 0xff == 0;
    // SAFETY: the guest's path is only read by the kernel; the descriptor is closed below.
    let fd = unsafe {
        if at_empty {
            dirfd as i64
        } else {
            sys!(libc::SYS_openat, dirfd, path, libc::O_RDONLY | libc::O_CLOEXEC)
        }
    };
    if fd < 0 {
        return target;
    }
    let fd = fd as u64;
    let effect = privileges::of(fd);
    // Only where the log is replayed do addresses matter.
    let recorded = arena::header().mode.load(Ordering::Relaxed) == Mode::Record as u32;
    let copied = if recorded && effect == Effect::Randomised { kept::COPIED } else { 0 };
    target.file = identify(fd, kept::EXECUTED | copied);
    let mut script = Script::default();
    if script.parse_fd(fd) {
        // SAFETY: a NUL-terminated path of ours.
        let fd =
            unsafe { sys!(libc::SYS_open, script.interpreter(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd >= 0 {
            target.interpreter = identify(fd as u64, kept::EXECUTED);
            target.opaque = elf_reason(fd as u64).or(match privileges::of(fd as u64) {
                Effect::None => None,
                Effect::Randomised => Some(b"a script whose interpreter is a setuid program"),
                Effect::Raised(what) => Some(what.as_bytes()),
            });
            // SAFETY: opened above.
            unsafe { sys!(libc::SYS_close, fd) };
        }
    } else {
        let whole = copied == 0 || target.file.id.flags & kept::COPY != 0;
        target.opaque = elf_reason(fd).or(match effect {
            Effect::Raised(what) => Some(what.as_bytes()),
            _ if whole => None,
            _ => Some(b"a setuid program, of which no copy could be made"),
        });
    }
    if !at_empty {
        // SAFETY: opened above.
        unsafe { sys!(libc::SYS_close, fd) };
    }
    target
}

/// Why an ELF file can't be intercepted; None if it can, or is no ELF file at all.
fn elf_reason(fd: u64) -> Option<&'static [u8]> {
    let mut head = [0u8; 64];
    // SAFETY: own buffers.
    unsafe {
        if sys!(libc::SYS_pread64, fd, head.as_mut_ptr(), head.len(), 0) < 64
            || !head.starts_with(b"\x7fELF")
        {
            return None;
        }
        if head[4] != 2 {
            return Some(b"a 32-bit program");
        }
        const EM_X86_64: u8 = 62;
        if head[18] != EM_X86_64 {
            return Some(b"a program for another architecture");
        }
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(w)
        };
        let (table, count) = (word(32), u16::from_le_bytes([head[56], head[57]]));
        for i in 0..u64::from(count.min(64)) {
            let mut kind = [0u8; 4];
            sys!(libc::SYS_pread64, fd, kind.as_mut_ptr(), 4, table + i * 56);
            const PT_INTERP: u32 = 3;
            if u32::from_le_bytes(kind) == PT_INTERP {
                return None;
            }
        }
    }
    Some(b"a static program")
}

/// Replay: where a file of a call's extras is now: the kept copy if the host offers one,
/// else the recorded path (which `scratch` begins with). NUL-terminated; its length.
pub fn recorded_path(
    file: Option<(FileId, usize)>,
    scratch: &[u8],
    to: &mut [u8; PATH_BYTES],
) -> usize {
    let Some((id, len)) = file else { return 0 };
    let mut name = [0; NAME_BYTES];
    // SAFETY: a NUL-terminated name of ours.
    let offered = kept_name(&arena::header().files_dir, id.identity, b"", &mut name)
        && unsafe { sys!(libc::SYS_access, name.as_ptr(), 0) } == 0;
    let from: &[u8] = if offered { &name } else { scratch.get(..len).unwrap_or(&[]) };
    let len = from.iter().position(|b| *b == 0).unwrap_or(from.len()).min(PATH_BYTES - 1);
    to[..len].copy_from_slice(&from[..len]);
    to[len] = 0;
    len
}

/// Opens a recorded file on replay; a negative errno if it is not there.
pub fn open_recorded(extras: &Extras, scratch: &[u8]) -> i64 {
    let mut path = [0; PATH_BYTES];
    if recorded_path(extras.file, scratch, &mut path) == 0 {
        return -i64::from(libc::ENOENT);
    }
    // SAFETY: a NUL-terminated path of ours.
    unsafe { sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

/// What stands for an inode alone, made at `born_ns`.
pub fn inode(dev: u64, ino: u64, born_ns: u64) -> u64 {
    file_identity(dev, ino, 0, born_ns, 0)
}

/// Replay: the name of the file that stands for a recorded [`inode`] which was mapped shared.
pub fn shared_name(inode: u64, to: &mut [u8; NAME_BYTES]) -> bool {
    kept_name(&arena::header().files_dir, inode, b"-shared", to)
}

/// Replay: true once the recorded inode was mapped shared and writable, so that its stand-in
/// holds what was written through that mapping.
pub fn has_stand_in(inode: u64) -> bool {
    let mut name = [0; NAME_BYTES];
    // SAFETY: a NUL-terminated name of ours.
    shared_name(inode, &mut name) && unsafe { sys!(libc::SYS_access, name.as_ptr(), 0) } == 0
}
