//! Exchanges as they stand in the index.

use serde::{Deserialize, Serialize};

use crate::stream::http::{Decoded, Wire};
use crate::stream::{
    Body, Chunk, Direction, End, Exchange, Header, Piece, Protocol, Request, Response,
};

/// An exchange without its bodies' bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    connection: u32,
    protocol: Protocol,
    stream: Option<u32>,
    request: StoredRequest,
    response: Option<StoredResponse>,
    end: End,
    ended_ns: u64,
    /// Keys of the logs in which the bytes stand; named by their place in this list.
    logs: Vec<u64>,
    wire: Vec<StoredWire>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRequest {
    method: String,
    scheme: String,
    authority: String,
    target: String,
    headers: Vec<Header>,
    body: StoredBody,
    trailers: Vec<Header>,
    started_ns: u64,
    ended_ns: u64,
    process: u64,
    step: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredResponse {
    protocol: Protocol,
    status: u16,
    reason: String,
    headers: Vec<Header>,
    interim: Vec<(u16, Vec<Header>)>,
    body: StoredBody,
    trailers: Vec<Header>,
    started_ns: u64,
    ended_ns: u64,
    step: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredBody {
    len: u64,
    /// Each chunk's length, and its time and step less those of the one before.
    chunks: Vec<(u64, i64, i64)>,
    pieces: Vec<StoredPiece>,
}

/// Start in the body, log, offset in it.
type StoredPiece = (u64, u32, u64);

/// Direction, time, log, step, offset, length.
type StoredWire = (Direction, u64, u32, u64, u64, u32);

/// Numbers logs in the order in which they appear.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn of(&mut self, key: u64) -> u32 {
        let known = self.0.iter().position(|k| *k == key);
        let index = known.unwrap_or_else(|| {
            self.0.push(key);
            self.0.len() - 1
        });
        index as u32
    }
}

impl Stored {
    pub(crate) fn new(decoded: Decoded) -> Stored {
        let Decoded { exchange, wire, .. } = decoded;
        let mut numbers = Numbers::default();
        let q = exchange.request;
        let request = StoredRequest {
            body: StoredBody::new(&q.body, &mut numbers),
            method: q.method,
            scheme: q.scheme,
            authority: q.authority,
            target: q.target,
            headers: q.headers,
            trailers: q.trailers,
            started_ns: q.started_ns,
            ended_ns: q.ended_ns,
            process: q.process,
            step: q.step,
        };
        let response = exchange.response.map(|a| StoredResponse {
            body: StoredBody::new(&a.body, &mut numbers),
            protocol: a.protocol,
            status: a.status,
            reason: a.reason,
            headers: a.headers,
            interim: a.interim,
            trailers: a.trailers,
            started_ns: a.started_ns,
            ended_ns: a.ended_ns,
            step: a.step,
        });
        let wire = wire
            .iter()
            .map(|w| (w.direction, w.time_ns, numbers.of(w.log), w.step, w.offset, w.len))
            .collect();
        Stored {
            connection: exchange.connection,
            protocol: exchange.protocol,
            stream: exchange.stream,
            request,
            response,
            end: exchange.end,
            ended_ns: exchange.ended_ns,
            logs: numbers.0,
            wire,
        }
    }

    /// The exchange, its bodies without a source and its messages not decoded yet; and what they
    /// are decoded from.
    pub(crate) fn into_exchange(self, id: u32) -> (Exchange, Vec<Wire>) {
        let keys = self.logs;
        let key = |number: u32| keys.get(number as usize).copied().unwrap_or_default();
        let q = self.request;
        let request = Request {
            body: q.body.into_body(&key),
            method: q.method,
            scheme: q.scheme,
            authority: q.authority,
            target: q.target,
            headers: q.headers,
            trailers: q.trailers,
            started_ns: q.started_ns,
            ended_ns: q.ended_ns,
            process: q.process,
            step: q.step,
        };
        let response = self.response.map(|a| Response {
            protocol: a.protocol,
            body: a.body.into_body(&key),
            status: a.status,
            reason: a.reason,
            headers: a.headers,
            interim: a.interim,
            trailers: a.trailers,
            started_ns: a.started_ns,
            ended_ns: a.ended_ns,
            step: a.step,
        });
        let wire = self.wire.iter().map(|(direction, time_ns, log, step, offset, len)| Wire {
            direction: *direction,
            time_ns: *time_ns,
            step: *step,
            log: key(*log),
            offset: *offset,
            len: *len,
        });
        let exchange = Exchange {
            id,
            connection: self.connection,
            protocol: self.protocol,
            stream: self.stream,
            request,
            response,
            messages: Vec::new(),
            end: self.end,
            ended_ns: self.ended_ns,
        };
        (exchange, wire.collect())
    }
}

impl StoredBody {
    fn new(body: &Body, numbers: &mut Numbers) -> StoredBody {
        let mut before = Chunk { end: 0, time_ns: 0, step: 0 };
        let chunks = body.chunks.iter().map(|c| {
            let stored = (
                c.end.wrapping_sub(before.end),
                c.time_ns.wrapping_sub(before.time_ns).cast_signed(),
                c.step.wrapping_sub(before.step).cast_signed(),
            );
            before = *c;
            stored
        });
        let chunks = chunks.collect();
        let pieces = body.pieces().iter().map(|p| (p.start, numbers.of(p.log), p.offset));
        StoredBody { len: body.len(), chunks, pieces: pieces.collect() }
    }

    fn into_body(self, key: &impl Fn(u32) -> u64) -> Body {
        let mut now = Chunk { end: 0, time_ns: 0, step: 0 };
        let chunks = self.chunks.iter().map(|(len, time_ns, step)| {
            now.end = now.end.wrapping_add(*len);
            now.time_ns = now.time_ns.wrapping_add_signed(*time_ns);
            now.step = now.step.wrapping_add_signed(*step);
            now
        });
        let chunks = chunks.collect();
        let pieces = self.pieces.iter().map(|(start, log, offset)| Piece {
            start: *start,
            log: key(*log),
            offset: *offset,
        });
        Body::logged(self.len, chunks, pieces.collect(), None)
    }
}
