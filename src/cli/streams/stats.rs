//! Figures of a session's streams.

use std::fmt::Write as _;

use crate::report::table::table;
use crate::report::units::{clip, count, duration};
use crate::stream::performance::{CLASSES_MS, ModelPerformance, StreamPerformance};

/// Width of the histogram's longest bar, characters.
const BAR_CHARS: u64 = 40;
const MODEL_CHARS: usize = 28;

/// Tables, histogram and sparkline.
pub(super) fn render(figures: &StreamPerformance) -> String {
    if figures.all.calls == 0 {
        return "no calls of language models\n".into();
    }
    let mut out = String::new();
    let mut rows: Vec<&ModelPerformance> = figures.models.iter().collect();
    if rows.len() != 1 {
        rows.push(&figures.all);
    }
    let header = [
        "MODEL", "CALLS", "FAILED", "IN", "OUT", "PIECES", "TTFT p50", "p90", "TOK/S", "GAP p50",
        "p90", "p99", "MAX", "STALLS",
    ];
    let right: Vec<usize> = (1..header.len()).collect();
    out += &table(&header, rows.iter().map(|row| line(row)), &right);
    out.push('\n');
    let all = &figures.all;
    if all.gaps.is_some() {
        out += "\ngaps between tokens\n";
        out += &histogram(&all.histogram);
    }
    if all.stall_count > 0 {
        let took = duration(all.stalled_ns);
        _ = writeln!(out, "\n{} stalls took {took}", count(all.stall_count));
    }
    if figures.arrivals.len() > 1 {
        let step = duration(figures.arrival_step_ns);
        _ = writeln!(out, "\ntokens over time, {step} each\n{}", sparkline(&figures.arrivals));
    }
    out
}

fn line(row: &ModelPerformance) -> Vec<String> {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".into(), duration);
    let (first, gaps) = (row.time_to_first_token, row.gaps);
    vec![
        clip(&row.model, MODEL_CHARS),
        count(row.calls),
        count(row.failed_calls),
        count(row.input_tokens),
        count(row.output_tokens),
        count(row.tokens),
        time(first.map(|g| g.p50_ns)),
        time(first.map(|g| g.p90_ns)),
        row.tokens_per_second.map_or_else(|| "-".into(), |rate| format!("{rate:.0}")),
        time(gaps.map(|g| g.p50_ns)),
        time(gaps.map(|g| g.p90_ns)),
        time(gaps.map(|g| g.p99_ns)),
        time(gaps.map(|g| g.max_ns)),
        if row.stall_count == 0 { "-".into() } else { count(row.stall_count) },
    ]
}

/// One bar for each class from the first to the last that occurs.
fn histogram(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let first = counts.iter().position(|n| *n > 0).unwrap_or(0);
    let last = counts.iter().rposition(|n| *n > 0).unwrap_or(0);
    let mut out = String::new();
    for (class, n) in counts.iter().enumerate().take(last + 1).skip(first) {
        let name = match CLASSES_MS.get(class) {
            Some(ms) => format!("<= {}", duration(ms * 1_000_000)),
            None => "longer".into(),
        };
        let len = (n * BAR_CHARS).div_ceil(most) as usize;
        let bar = "\u{2588}".repeat(len);
        let row = format!("{name:>10} {bar:<width$} {}", count(*n), width = BAR_CHARS as usize);
        out += row.trim_end();
        out.push('\n');
    }
    out
}

/// A character for each number, as high as it is large.
fn sparkline(numbers: &[u64]) -> String {
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    let bar = |n: &u64| match n {
        0 => ' ',
        n => char::from_u32(0x2581 + ((n * 8).div_ceil(most) as u32 - 1)).unwrap_or(' '),
    };
    numbers.iter().map(bar).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_the_numbers_are_large() {
        assert_eq!(sparkline(&[0, 1, 4, 8, 0]), " \u{2581}\u{2584}\u{2588}");
        let text = histogram(&[0, 4, 0, 8, 0]);
        let bar = |n| "\u{2588}".repeat(n);
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with(&format!("   <= 2 ms {:<40} 4\n", bar(20))), "{text}");
        assert!(text.ends_with(&format!("  <= 10 ms {} 8\n", bar(40))), "{text}");
    }
}
