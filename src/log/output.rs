//! What a replay writes to stdout and stderr, in the recorded order.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log_format::arena::OUTPUT_BYTES;

use rustix::event::{PollFd, PollFlags, poll};

use super::map::{ArenaMap, ring};

/// Most bytes copied at once.
const PART_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a frame's header in the ring.
const HEADER_BYTES: u64 = 8;
/// Stderr, as `record::extra::OUTPUT` numbers it.
const STDERR: u32 = 2;

/// Copies the arena's output ring to this process's stdout and stderr.
pub struct Output {
    arena: Arc<ArenaMap>,
    /// Numbers that were never logged, ascending.
    holes: Vec<u64>,
    /// The frame being copied: where it goes, bytes and padding left.
    which: u32,
    left: u64,
    padding: u64,
    /// Stdout and stderr, without a buffer; a closed pipe is not written to again.
    to: [Option<File>; 2],
    buf: Vec<u8>,
}

impl Output {
    /// Output of the guests of `arena`; `holes` are the manifest's.
    pub fn new(arena: Arc<ArenaMap>, holes: &[u64]) -> Output {
        let mut holes = holes.to_vec();
        holes.sort_unstable();
        let out = std::io::stdout().as_fd().try_clone_to_owned();
        let err = std::io::stderr().as_fd().try_clone_to_owned();
        let to = [out.ok().map(File::from), err.ok().map(File::from)];
        Output { arena, holes, which: 0, left: 0, padding: 0, to, buf: Vec::new() }
    }

    /// Copies what is there.
    pub fn round(&mut self) {
        let arena = self.arena.clone();
        let header = arena.header();
        let mut read = header.output_read.load(Ordering::Acquire);
        let mut moved = self.pass_holes();
        loop {
            let available = header.output_written.load(Ordering::Acquire).wrapping_sub(read);
            let available = available.min(OUTPUT_BYTES as u64);
            if self.left == 0 && self.padding == 0 {
                if available < HEADER_BYTES {
                    break;
                }
                let mut word = [0; HEADER_BYTES as usize];
                arena.read_output(read, &mut word);
                let word = u64::from_le_bytes(word);
                (self.which, self.left) = (word as u32, word >> 32);
                self.padding = self.left.next_multiple_of(8) - self.left;
                read += HEADER_BYTES;
            } else if self.left > 0 {
                let part = self.left.min(available).min(PART_BYTES_MAX);
                if part == 0 {
                    break;
                }
                self.buf.resize(part as usize, 0);
                arena.read_output(read, &mut self.buf);
                self.put();
                self.left -= part;
                read += part;
            } else {
                if available < self.padding {
                    break;
                }
                read += self.padding;
                self.padding = 0;
            }
            header.output_read.store(read, Ordering::Release);
            moved = true;
        }
        if moved {
            ring(&header.output_bell);
        }
    }

    /// Passes over numbers whose writer was killed before it logged them.
    fn pass_holes(&mut self) -> bool {
        let turn = &self.arena.header().output_seq;
        let mut moved = false;
        while let Ok(at) = self.holes.binary_search(&turn.load(Ordering::Acquire)) {
            let hole = self.holes.remove(at);
            moved |=
                turn.compare_exchange(hole, hole + 1, Ordering::AcqRel, Ordering::Acquire).is_ok();
        }
        moved
    }

    fn put(&mut self) {
        let to = &mut self.to[usize::from(self.which == STDERR)];
        if let Some(file) = to
            && write_all(file, &self.buf).is_err()
        {
            *to = None;
        }
    }
}

/// Writes everything, also to a descriptor that somebody has made non-blocking.
fn write_all(to: &mut File, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(&*to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
