//! Network replay: a program runs live, and a player answers its connections.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Player;
use super::serve::{Answering, Setup};
use crate::error::{Error, Result};
use crate::network::{self, Outcome};
use crate::session::Session;
use crate::session::manifest::ByteText;
use crate::stream::Connection;
use crate::stream::connection::Peer;

/// What runs, beside the player that answers it.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Program and arguments, if not the recorded ones.
    pub command: Option<Vec<OsString>>,
    /// Real clock.
    pub clock: bool,
    /// Real randomness.
    pub entropy: bool,
}

/// Runs the session's program, or another, with this player in place of its network.
///
/// # Errors
/// As [`network::run`].
pub fn replay(session: &Session, player: Arc<Player>, live: Live) -> Result<Outcome> {
    let mut setup = Setup::new(false);
    let dir = tempfile::tempdir().map_err(Error::io("make a directory for certificates"))?;
    let mut environment: Vec<ByteText> = std::env::vars_os()
        .map(|(name, value)| {
            let parts = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()];
            ByteText(parts.concat())
        })
        .collect();
    setup.with_trust(dir.path(), &mut environment)?;
    let traffic = session.traffic()?;
    let outgoing = || traffic.connections().iter().filter(|c| !c.accepted);
    network::run(&network::Replay {
        session,
        command: live.command,
        environment,
        live_clock: live.clock,
        live_entropy: live.entropy,
        names: names(outgoing()),
        served: served(outgoing()),
        others: true,
        answers: Arc::new(Answering::new(player, setup)),
    })
}

/// The names that were looked up, with the addresses that were connected to.
fn names<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<(String, Vec<IpAddr>)> {
    let mut all: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for connection in connections {
        let (Some(host), Peer::Inet(peer)) = (&connection.host, &connection.peer) else { continue };
        // An address in place of a name needs no lookup.
        if host.parse::<IpAddr>().is_ok() {
            continue;
        }
        let ip = peer.ip().to_canonical();
        match all.iter_mut().find(|(name, _)| name == host) {
            Some((_, ips)) if ips.contains(&ip) => {}
            Some((_, ips)) => ips.push(ip),
            None => all.push((host.clone(), vec![ip])),
        }
    }
    all
}

/// Destinations on loopback that the recording talked to.
fn served<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for connection in connections {
        let Peer::Inet(peer) = connection.peer else { continue };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let spoken = connection.sent_bytes > 0 || connection.received_bytes > 0;
        if peer.ip().is_loopback() && spoken && !all.contains(&peer) {
            all.push(peer);
        }
    }
    all
}
