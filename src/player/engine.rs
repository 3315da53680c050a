//! The player itself, without its sockets: requests in, decisions out.

mod asking;
mod counting;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::account::Counts;
use super::fault::{Action, Faults};
use super::interface::Interface;
use super::key::Canonical;
use super::matching::{Found, Host, Library, Options};
use super::mismatch::{Mismatch, Outcome, Why};
use super::report::Paid;
use super::resolution::Asks;
use super::rules::{Glob, Rules};
use super::timing::Timing;
use super::turns;
use crate::error::Result;
use crate::network::asker::Asker;
use crate::network::known::host_of;
use crate::redact;
use crate::report::out::tell;
use crate::stream::{Exchange, Message, Request};

/// Most mismatches whose stack is looked at, which takes a while.
const STACKS_MAX: u32 = 20;
/// Most mismatches that are kept with all details.
const DETAILED_MAX: usize = 1000;

/// Where recorded exchanges come from.
pub trait Recordings: Send + Sync {
    /// All exchanges, in recorded order.
    fn all(&self) -> Box<dyn Iterator<Item = Result<Exchange>> + '_>;

    /// The exchange with this number.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    fn exchange(&self, id: u32) -> Result<Exchange>;

    /// What an exchange would have cost.
    fn paid(&self, _id: u32) -> Paid {
        Paid::default()
    }
}

impl Recordings for Vec<Exchange> {
    fn all(&self) -> Box<dyn Iterator<Item = Result<Exchange>> + '_> {
        Box::new(self.iter().cloned().map(Ok))
    }

    fn exchange(&self, id: u32) -> Result<Exchange> {
        let found = self.iter().find(|e| e.id == id).cloned();
        found.ok_or_else(|| missing(id))
    }
}

/// The error for an exchange that is not there.
pub fn missing(id: u32) -> crate::error::Error {
    crate::error::Error::Usage(format!("the session has no exchange {id}"))
}

/// What is done with requests that were not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are refused; the run has failed.
    #[default]
    Strict,
    /// They are answered with the next exchange of the endpoint, if there is one.
    Warn,
    /// They are asked of the real services, and what comes is kept in a new layer of the session.
    Hybrid,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "strict" => Ok(Mode::Strict),
            "warn" => Ok(Mode::Warn),
            "hybrid" => Ok(Mode::Hybrid),
            _ => Err("the mode is strict, warn or hybrid".into()),
        }
    }
}

/// How the player behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// What is done with requests that were not recorded.
    pub mode: Mode,
    /// When pieces leave.
    pub timing: Timing,
    /// How requests are compared.
    pub options: Options,
    /// The interface that clients were pointed at, if only that one is served.
    pub interface: Option<Interface>,
    /// Whether recorded exchanges that are never asked for fail no run.
    pub allow_unused: bool,
    /// Whether the run ends at the first request that is refused.
    pub kill: bool,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It is answered by an exchange, or a turn of one.
    Serve {
        /// The exchange.
        exchange: Box<Exchange>,
        /// [`super::matching::Entry::turn`].
        turn: u32,
        /// What a fault changes about it.
        action: Action,
    },
    /// A fault answers, or cuts the connection.
    Fault(Action),
    /// It is refused: the first lines of the report.
    Refuse(String),
    /// The real service is asked: its scheme and authority, if the client does not know them.
    Upstream(Option<(String, String)>),
}

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// It was pointed at the player by its base URL, so that a host which was not recorded stands
    /// for any.
    pub direct: bool,
    /// The process and its command, if that is known.
    pub program: Option<String>,
    /// Where in the program it is, if that is known.
    pub asker: Option<Asker>,
}

/// Serves the exchanges of one session.
pub struct Player {
    session: String,
    recordings: Arc<dyn Recordings>,
    settings: Settings,
    rules: Rules,
    /// Hosts that may be asked in hybrid mode; all if there are none.
    fallback: Vec<Glob>,
    /// Hosts whose requests decide nothing.
    optional: Vec<Glob>,
    redact: redact::Options,
    /// Decides about requests that were not recorded.
    asks: Option<Arc<dyn Asks>>,
    state: Mutex<State>,
}

struct State {
    library: Library,
    faults: Faults,
    counts: Counts,
    mismatches: Vec<Mismatch>,
    mismatched: u32,
    unanswered: Vec<String>,
    /// What the user has said in this run.
    said: Rules,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Player {
    /// A player of these recordings; `session` is their name in reports.
    ///
    /// # Errors
    /// A recording can't be read.
    pub fn new(
        session: &str,
        recordings: Arc<dyn Recordings>,
        rules: Rules,
        settings: Settings,
    ) -> Result<Player> {
        let served = recordings.all().filter_map(|exchange| match exchange {
            Ok(exchange) => fit(exchange, settings.interface).map(Ok),
            Err(e) => Some(Err(e)),
        });
        let library = Library::load(served, rules.clone(), settings.options)?;
        let state = State {
            library,
            faults: Faults::new(rules.faults()),
            counts: Counts::default(),
            mismatches: Vec::new(),
            mismatched: 0,
            unanswered: Vec::new(),
            said: Rules::default(),
        };
        let session = session.to_owned();
        let redact = redact::Options::default();
        let (fallback, optional) = <(Vec<_>, Vec<_>)>::default();
        let (asks, state) = (None, Mutex::new(state));
        Ok(Player { session, recordings, settings, rules, fallback, optional, redact, asks, state })
    }

    /// Someone decides about each request that was not recorded.
    #[must_use]
    pub fn with_asks(mut self, asks: Option<Arc<dyn Asks>>) -> Player {
        self.asks = asks;
        self
    }

    /// What is secret in the requests of the program.
    #[must_use]
    pub fn with_redact(mut self, redact: redact::Options) -> Player {
        self.redact = redact;
        self
    }

    /// What is secret in the requests of the program.
    pub fn redact(&self) -> &redact::Options {
        &self.redact
    }

    /// In hybrid mode only these hosts are asked.
    #[must_use]
    pub fn with_fallback(mut self, hosts: Vec<Glob>) -> Player {
        self.fallback = hosts;
        self
    }

    /// What these hosts are asked, or not asked, fails no run.
    #[must_use]
    pub fn with_optional(mut self, hosts: Vec<Glob>) -> Player {
        self.optional = hosts;
        self
    }

    /// Whether a host, with or without its port, may be asked for what was not recorded.
    pub fn may_ask(&self, host: &str) -> bool {
        self.settings.mode == Mode::Hybrid
            && (self.fallback.is_empty() || has_host(&self.fallback, host))
    }

    /// Hosts that it has exchanges of, without ports.
    pub fn hosts(&self) -> BTreeSet<String> {
        let state = self.state();
        state.library.hosts().map(|host| host_of(host).to_owned()).collect()
    }

    /// How it behaves.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Number of exchanges and turns that it can serve.
    pub fn len(&self) -> usize {
        self.state().library.entries().len()
    }

    /// Whether it has nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the run is to end, because a request was refused or not understood.
    pub fn is_over(&self) -> bool {
        let refused = |counts: &Counts| counts.refused + counts.unanswered > 0;
        self.settings.kill && refused(&self.state().counts)
    }

    /// Whether everything was served at least once.
    pub fn is_done(&self) -> bool {
        self.state().library.entries().iter().all(|entry| entry.served > 0)
    }

    /// The canonical form of a request.
    ///
    /// # Errors
    /// Its body can't be read.
    pub fn canonical(&self, request: &Request) -> Result<Canonical> {
        let mut canonical = self.rules.canonical(request)?;
        if let Some(path) = self.settings.interface.and_then(|i| i.operation(&canonical.path)) {
            canonical.path = path;
        }
        Ok(canonical)
    }

    /// The canonical form of a message on the WebSocket that `upgrade` opened.
    pub fn message(&self, upgrade: &Canonical, message: &Message) -> Canonical {
        self.rules.message(upgrade, message)
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// A recording can't be read.
    pub fn decide(&self, request: &Canonical, client: &Client) -> Result<Decision> {
        let mut state = self.state();
        let state = &mut *state;
        state.counts.requests += 1;
        let known = state.library.has_host(&request.host);
        let host = if client.direct && !known { Host::Any } else { Host::Same };
        let mut action = state.faults.meet(request).unwrap_or_default();
        if action != Action::default() {
            state.counts.faults += 1;
        }
        if action.answer.is_some() || action.end.is_some() {
            // The exchange that would have answered counts as asked for.
            state.library.find(request, host);
            return Ok(Decision::Fault(action));
        }
        if let Some(id) = action.serve.take() {
            let entry = state.library.serve(id).ok_or_else(|| missing(id))?;
            return self.served(&state.library, entry, action);
        }
        match state.library.find(request, host) {
            Found::Exact(entry) => {
                state.counts.exact += 1;
                self.served(&state.library, entry, action)
            }
            Found::Rule(entry, rules) => {
                state.counts.by_rule += 1;
                for rule in rules {
                    *state.counts.rules.entry(rule).or_default() += 1;
                }
                self.served(&state.library, entry, action)
            }
            Found::Exhausted(entry) => {
                self.missed(state, request, (client, host), (Why::Exhausted, Some(entry)), action)
            }
            Found::Nothing => {
                let nearest = state.library.nearest(request, host);
                if let Some(entry) = self.said(state, request, nearest)? {
                    state.counts.resolved += 1;
                    return self.served(&state.library, entry, action);
                }
                self.missed(state, request, (client, host), (Why::NotRecorded, nearest), action)
            }
        }
    }

    fn served(&self, library: &Library, entry: u32, action: Action) -> Result<Decision> {
        let entry = library.entry(entry).ok_or_else(|| missing(0))?;
        let exchange = Box::new(self.recordings.exchange(entry.exchange)?);
        Ok(Decision::Serve { exchange, turn: entry.turn, action })
    }

    fn missed(
        &self,
        state: &mut State,
        request: &Canonical,
        (client, host): (&Client, Host),
        (why, nearest): (Why, Option<u32>),
        action: Action,
    ) -> Result<Decision> {
        let instead = match self.settings.mode {
            Mode::Warn => state.library.next_in_sequence(request, host),
            Mode::Strict | Mode::Hybrid => None,
        };
        // A client that was pointed here does not say whom it means: who answered the like.
        let like = nearest.and_then(|i| state.library.entry(i)).map(|e| e.exchange);
        let meant = match (self.settings.mode, host, like) {
            (Mode::Hybrid, Host::Any, Some(like)) => {
                let asked = self.recordings.exchange(like)?.request;
                Some((asked.scheme, asked.authority))
            }
            _ => None,
        };
        let asks = match &meant {
            Some((_, authority)) => self.may_ask(authority),
            None => host == Host::Same && self.may_ask(&request.host),
        };
        let served = instead.and_then(|i| state.library.entry(i)).map(|e| e.exchange);
        let refused = if asks { Outcome::Upstream } else { Outcome::Refused };
        let outcome = served.map_or(refused, Outcome::Served);
        state.mismatched += 1;
        let of = (state.mismatched, why, outcome);
        let nearest = match nearest.and_then(|i| state.library.entry(i)) {
            Some(entry) => self.asked(entry.exchange, entry.turn)?.map(|c| (entry.exchange, c)),
            None => None,
        };
        let mut nearest = nearest.as_ref().map(|(exchange, c)| (*exchange, c.clone()));
        // A client that was pointed here by its base URL asks another host than was recorded.
        if let Some((_, canonical)) = nearest.as_mut().filter(|_| host == Host::Any) {
            canonical.host.clone_from(&request.host);
        }
        let nearest = nearest.as_ref().map(|(exchange, c)| (*exchange, c));
        let mut mismatch = Mismatch::new(of, request, nearest, &self.rules);
        let program = client.program.as_deref();
        if state.mismatched <= STACKS_MAX {
            mismatch.stack = client.asker.map(|asker| asker.stack()).unwrap_or_default();
        }
        let optional = has_host(&self.optional, &request.host);
        mismatch.optional = optional;
        mismatch.program = program.map(|program| self.rules.without_secrets(program).into());
        let (mut asks, mut resolved) = (asks, None);
        if instead.is_none() {
            (resolved, asks) = self.resolve(state, (request, host), &mut mismatch, asks);
        }
        tell!("rr-run: mismatch {}: {}", mismatch.id, mismatch.headline());
        let first_lines: String = mismatch.render().lines().take(12).collect::<Vec<_>>().join("\n");
        if state.mismatches.len() < DETAILED_MAX {
            state.mismatches.push(mismatch);
        }
        if let Some(entry) = resolved {
            state.counts.resolved += 1;
            return self.served(&state.library, entry, action);
        }
        match instead {
            Some(entry) => {
                state.counts.in_sequence += 1;
                self.served(&state.library, entry, action)
            }
            None if asks => {
                state.counts.upstream += 1;
                Ok(Decision::Upstream(meant))
            }
            None => {
                let refused =
                    if optional { &mut state.counts.optional } else { &mut state.counts.refused };
                *refused += 1;
                Ok(Decision::Refuse(first_lines))
            }
        }
    }

    /// What was asked in a recorded exchange, or one of its turns.
    fn asked(&self, id: u32, turn: u32) -> Result<Option<Canonical>> {
        let exchange = self.recordings.exchange(id)?;
        let head = self.canonical(&exchange.request)?;
        if turn == 0 {
            return Ok(Some(head));
        }
        let turns = turns::turns(&exchange.messages);
        let message = turns.get(turn as usize).and_then(|turn| turn.asked);
        Ok(message.map(|message| self.message(&head, message)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host is named, with or without its port.
fn has_host(globs: &[Glob], host: &str) -> bool {
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    globs.iter().any(|glob| glob.matches(host) || glob.matches(bare))
}

/// The exchange as it is indexed; none if it can't be served, or is of another interface.
fn fit(mut exchange: Exchange, interface: Option<Interface>) -> Option<Exchange> {
    // What a proxy carried is an exchange of its own.
    if exchange.request.method.eq_ignore_ascii_case("CONNECT") {
        return None;
    }
    if let Some(interface) = interface {
        let target = &exchange.request.target;
        let (path, query) =
            target.split_once('?').map_or((target.as_str(), None), |(p, q)| (p, Some(q)));
        let path = interface.operation(path)?;
        exchange.request.target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
    }
    Some(exchange)
}

#[cfg(test)]
mod tests;
