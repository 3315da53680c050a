//! Making an index: one pass over all logs.

use std::collections::HashMap;

use super::{Details, Index, Stored, Tables};
use crate::error::Result;
use crate::session::Session;
use crate::stream::connection::{Connection, Merged, Peer, Sink, merge};
use crate::stream::http::{Decoded, Decoder, Setting};
use crate::stream::traffic::Summary;
use crate::stream::{Direction, Segment, Tls};

/// Why a TLS connection can't be read that was not intercepted.
const PASSIVE: &str = "its TLS was not intercepted";

/// Decodes connections while they are read.
#[derive(Default)]
struct Builder {
    /// Decoders of connections that are open.
    decoders: HashMap<u32, Decoder>,
    details: Vec<u8>,
    found: Vec<(Summary, (u64, u32))>,
    /// TLS that was seen on connections.
    tls: HashMap<u32, Tls>,
}

/// Makes the index of a session.
///
/// # Errors
/// The system's. What damaged logs still say is in it.
pub(crate) fn build(session: &Session) -> Result<Index> {
    let mut builder = Builder::default();
    let merged = merge(session, &mut builder)?;
    let Merged { mut connections, lookups, no_lookups, frames, tails, damage, last_ns } = merged;
    let mut open: Vec<u32> = builder.decoders.keys().copied().collect();
    open.sort_unstable();
    for id in open {
        if let Some(decoder) = builder.decoders.get_mut(&id) {
            decoder.open_end(last_ns);
        }
        builder.drop_decoder(id);
    }
    for connection in &mut connections {
        if let Some(tls) = builder.tls.remove(&connection.id)
            && connection.tls == Tls::None
        {
            if let Tls::Opaque { sni: Some(sni), .. } = &tls {
                connection.host = Some(sni.clone());
            }
            connection.tls = tls;
        }
    }
    builder.found.sort_by_key(|(summary, _)| (summary.started_ns, summary.connection));
    let (mut summaries, mut places) = (Vec::new(), Vec::new());
    for ((mut summary, place), id) in builder.found.into_iter().zip(1..) {
        summary.id = id;
        summaries.push(summary);
        places.push(place);
    }
    let frames = frames
        .into_iter()
        .map(|(key, frames)| (key, frames.into_iter().map(Into::into).collect()))
        .collect();
    let made_from = Vec::new();
    let tables = Tables {
        made_from,
        frames,
        connections,
        lookups,
        no_lookups,
        summaries,
        places,
        damage,
        last_ns,
    };
    Ok(Index { tables, details: Details::Memory(builder.details), tails })
}

impl Builder {
    fn decoder(&mut self, connection: u32, f: impl FnOnce(&mut Decoder)) {
        let Some(decoder) = self.decoders.get_mut(&connection) else { return };
        f(decoder);
        for decoded in decoder.take() {
            keep(decoded, &mut self.details, &mut self.found);
        }
    }

    fn drop_decoder(&mut self, connection: u32) {
        self.decoder(connection, |_| {});
        let hello = self.decoders.remove(&connection);
        if let Some(hello) = hello.as_ref().and_then(Decoder::client_hello) {
            let tls = Tls::Opaque { sni: hello.sni.clone(), reason: PASSIVE.into() };
            self.tls.insert(connection, tls);
        }
    }
}

fn keep(decoded: Decoded, details: &mut Vec<u8>, found: &mut Vec<(Summary, (u64, u32))>) {
    let summary = Summary::of(&decoded.exchange, decoded.messages);
    let at = details.len();
    // Writing to memory fails for no reason but a type that postcard can't encode.
    if let Ok(bytes) = postcard::to_stdvec(&Stored::new(decoded)) {
        details.extend_from_slice(&bytes);
    }
    found.push((summary, (at as u64, (details.len() - at) as u32)));
}

/// The other end of a connection, as requests would name it.
fn authority(connection: &Connection) -> String {
    match (&connection.host, &connection.peer) {
        (Some(host), Peer::Inet(peer)) => format!("{host}:{}", peer.port()),
        (None, Peer::Inet(peer)) => peer.to_string(),
        (_, Peer::Unix(path)) => path.clone(),
    }
}

impl Sink for Builder {
    fn opened(&mut self, connection: &Connection) {
        let requests = match connection.accepted {
            true => Direction::Received,
            false => Direction::Sent,
        };
        let authority = match (&connection.host, &connection.peer) {
            (Some(host), Peer::Inet(peer)) if peer.port() == 80 => host.clone(),
            _ => authority(connection),
        };
        let setting =
            Setting { connection: connection.id, requests, scheme: "http", authority, hold: false };
        self.decoders.insert(connection.id, Decoder::new(setting));
    }

    fn segment(&mut self, connection: u32, segment: &Segment<'_>) {
        self.decoder(connection, |d| d.segment(segment));
    }

    fn unseen(&mut self, connection: u32, direction: Direction, time_ns: u64) {
        self.decoder(connection, |d| d.unseen(direction, time_ns));
    }

    fn shut(&mut self, connection: u32, by: Direction, time_ns: u64) {
        self.decoder(connection, |d| d.shut(by, time_ns));
    }

    fn intercepted(&mut self, connection: &Connection) {
        let authority = match (&connection.host, &connection.peer) {
            (Some(host), Peer::Inet(peer)) if peer.port() == 443 => host.clone(),
            _ => authority(connection),
        };
        self.decoder(connection.id, |d| d.intercepted(authority));
    }

    fn closed(&mut self, connection: u32, by: Direction, time_ns: u64) {
        self.decoder(connection, |d| d.closed(by, time_ns));
        self.drop_decoder(connection);
    }
}
