//! A player, put together.

use std::path::PathBuf;
use std::sync::Arc;

use super::engine::{Mode, Player, Settings};
use super::interface::Interface;
use super::matching::Options;
use super::recorded::Recorded;
use super::report::ACCEPTED;
use super::resolution::Asks;
use super::rules::{Glob, Rules};
use super::selection::{Choice, Selection};
use super::timing::Timing;
use crate::error::Result;
use crate::redact::{self, Blanks};
use crate::session::Session;

/// What a player of a session is to be like; see [`Player::builder`].
#[derive(Debug)]
pub struct Builder<'a> {
    session: &'a Session,
    settings: Settings,
    rules: Vec<PathBuf>,
    selection: Selection,
    fallback: Vec<Glob>,
    optional: Vec<Glob>,
    redact: redact::Options,
    asks: Option<Arc<dyn Asks>>,
}

impl Player {
    /// A player of a session: strict and with recorded timing unless said otherwise.
    ///
    /// ```no_run
    /// use rr_run::player::{Mode, Player, Timing};
    /// use rr_run::session::Session;
    ///
    /// # fn main() -> Result<(), rr_run::error::Error> {
    /// let session = Session::open("tests/cassettes/chat".as_ref())?;
    /// let player = Player::builder(&session).mode(Mode::Warn).timing(Timing::Instant).build()?;
    /// assert!(!player.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(session: &Session) -> Builder<'_> {
        let (settings, selection) = (Settings::default(), Selection::default());
        let (rules, redact, asks) = (Vec::new(), redact::Options::default(), None);
        let (fallback, optional) = (Vec::new(), Vec::new());
        Builder { session, settings, rules, selection, fallback, optional, redact, asks }
    }
}

impl Builder<'_> {
    /// What is done with requests that were not recorded.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// When pieces leave.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.settings.timing = timing;
        self
    }

    /// Rules of this file hold, besides those kept with the session.
    pub fn rules(mut self, file: impl Into<PathBuf>) -> Self {
        self.rules.push(file.into());
        self
    }

    /// Serves the answers to a request again from the first when all were served.
    pub fn repeat(mut self, repeat: bool) -> Self {
        self.settings.options = Options { repeat };
        self
    }

    /// Serves one interface only, whatever the path of the client's base URL.
    pub fn interface(mut self, interface: Option<Interface>) -> Self {
        self.settings.interface = interface;
        self
    }

    /// Serves only these exchanges; all if there is no such choice.
    pub fn only(mut self, choices: impl IntoIterator<Item = Choice>) -> Self {
        self.selection.only.extend(choices);
        self
    }

    /// Does not serve these exchanges.
    pub fn except(mut self, choices: impl IntoIterator<Item = Choice>) -> Self {
        self.selection.except.extend(choices);
        self
    }

    /// In hybrid mode only these hosts are asked; all if there are none.
    pub fn fallback(mut self, hosts: impl IntoIterator<Item = Glob>) -> Self {
        self.fallback.extend(hosts);
        self
    }

    /// What these hosts are asked, or not asked, fails no run.
    pub fn optional(mut self, hosts: impl IntoIterator<Item = Glob>) -> Self {
        self.optional.extend(hosts);
        self
    }

    /// Recorded exchanges that are never asked for fail no run.
    pub fn allow_unused(mut self, allow: bool) -> Self {
        self.settings.allow_unused = allow;
        self
    }

    /// The run ends at the first request that is refused.
    pub fn kill(mut self, kill: bool) -> Self {
        self.settings.kill = kill;
        self
    }

    /// What is secret, and makes no difference between requests.
    pub fn redact(mut self, options: redact::Options) -> Self {
        self.redact = options;
        self
    }

    /// Someone decides about each request that was not recorded.
    pub fn asks(mut self, asks: Option<Arc<dyn Asks>>) -> Self {
        self.asks = asks;
        self
    }

    /// The player.
    ///
    /// # Errors
    /// Session or rules can't be read.
    pub fn build(self) -> Result<Player> {
        let accepted = self.session.dir().join(ACCEPTED);
        let files = accepted.is_file().then_some(&accepted).into_iter().chain(&self.rules);
        let blanks = Blanks::new(&self.redact, self.session.manifest())?;
        let rules = Rules::read(files.map(PathBuf::as_path))?.with_blanks(blanks);
        let recorded = Recorded::new(self.session, self.selection)?;
        let player = Player::new(self.session.name(), Arc::new(recorded), rules, self.settings)?;
        let player = player.with_fallback(self.fallback).with_optional(self.optional);
        Ok(player.with_redact(self.redact).with_asks(self.asks))
    }
}
