//! Connections of a session.

mod assemble;
mod cleartext;
mod fds;
mod merge;
mod names;
mod transfer;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use assemble::{Sink, inet};
pub(crate) use cleartext::Cleartext;
pub(crate) use merge::{Merged, merge};
pub use names::{Lookup, canonical};

/// Which way bytes went, seen from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Written by the guest.
    Sent,
    /// Read by the guest.
    Received,
}

/// Bytes that one call (or one read of the host, for intercepted TLS) moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Which way.
    pub direction: Direction,
    /// When they had moved, nanoseconds since the recording's start.
    pub time_ns: u64,
    /// Key of the process whose call it was.
    pub process: u64,
    /// Step of that call in its process; for intercepted TLS, of the last call known.
    pub step: u64,
    /// Key of the log that has the bytes: that process's, or [`log_format::arena::PLAIN_KEY`].
    pub log: u64,
    /// Where they start in that log; of no meaning outside a session.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The first `len` bytes (at most all), and what follows them.
    pub fn split(self, len: usize) -> (Segment<'a>, Segment<'a>) {
        let (first, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        let offset = self.offset + first.len() as u64;
        (Segment { bytes: first, ..self }, Segment { bytes: rest, offset, ..self })
    }
}

impl Direction {
    /// The other way.
    pub fn other(self) -> Direction {
        match self {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
        }
    }
}

/// One socket's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Number in the session, from 1, by the time it was opened.
    pub id: u32,
    /// Key of the process that opened it.
    pub process: u64,
    /// Its descriptor there.
    pub fd: i32,
    /// Whether the guest accepted it, rather than connected.
    pub accepted: bool,
    /// The other end.
    pub peer: Peer,
    /// Name that was looked up, or named in TLS (SNI), for the peer.
    pub host: Option<String>,
    /// TLS on it.
    pub tls: Tls,
    /// When it was opened, nanoseconds since the recording's start.
    pub opened_ns: u64,
    /// When its last descriptor was closed; none if it was open at the end.
    pub closed_ns: Option<u64>,
    /// Step of the connect or accept.
    pub step: u64,
    /// Bytes that the guest wrote (of plaintext, if intercepted).
    pub sent_bytes: u64,
    /// Bytes that the guest read (of plaintext, if intercepted).
    pub received_bytes: u64,
    /// Error that ended it or kept it from being opened, as an errno.
    pub error: Option<i32>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// An internet address.
    Inet(SocketAddr),
    /// A Unix socket's path, or `@name` of an abstract one; empty if it has no name.
    Unix(String),
}

/// TLS on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Tls {
    /// Plain bytes.
    #[default]
    None,
    /// The host ended it: the segments are plaintext.
    Intercepted {
        /// Server name the guest asked for.
        sni: Option<String>,
        /// Protocol agreed on (`h2`, `http/1.1`).
        alpn: Option<String>,
    },
    /// Ciphertext that nothing here can read.
    Opaque {
        /// Server name the guest asked for.
        sni: Option<String>,
        /// Why, for the user.
        reason: String,
    },
}
