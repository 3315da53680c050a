//! What a recording knows of the network: names with their addresses, and servers on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::stream::connection::Peer;
use crate::stream::{Connection, Traffic};

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
    let with_exchanges: BTreeSet<u32> =
        traffic.summaries().iter().map(|summary| summary.connection).collect();
    let on_loopback = asked(traffic.connections())
        .filter(|connection| with_exchanges.contains(&connection.id))
        .filter_map(|connection| match connection.peer {
            Peer::Inet(peer) => Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Peer::Unix(_) => None,
        })
        .filter(|peer| peer.ip().is_loopback());
    on_loopback.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Destinations elsewhere that no connection reached.
pub fn failed(traffic: &Traffic) -> Vec<SocketAddr> {
    let (mut failed, mut reached) = (BTreeSet::new(), BTreeSet::new());
    for connection in asked(traffic.connections()) {
        if let Peer::Inet(peer) = connection.peer {
            let moved = connection.sent_bytes + connection.received_bytes > 0;
            let list = if connection.error.is_none() || moved { &mut reached } else { &mut failed };
            list.insert(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        }
    }
    failed.retain(|peer| !peer.ip().is_loopback() && !reached.contains(peer));
    failed.into_iter().collect()
}

/// Connections that the guest opened.
fn asked(all: &[Connection]) -> impl Iterator<Item = &Connection> {
    all.iter().filter(|connection| !connection.accepted)
}

/// The host of `host:port`, `[v6]:port` or `host`.
fn host_of(authority: &str) -> &str {
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
