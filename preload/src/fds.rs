//! Which file descriptors are the session's stdin, stdout or stderr, a source of randomness, a
//! file, or a connection to the player.
//!
//! Kept while recording and in a network replay; the log says it to a process replay. A fork copies
//! it with the memory, an exec hands it over in the arena.
#![allow(unsafe_code, reason = "the table in the process's block")]

use core::sync::atomic::{AtomicU64, Ordering};

use log_format::arena::{ProcEntry, handed};

use crate::arena;
use crate::process::Process;
use crate::sys::sys;
use crate::thread::BLOCK_BYTES;

/// What an fd is, as far as rr-run must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// Anything else.
    Other = 0,
    /// The session's stdin.
    Stdin = 1,
    /// The session's stdout.
    Stdout = 2,
    /// The session's stderr.
    Stderr = 3,
    /// /dev/urandom or /dev/random.
    Random = 4,
    /// Any other file opened by its name.
    File = 5,
    /// The memory of a process: `/proc/<pid>/mem`.
    Memory = 6,
    /// /proc/sys/kernel/random/uuid.
    Uuid = 7,
    /// Network replay: a connection to the player.
    Answered = 8,
}

impl What {
    fn from_u8(value: u8) -> What {
        match value {
            1 => What::Stdin,
            2 => What::Stdout,
            3 => What::Stderr,
            4 => What::Random,
            5 => What::File,
            6 => What::Memory,
            7 => What::Uuid,
            8 => What::Answered,
            _ => What::Other,
        }
    }
}

/// Where in the process's block the table is.
const TABLE_AT: u64 = 64 * 1024;
/// Descriptors that the table has room for, four bits each.
const FDS: u32 = ((BLOCK_BYTES - TABLE_AT) * 2) as u32;
/// Descriptors that [`ProcEntry::std_fds`] has room for.
const STD_FDS: u32 = 256;

const _: () = assert!(size_of::<Process>() <= TABLE_AT as usize);

/// The descriptors by number.
pub struct Fds {
    table: *mut u8,
    /// Those from here on are [`What::Other`]; a multiple of two.
    used: u32,
}

impl Fds {
    /// Nothing known, for the process in this block.
    pub fn new(process: *mut Process) -> Fds {
        Fds { table: (process as u64 + TABLE_AT) as *mut u8, used: 0 }
    }

    /// What `fd` is.
    pub fn get(&self, fd: u64) -> What {
        let fd = fd as u32;
        if fd >= self.used {
            return What::Other;
        }
        // SAFETY: `used` is never more than the table has room for.
        let byte = unsafe { self.table.add(fd as usize / 2).read() };
        What::from_u8(byte >> (fd % 2 * 4) & 15)
    }

    /// Notes what `fd` is now; false if the table ends before it and it can't be followed.
    pub fn set(&mut self, fd: u64, what: What) -> bool {
        let fd = fd as u32;
        if fd >= self.used {
            if what == What::Other {
                return true;
            }
            if fd >= FDS {
                return false;
            }
            let (from, to) = (self.used as usize / 2, fd as usize / 2 + 1);
            // SAFETY: `fd` is inside the table.
            unsafe { core::ptr::write_bytes(self.table.add(from), 0, to - from) };
            self.used = to as u32 * 2;
        }
        let shift = fd % 2 * 4;
        // SAFETY: as in `get`.
        unsafe {
            let at = self.table.add(fd as usize / 2);
            at.write(at.read() & !(15 << shift) | (what as u8) << shift);
        }
        true
    }

    /// Forgets all from `first` to `last`.
    pub fn close_range(&mut self, first: u64, last: u64) {
        for fd in first..u64::from(self.used).min(last.saturating_add(1)) {
            self.set(fd, What::Other);
        }
    }

    /// A copy for a process in another block.
    pub fn copy(&self, to: *mut Process) -> Fds {
        let copy = Fds { used: self.used, ..Fds::new(to) };
        // SAFETY: both tables have room for `used`.
        unsafe {
            core::ptr::copy_nonoverlapping(self.table, copy.table, self.used as usize / 2);
        }
        copy
    }

    /// The session's standard fds, two bits each, as [`ProcEntry::std_fds`] holds them.
    pub fn to_words(&self) -> [u64; 8] {
        let mut words = [0; 8];
        for fd in 0..self.used.min(STD_FDS) {
            let what = self.get(fd.into()) as u64;
            if what <= What::Stderr as u64
                && let Some(word) = words.get_mut(fd as usize / 32)
            {
                *word |= what << (fd % 32 * 2);
            }
        }
        words
    }

    /// Leaves what the next image must know in the arena; false if there is no room for all of it.
    pub fn hand_over(&self, index: u32) -> bool {
        let entry = arena::proc(index);
        for (to, word) in entry.std_fds.iter().zip(self.to_words()) {
            to.store(word, Ordering::Relaxed);
        }
        take_back(index);
        let mut free = arena::handed().iter();
        for fd in 0..self.used {
            let what = self.get(fd.into());
            match what {
                What::Other | What::File | What::Answered => continue,
                What::Stdin | What::Stdout | What::Stderr if fd < STD_FDS => continue,
                What::Stdin
                | What::Stdout
                | What::Stderr
                | What::Random
                | What::Memory
                | What::Uuid => {}
            }
            let word = handed::word(index, what as u8, fd);
            let found = free.any(|slot| {
                slot.load(Ordering::Relaxed) == 0
                    && slot.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            });
            if !found {
                return false;
            }
            entry.handed.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// What the image before an exec, or the host, has left for the process in this block and with
    /// this entry: of the descriptors that are still there.
    pub fn take_over(process: *mut Process, index: u32) -> Fds {
        let mut fds = Fds::new(process);
        let open = |fd: u32| {
            // SAFETY: only asks.
            unsafe { sys!(libc::SYS_fcntl, fd, libc::F_GETFD) >= 0 }
        };
        let entry: &ProcEntry = arena::proc(index);
        for fd in 0..STD_FDS {
            let word = entry.std_fds.get(fd as usize / 32).map_or(0, |w| w.load(Ordering::Relaxed));
            let what = What::from_u8((word >> (fd % 32 * 2) & 3) as u8);
            if what != What::Other && open(fd) {
                // What the user redirects rr-run's own stdin to.
                let random = what == What::Stdin && is_random(fd.into());
                fds.set(fd.into(), if random { What::Random } else { what });
            }
        }
        each_handed(index, |word, what, fd| {
            if open(fd) {
                fds.set(fd.into(), What::from_u8(what));
            }
            word.store(0, Ordering::Release);
        });
        fds
    }
}

/// Frees what was handed over and not taken: the exec has failed, or the process was killed.
pub fn take_back(index: u32) {
    each_handed(index, |word, _, _| word.store(0, Ordering::Release));
}

/// Calls `f` with each word about a descriptor that is handed over to this process entry, and what
/// it says.
fn each_handed(index: u32, mut f: impl FnMut(&AtomicU64, u8, u32)) {
    let mut left = arena::proc(index).handed.swap(0, Ordering::AcqRel);
    for word in arena::handed() {
        if left == 0 {
            return;
        }
        if let Some((what, fd)) = handed::read(word.load(Ordering::Acquire), index) {
            f(word, what, fd);
            left -= 1;
        }
    }
}

/// True if a descriptor is one of a random device.
pub fn is_random(fd: u64) -> bool {
    const RANDOM: u64 = 0x108;
    const URANDOM: u64 = 0x109;
    // SAFETY: all zeros are a valid stat, which the kernel fills.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        sys!(libc::SYS_fstat, fd, &raw mut stat) == 0
            && stat.st_mode & libc::S_IFMT == libc::S_IFCHR
            && [RANDOM, URANDOM].contains(&stat.st_rdev)
    }
}
