//! The exchanges of a session, for a player.

use std::collections::HashMap;

use super::engine::Recordings;
use super::layer;
use super::report::Paid;
use super::selection::Selection;
use crate::error::Result;
use crate::session::Session;
use crate::stream::recorded::call_of;
use crate::stream::{CallId, Exchange, Traffic};

/// What the guest asked of others in a session, as far as it is to be served.
pub struct Recorded {
    traffic: Traffic,
    /// Ids of the processes by their keys.
    processes: HashMap<u64, String>,
    selection: Selection,
    /// What hybrid runs have added.
    layers: Vec<Exchange>,
}

impl Recorded {
    /// The exchanges of a session.
    ///
    /// # Errors
    /// They can't be read.
    pub fn new(session: &Session, selection: Selection) -> Result<Recorded> {
        let traffic = session.traffic()?;
        let processes = session.manifest().processes.iter();
        let processes = processes.map(|p| (p.key, p.id.clone())).collect();
        let last = traffic.summaries().iter().map(|summary| summary.id).max();
        let layers = layer::read(session.dir(), last.unwrap_or(0) + 1)?;
        Ok(Recorded { traffic, processes, selection, layers })
    }

    fn has(&self, exchange: &Exchange) -> bool {
        let process = self.processes.get(&exchange.request.process).map_or("", String::as_str);
        // On a connection that it accepted, the guest was the server.
        let connection = self.traffic.connection(exchange.connection);
        connection.is_none_or(|c| !c.accepted) && self.selection.has(exchange, process)
    }
}

impl Recordings for Recorded {
    fn all(&self) -> Box<dyn Iterator<Item = Result<Exchange>> + '_> {
        let layers = self.layers.iter().cloned().map(Ok);
        let all = self.traffic.exchanges().chain(layers);
        Box::new(all.filter(|all| all.as_ref().map_or(true, |one| self.has(one))))
    }

    fn exchange(&self, id: u32) -> Result<Exchange> {
        match self.layers.iter().find(|exchange| exchange.id == id) {
            Some(exchange) => Ok(exchange.clone()),
            None => self.traffic.exchange(id),
        }
    }

    fn paid(&self, id: u32) -> Paid {
        let summary = self.traffic.summaries().iter().find(|summary| summary.id == id);
        let waited_ns = summary.map_or(0, |s| s.ended_ns.saturating_sub(s.started_ns));
        // Not every exchange is a call of a model.
        let usage = call_of(&self.traffic, CallId::from(id)).map(|call| call.usage);
        let usage = usage.unwrap_or_default();
        Paid {
            waited_ms: waited_ns / 1_000_000,
            input_tokens: usage.input_tokens.unwrap_or(0),
            output_tokens: usage.output_tokens.unwrap_or(0),
        }
    }
}
