//! What went over a session's connections.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::body::Source;
use super::exchange::header;
use super::http::ws::WebSocket;
use super::http::{self, Wire};
use super::index::{self, Index};
use super::source::Logs;
use super::{Connection, Direction, End, Exchange, Lookup, Protocol, Segment};
use crate::error::{Error, Result};
use crate::session::Session;

/// WebSocket messages of one exchange that are held at once, bytes.
const MESSAGES_BYTES_MAX: usize = 256 << 20;

/// Connections and exchanges of a session.
///
/// ```no_run
/// # fn f(session: &rr_run::session::Session) -> Result<(), rr_run::error::Error> {
/// let traffic = session.traffic()?;
/// for summary in traffic.summaries() {
///     println!("{} {} {}", summary.id, summary.method, summary.target);
/// }
/// let first = traffic.exchange(1)?;
/// println!("{:?}", first.response.map(|r| r.body.bytes()));
/// # Ok(()) }
/// ```
pub struct Traffic {
    index: Index,
    logs: Arc<dyn Source>,
}

/// An exchange in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`Exchange::id`].
    pub id: u32,
    /// [`Connection::id`].
    pub connection: u32,
    /// Framing.
    pub protocol: Protocol,
    /// Key of the process that wrote the request.
    pub process: u64,
    /// Step of the call with the request's first byte.
    pub step: u64,
    /// Method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Status code, if the response's head came.
    pub status: Option<u16>,
    /// Content type of the response.
    pub content_type: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Pieces that the response's body came in.
    pub response_chunks: u64,
    /// WebSocket messages.
    pub messages: u64,
    /// When the request's first byte was written, nanoseconds since the recording's start.
    pub started_ns: u64,
    /// When the response's first byte was read.
    pub answered_ns: Option<u64>,
    /// When the exchange ended.
    pub ended_ns: u64,
    /// How.
    pub end: End,
}

impl Summary {
    pub(crate) fn of(exchange: &Exchange, messages: u64) -> Summary {
        let Exchange { request, response, .. } = exchange;
        let answer = response.as_ref();
        let content_type = answer.and_then(|r| header(&r.headers, "content-type"));
        Summary {
            id: exchange.id,
            connection: exchange.connection,
            protocol: exchange.protocol,
            process: request.process,
            step: request.step,
            method: request.method.clone(),
            scheme: request.scheme.clone(),
            authority: request.authority.clone(),
            target: request.target.clone(),
            status: answer.map(|r| r.status),
            content_type: content_type.map(|v| String::from_utf8_lossy(v).into_owned()),
            request_bytes: request.body.len(),
            response_bytes: answer.map_or(0, |r| r.body.len()),
            response_chunks: answer.map_or(0, |r| r.body.chunks.len() as u64),
            messages,
            started_ns: request.started_ns,
            answered_ns: answer.map(|r| r.started_ns),
            ended_ns: exchange.ended_ns,
            end: exchange.end.clone(),
        }
    }
}

impl Session {
    /// Connections and exchanges of the session, as far as it goes.
    ///
    /// The first time all its logs are read, and an index is left in its directory if that can
    /// be written to; of a session that is being recorded it is what stands there at present.
    ///
    /// # Errors
    /// The system's. Damage ends what is found, and is told by [`Traffic::damage`].
    pub fn traffic(&self) -> Result<Traffic> {
        Ok(self.with_index(index::open(self)?))
    }

    /// The same, and nothing is left in its directory: its logs are about to change.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn traffic_of_now(&self) -> Result<Traffic> {
        Ok(self.with_index(index::build(self)?))
    }

    fn with_index(&self, mut index: Index) -> Traffic {
        let frames: HashMap<_, _> = index
            .tables
            .frames
            .iter()
            .map(|(key, places)| (*key, places.iter().map(Into::into).collect()))
            .collect();
        let tails = std::mem::take(&mut index.tails);
        let logs = Arc::new(Logs::new(self.dir().to_owned(), frames, tails));
        Traffic { index, logs }
    }
}

impl Traffic {
    /// All connections, by the time they were opened.
    pub fn connections(&self) -> &[Connection] {
        &self.index.tables.connections
    }

    /// The connection with this [`Connection::id`].
    pub fn connection(&self, id: u32) -> Option<&Connection> {
        self.connections().get((id as usize).wrapping_sub(1))
    }

    /// Lookups of names by datagrams, in the order in which they were first made.
    pub fn lookups(&self) -> &[Lookup] {
        &self.index.tables.lookups
    }

    /// Whether a name server could not be asked: what for is not known.
    pub(crate) fn lacks_lookups(&self) -> bool {
        self.index.tables.no_lookups
    }

    /// All exchanges in short, by the time their requests began.
    pub fn summaries(&self) -> &[Summary] {
        &self.index.tables.summaries
    }

    /// Why logs could not be read to their end.
    pub fn damage(&self) -> &[String] {
        &self.index.tables.damage
    }

    /// When the last event happened, nanoseconds since the recording's start.
    pub fn last_ns(&self) -> u64 {
        self.index.tables.last_ns
    }

    /// The exchange with this number. Its bodies are read when they are asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none, [`Error::Damaged`] or the system's.
    pub fn exchange(&self, id: u32) -> Result<Exchange> {
        let index = (id as usize).checked_sub(1);
        let index = index.filter(|i| *i < self.index.tables.summaries.len());
        let Some(index) = index else {
            let count = self.index.tables.summaries.len();
            let what = format!("the session has no exchange {id}, only {count}");
            return Err(Error::Usage(what));
        };
        let Some(stored) = self.index.details(index) else {
            let path = std::path::Path::new(index::INDEX);
            return Err(Error::damaged(path, "it is cut short", "remove it; it is made anew"));
        };
        let (mut exchange, wire) = stored.into_exchange(id);
        exchange.request.body.attach(&self.logs);
        if let Some(response) = &mut exchange.response {
            response.body.attach(&self.logs);
        }
        if !wire.is_empty() {
            self.messages(&mut exchange, &wire)?;
        }
        Ok(exchange)
    }

    /// All exchanges, by the time their requests began.
    pub fn exchanges(&self) -> impl Iterator<Item = Result<Exchange>> + '_ {
        self.summaries().iter().map(|summary| self.exchange(summary.id))
    }

    /// Decodes the messages of a WebSocket.
    fn messages(&self, exchange: &mut Exchange, wire: &[Wire]) -> Result<()> {
        let accepted = self.connection(exchange.connection).is_some_and(|c| c.accepted);
        let requests = if accepted { Direction::Received } else { Direction::Sent };
        let mut frames = WebSocket::new(requests, http::extensions(exchange));
        let mut messages = Vec::new();
        let mut held = 0;
        for w in wire {
            let mut bytes = BytesMut::new();
            self.logs.read(w.log, w.offset, w.len as usize, &mut bytes)?;
            let Wire { direction, time_ns, step, log, offset, .. } = *w;
            let process = exchange.request.process;
            let bytes = &bytes;
            let segment = Segment { direction, time_ns, process, step, log, offset, bytes };
            // What is malformed is said in the exchange's end.
            let result = frames.segment(&segment, &mut |message| {
                held += message.bytes.len();
                if held <= MESSAGES_BYTES_MAX {
                    messages.push(message);
                }
            });
            if result.is_err() || held > MESSAGES_BYTES_MAX {
                break;
            }
        }
        exchange.messages = messages;
        Ok(())
    }
}
