//! What a replay writes to stdout and stderr, in the recorded order.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log_format::arena::OUTPUT_BYTES;

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
    /// A closed pipe is not written to again.
    closed: [bool; 2],
    buf: Vec<u8>,
}

impl Output {
    /// Output of the guests of `arena`; `holes` are the manifest's.
    pub fn new(arena: Arc<ArenaMap>, holes: &[u64]) -> Output {
        let mut holes = holes.to_vec();
        holes.sort_unstable();
        Output { arena, holes, which: 0, left: 0, padding: 0, closed: [false; 2], buf: Vec::new() }
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
        let done = match self.which {
            STDERR if self.closed[1] => return,
            STDERR => std::io::stderr().write_all(&self.buf),
            _ if self.closed[0] => return,
            _ => {
                let mut out = std::io::stdout().lock();
                out.write_all(&self.buf).and_then(|()| out.flush())
            }
        };
        if let Err(e) = done
            && e.kind() != ErrorKind::WouldBlock
        {
            self.closed[usize::from(self.which == STDERR)] = true;
        }
    }
}
