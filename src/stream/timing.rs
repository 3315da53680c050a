//! Times of token streams.

use serde::{Deserialize, Serialize};

use super::token::StreamToken;

/// A pause is a stall from this length on ...
const STALL_NS_MIN: u64 = 250_000_000;
/// ... if it is also so many times the usual (median) pause.
const STALL_FACTOR: u64 = 5;
/// Stalls that are listed one by one.
const STALLS_LISTED_MAX: usize = 32;

/// A pause that is much longer than the others of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// [`StreamToken::index`] of the token that came after it.
    pub index: u32,
    /// How long it was, nanoseconds.
    pub gap_ns: u64,
}

/// Pauses in sum: smallest values that so many per cent of them do not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// Half of them are at most this, nanoseconds.
    pub p50_ns: u64,
    /// Nine of ten.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// All.
    pub max_ns: u64,
    /// Their mean.
    pub mean_ns: u64,
}

impl Gaps {
    /// Sums up some pauses (or any other times); none of an empty list.
    pub fn of(mut gaps_ns: Vec<u64>) -> Option<Gaps> {
        let last = gaps_ns.len().checked_sub(1)?;
        gaps_ns.sort_unstable();
        let at = |percent: usize| gaps_ns[((last + 1) * percent).div_ceil(100).max(1) - 1];
        let sum: u128 = gaps_ns.iter().map(|gap| u128::from(*gap)).sum();
        Some(Gaps {
            p50_ns: at(50),
            p90_ns: at(90),
            p99_ns: at(99),
            max_ns: gaps_ns[last],
            mean_ns: (sum / (last as u128 + 1)) as u64,
        })
    }
}

/// What [`analyze_stream_timing`] finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamTiming {
    /// Number of tokens.
    pub tokens: u64,
    /// From the request to the first token, nanoseconds; none without a token.
    pub time_to_first_token_ns: Option<u64>,
    /// Pauses between tokens; none with fewer than two.
    pub gaps: Option<Gaps>,
    /// From the request to the last token, nanoseconds.
    pub total_ns: u64,
    /// Tokens for each second after the first token; none unless time passed.
    pub tokens_per_second: Option<f64>,
    /// How many pauses were stalls: at least 250 ms, and five times the usual one.
    pub stall_count: u64,
    /// What they took together, nanoseconds.
    pub stalled_ns: u64,
    /// The first 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalls: Vec<Stall>,
}

/// Sums up when the tokens of one stream came.
///
/// ```
/// use rr_run::stream::{StreamCapture, TokenKind, analyze_stream_timing};
/// let mut capture = StreamCapture::new();
/// for (text, ms) in [("a", 300), ("b", 310), ("c", 320), ("d", 1320)] {
///     capture.push_at(text, TokenKind::Text, ms * 1_000_000);
/// }
/// let timing = analyze_stream_timing(capture.tokens());
/// assert_eq!(timing.time_to_first_token_ns, Some(300_000_000));
/// assert_eq!(timing.gaps.unwrap().p50_ns, 10_000_000);
/// assert_eq!((timing.stall_count, timing.stalls[0].index), (1, 3));
/// assert_eq!(timing.total_ns, 1_320_000_000);
/// ```
pub fn analyze_stream_timing(tokens: &[StreamToken]) -> StreamTiming {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return StreamTiming::default();
    };
    let between = &tokens[1..];
    let gaps = Gaps::of(between.iter().map(|token| token.gap_ns).collect());
    let usual = gaps.map_or(0, |gaps| gaps.p50_ns);
    let limit = usual.saturating_mul(STALL_FACTOR).max(STALL_NS_MIN);
    let stalls = between.iter().filter(|token| token.gap_ns >= limit);
    let listed = stalls.clone().map(|token| Stall { index: token.index, gap_ns: token.gap_ns });
    let took = last.arrival_ns.saturating_sub(first.arrival_ns);
    StreamTiming {
        tokens: tokens.len() as u64,
        time_to_first_token_ns: Some(first.arrival_ns),
        gaps,
        total_ns: last.arrival_ns,
        tokens_per_second: (took > 0).then(|| between.len() as f64 * 1e9 / took as f64),
        stall_count: stalls.clone().count() as u64,
        stalled_ns: stalls.clone().fold(0, |sum, token| sum.saturating_add(token.gap_ns)),
        stalls: listed.take(STALLS_LISTED_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let gaps = Gaps::of((1..=100).rev().collect()).unwrap();
        assert_eq!((gaps.p50_ns, gaps.p90_ns, gaps.p99_ns, gaps.max_ns), (50, 90, 99, 100));
        let one = Gaps::of(vec![7]).unwrap();
        assert_eq!((one.p50_ns, one.p99_ns, one.mean_ns), (7, 7, 7));
        assert_eq!(Gaps::of(Vec::new()), None);
    }

    #[test]
    fn few_tokens_have_few_times() {
        assert_eq!(analyze_stream_timing(&[]), StreamTiming::default());
        let timing = analyze_stream_timing(&[StreamToken::new("x", 5)]);
        assert_eq!((timing.time_to_first_token_ns, timing.total_ns), (Some(5), 5));
        assert_eq!((timing.gaps, timing.tokens_per_second), (None, None));
    }
}
