//! Files: which one a call would change, as the kernel finds it, and whether it may.
//!
//! The kernel resolves the path for us: what is opened with O_PATH has its true path in
//! /proc/self/fd. Another process may change a link in between: this is no wall against that.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use log_format::policy::{is_always_writable, is_beneath, rule};
use log_format::table::{Act, Memory, OpenFlags, Row, open as flag, opens_for_writing};

use super::{ACCESS, Text, any_rule};
use crate::files::proc_fd;
use crate::sys::{Guest, sys};

/// Longest path that the kernel takes, with its NUL.
const PATH_BYTES: usize = 4096;
/// Links at the end of a path that are followed to a file that is yet to be made.
const LINKS_MAX: usize = 40;
const AT_CWD: u64 = libc::AT_FDCWD as i64 as u64;
const NAME_ONLY: i32 = libc::O_PATH | libc::O_CLOEXEC;

/// A path, NUL-terminated.
pub struct PathText {
    bytes: [u8; PATH_BYTES],
    len: usize,
}

impl PathText {
    /// The empty path.
    pub fn new() -> PathText {
        PathText { bytes: [0; PATH_BYTES], len: 0 }
    }

    /// Its bytes.
    pub fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    fn address(&self) -> u64 {
        self.bytes.as_ptr() as u64
    }

    fn set(&mut self, from: &[u8]) -> bool {
        self.len = 0;
        self.push(from)
    }

    fn push(&mut self, from: &[u8]) -> bool {
        let end = self.len + from.len();
        let fits = end < PATH_BYTES;
        if let Some(to) = self.bytes.get_mut(self.len..end).filter(|_| fits) {
            to.copy_from_slice(from);
            self.len = end;
            self.end();
        }
        fits
    }

    fn end(&mut self) {
        if let Some(to) = self.bytes.get_mut(self.len) {
            *to = 0;
        }
    }

    /// Copies the guest's string.
    pub fn copy(&mut self, addr: u64) -> bool {
        let max = PATH_BYTES as u32 - 1;
        let Some(len) = Guest.string_len(addr, max + 1).filter(|len| *len <= max) else {
            return false;
        };
        let len = len as usize;
        let copied = self.bytes.get_mut(..len).is_some_and(|to| Guest.read(addr, to));
        self.len = if copied { len } else { 0 };
        self.end();
        copied
    }

    fn read_link(&mut self, dir: u64, name: u64) -> i64 {
        let to = self.bytes.as_mut_ptr();
        // SAFETY: our buffer, one byte left for the NUL; the name is a string of ours.
        let n = unsafe { sys!(libc::SYS_readlinkat, dir, name, to, PATH_BYTES - 1) };
        self.len = n.max(0) as usize;
        self.end();
        n
    }

    /// The true path of what is open.
    pub fn of_descriptor(&mut self, fd: u64) -> bool {
        let mut link = [0u8; 32];
        proc_fd(fd, &mut link);
        self.read_link(AT_CWD, link.as_ptr() as u64) >= 0
    }
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Something that is there; its true path is known.
    There,
    /// Nothing yet; the path it would have is known.
    Absent,
    /// The kernel can't go so far either: the call fails by itself.
    Fails,
    /// It could not be found out.
    Unknown,
}

fn of_errno(errno: i64) -> Found {
    match -errno as i32 {
        libc::ENOENT
        | libc::ENOTDIR
        | libc::EACCES
        | libc::ELOOP
        | libc::ENAMETOOLONG
        | libc::EFAULT
        | libc::EBADF => Found::Fails,
        _ => Found::Unknown,
    }
}

fn close(fd: u64) {
    // SAFETY: opened by the caller.
    unsafe { sys!(libc::SYS_close, fd) };
}

/// Resolves the guest's path from the directory `dir`.
pub fn resolve(dir: u64, path: u64, follow: bool, found: &mut PathText) -> Found {
    let mut given = PathText::new();
    if !given.copy(path) {
        return Found::Fails;
    }
    if given.get().is_empty() {
        // AT_EMPTY_PATH: the directory itself.
        return match dir {
            AT_CWD => Found::Fails,
            fd if found.of_descriptor(fd) => Found::There,
            _ => Found::Fails,
        };
    }
    let mut dir_here = dir;
    let mut result = Found::Fails;
    for _ in 0..LINKS_MAX {
        let (next, stop) = step(dir_here, &mut given, follow, found);
        if dir_here != dir {
            close(dir_here);
        }
        dir_here = dir;
        match (next, stop) {
            (_, Some(stop)) => {
                result = stop;
                break;
            }
            (Some(next), None) => dir_here = next,
            (None, None) => break,
        }
    }
    if dir_here != dir {
        close(dir_here);
    }
    result
}

/// One attempt: the end, or a link in `given` and the descriptor of the directory it is in.
fn step(
    dir: u64,
    given: &mut PathText,
    follow: bool,
    found: &mut PathText,
) -> (Option<u64>, Option<Found>) {
    let whole = given.get();
    let trimmed = trim_slashes(whole);
    let cut = trimmed.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let (parent, name) = trimmed.split_at(cut);
    let ends_in_dir = name.is_empty() || name == b"." || name == b"..";
    if follow || ends_in_dir {
        // SAFETY: a NUL-terminated path of ours.
        let fd = unsafe { sys!(libc::SYS_openat, dir, given.address(), NAME_ONLY) };
        if fd >= 0 {
            let known = found.of_descriptor(fd as u64);
            close(fd as u64);
            return (None, Some(if known { Found::There } else { Found::Unknown }));
        }
        if ends_in_dir || fd != -i64::from(libc::ENOENT) {
            return (None, Some(of_errno(fd)));
        }
    }
    let (mut last, mut before) = (PathText::new(), PathText::new());
    if !last.set(name) || !before.set(if parent.is_empty() { b"." } else { parent }) {
        return (None, Some(Found::Fails));
    }
    let flags = NAME_ONLY | libc::O_DIRECTORY;
    // SAFETY: as above.
    let fd = unsafe { sys!(libc::SYS_openat, dir, before.address(), flags) };
    if fd < 0 {
        return (None, Some(of_errno(fd)));
    }
    let fd = fd as u64;
    let n = given.read_link(fd, last.address());
    if n >= 0 && follow {
        return (Some(fd), None);
    }
    let known = found.of_descriptor(fd)
        && (found.get() == b"/" || found.push(b"/"))
        && found.push(last.get());
    close(fd);
    let there = n >= 0 || n == -i64::from(libc::EINVAL);
    let stop = match (known, there) {
        (false, _) => Found::Unknown,
        (true, true) => Found::There,
        (true, false) if n == -i64::from(libc::ENOENT) => Found::Absent,
        (true, false) => of_errno(n),
    };
    (None, Some(stop))
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let len = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    path.get(..len).unwrap_or(path)
}

/// EACCES, unless the policy lets the file be written.
fn judge(what: &[u8], path: &PathText, why: &mut Text) -> Option<i64> {
    let path = path.get();
    if is_always_writable(path) || any_rule(rule::WRITE, |dir| is_beneath(path, dir)) {
        return None;
    }
    why.set(&[what, b" ", path]);
    Some(ACCESS)
}

fn unknown(what: &[u8], why: &mut Text) -> Option<i64> {
    why.set(&[what, b" a file whose path could not be found out"]);
    Some(ACCESS)
}

fn arg(args: &[u64; 6], at: impl Into<usize>) -> u64 {
    args.get(at.into()).copied().unwrap_or(0)
}

fn dir_of(row: &Row, args: &[u64; 6], path: u8) -> u64 {
    // Of a directory's descriptor the kernel takes 32 bits.
    row.dir_of(path).map_or(AT_CWD, |at| arg(args, at) as i32 as i64 as u64)
}

/// open, openat, openat2, creat.
pub fn open(row: &Row, args: &[u64; 6], path: u8, why: &mut Text) -> Option<i64> {
    let flags = match row.open_flags() {
        Some(OpenFlags::Arg(at)) => arg(args, at),
        Some(OpenFlags::How(at)) => Guest.u64(arg(args, at))?,
        None => flag::WRITES | flag::CREATES | flag::TRUNCATES,
    };
    let addr = arg(args, path);
    if !opens_for_writing(flags) || is_standard(addr) {
        return None;
    }
    let exclusive = flags & (flag::CREATES | flag::EXCLUSIVE) == flag::CREATES | flag::EXCLUSIVE;
    let follow = flags & flag::NO_FOLLOW == 0 && !exclusive;
    let mut found = PathText::new();
    match resolve(dir_of(row, args, path), addr, follow, &mut found) {
        Found::Fails => None,
        Found::Absent if flags & flag::CREATES == 0 => None,
        Found::There if exclusive => None,
        Found::Unknown => unknown(b"write", why),
        Found::There | Found::Absent => judge(b"write", &found, why),
    }
}

/// Names of what is open already as standard input, output and error.
fn is_standard(addr: u64) -> bool {
    let mut path = PathText::new();
    let starts: [&[u8]; 3] = [b"/dev/fd/", b"/proc/self/fd/", b"/proc/thread-self/fd/"];
    path.copy(addr)
        && (matches!(path.get(), b"/dev/stdout" | b"/dev/stderr")
            || starts.iter().any(|s| matches!(path.get().strip_prefix(*s), Some(b"1" | b"2"))))
}

/// Calls that act on names.
pub fn acts(row: &Row, args: &[u64; 6], acts: &[Act], why: &mut Text) -> Option<i64> {
    for act in acts {
        let follow = matches!(act, Act::Changes(_)) && row.follows(args);
        let (dir, path) = (dir_of(row, args, act.arg()), arg(args, act.arg()));
        let mut found = PathText::new();
        // utimensat without a path is about the descriptor.
        let what = if path == 0 && found.of_descriptor(dir) {
            Found::There
        } else {
            resolve(dir, path, follow, &mut found)
        };
        match (what, act) {
            // The kernel says so itself, and nothing is changed.
            (Found::Fails, _)
            | (Found::There, Act::Creates(_))
            | (Found::Absent, Act::Removes(_) | Act::Changes(_) | Act::ChangesEntry(_)) => {
                return None;
            }
            (Found::Unknown, _) => return unknown(row.name.as_bytes(), why),
            (Found::There | Found::Absent, _) => {}
        }
        let ret = judge(row.name.as_bytes(), &found, why);
        if ret.is_some() {
            return ret;
        }
    }
    None
}

/// Calls that change the attributes of an open file.
pub fn descriptor(fd: u64, why: &mut Text) -> Option<i64> {
    let mut found = PathText::new();
    if found.of_descriptor(fd) { judge(b"change", &found, why) } else { None }
}

/// Whether there is a file of this name.
pub fn is_there(addr: u64) -> bool {
    // SAFETY: the guest's string; the kernel says if it can't be read.
    unsafe { sys!(libc::SYS_access, addr, libc::F_OK) == 0 }
}

/// bind to a path makes a socket there.
pub fn bind(args: &[u64; 6], why: &mut Text) -> Option<i64> {
    const PATH_AT: usize = 2;
    let mut raw = [0u8; 111];
    let len = (args[2] as u32 as usize).min(110);
    let read = raw.get_mut(..len).is_some_and(|to| Guest.read(args[1], to));
    let [first, second, path, ..] = raw;
    let family = i32::from(u16::from_le_bytes([first, second]));
    if !read || family != libc::AF_UNIX || len <= PATH_AT || path == 0 {
        return None;
    }
    let mut found = PathText::new();
    match resolve(AT_CWD, raw.as_ptr() as u64 + PATH_AT as u64, false, &mut found) {
        Found::Fails | Found::There => None,
        Found::Unknown => unknown(b"bind", why),
        Found::Absent => judge(b"bind", &found, why),
    }
}
