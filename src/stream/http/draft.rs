//! An exchange that is being put together.

use serde::{Deserialize, Serialize};

use super::Setting;
use super::ws::{Extensions, WebSocket};
use crate::stream::body::Builder;
use crate::stream::exchange::header;
use crate::stream::{Direction, End, Exchange, Header, Protocol, Request, Response, Segment};

/// An exchange that has ended, and what its messages are decoded from.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The exchange; `id` is 0.
    pub exchange: Exchange,
    /// Bytes after the upgrade to WebSocket, unless messages are held.
    pub wire: Vec<Wire>,
    /// WebSocket messages, held or not.
    pub messages: u64,
}

/// Bytes on the wire that are read from the log when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// Which way they went.
    pub direction: Direction,
    /// When, nanoseconds since the recording's start.
    pub time_ns: u64,
    /// Step of the call.
    pub step: u64,
    /// Key of the log.
    pub log: u64,
    /// Where they stand in it.
    pub offset: u64,
    /// How many.
    pub len: u32,
}

/// Where and when something began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    pub(super) time_ns: u64,
    pub(super) process: u64,
    pub(super) step: u64,
}

impl From<&Segment<'_>> for At {
    fn from(s: &Segment<'_>) -> At {
        At { time_ns: s.time_ns, process: s.process, step: s.step }
    }
}

/// One message of an exchange: a request or a response.
#[derive(Debug)]
pub(super) struct Half<H> {
    /// The message without its body, once its head has come.
    pub(super) head: Option<H>,
    pub(super) body: Builder,
    pub(super) trailers: Vec<Header>,
    /// Whether it is whole.
    pub(super) done: bool,
    pub(super) ended_ns: u64,
}

impl<H> Half<H> {
    fn new(hold: bool) -> Half<H> {
        let body = Builder::new(hold);
        Half { head: None, body, trailers: Vec::new(), done: false, ended_ns: 0 }
    }
}

/// An exchange that is being put together.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(super) protocol: Protocol,
    pub(super) stream: Option<u32>,
    pub(super) request: Half<Request>,
    pub(super) response: Half<Response>,
    pub(super) interim: Vec<(u16, Vec<Header>)>,
}

impl Draft {
    pub(super) fn new(protocol: Protocol, stream: Option<u32>, hold: bool) -> Draft {
        let (request, response) = (Half::new(hold), Half::new(hold));
        Draft { protocol, stream, request, response, interim: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.request.done && self.response.done
    }

    /// The exchange, if there is a request.
    pub(super) fn finish(self, setting: &Setting, end: End, ended_ns: u64) -> Option<Decoded> {
        let Draft { protocol, stream, request, response, interim } = self;
        let mut asked = request.head?;
        asked.body = request.body.finish();
        asked.trailers = request.trailers;
        asked.ended_ns = request.ended_ns.max(asked.started_ns);
        let response = response.head.map(|mut head| {
            head.body = response.body.finish();
            head.trailers = response.trailers;
            head.interim = interim;
            head.ended_ns = response.ended_ns.max(head.started_ns);
            head
        });
        let connection = setting.connection;
        let (request, messages) = (asked, Vec::new());
        let exchange = Exchange {
            id: 0,
            connection,
            protocol,
            stream,
            request,
            response,
            messages,
            end,
            ended_ns,
        };
        Some(Decoded { exchange, wire: Vec::new(), messages: 0 })
    }
}

/// A connection that has become a WebSocket.
pub(crate) struct Socket {
    decoded: Decoded,
    frames: WebSocket,
    hold: bool,
    malformed: Option<String>,
    closed: [bool; 2],
}

impl Socket {
    /// The socket of an exchange whose upgrade has been accepted.
    pub(super) fn new(mut decoded: Decoded, setting: &Setting) -> Socket {
        decoded.exchange.protocol = Protocol::WebSocket;
        let frames = WebSocket::new(setting.requests, extensions(&decoded.exchange));
        let (hold, malformed) = (setting.hold, None);
        Socket { decoded, frames, hold, malformed, closed: [false; 2] }
    }

    /// Takes the next bytes; whether both sides have said goodbye.
    pub(super) fn segment(&mut self, segment: &Segment<'_>) -> bool {
        let Segment { direction, time_ns, step, log, offset, bytes, .. } = *segment;
        if self.malformed.is_some() {
            return false;
        }
        if !self.hold {
            let len = bytes.len() as u32;
            self.decoded.wire.push(Wire { direction, time_ns, step, log, offset, len });
        }
        let Socket { decoded, hold, closed, .. } = self;
        let done = self.frames.segment(segment, &mut |message| {
            decoded.messages += 1;
            if message.opcode == crate::stream::Message::CLOSE {
                closed[usize::from(message.direction == Direction::Sent)] = true;
            }
            if *hold {
                decoded.exchange.messages.push(message);
            }
        });
        self.malformed = done.err();
        self.closed == [true; 2]
    }

    pub(super) fn finish(mut self, end: End, ended_ns: u64) -> Decoded {
        self.decoded.exchange.end = match self.malformed {
            Some(why) => End::Malformed(why),
            // A close frame was the last word: who closes the connection does not matter.
            None if self.closed != [false; 2] => End::Complete,
            None => end,
        };
        self.decoded.exchange.ended_ns = ended_ns;
        self.decoded
    }
}

/// The extensions that an accepted upgrade agreed on.
pub fn extensions(exchange: &Exchange) -> Extensions {
    let headers = exchange.response.as_ref().map_or(&[][..], |r| &r.headers);
    header(headers, "sec-websocket-extensions").map_or_else(Extensions::default, Extensions::parse)
}
