//! HTTP over one connection: segments in, exchanges out. Sans-IO.
//!
//! [`Decoder`] looks at the first bytes that the client sends and goes on as HTTP/1 (`h1`), as
//! HTTP/2 (`h2`), or not at all. An upgrade or a CONNECT of HTTP/1 hands the rest of the
//! connection over: to `ws`, to `h2`, or to a decoder of its own inside the tunnel.
//!
//! Whatever bytes come, decoding ends in a stated way and with bounded memory: heads and frames
//! have limits, bodies are left in the log (or held, for captures without one).

pub mod content;
mod draft;
mod h1;
mod h2;
mod sniff;
#[cfg(test)]
mod tests;
pub mod ws;

use super::{Direction, End, Exchange, Segment};
pub use draft::{Decoded, Wire, extensions};
use sniff::{Held, Sniff, Sniffed};

/// Largest head or header block, bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 1 << 20;

/// What a connection's exchanges have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// [`super::Connection::id`].
    pub connection: u32,
    /// Which way requests go: [`Direction::Sent`] unless the guest accepted the connection.
    pub requests: Direction,
    /// `http`, or `https` for the plaintext of TLS.
    pub scheme: &'static str,
    /// Authority of requests that name none: the peer's address.
    pub authority: String,
    /// Whether bodies are held in memory, rather than left in the log.
    pub hold: bool,
}

/// Decodes one connection.
pub struct Decoder {
    setting: Setting,
    state: State,
    done: Vec<Decoded>,
    tls: Option<ClientHello>,
}

/// A TLS handshake that began on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server's name that the client named.
    pub sni: Option<String>,
}

enum State {
    Sniff(Sniff),
    H1(Box<h1::H1>),
    H2(Box<h2::H2>),
    WebSocket(Box<draft::Socket>),
    /// Not HTTP.
    Other,
}

/// What the decoder of a connection does after a segment.
pub(crate) enum Next {
    /// Goes on.
    Same,
    /// The connection changes to this, and these bytes, which have come already, belong to it.
    Become(State2, Vec<Held>),
}

/// What a connection can become after an upgrade.
pub(crate) enum State2 {
    /// HTTP/2 whose first stream answers this request.
    H2(Box<draft::Draft>),
    /// WebSocket.
    WebSocket(Box<draft::Socket>),
    /// Anything, as on a new connection.
    Tunnel,
    /// Something unknown.
    Other,
}

impl Decoder {
    /// A decoder of a new connection.
    pub fn new(setting: Setting) -> Decoder {
        Decoder { setting, state: State::Sniff(Sniff::default()), done: Vec::new(), tls: None }
    }

    /// Takes the next bytes.
    pub fn segment(&mut self, segment: &Segment<'_>) {
        if segment.bytes.is_empty() {
            return;
        }
        let next = match &mut self.state {
            State::Other => return,
            State::Sniff(sniff) => {
                let Some(sniffed) = sniff.segment(segment, self.setting.requests) else { return };
                let held = sniff.take();
                self.state = match sniffed {
                    Sniffed::Http1 => State::H1(Box::new(h1::H1::new(self.setting.clone()))),
                    Sniffed::Http2 => State::H2(Box::new(h2::H2::new(self.setting.clone()))),
                    Sniffed::Tls(hello) => {
                        self.tls = Some(hello);
                        State::Other
                    }
                    Sniffed::Other => State::Other,
                };
                return self.again(&held);
            }
            State::H1(h1) => h1.segment(segment, &mut self.done),
            State::H2(h2) => {
                h2.segment(segment, &mut self.done);
                Next::Same
            }
            State::WebSocket(socket) => {
                if socket.segment(segment) {
                    self.end_socket(End::Complete, segment.time_ns);
                }
                Next::Same
            }
        };
        if let Next::Become(state, held) = next {
            self.state = match state {
                State2::H2(draft) => {
                    State::H2(Box::new(h2::H2::upgraded(self.setting.clone(), *draft)))
                }
                State2::WebSocket(socket) => State::WebSocket(socket),
                State2::Tunnel => State::Sniff(Sniff::default()),
                State2::Other => State::Other,
            };
            self.again(&held);
        }
    }

    fn again(&mut self, held: &[Held]) {
        for held in held {
            self.segment(&held.segment());
        }
    }

    /// From here on the bytes are the plaintext of TLS with a server of this name.
    pub fn intercepted(&mut self, authority: String) {
        self.setting.scheme = "https";
        self.setting.authority = authority;
        // The ClientHello may have come first.
        if matches!(self.state, State::Sniff(_) | State::Other) {
            self.state = State::Sniff(Sniff::default());
            self.tls = None;
        }
    }

    /// Bytes went over the connection that are not in the log.
    pub fn unseen(&mut self, _direction: Direction, time_ns: u64) {
        if !matches!(self.state, State::Other) {
            let why = "bytes that were moved inside the kernel are not in the log";
            self.end(&End::Malformed(why.into()), time_ns);
        }
    }

    /// One side said that it sends no more.
    pub fn shut(&mut self, by: Direction, time_ns: u64) {
        if let State::H1(h1) = &mut self.state {
            h1.shut(by, time_ns, &mut self.done);
        }
    }

    /// The connection was closed, `by` whom.
    pub fn closed(&mut self, by: Direction, time_ns: u64) {
        self.shut(by, time_ns);
        self.end(&End::Closed(by), time_ns);
    }

    /// The recording ends (or stands at present) here.
    pub fn open_end(&mut self, time_ns: u64) {
        self.end(&End::Open, time_ns);
    }

    fn end(&mut self, end: &End, time_ns: u64) {
        match &mut self.state {
            State::H1(h1) => h1.end(end, time_ns, &mut self.done),
            State::H2(h2) => h2.end(end, time_ns, &mut self.done),
            State::WebSocket(_) => {
                self.end_socket(end.clone(), time_ns);
                return;
            }
            State::Sniff(_) | State::Other => {}
        }
        self.state = State::Other;
    }

    fn end_socket(&mut self, end: End, time_ns: u64) {
        let state = std::mem::replace(&mut self.state, State::Other);
        if let State::WebSocket(socket) = state {
            self.done.push(socket.finish(end, time_ns));
        }
    }

    /// Exchanges that have ended since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = Decoded> + '_ {
        self.done.drain(..)
    }

    /// The TLS handshake that the client began, if it did.
    pub fn client_hello(&self) -> Option<&ClientHello> {
        self.tls.as_ref()
    }
}

/// All exchanges of a connection whose segments are at hand, bodies held. It `ends` as given.
pub fn decode<'a>(
    setting: Setting,
    segments: impl IntoIterator<Item = Segment<'a>>,
    ends: &End,
) -> Vec<Exchange> {
    let mut decoder = Decoder::new(Setting { hold: true, ..setting });
    let mut last_ns = 0;
    for segment in segments {
        last_ns = segment.time_ns;
        decoder.segment(&segment);
    }
    match ends {
        End::Closed(by) => decoder.closed(*by, last_ns),
        end => decoder.end(end, last_ns),
    }
    let mut all: Vec<Exchange> = decoder.take().map(|d| d.exchange).collect();
    all.sort_by_key(|e| e.request.started_ns);
    for (exchange, id) in all.iter_mut().zip(1..) {
        exchange.id = id;
    }
    all
}
