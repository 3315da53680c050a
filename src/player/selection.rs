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
            "exchange" => return numbers(value),
            _ => {}
        }
        Err("exchanges are chosen by host=GLOB, path=GLOB, process=ID or exchange=FROM..TO".into())
    }
}

/// `7`, `7..9` (both included), `7..` or `..9`.
fn numbers(text: &str) -> Result<Choice, String> {
    let number = |text: &str, other: u32| match text {
        "" => Ok(other),
        _ => text.parse().map_err(|_| format!("'{text}' is not the number of an exchange")),
    };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    Ok(Choice::Numbers(number(from, 1)?, number(to, u32::MAX)?))
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
        for bad in ["", "host", "host=", "port=3", "exchange=x", "exchange=1..x"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
