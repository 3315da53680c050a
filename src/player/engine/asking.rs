//! Requests that were not recorded, and what the user says of them.

use super::{Player, State};
use crate::error::Result;
use crate::player::key::Canonical;
use crate::player::matching::Host;
use crate::player::mismatch::{Mismatch, Outcome};
use crate::player::resolution::{self, Answer, Question, Resolution};

impl Player {
    /// The entry that answers a request because the user has said so, counted as served.
    pub(super) fn said(
        &self,
        state: &mut State,
        request: &Canonical,
        nearest: Option<u32>,
    ) -> Result<Option<u32>> {
        let fingerprint = self.rules.fingerprint(request);
        let kept = [&state.said, &self.rules].into_iter().find_map(|r| r.resolved(fingerprint));
        if let Some(exchange) = kept {
            return Ok(state.library.serve(exchange));
        }
        if !state.said.has_rules() {
            return Ok(None);
        }
        let Some(entry) = nearest.and_then(|i| state.library.entry(i)) else { return Ok(None) };
        let (exchange, turn) = (entry.exchange, entry.turn);
        let Some(recorded) = self.asked(exchange, turn)? else { return Ok(None) };
        let mut rules = self.rules.clone();
        rules.extend(state.said.clone());
        let same = rules.fingerprint(&recorded) == rules.fingerprint(request);
        Ok(if same { state.library.serve(exchange) } else { None })
    }

    /// Has the user decide about a request; the entry that is to answer it, and whether the real
    /// service is to.
    pub(super) fn resolve(
        &self,
        state: &mut State,
        (request, host): (&Canonical, Host),
        mismatch: &mut Mismatch,
        upstream: bool,
    ) -> (Option<u32>, bool) {
        let Some(asks) = &self.asks else { return (None, upstream) };
        let fingerprint = self.rules.fingerprint(request);
        let exchanges = resolution::offered(&state.library, request, host);
        let question =
            Question { mismatch, rules: &self.rules, request: fingerprint, exchanges, upstream };
        let exchange = match asks.ask(&question) {
            Answer::Refuse => return (None, false),
            Answer::Upstream => return (None, upstream),
            Answer::Serve(exchange) => {
                let request = resolution::text(fingerprint);
                state.said.resolve(Resolution { request, serve: exchange });
                Some(exchange)
            }
            Answer::Accept(rules) => {
                state.said.extend(rules.into());
                mismatch.nearest
            }
        };
        let entry = exchange.and_then(|exchange| state.library.serve(exchange));
        if let Some((_, exchange)) = entry.zip(exchange) {
            mismatch.outcome = Outcome::Resolved(exchange);
        }
        (entry, false)
    }
}
