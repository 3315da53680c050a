//! The exchanges of a session, for a player.

use super::engine::Recordings;
use crate::error::Result;
use crate::session::Session;
use crate::stream::{Exchange, Traffic};

/// What the guest asked of others in a session.
pub struct Recorded {
    traffic: Traffic,
    /// Numbers of the connections that the guest accepted: there it was the server.
    accepted: Vec<u32>,
}

impl Recorded {
    /// The exchanges of a session.
    ///
    /// # Errors
    /// They can't be read.
    pub fn new(session: &Session) -> Result<Recorded> {
        let traffic = session.traffic()?;
        let accepted = traffic.connections().iter().filter(|c| c.accepted).map(|c| c.id);
        let accepted = accepted.collect();
        Ok(Recorded { traffic, accepted })
    }
}

impl Recordings for Recorded {
    fn all(&self) -> Box<dyn Iterator<Item = Result<Exchange>> + '_> {
        Box::new(self.traffic.exchanges().filter(|exchange| {
            exchange.as_ref().map_or(true, |e| !self.accepted.contains(&e.connection))
        }))
    }

    fn exchange(&self, id: u32) -> Result<Exchange> {
        self.traffic.exchange(id)
    }
}
