//! When the pieces of an answer leave.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

/// How the recorded times are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// As they were recorded.
    #[default]
    Recorded,
    /// Pauses multiplied by this.
    Scale(f64),
    /// No pauses.
    Instant,
    /// This many tokens each second: events of a stream, lines of NDJSON, else pieces.
    TokensPerSecond(f64),
}

impl Timing {
    /// How long after the request a piece leaves, with which `tokens` will have left (0: the head),
    /// when it came `recorded_ns` after the request in the recording.
    pub fn pause(self, tokens: usize, recorded_ns: u64) -> Duration {
        let recorded = Duration::from_nanos(recorded_ns);
        match self {
            Timing::Recorded => recorded,
            Timing::Scale(factor) => recorded.mul_f64(factor),
            Timing::Instant => Duration::ZERO,
            Timing::TokensPerSecond(rate) => Duration::from_secs_f64(tokens as f64 / rate),
        }
    }
}

impl FromStr for Timing {
    type Err = String;

    fn from_str(text: &str) -> Result<Timing, String> {
        // A pause must fit into a Duration whatever was recorded.
        let number = |value: &str, least: f64| match value.parse::<f64>() {
            Ok(number) if (least..=1e6).contains(&number) => Ok(number),
            _ => Err(format!("'{value}' is not a number from {least} to 1000000")),
        };
        match text.split_once('=') {
            None if text == "recorded" => Ok(Timing::Recorded),
            None if text == "instant" => Ok(Timing::Instant),
            Some(("scale", value)) => Ok(Timing::Scale(number(value, 0.0)?)),
            Some(("tokens-per-second", value)) => {
                Ok(Timing::TokensPerSecond(number(value, 0.001)?))
            }
            _ => Err("timing is recorded, instant, scale=X or tokens-per-second=N".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_choice() {
        let pause = |text: &str| text.parse::<Timing>().unwrap().pause(3, 40_000_000).as_millis();
        assert_eq!(pause("recorded"), 40);
        assert_eq!(pause("scale=0.5"), 20);
        assert_eq!(pause("instant"), 0);
        assert_eq!(pause("tokens-per-second=100"), 30);
        for bad in ["", "scale", "scale=-1", "scale=NaN", "tokens-per-second=0", "fast"] {
            assert!(bad.parse::<Timing>().is_err(), "{bad}");
        }
    }
}
