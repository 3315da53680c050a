//! Giving captured tokens out again, and a wrapper that captures or replays any stream.

use std::future::Future as _;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_timer::Delay;

use super::capture::StreamCapture;
use super::token::{StreamChunk, StreamToken};

/// When a [`StreamReplay`] gives its tokens out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReplayTiming {
    /// As they came.
    #[default]
    Recorded,
    /// As they came, with all times multiplied: 0.5 is twice as fast. What is negative or no
    /// number counts as 0.
    Scaled(f64),
    /// At once.
    Instant,
}

impl ReplayTiming {
    /// When a token is due, since the replay's start.
    fn due(self, token: &StreamToken) -> Duration {
        match self {
            ReplayTiming::Recorded => token.arrival(),
            ReplayTiming::Scaled(factor) if factor > 0.0 => {
                let seconds = token.arrival().as_secs_f64() * factor;
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
            ReplayTiming::Scaled(_) | ReplayTiming::Instant => Duration::ZERO,
        }
    }
}

/// Tokens, given out again in time: an iterator that sleeps, and a [`Stream`] for any runtime.
///
/// Its time begins with the first token that is asked for.
///
/// ```
/// use rr_run::stream::{ReplayTiming, StreamReplay, StreamToken};
/// let tokens = vec![StreamToken::new("Hel", 1_000_000), StreamToken::new("lo", 2_000_000)];
/// let replay = StreamReplay::new(tokens, ReplayTiming::Scaled(2.0));
/// let start = std::time::Instant::now();
/// let text: String = replay.map(|token| token.text).collect();
/// assert_eq!(text, "Hello");
/// assert!(start.elapsed().as_millis() >= 4);
/// ```
#[derive(Debug)]
pub struct StreamReplay {
    tokens: std::vec::IntoIter<StreamToken>,
    timing: ReplayTiming,
    started: Option<Instant>,
    /// What the asynchronous form waits for.
    delay: Option<Delay>,
}

impl StreamReplay {
    /// A replay of these tokens.
    pub fn new(tokens: Vec<StreamToken>, timing: ReplayTiming) -> StreamReplay {
        StreamReplay { tokens: tokens.into_iter(), timing, started: None, delay: None }
    }

    /// The tokens that are still to come.
    pub fn remaining(&self) -> &[StreamToken] {
        self.tokens.as_slice()
    }

    /// How long it is until the next token is due.
    fn wait(&mut self) -> Option<Duration> {
        let next = self.tokens.as_slice().first()?;
        let started = self.started.get_or_insert_with(Instant::now);
        Some(self.timing.due(next).saturating_sub(started.elapsed()))
    }
}

impl Iterator for StreamReplay {
    type Item = StreamToken;

    fn next(&mut self) -> Option<StreamToken> {
        let wait = self.wait()?;
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        self.tokens.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.tokens.size_hint()
    }
}

impl Stream for StreamReplay {
    type Item = StreamToken;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamToken>> {
        let Some(wait) = self.wait() else { return Poll::Ready(None) };
        if !wait.is_zero() {
            let delay = self.delay.get_or_insert_with(|| Delay::new(wait));
            if Pin::new(delay).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.delay = None;
        Poll::Ready(self.tokens.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.tokens.size_hint()
    }
}

/// Wraps a stream of chunks (an iterator, or a [`Stream`]) so that the same code captures it once
/// and is given the captured chunks later.
///
/// ```
/// use rr_run::stream::{ReplayTiming, StreamingLlmWrapper};
/// fn consume(chunks: impl Iterator<Item = String>) -> String {
///     chunks.collect()
/// }
/// let live = ["to ", "be"].map(String::from).into_iter();
/// let mut wrapper = StreamingLlmWrapper::capturing(live);
/// assert_eq!(consume(wrapper.by_ref()), "to be");
///
/// let tokens = wrapper.into_capture().unwrap().into_tokens();
/// let again = StreamingLlmWrapper::<std::iter::Empty<String>, String>::replaying(
///     tokens,
///     ReplayTiming::Instant,
/// );
/// assert_eq!(consume(again), "to be");
/// ```
#[derive(Debug)]
pub struct StreamingLlmWrapper<S, C> {
    mode: Mode<S>,
    chunk: PhantomData<fn() -> C>,
}

#[derive(Debug)]
enum Mode<S> {
    Capturing(S, StreamCapture),
    Replaying(StreamReplay),
}

impl<S, C: StreamChunk> StreamingLlmWrapper<S, C> {
    /// Passes the chunks of `inner` on and captures them. Times count from now.
    pub fn capturing(inner: S) -> StreamingLlmWrapper<S, C> {
        let mode = Mode::Capturing(inner, StreamCapture::new());
        StreamingLlmWrapper { mode, chunk: PhantomData }
    }

    /// Gives out the chunks that these tokens were captured from.
    pub fn replaying(tokens: Vec<StreamToken>, timing: ReplayTiming) -> StreamingLlmWrapper<S, C> {
        let mode = Mode::Replaying(StreamReplay::new(tokens, timing));
        StreamingLlmWrapper { mode, chunk: PhantomData }
    }

    /// What has been captured so far; none when replaying.
    pub fn capture(&self) -> Option<&StreamCapture> {
        match &self.mode {
            Mode::Capturing(_, capture) => Some(capture),
            Mode::Replaying(_) => None,
        }
    }

    /// What has been captured; none when replaying.
    pub fn into_capture(self) -> Option<StreamCapture> {
        match self.mode {
            Mode::Capturing(_, capture) => Some(capture),
            Mode::Replaying(_) => None,
        }
    }
}

impl<C: StreamChunk, S: Iterator<Item = C>> Iterator for StreamingLlmWrapper<S, C> {
    type Item = C;

    fn next(&mut self) -> Option<C> {
        match &mut self.mode {
            Mode::Capturing(inner, capture) => {
                let chunk = inner.next()?;
                capture.push_chunk(&chunk);
                Some(chunk)
            }
            Mode::Replaying(replay) => replay.next().map(|token| C::from_token(&token)),
        }
    }
}

impl<C: StreamChunk, S: Stream<Item = C> + Unpin> Stream for StreamingLlmWrapper<S, C> {
    type Item = C;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C>> {
        match &mut self.mode {
            Mode::Capturing(inner, capture) => {
                let polled = Pin::new(inner).poll_next(cx);
                if let Poll::Ready(Some(chunk)) = &polled {
                    capture.push_chunk(chunk);
                }
                polled
            }
            Mode::Replaying(replay) => {
                let polled = Pin::new(replay).poll_next(cx);
                polled.map(|token| token.map(|token| C::from_token(&token)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{TokenKind, capture_stream_async};

    fn tokens(times_ms: &[u64]) -> Vec<StreamToken> {
        let mut capture = StreamCapture::new();
        for (i, ms) in times_ms.iter().enumerate() {
            capture.push_at(format!("{i} "), TokenKind::Text, ms * 1_000_000);
        }
        capture.into_tokens()
    }

    #[test]
    fn tokens_come_at_their_times() {
        let start = Instant::now();
        let mut last = Duration::ZERO;
        for token in StreamReplay::new(tokens(&[20, 20, 60]), ReplayTiming::Recorded) {
            last = start.elapsed();
            assert!(last >= token.arrival(), "{last:?} {token:?}");
        }
        assert!(last >= Duration::from_millis(60));
        let instant = StreamReplay::new(tokens(&[u64::MAX / 2_000_000]), ReplayTiming::Instant);
        assert_eq!(instant.count(), 1);
        let scaled = StreamReplay::new(tokens(&[u64::MAX / 2_000_000]), ReplayTiming::Scaled(-1.0));
        assert_eq!(scaled.count(), 1);
    }

    #[test]
    fn an_asynchronous_replay_is_captured_with_the_same_times() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let replay = StreamReplay::new(tokens(&[10, 30, 30]), ReplayTiming::Recorded);
        let wrapped = StreamingLlmWrapper::capturing(replay);
        let captured = runtime.block_on(capture_stream_async(wrapped));
        assert_eq!(captured.merged().text, "0 1 2 ");
        let arrivals: Vec<_> = captured.tokens().iter().map(StreamToken::arrival).collect();
        assert!(arrivals[0].as_millis() >= 10 && arrivals[1].as_millis() >= 30, "{arrivals:?}");
    }

    #[test]
    fn a_wrapper_gives_out_what_it_captured() {
        let chunks = vec![serde_json::json!({ "delta": "a" }), serde_json::json!([1])];
        let mut wrapper = StreamingLlmWrapper::capturing(chunks.clone().into_iter());
        assert_eq!(wrapper.by_ref().collect::<Vec<_>>(), chunks);
        let capture = wrapper.into_capture().unwrap();
        let timing = ReplayTiming::Instant;
        let again = StreamingLlmWrapper::<std::vec::IntoIter<_>, _>::replaying(
            capture.into_tokens(),
            timing,
        );
        assert_eq!(again.collect::<Vec<serde_json::Value>>(), chunks);
    }
}
