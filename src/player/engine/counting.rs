//! What a run's account says.

use std::collections::BTreeMap;

use super::{Player, has_host};
use crate::player::account::{EndpointCounts, Report};
use crate::player::report::Paid;
use crate::report::out::tell;

/// Most clients that could not be answered and are named.
const UNANSWERED_MAX: usize = 100;

impl Player {
    /// A client could not be answered, by one of these hosts; that may fail the run.
    pub fn unanswered(&self, what: &str, hosts: &[&str], fails: bool) {
        let what = self.rules.without_secrets(what).into_owned();
        let optional = hosts.iter().any(|host| has_host(&self.optional, host));
        let mut state = self.state();
        state.counts.unanswered += u64::from(fails && !optional);
        if state.unanswered.len() < UNANSWERED_MAX && !state.unanswered.contains(&what) {
            tell!("rr-run: not answered: {what}");
            state.unanswered.push(what);
        }
    }

    /// A real service that was to be asked does not answer.
    pub fn unreached(&self) {
        let mut state = self.state();
        state.counts.upstream = state.counts.upstream.saturating_sub(1);
        state.counts.unreached += 1;
    }

    /// The account so far.
    pub fn report(&self) -> Report {
        let state = self.state();
        let library = &state.library;
        let mut endpoints: BTreeMap<u32, EndpointCounts> = BTreeMap::new();
        let mut unused = Vec::new();
        let mut saved = Paid::default();
        for entry in library.entries() {
            let counts = endpoints.entry(entry.endpoint).or_insert_with(|| {
                let at = library.endpoint(entry);
                let endpoint = format!("{} {}{}", at.method, at.host, at.path);
                EndpointCounts { endpoint, ..EndpointCounts::default() }
            });
            counts.recorded += 1;
            counts.served += u64::from(entry.served);
            if entry.served > 0 && entry.turn == 0 {
                saved.add(self.recordings.paid(entry.exchange), entry.served.into());
            }
            if entry.served == 0 && !has_host(&self.optional, &library.endpoint(entry).host) {
                counts.unused += 1;
                unused.push((entry.exchange, entry.turn));
            }
        }
        let mut counts = state.counts.clone();
        counts.recorded = library.entries().len() as u64;
        counts.unused = unused.len() as u64;
        Report {
            session: self.session.clone(),
            mode: self.settings.mode,
            counts,
            endpoints: endpoints.into_values().collect(),
            unused,
            mismatches: state.mismatches.clone(),
            unanswered: state.unanswered.clone(),
            allow_unused: self.settings.allow_unused,
            saved,
            hermetic: None,
        }
    }
}
