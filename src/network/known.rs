//! What a recording knows of the network: names with their addresses, and servers on loopback.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use log_format::{DNS_PORT, RESOLVERS};

use super::accept::unmapped;
use crate::error::Result;
use crate::stream::connection::Peer;
use crate::stream::{Connection, End, Traffic};

/// Names with their recorded addresses, for the name server. A name that was only seen in
/// requests (through a proxy, say) has none.
pub fn names(traffic: &Traffic) -> Vec<(String, Vec<IpAddr>)> {
    let mut names: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for connection in asked(traffic.connections()) {
        if let (Some(host), Peer::Inet(peer)) = (&connection.host, &connection.peer)
            && host.parse::<IpAddr>().is_err()
        {
            names.entry(host.clone()).or_default().insert(peer.ip().to_canonical());
        }
    }
    for summary in traffic.summaries() {
        let host = host_of(&summary.authority);
        if !host.is_empty() && host.parse::<IpAddr>().is_err() {
            names.entry(host.to_owned()).or_default();
        }
    }
    names.into_iter().map(|(name, ips)| (name, ips.into_iter().collect())).collect()
}

/// Destinations on loopback that the recording has exchanges with.
pub fn served(traffic: &Traffic) -> Vec<SocketAddr> {
    let read = with_exchanges(traffic);
    let on_loopback = asked(traffic.connections())
        .filter(|connection| read.contains(&connection.id))
        .filter_map(destination)
        .filter(|peer| peer.ip().is_loopback());
    on_loopback.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Destinations elsewhere that no connection reached, but those of hosts that are there `by_now`.
pub fn failed(traffic: &Traffic, by_now: &BTreeSet<String>) -> Vec<SocketAddr> {
    let (mut failed, mut reached) = (BTreeSet::new(), BTreeSet::new());
    for connection in asked(traffic.connections()) {
        if let Some(peer) = destination(connection) {
            let is_there = by_now.contains(&peer.ip().to_string())
                || connection.host.as_ref().is_some_and(|host| by_now.contains(host));
            let reaches = connection.error.is_none() || has_moved(connection) || is_there;
            let list = if reaches { &mut reached } else { &mut failed };
            list.insert(peer);
        }
    }
    failed.retain(|peer| !peer.ip().is_loopback() && !reached.contains(peer));
    failed.into_iter().collect()
}

/// Destinations whose connections carried something, and whether any of it can be answered: it is
/// neither of another protocol than HTTP nor in TLS that was not read.
pub fn spoken(traffic: &Traffic) -> HashMap<SocketAddr, bool> {
    let read = with_exchanges(traffic);
    let mut all = HashMap::new();
    for connection in asked(traffic.connections()).filter(|connection| has_moved(connection)) {
        if let Some(to) = destination(connection) {
            *all.entry(to).or_default() |= read.contains(&connection.id);
        }
    }
    all
}

/// Whether every lookup of a name is known: no name server was out of reach, and nobody else was
/// asked than can be read.
pub fn has_all_lookups(traffic: &Traffic) -> bool {
    let unread = |connection: &Connection| match &connection.peer {
        Peer::Inet(peer) => peer.port() == DNS_PORT,
        Peer::Unix(path) => RESOLVERS.iter().any(|resolver| path.starts_with(resolver)),
    };
    let mut opened = asked(traffic.connections()).filter(|connection| connection.error.is_none());
    !traffic.lacks_lookups() && !opened.any(unread)
}

/// When an answer had come whole.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The exchange.
    pub exchange: u32,
    /// Key of the process that asked.
    pub process: u64,
    /// Its descriptor.
    pub fd: i32,
    /// When it could read the end, nanoseconds since the recording's start.
    pub time_ns: u64,
}

/// The ends of all answers that the guest got.
///
/// # Errors
/// They can't be read.
pub fn answered(traffic: &Traffic) -> Result<Vec<Answered>> {
    let mut all = Vec::new();
    for summary in traffic.summaries().iter().filter(|summary| summary.status.is_some()) {
        let connection = traffic.connection(summary.connection);
        let Some(connection) = connection.filter(|c| !c.accepted) else { continue };
        let time_ns = match summary.end {
            End::Complete => summary.ended_ns,
            // It has ended with its connection, perhaps long after.
            _ => traffic.exchange(summary.id)?.response.map_or(summary.ended_ns, |r| r.ended_ns),
        };
        let (exchange, process, fd) = (summary.id, connection.process, connection.fd);
        all.push(Answered { exchange, process, fd, time_ns });
    }
    all.sort_by_key(|answered| answered.time_ns);
    Ok(all)
}

/// Connections that the guest opened.
fn asked(all: &[Connection]) -> impl Iterator<Item = &Connection> {
    all.iter().filter(|connection| !connection.accepted)
}

/// Connections that carried HTTP.
fn with_exchanges(traffic: &Traffic) -> BTreeSet<u32> {
    traffic.summaries().iter().map(|summary| summary.connection).collect()
}

fn has_moved(connection: &Connection) -> bool {
    connection.sent_bytes + connection.received_bytes > 0
}

/// Where a connection of the internet goes to.
fn destination(connection: &Connection) -> Option<SocketAddr> {
    match connection.peer {
        Peer::Inet(peer) => Some(unmapped(peer)),
        Peer::Unix(_) => None,
    }
}

/// The host of `host:port`, `[v6]:port` or `host`.
pub fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn an_authority_s_host() {
        for (authority, host) in
            [("a.example:80", "a.example"), ("a.example", "a.example"), ("[::1]:8", "::1")]
        {
            assert_eq!(host_of(authority), host);
        }
    }
}
