//! Who can change memory that is mapped shared.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use core::sync::atomic::Ordering;

use super::{PATH_BYTES, of_the_system, proc_fd};
use crate::arena;
use crate::sys::sys;

/// Who can change memory besides the process that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Other processes of the session: it must be ordered.
    pub tree: bool,
    /// Processes outside of the session: what they change is not in the log.
    pub outside: bool,
}

impl Reach {
    /// Private memory.
    pub const NOBODY: Reach = Reach { tree: false, outside: false };

    /// Who can change a shared mapping of the file `fd`; `writable`: it is mapped to be written.
    pub fn of_file(fd: u64, writable: bool) -> Reach {
        let Some(stat) = regular(fd) else { return Reach { tree: writable, outside: false } };
        let started_ns = arena::header().started_ns.load(Ordering::Relaxed);
        let fresh = ns(&stat.stx_mtime) >= started_ns || ns(&stat.stx_ctime) >= started_ns;
        // Where the file system keeps no time of birth, that of its last change has to do.
        let born_here = born_ns(&stat).map_or(fresh, |born| born >= started_ns);
        if !writable && !fresh && is_the_systems(fd) {
            return Reach::NOBODY;
        }
        // SAFETY: no pointers, and an empty, NUL-terminated path.
        let (mode, may_write) = unsafe {
            const AT_EACCESS: i32 = 0x200;
            let flags = libc::AT_EMPTY_PATH | AT_EACCESS;
            let access = sys!(libc::SYS_faccessat2, fd, c"".as_ptr(), libc::W_OK, flags);
            (sys!(libc::SYS_fcntl, fd, libc::F_GETFL), access == 0)
        };
        // What is open for writing can be mapped so later, by mprotect too.
        let opened = mode >= 0 && mode as i32 & libc::O_ACCMODE == libc::O_RDWR;
        Reach { tree: writable || opened || fresh || may_write, outside: !born_here }
    }

    /// Who can change a System V segment that was made at `made_s`, seconds since the epoch.
    pub fn of_segment(made_s: u64) -> Reach {
        let started_ns = arena::header().started_ns.load(Ordering::Relaxed);
        Reach { tree: true, outside: made_s < started_ns / 1_000_000_000 }
    }
}

/// What the kernel tells of a regular file; None of another.
pub fn regular(fd: u64) -> Option<libc::statx> {
    // SAFETY: all zeros are a valid statx, which the kernel fills.
    let mut stat: libc::statx = unsafe { core::mem::zeroed() };
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: own buffer and an empty, NUL-terminated path.
    let known = unsafe {
        sys!(libc::SYS_statx, fd, c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut stat)
    };
    (known == 0 && u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG).then_some(stat)
}

/// When a file was made, nanoseconds since the epoch, if its file system knows.
pub fn born_ns(stat: &libc::statx) -> Option<u64> {
    (stat.stx_mask & libc::STATX_BTIME != 0).then(|| ns(&stat.stx_btime))
}

fn ns(time: &libc::statx_timestamp) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.into())
}

fn is_the_systems(fd: u64) -> bool {
    let mut link = [0u8; 32];
    proc_fd(fd, &mut link);
    let mut path = [0u8; PATH_BYTES];
    // SAFETY: a NUL-terminated name and a buffer of ours.
    let n = unsafe { sys!(libc::SYS_readlink, link.as_ptr(), path.as_mut_ptr(), path.len()) };
    of_the_system(path.get(..n.max(0) as usize).unwrap_or(&[]))
}
