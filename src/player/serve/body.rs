//! Bodies that leave piece by piece, read from the session as they go.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::HeaderMap;
use tokio::task::JoinHandle;

use super::answer::AnswerBody;
use super::units::{Counter, Units};
use crate::error::Result;
use crate::network::GuestEnd;
use crate::player::Timing;
use crate::stream::Body;

/// Least and most that is read from the session at a time, bytes: an answer holds two such parts.
const WINDOW_BYTES: (u64, u64) = (32 << 10, 256 << 10);
/// Timers are late by this much on average, so that pieces leave when they should: the runtime
/// rounds a deadline up to whole milliseconds, and so does what is left of it when it waits.
const LATE: Duration = Duration::from_millis(1);

/// How long the last pieces have to leave before a connection is cut: what hyper still holds then
/// is lost.
const SETTLING: Duration = Duration::from_millis(10);

/// What leaves when.
#[derive(Debug)]
pub(super) struct Plan {
    /// The recorded body.
    pub(super) body: Body,
    /// Fields after it.
    pub(super) trailers: HeaderMap,
    /// When the request was whole.
    pub(super) at: Instant,
    /// The same in the recording, nanoseconds since its start.
    pub(super) asked_ns: u64,
    /// When the exchange ended in the recording.
    pub(super) ended_ns: u64,
    /// How recorded times are used.
    pub(super) timing: Timing,
    /// Whether it ended as it should; else the connection is cut at the end.
    pub(super) whole: bool,
    /// What counts as a token.
    pub(super) units: Units,
    /// Tokens after which the connection is cut.
    pub(super) tokens_max: Option<usize>,
    /// Who is to be told before the last piece, of which exchange.
    pub(super) ends: Option<(GuestEnd, u32)>,
}

/// Sleeps until a time; not at all if it has passed.
pub(super) async fn sleep_until(at: Instant) {
    let at = at.checked_sub(LATE).unwrap_or(at);
    if at > Instant::now() {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// The body that a plan makes.
pub(super) fn send(plan: Plan) -> AnswerBody {
    let (sender, body) = Channel::new(1);
    tokio::spawn(run(plan, sender));
    body.boxed_unsync()
}

async fn run(plan: Plan, mut sender: Sender<Bytes, io::Error>) {
    let Plan { body, trailers, at, asked_ns, ended_ns, timing, whole, units, tokens_max, ends } =
        plan;
    let (mut counter, max) = (Counter::new(units), tokens_max.unwrap_or(usize::MAX));
    if max == 0 {
        return cut(sender).await;
    }
    let mut window = Window::new(body);
    let mut sent: u64 = 0;
    for index in 0..window.body.chunks.len() {
        let chunk = window.body.chunks[index];
        // Read before the time has come.
        let mut piece = match window.next(sent, chunk.end).await {
            Ok(piece) => piece,
            Err(e) => return sender.abort(e),
        };
        let is_last = counter.piece(max);
        let mut last = counter.take(&piece, max);
        sleep_until(at + timing.pause(counter.count, chunk.time_ns.saturating_sub(asked_ns))).await;
        loop {
            sent += piece.len() as u64;
            if let Some(end) = last {
                piece.truncate(end);
            }
            if sent >= window.body.len()
                && let Some((guest, exchange)) = &ends
            {
                guest.answered(*exchange);
            }
            if !piece.is_empty() && sender.send_data(piece).await.is_err() {
                return;
            }
            if last.is_some() {
                return cut(sender).await;
            }
            if sent >= chunk.end {
                break;
            }
            piece = match window.next(sent, chunk.end).await {
                Ok(piece) => piece,
                Err(e) => return sender.abort(e),
            };
            last = counter.take(&piece, max);
        }
        if is_last {
            return cut(sender).await;
        }
    }
    if !whole {
        let due = timing.pause(counter.count, ended_ns.saturating_sub(asked_ns));
        sleep_until(at + due).await;
        return cut(sender).await;
    }
    if !trailers.is_empty() {
        let _ = sender.send_trailers(trailers).await;
    }
}

/// Cuts the connection when what was sent has left.
async fn cut(mut sender: Sender<Bytes, io::Error>) {
    // There is room for it when the last piece was taken.
    if sender.send_data(Bytes::new()).await.is_err() {
        return;
    }
    tokio::time::sleep(SETTLING).await;
    sender.abort(io::Error::new(io::ErrorKind::ConnectionAborted, "cut as in the recording"));
}

/// A part of the body in memory, and the one after it on its way.
struct Window {
    body: Arc<Body>,
    start: u64,
    bytes: Bytes,
    next: Option<JoinHandle<Result<Bytes>>>,
}

impl Window {
    fn new(body: Body) -> Window {
        Window { body: Arc::new(body), start: 0, bytes: Bytes::new(), next: None }
    }

    /// Reads from there on: twice as much as the last time.
    fn read(&self, from: u64) -> JoinHandle<Result<Bytes>> {
        let body = self.body.clone();
        let len = (self.bytes.len() as u64 * 2).clamp(WINDOW_BYTES.0, WINDOW_BYTES.1);
        tokio::task::spawn_blocking(move || body.read(from..from + len))
    }

    /// Bytes from `from` to `to`, or fewer if that is far; each call goes on where the one before
    /// has ended.
    async fn next(&mut self, from: u64, to: u64) -> io::Result<Bytes> {
        let end = self.start + self.bytes.len() as u64;
        if from >= end && from < to {
            let read = self.next.take().unwrap_or_else(|| self.read(from));
            let read = read.await.map_err(io::Error::other)?;
            self.bytes = read.map_err(|e| io::Error::other(e.to_string()))?;
            self.start = from;
            if self.bytes.is_empty() {
                return Err(io::Error::other("the body is shorter than its pieces"));
            }
            let end = from + self.bytes.len() as u64;
            self.next = (end < self.body.len()).then(|| self.read(end));
        }
        let end = self.start + self.bytes.len() as u64;
        let range = (from - self.start) as usize..(to.min(end) - self.start) as usize;
        Ok(self.bytes.slice(range))
    }
}
