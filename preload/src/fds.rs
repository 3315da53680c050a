//! Which file descriptors are the session's stdin, stdout or stderr, a random device, or a file.
//!
//! Kept while recording only; the log says it to the replay.

use core::sync::atomic::Ordering;

use log_format::arena::ProcEntry;

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
}

/// Highest fd that is followed.
const FDS: usize = 256;

/// The descriptors below 256, by number.
#[derive(Clone, Copy)]
pub struct Fds([u8; FDS]);

impl Fds {
    /// Nothing known.
    pub const fn new() -> Fds {
        Fds([0; FDS])
    }

    /// What `fd` is.
    pub fn get(&self, fd: u64) -> What {
        match self.0.get(fd as u32 as usize) {
            Some(1) => What::Stdin,
            Some(2) => What::Stdout,
            Some(3) => What::Stderr,
            Some(4) => What::Random,
            Some(5) => What::File,
            _ => What::Other,
        }
    }

    /// Notes what `fd` is now.
    pub fn set(&mut self, fd: u64, what: What) {
        if let Some(slot) = self.0.get_mut(fd as u32 as usize) {
            *slot = what as u8;
        }
    }

    /// Forgets all from `first` to `last`.
    pub fn close_range(&mut self, first: u64, last: u64) {
        for fd in first..=last.min(FDS as u64 - 1) {
            self.set(fd, What::Other);
        }
    }

    /// The session's standard fds, two bits each, as [`ProcEntry::std_fds`] holds them.
    pub fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        for (fd, what) in self.0.iter().enumerate() {
            if *what <= 3
                && let Some(word) = words.get_mut(fd / 32)
            {
                *word |= u64::from(*what) << (fd % 32 * 2);
            }
        }
        words
    }

    /// Reads an entry's words; `open` tells whether an fd is still there.
    pub fn from_entry(entry: &ProcEntry, open: impl Fn(u64) -> bool) -> Fds {
        let mut fds = Fds::new();
        for (i, word) in entry.std_fds.iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            for j in 0..32 {
                let fd = (i * 32 + j) as u64;
                let what = match word >> (j * 2) & 3 {
                    1 => What::Stdin,
                    2 => What::Stdout,
                    3 => What::Stderr,
                    _ => continue,
                };
                if open(fd) {
                    fds.set(fd, what);
                }
            }
        }
        fds
    }

    /// Writes the words to an entry, for the next image.
    pub fn to_entry(self, entry: &ProcEntry) {
        for (to, word) in entry.std_fds.iter().zip(self.to_words()) {
            to.store(word, Ordering::Relaxed);
        }
    }
}
