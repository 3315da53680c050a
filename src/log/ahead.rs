//! Frames read, decompressed and checked by threads of their own, a few ahead of their reader.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::chunk::Header;
use super::frames::{FrameAt, Frames};
use crate::error::{Error, Result};

/// Most threads for one log.
const THREADS_MAX: usize = 4;
/// Frames of a thread that wait for their reader: one is at most a slot, 256 KiB.
const WAITING: usize = 2;

/// A frame, and where the next one is expected.
struct Ready {
    header: Header,
    raw: Vec<u8>,
    next: FrameAt,
}

/// A thread that reads one frame of so many.
struct Worker {
    ready: Receiver<Result<Option<Ready>>>,
    /// Buffers to use again.
    spare: Sender<Vec<u8>>,
}

/// Reads a log's frames.
pub(super) struct Ahead {
    workers: Vec<Worker>,
    /// The worker that has the next one.
    turn: usize,
    /// The reader has had the end, or an error.
    ended: bool,
}

impl Ahead {
    /// Begins to read from where `frames` stands.
    ///
    /// # Errors
    /// No thread or memory for it.
    pub(super) fn begin(frames: &Frames) -> Result<Ahead> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let workers = (0..threads).map(|n| Worker::begin(frames.again()?, n, threads - 1));
        Ok(Ahead { workers: workers.collect::<Result<_>>()?, turn: 0, ended: false })
    }

    /// Appends the next frame's raw bytes to `out`; its header and where the next one is
    /// expected, or none at the end.
    ///
    /// # Errors
    /// As [`Frames::read`].
    pub(super) fn read(&mut self, out: &mut Vec<u8>) -> Result<Option<(Header, FrameAt)>> {
        let Some(worker) = self.workers.get(self.turn).filter(|_| !self.ended) else {
            return Ok(None);
        };
        // A thread that panicked has aborted the program: each says how it ends.
        match worker.ready.recv().unwrap_or(Ok(None)) {
            Ok(Some(mut found)) => {
                if out.is_empty() {
                    std::mem::swap(out, &mut found.raw);
                } else {
                    out.extend_from_slice(&found.raw);
                }
                // Nobody takes it if the worker has read its last frame.
                let _ = worker.spare.send(found.raw);
                self.turn = (self.turn + 1) % self.workers.len();
                Ok(Some((found.header, found.next)))
            }
            last => {
                self.ended = true;
                last.map(|_| None)
            }
        }
    }
}

impl Worker {
    /// Begins to read: passes over `first` frames, and over `others` after each one read.
    fn begin(mut frames: Frames, first: usize, others: usize) -> Result<Worker> {
        let (to_reader, ready) = sync_channel(WAITING);
        let (spare, used) = channel();
        std::thread::Builder::new()
            .name("frames".into())
            .spawn(move || {
                let mut pass = first;
                while give(&mut frames, pass, &to_reader, &used) {
                    pass = others;
                }
            })
            .map_err(Error::io("make a thread"))?;
        Ok(Worker { ready, spare })
    }
}

/// Gives the reader the frame after `pass` others, or the end or the error that comes instead;
/// whether there may be more, and somebody who wants them.
fn give(
    frames: &mut Frames,
    pass: usize,
    to: &SyncSender<Result<Option<Ready>>>,
    used: &Receiver<Vec<u8>>,
) -> bool {
    for _ in 0..pass {
        match frames.skip() {
            Ok(Some(_)) => {}
            // It stands before this worker's frame, so the reader gets it from another.
            Ok(None) | Err(_) => return false,
        }
    }
    let mut raw = used.try_recv().unwrap_or_default();
    raw.clear();
    let header = frames.read(&mut raw);
    let found = header.map(|h| h.map(|header| Ready { header, raw, next: frames.position() }));
    let goes_on = matches!(found, Ok(Some(_)));
    to.send(found).is_ok() && goes_on
}
