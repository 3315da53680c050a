//! Reading the log of plaintext: what went over TLS connections that the host has ended.
//!
//! The log stands beside those of the processes (`procs/<PLAIN_KEY>.<n>.log`), in the same frames
//! and records ([`log_format::record::plain`]), in the order in which the host saw things.
//!
//! ```no_run
//! # fn f(session: &rr_run::session::Session) -> Result<(), rr_run::error::Error> {
//! use rr_run::intercept::plain::{What, events};
//!
//! let mut events = events(session)?;
//! while let Some(event) = events.next_event()? {
//!     match event.what {
//!         What::Opened(opened) => println!("{} to {}", event.connection, opened.peer),
//!         What::Data(direction, bytes) => println!("{direction:?} {}", bytes.len()),
//!         What::Closed(closed) => println!("{:?}", closed.end),
//!         What::Unknown => {}
//!     }
//! }
//! # Ok(()) }
//! ```

use std::net::SocketAddr;

use log_format::arena::PLAIN_KEY;
use log_format::record::{Kind, Record, plain};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::log::Events;
use crate::session::manifest::hex64;
use crate::session::{Session, Status};
use crate::stream::Direction;

/// A TLS connection that the host was asked to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Key of the process that sent the ClientHello.
    #[serde(with = "hex64")]
    pub process: u64,
    /// Steps of that process before the call that sent it.
    pub step: u64,
    /// The socket's descriptor there.
    pub fd: i32,
    /// The guest's end.
    pub local: SocketAddr,
    /// The server's (or proxy's) end.
    pub peer: SocketAddr,
    /// Server name the guest asked for.
    pub sni: Option<String>,
    /// Protocol agreed on by all three (`h2`, `http/1.1`).
    pub alpn: Option<String>,
    /// Version of TLS between the host and the server, `TLSv1.3`.
    pub version: Option<String>,
    /// None: data follows. Else why the connection stays ciphertext, for the user.
    pub opaque: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Bytes of plaintext that the guest sent.
    pub sent_bytes: u64,
    /// Bytes of plaintext for the guest.
    pub received_bytes: u64,
    /// What ended it.
    pub end: Ended,
}

/// What ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Both sides had finished.
    Finished,
    /// The guest reset it, or was killed.
    GuestReset,
    /// The server reset it.
    ServerReset,
    /// TLS failed on it.
    Failed,
    /// Recording ended.
    RecordingEnded,
}

/// What a record of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A connection begins.
    Opened(Box<Opened>),
    /// Plaintext, one read of the host: no more than one TLS record or a few that came together.
    Data(Direction, &'a [u8]),
    /// A connection has ended.
    Closed(Closed),
    /// Something that this version does not know.
    Unknown,
}

/// One event of the log of plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its number in the log.
    pub step: u64,
    /// Number of the connection in the session, from 1, by the time of its ClientHello.
    pub connection: u32,
    /// When, CLOCK_MONOTONIC in nanoseconds: as the times of calls.
    pub time_ns: u64,
    /// What.
    pub what: What<'a>,
}

/// Decodes one record, for readers of [`Events`] with [`PLAIN_KEY`]; none if it is of another
/// kind, or damaged.
pub fn decode<'a>(step: u64, record: &Record<'a>) -> Option<Event<'a>> {
    if record.header.kind != Kind::Plain {
        return None;
    }
    let body = record.plain()?;
    let what = match record.header.flags {
        plain::OPENED => What::Opened(serde_json::from_slice(body.bytes).ok()?),
        plain::SENT => What::Data(Direction::Sent, body.bytes),
        plain::RECEIVED => What::Data(Direction::Received, body.bytes),
        plain::CLOSED => What::Closed(serde_json::from_slice(body.bytes).ok()?),
        _ => return None,
    };
    Some(Event { step, connection: body.connection, time_ns: body.time_ns, what })
}

/// Reads the log of plaintext in order.
pub struct PlainEvents {
    events: Events,
}

/// The plaintext of a session: of a finished one, of one that was cut short, and, up to what has
/// been stored, of one that is being recorded. A session without any has no events.
///
/// # Errors
/// Lack of memory.
pub fn events(session: &Session) -> Result<PlainEvents> {
    let live = session.manifest().status == Status::Recording;
    let expected = (!live).then_some(session.manifest().tls.log.bytes);
    Ok(PlainEvents { events: Events::open(session.dir(), PLAIN_KEY, live, expected)? })
}

impl PlainEvents {
    /// The next event; none at the end.
    ///
    /// # Errors
    /// As [`Events::next_event`].
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        let Some(event) = self.events.next_event()? else { return Ok(None) };
        let unknown = Event { step: event.step, connection: 0, time_ns: 0, what: What::Unknown };
        Ok(Some(decode(event.step, &event.record).unwrap_or(unknown)))
    }
}
