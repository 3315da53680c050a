//! Exchanges: one request with its response, exactly as they went over the connection.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Body;

/// How the exchange was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.0 (RFC 1945).
    #[serde(rename = "HTTP/1.0")]
    Http10,
    /// HTTP/1.1 (RFC 9112).
    #[serde(rename = "HTTP/1.1")]
    Http11,
    /// HTTP/2 (RFC 9113).
    #[serde(rename = "HTTP/2")]
    Http2,
    /// WebSocket (RFC 6455): the exchange of its upgrade, with messages after it.
    #[serde(rename = "WebSocket")]
    WebSocket,
}

/// One request with its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Number in the session, from 1, by the time its request began.
    pub id: u32,
    /// [`super::Connection::id`].
    pub connection: u32,
    /// Framing.
    pub protocol: Protocol,
    /// Stream of HTTP/2.
    pub stream: Option<u32>,
    /// What the guest asked (or was asked, on an accepted connection).
    pub request: Request,
    /// The answer, if its head came.
    pub response: Option<Response>,
    /// WebSocket messages, in the order of their last frames.
    pub messages: Vec<Message>,
    /// How it ended.
    pub end: End,
    /// When it ended, nanoseconds since the recording's start.
    pub ended_ns: u64,
}

/// One header field, as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name, in the case that was sent.
    pub name: Bytes,
    /// Value.
    pub value: Bytes,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port that were asked: `:authority`, `Host`, or the peer's address.
    pub authority: String,
    /// Request target: path and query, or what CONNECT and OPTIONS carry.
    pub target: String,
    /// All fields, in order.
    pub headers: Vec<Header>,
    /// Body.
    pub body: Body,
    /// Fields after the body.
    pub trailers: Vec<Header>,
    /// When its first byte was written, nanoseconds since the recording's start.
    pub started_ns: u64,
    /// When its last byte was written.
    pub ended_ns: u64,
    /// Key of the process that wrote it.
    pub process: u64,
    /// Step of the call with its first byte.
    pub step: u64,
}

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The version that it names: HTTP/1.0 may answer HTTP/1.1 (RFC 9110, section 6.2).
    pub protocol: Protocol,
    /// Status code.
    pub status: u16,
    /// Reason phrase (HTTP/1).
    pub reason: String,
    /// All fields, in order.
    pub headers: Vec<Header>,
    /// Interim responses before it (100, 103): status and fields.
    pub interim: Vec<(u16, Vec<Header>)>,
    /// Body.
    pub body: Body,
    /// Fields after the body.
    pub trailers: Vec<Header>,
    /// When its first byte was read, nanoseconds since the recording's start.
    pub started_ns: u64,
    /// When its last byte was read.
    pub ended_ns: u64,
    /// Step of the call with its first byte.
    pub step: u64,
}

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where it ends in the body; it starts where the one before ends.
    pub end: u64,
    /// When it came, nanoseconds since the recording's start.
    pub time_ns: u64,
    /// Step of the call that moved it.
    pub step: u64,
}

/// A WebSocket message (RFC 6455), unmasked and inflated.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who sent it.
    pub direction: super::Direction,
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Content.
    pub bytes: Bytes,
    /// When its last frame came, nanoseconds since the recording's start.
    pub time_ns: u64,
    /// Step of that call.
    pub step: u64,
    /// Where its bytes stand, in order; nowhere if it came compressed, or is a control frame.
    pub pieces: Vec<MessagePiece>,
}

/// Bytes of a WebSocket message that stand together in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePiece {
    /// Where they start in the message.
    pub start: usize,
    /// Key of the log.
    pub log: u64,
    /// Where they start there, bytes.
    pub offset: u64,
    /// What they are masked by there, over and over; zeros if they are not.
    pub mask: [u8; 4],
}

impl MessagePiece {
    /// Whether another piece follows this one in its log as in the message.
    pub(super) fn goes_on_with(&self, next: &MessagePiece) -> bool {
        let len = next.start - self.start;
        let mut mask = self.mask;
        mask.rotate_left(len % 4);
        self.log == next.log && self.offset + len as u64 == next.offset && mask == next.mask
    }
}

impl Message {
    /// Opcode of a text message.
    pub const TEXT: u8 = 1;
    /// Opcode of a binary message.
    pub const BINARY: u8 = 2;
    /// Opcode of a close frame.
    pub const CLOSE: u8 = 8;
    /// Opcode of a ping.
    pub const PING: u8 = 9;
    /// Opcode of a pong.
    pub const PONG: u8 = 10;
}

/// Value of the first field with this name, whose case does not matter.
pub fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    let found = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(&found.value)
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Both messages are whole.
    Complete,
    /// The recording ends (or is at present) inside it.
    Open,
    /// The connection was closed inside it: by whom.
    Closed(super::Direction),
    /// HTTP/2 RST_STREAM: its error code and who sent it.
    Reset {
        /// Error code (RFC 9113, section 7).
        code: u32,
        /// Who.
        by: super::Direction,
    },
    /// The bytes are not what the framing allows: why.
    Malformed(String),
}
