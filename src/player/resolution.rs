//! What a user has said of requests that were not recorded: asked for while a run waits, kept with
//! the session, and reused for like requests.
//!
//! ```toml
//! [[resolution]]
//! request = "6b1f0c1d0a1be2f3c4d5e6f708192a3b"   # fingerprint, under the rules
//! serve = 12                                     # the exchange that answers it
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::{Canonical, Fingerprint};
use super::matching::{Host, Library};
use super::mismatch::Mismatch;
use super::rules::{Rule, Rules};

/// One kept answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// Fingerprint of the request, under the rules.
    pub request: String,
    /// The exchange that answers it.
    pub serve: u32,
}

/// A request that was not recorded, for a user to decide about.
pub struct Question<'a> {
    /// Its account.
    pub mismatch: &'a Mismatch,
    /// The rules in force.
    pub rules: &'a Rules,
    /// What is kept if an exchange is to answer it.
    pub request: Fingerprint,
    /// Exchanges that could answer it: their numbers and what they were asked.
    pub exchanges: Vec<(u32, String)>,
    /// Whether the real service may be asked.
    pub upstream: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The client gets an error.
    Refuse,
    /// An exchange answers it, and every like request from now on.
    Serve(u32),
    /// Rules hold from now on; the nearest exchange answers this request.
    Accept(Vec<Rule>),
    /// The real service answers.
    Upstream,
}

/// Whoever decides. It may take its time: the player answers nobody meanwhile.
pub trait Asks: Send + Sync {
    /// What is to be done about a request.
    fn ask(&self, question: &Question<'_>) -> Answer;
}

impl fmt::Debug for dyn Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asks")
    }
}

/// The text of a fingerprint in a rules file.
pub fn text(fingerprint: Fingerprint) -> String {
    format!("{:032x}", fingerprint.0)
}

/// Most exchanges that are offered.
const OFFERED_MAX: usize = 200;

/// Exchanges of the request's endpoint, or all if it has none: numbers and endpoints.
pub fn offered(library: &Library, request: &Canonical, host: Host) -> Vec<(u32, String)> {
    let same = |at: &super::matching::Endpoint| {
        at.method == request.method
            && at.path == request.path
            && (host == Host::Any || at.host == request.host)
    };
    let entries = library.entries().iter().filter(|entry| entry.turn == 0);
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        entries.partition(|entry| same(library.endpoint(entry)));
    let chosen = if here.is_empty() { elsewhere } else { here };
    let line = |entry: &super::matching::Entry| {
        let at = library.endpoint(entry);
        let served = if entry.served > 0 { " (served)" } else { "" };
        (entry.exchange, format!("{} {}{}{served}", at.method, at.host, at.path))
    };
    chosen.into_iter().take(OFFERED_MAX).map(line).collect()
}

/// The rules in a text from elsewhere; faults and settings are not taken from it.
///
/// # Errors
/// Why they can't be read.
pub fn rules(text: &str) -> Result<Vec<Rule>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Proposal {
        rule: Vec<Rule>,
    }
    let text = text.trim().trim_start_matches("```toml").trim_matches('`');
    let proposal: Proposal =
        toml::from_str(text).map_err(|e| format!("the rule can't be read: {}", e.message()))?;
    Ok(proposal.rule)
}

/// Why more rules do not do what they are for.
pub fn refuted(mismatch: &Mismatch, rules: &Rules, more: &[Rule]) -> Option<String> {
    let mut all = rules.clone();
    all.extend(Rules::from(more.to_vec()));
    (!mismatch.is_accepted_by(&all))
        .then(|| "the rule does not make the request equal to the recorded one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::mismatch::{Outcome, Why};
    use crate::player::sample;

    fn mismatch(asked: &str) -> Mismatch {
        let canonical = |text: &str| Canonical::new(&sample::chat(&[text]), &[]).unwrap();
        let of = (1, Why::NotRecorded, Outcome::Refused);
        let recorded = canonical("on 2026-01-02, is it cold?");
        Mismatch::new(of, &canonical(asked), Some((4, &recorded)), &Rules::builtin().unwrap())
    }

    #[test]
    fn rules_are_checked() {
        let builtin = Rules::builtin().unwrap();
        let of_date = rules(
            "[[rule]]\nname = 'date'\nreplace = [{ regex = '\\d{4}-\\d\\d-\\d\\d', with = 'D' }]",
        )
        .unwrap();
        assert_eq!(refuted(&mismatch("on 2026-03-04, is it cold?"), &builtin, &of_date), None);
        assert!(refuted(&mismatch("on 2026-03-04, is it hot?"), &builtin, &of_date).is_some());
        assert!(rules("[[rule]]\nnam = 'date'").is_err());
        assert!(rules("[[fault]]\nstatus = 500").is_err());
    }

    #[test]
    fn kept_answers_are_read_again() {
        let request = Canonical::new(&sample::chat(&["a"]), &[]).unwrap();
        let builtin = Rules::builtin().unwrap();
        let fingerprint = builtin.fingerprint(&request);
        let line = |serve| {
            format!("[[resolution]]\nrequest = \"{}\"\nserve = {serve}\n", text(fingerprint))
        };
        let rules = Rules::parse(&[line(3), line(4)].concat(), "a file").unwrap();
        assert_eq!(rules.resolved(fingerprint), Some(4));
        assert_eq!(builtin.resolved(fingerprint), None);
    }
}
