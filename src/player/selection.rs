//! Partial replay: which recorded exchanges are served.

use std::str::FromStr;

use super::rules::Glob;
use crate::stream::Exchange;

/// Exchanges that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Those with a host, `*` standing for a part of it.
    Host(Glob),
    /// Those with a path.
    Path(Glob),
    /// Those of a process, by its id in the session.
    Process(String),
    /// Those whose numbers are in a range: first and last.
    Numbers(u32, u32),
    /// Those that were asked in a span of the recording, nanoseconds since its start.
    Times(u64, u64),
    /// Those that a process asked at one of its steps in a range: its id, first and last.
    Steps(String, u64, u64),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let (what, value) = text.split_once('=').unwrap_or((text, ""));
        match what {
            _ if value.is_empty() => {}
            "host" => return Glob::try_from(value.to_owned()).map(Choice::Host),
            "path" => return Glob::try_from(value.to_owned()).map(Choice::Path),
            "process" => return Ok(Choice::Process(value.to_owned())),
            "exchange" => {
                let (from, to) = range(value, 1, u32::MAX)?;
                return Ok(Choice::Numbers(from, to));
            }
            "time" => {
                let (from, to) = range(value, 0.0, f64::MAX)?;
                let ns = |seconds: f64| (seconds * 1e9) as u64;
                return Ok(Choice::Times(ns(from), ns(to)));
            }
            "step" => {
                let (process, steps) =
                    value.split_once(':').ok_or("steps are of a process: 1.2:340..")?;
                let (from, to) = range(steps, 0, u64::MAX)?;
                return Ok(Choice::Steps(process.to_owned(), from, to));
            }
            _ => {}
        }
        Err("exchanges are chosen by host=GLOB, path=GLOB, process=ID, exchange=FROM..TO, \
             time=FROM..TO or step=PROCESS:FROM..TO"
            .into())
    }
}

/// `7`, `7..9` (both included), `7..` or `..9`.
fn range<T: FromStr>(text: &str, first: T, last: T) -> Result<(T, T), String> {
    let number = |text: &str, other: T| match text {
        "" => Ok(other),
        _ => text.parse().map_err(|_| format!("'{text}' is not a number")),
    };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    Ok((number(from, first)?, number(to, last)?))
}

impl Choice {
    fn fits(&self, exchange: &Exchange, process: &str) -> bool {
        let request = &exchange.request;
        match self {
            // With its port and without.
            Choice::Host(glob) => {
                let authority = request.authority.to_ascii_lowercase();
                let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
                glob.matches(&authority) || glob.matches(host)
            }
            Choice::Path(glob) => {
                glob.matches(request.target.split('?').next().unwrap_or_default())
            }
            Choice::Process(id) => id == process,
            Choice::Numbers(from, to) => (*from..=*to).contains(&exchange.id),
            Choice::Times(from, to) => (*from..=*to).contains(&request.started_ns),
            Choice::Steps(id, from, to) => id == process && (*from..=*to).contains(&request.step),
        }
    }
}

/// What is served of a recording.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only what fits one of these; all if there are none.
    pub only: Vec<Choice>,
    /// Nothing that fits one of these.
    pub except: Vec<Choice>,
}

impl Selection {
    /// Whether an exchange, of the process with this id, is served.
    pub fn has(&self, exchange: &Exchange, process: &str) -> bool {
        let fits = |choices: &[Choice]| choices.iter().any(|c| c.fits(exchange, process));
        (self.only.is_empty() || fits(&self.only)) && !fits(&self.except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::sample;

    #[test]
    fn choices_are_by_host_path_process_and_number() {
        let mut exchange = sample::answered(7, sample::chat(&["hello"]), &[]);
        exchange.request.authority = "api.example.org:443".into();
        exchange.request.target = "/v1/chat/completions?x=1".into();
        exchange.request.started_ns = 2_500_000_000;
        exchange.request.step = 340;
        let has = |only: &[&str], except: &[&str]| {
            let parsed = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
            let selection = Selection { only: parsed(only), except: parsed(except) };
            selection.has(&exchange, "1.2")
        };
        assert!(has(&[], &[]));
        assert!(has(&["host=api.*"], &[]) && has(&["host=*.org"], &[]));
        assert!(!has(&["host=b.*"], &[]) && has(&["host=b.*", "path=**/completions"], &[]));
        assert!(!has(&[], &["process=1.2"]) && has(&[], &["process=1"]));
        assert!(has(&["exchange=5.."], &[]) && has(&["exchange=7"], &[]));
        assert!(!has(&["exchange=..6"], &[]) && !has(&["exchange=1..9"], &["exchange=7..7"]));
        assert!(has(&["time=2.5.."], &[]) && has(&["time=..3"], &["time=2.6..9"]));
        assert!(has(&["step=1.2:340.."], &[]) && !has(&["step=1.2:341.."], &[]));
        assert!(!has(&["step=1.3:..400"], &[]));
        for bad in ["time=x", "step=3", "step=1:x"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
        for bad in ["", "host", "host=", "port=3", "exchange=x", "exchange=1..x"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
