//! How fast models answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::{Api, CallEnd, LlmCall};
use super::timing::Gaps;

/// Upper bounds of the histogram's classes, milliseconds; one more holds what is longer.
pub const CLASSES_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

/// How fast the calls of one model (or of all) were answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelPerformance {
    /// The model, or `all`.
    pub model: String,
    /// Calls.
    pub calls: u64,
    /// Calls that failed or broke off.
    pub failed_calls: u64,
    /// Tokens of the prompts, as the provider counted.
    pub input_tokens: u64,
    /// Tokens of the answers, as the provider counted.
    pub output_tokens: u64,
    /// Pieces of the answers.
    pub tokens: u64,
    /// From request to first token.
    pub time_to_first_token: Option<Gaps>,
    /// Between two tokens.
    pub gaps: Option<Gaps>,
    /// How many pauses between tokens were at most [`CLASSES_MS`] long, by class; the last
    /// number counts the longer ones.
    pub histogram: Vec<u64>,
    /// From request to the answer's end.
    pub duration: Option<Gaps>,
    /// Median of the calls' tokens for each second.
    pub tokens_per_second: Option<f64>,
    /// Stalls: see [`super::StreamTiming::stall_count`].
    pub stall_count: u64,
    /// What they took, nanoseconds.
    pub stalled_ns: u64,
}

/// What `Session::analyze_stream_performance` finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamPerformance {
    /// All calls together.
    pub all: ModelPerformance,
    /// By model, by their names.
    pub models: Vec<ModelPerformance>,
    /// How many tokens came in each of at most 61 equal steps, from the first token of the
    /// session to its last.
    pub arrivals: Vec<u64>,
    /// Length of one of these steps, nanoseconds.
    pub arrival_step_ns: u64,
}

/// Steps of [`StreamPerformance::arrivals`].
const ARRIVALS: u64 = 60;

/// Sums calls up.
pub fn performance(calls: &[LlmCall]) -> StreamPerformance {
    let mut by_model: BTreeMap<&str, Vec<&LlmCall>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.api != Api::Unknown) {
        by_model.entry(call.model().unwrap_or("unknown")).or_default().push(call);
    }
    let all: Vec<&LlmCall> = calls.iter().collect();
    let models = by_model.into_iter().map(|(model, calls)| of_calls(model, &calls)).collect();
    let (arrivals, arrival_step_ns) = arrivals(calls);
    StreamPerformance { all: of_calls("all", &all), models, arrivals, arrival_step_ns }
}

fn of_calls(model: &str, calls: &[&LlmCall]) -> ModelPerformance {
    let sum = |count: &dyn Fn(&LlmCall) -> u64| calls.iter().map(|call| count(call)).sum::<u64>();
    let gaps: Vec<u64> = calls
        .iter()
        .flat_map(|call| call.tokens.iter().skip(1).map(|token| token.gap_ns))
        .collect();
    let mut histogram = vec![0; CLASSES_MS.len() + 1];
    for gap in &gaps {
        let class = CLASSES_MS.partition_point(|ms| ms * 1_000_000 < *gap);
        histogram[class] += 1;
    }
    let mut rates: Vec<f64> = calls.iter().filter_map(|call| call.tokens_per_second()).collect();
    rates.sort_unstable_by(f64::total_cmp);
    let whole = |call: &&&LlmCall| call.end == CallEnd::Complete;
    ModelPerformance {
        model: model.to_owned(),
        calls: calls.len() as u64,
        failed_calls: sum(&|call| u64::from(matches!(call.end, CallEnd::Failed | CallEnd::Cut(_)))),
        input_tokens: sum(&|call| call.usage.input_tokens.unwrap_or(0)),
        output_tokens: sum(&|call| call.usage.output_tokens.unwrap_or(0)),
        tokens: sum(&|call| call.tokens.len() as u64),
        time_to_first_token: Gaps::of(
            calls.iter().filter_map(|call| call.timing.time_to_first_token_ns).collect(),
        ),
        gaps: Gaps::of(gaps),
        histogram,
        duration: Gaps::of(
            calls.iter().filter(whole).map(|c| c.ended_ns.saturating_sub(c.started_ns)).collect(),
        ),
        tokens_per_second: rates.get(rates.len() / 2).copied(),
        stall_count: sum(&|call| call.timing.stall_count),
        stalled_ns: sum(&|call| call.timing.stalled_ns),
    }
}

/// How many tokens came in each of equal steps between the first one and the last.
fn arrivals(calls: &[LlmCall]) -> (Vec<u64>, u64) {
    let times = || {
        calls.iter().flat_map(|call| {
            call.tokens.iter().map(|token| call.started_ns.saturating_add(token.arrival_ns))
        })
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return (Vec::new(), 0);
    };
    let step_ns = ((last - first) / ARRIVALS + 1).max(1_000_000);
    let mut counts = vec![0; ((last - first) / step_ns + 1) as usize];
    for time in times() {
        counts[((time - first) / step_ns) as usize] += 1;
    }
    (counts, step_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::calls::tests::{anthropic_stream, exchange};
    use crate::stream::llm_calls;

    #[test]
    fn calls_are_summed_up_by_model() {
        let request = serde_json::json!({ "model": "claude", "messages": [], "stream": true });
        let stream = anthropic_stream();
        let cut = stream.find("message_delta").unwrap() - 7;
        let (first, rest) = stream.split_at(cut);
        let pieces = [(first, 200), (rest, 300)];
        let call = exchange("/v1/messages", request, "text/event-stream", &pieces);
        let mut calls = llm_calls(&call).unwrap();
        calls.extend(llm_calls(&call).unwrap());
        calls[1].tokens[3].gap_ns = 900_000_000;
        let sum = performance(&calls);
        assert_eq!((sum.all.calls, sum.models.len()), (2, 1));
        assert_eq!((sum.models[0].model.as_str(), sum.models[0].tokens), ("claude-1", 8));
        assert_eq!(sum.all.time_to_first_token.unwrap().p50_ns, 100_000_000);
        assert_eq!(sum.all.gaps.unwrap().max_ns, 900_000_000);
        assert_eq!((sum.all.histogram[0], sum.all.histogram[9]), (5, 1));
        assert_eq!(sum.arrivals.iter().sum::<u64>(), 8);
        assert_eq!(performance(&[]).arrivals.len(), 0);
    }
}
