//! Faults: answers that differ from the recording on purpose, to test how an agent takes them.
//!
//! ```toml
//! [[fault]]
//! when = { path = "**/chat/completions" }
//! contains = "weather"        # a regular expression that the body must fit
//! nth = 2                     # only the second such request (default: each)
//! status = 429                # answer with this ...
//! headers = { retry-after = "1" }
//! body = '{"error": {"message": "slow down"}}'
//! # serve = 12                # ... or with this exchange of the session
//! # delay_ms = 5000           # wait before the answer
//! # truncate_after = 10       # end the body after 10 tokens, cutting the connection
//! # end = "reset"             # cut the connection without an answer ("hang": never answer)
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::Canonical;
use super::rules::{Pattern, When};

/// One fault, as it stands in the rules file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Fault {
    /// Requests that it is about.
    pub when: When,
    /// What the body must hold.
    pub contains: Option<Pattern>,
    /// Which of those requests, from 1; all if absent.
    pub nth: Option<u32>,
    /// What is done.
    pub action: Action,
}

/// What a fault does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Exchange that is served whatever was asked.
    pub serve: Option<u32>,
    /// Answer made up on the spot.
    pub answer: Option<Answer>,
    /// Pause before the answer, milliseconds.
    pub delay_ms: u64,
    /// Tokens of the body (events of a stream, lines, else pieces) after which the connection is
    /// cut.
    pub truncate_after: Option<usize>,
    /// An end without an answer.
    pub end: Option<Cut>,
}

/// A made-up answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: String,
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// It is closed at once.
    Reset,
    /// Nothing is ever answered.
    Hang,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    when: When,
    contains: Option<Pattern>,
    nth: Option<u32>,
    serve: Option<u32>,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    truncate_after: Option<usize>,
    end: Option<Cut>,
}

impl TryFrom<Raw> for Fault {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Fault, String> {
        let answers = [raw.serve.is_some(), raw.status.is_some(), raw.end.is_some()];
        if answers.iter().filter(|given| **given).count() > 1 {
            return Err("a fault has one of serve, status and end".into());
        }
        if raw.status.is_none() && (raw.body.is_some() || !raw.headers.is_empty()) {
            return Err("headers and body of a fault need a status".into());
        }
        if raw.status.is_some_and(|status| !(200..600).contains(&status)) {
            return Err("the status of a fault is between 200 and 599".into());
        }
        if !answers.contains(&true) && raw.delay_ms == 0 && raw.truncate_after.is_none() {
            return Err("a fault needs serve, status, delay_ms, truncate_after or end".into());
        }
        let answer = raw.status.map(|status| Answer {
            status,
            headers: raw.headers,
            body: raw.body.unwrap_or_default(),
        });
        Ok(Fault {
            when: raw.when,
            contains: raw.contains,
            nth: raw.nth,
            action: Action {
                serve: raw.serve,
                answer,
                delay_ms: raw.delay_ms,
                truncate_after: raw.truncate_after,
                end: raw.end,
            },
        })
    }
}

/// Faults with their counts of requests.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<(Fault, u32)>,
}

impl Faults {
    /// These faults, none met yet.
    pub fn new(faults: &[Fault]) -> Faults {
        Faults { faults: faults.iter().map(|fault| (fault.clone(), 0)).collect() }
    }

    /// What the first fault that this request meets does. Every fault counts it.
    pub fn meet(&mut self, request: &Canonical) -> Option<Action> {
        if self.faults.is_empty() {
            return None;
        }
        let text = request.body.to_json().to_string();
        let mut action = None;
        for (fault, seen) in &mut self.faults {
            let holds = fault.contains.as_ref().is_none_or(|pattern| pattern.0.is_match(&text));
            if !holds || !fault.when.matches(request) {
                continue;
            }
            *seen += 1;
            if action.is_none() && fault.nth.is_none_or(|nth| nth == *seen) {
                action = Some(fault.action.clone());
            }
        }
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::Rules;
    use crate::player::sample;

    #[test]
    fn the_nth_request_that_fits_meets_the_fault() {
        let text = "[[fault]]\nwhen = {path='/v1/**'}\ncontains = 'weather'\nnth = 2\nstatus = 429";
        let rules = Rules::parse(text, "test").unwrap();
        let mut faults = Faults::new(rules.faults());
        let mut meet = |text: &str| {
            let request = Canonical::new(&sample::chat(&[text]), &[]).unwrap();
            faults.meet(&request).and_then(|a| a.answer).map(|a| a.status)
        };
        assert_eq!(meet("the weather"), None);
        assert_eq!(meet("the time"), None);
        assert_eq!(meet("weather again"), Some(429));
        assert_eq!(meet("weather again"), None);
    }

    #[test]
    fn a_fault_must_do_one_thing() {
        let bad = |line: &str| Rules::parse(&format!("[[fault]]\n{line}"), "t").unwrap_err();
        assert!(bad("nth = 1").to_string().contains("needs"));
        assert!(bad("status = 429\nend = 'reset'").to_string().contains("one of"));
        assert!(bad("status = 99").to_string().contains("between"));
        assert!(bad("body = 'x'\ndelay_ms = 1").to_string().contains("need a status"));
    }
}
