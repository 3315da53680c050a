//! HTTP/1.0 and HTTP/1.1 (RFC 9112).

mod chunked;
mod head;

use std::collections::VecDeque;

use super::draft::{At, Decoded, Draft, Socket};
use super::sniff::Held;
use super::{HEAD_BYTES_MAX, Next, Setting, State2};
use crate::stream::body::Builder;
use crate::stream::exchange::header;
use crate::stream::{Direction, End, Header, Protocol, Segment};
use chunked::Chunked;
use head::Head;

/// Requests without a response yet that are kept.
const PIPELINED_MAX: usize = 100_000;

/// One connection.
pub(super) struct H1 {
    setting: Setting,
    requests: Side,
    responses: Side,
    /// Exchanges in the order of their requests; the last may still be written.
    queue: VecDeque<Draft>,
    /// Response bytes whose request stands later in the log.
    early: Vec<Held>,
    /// What the client sends behind a request whose answer may change the protocol.
    waiting: Option<Vec<Held>>,
    /// Why a direction makes no sense any more.
    malformed: Option<String>,
}

/// Where one direction stands.
enum Side {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
    /// A body that ends with the connection.
    UntilClose,
    /// Nothing is expected any more.
    Off,
}

impl Side {
    fn head() -> Side {
        Side::Head(Head::default())
    }
}

/// What was found in a part of a direction's bytes.
enum Part {
    /// All is used up.
    Empty,
    /// A message begins or goes on: look again.
    More,
    /// An upgrade was not accepted: look again.
    Stays,
    Become(State2),
}

impl H1 {
    pub(super) fn new(setting: Setting) -> H1 {
        let (requests, responses) = (Side::head(), Side::head());
        let (queue, early) = (VecDeque::new(), Vec::new());
        H1 { setting, requests, responses, queue, early, waiting: None, malformed: None }
    }

    pub(super) fn segment(&mut self, segment: &Segment<'_>, done: &mut Vec<Decoded>) -> Next {
        if segment.direction != self.setting.requests {
            return self.responses(*segment, done);
        }
        let mut rest = *segment;
        while self.request(&mut rest, done) {
            if self.early.is_empty() || self.queue.iter().all(|d| d.response.done) {
                continue;
            }
            let mut early = std::mem::take(&mut self.early).into_iter();
            while let Some(held) = early.next() {
                if let Next::Become(state, mut held) = self.responses(held.segment(), done) {
                    held.extend(early);
                    held.extend((!rest.bytes.is_empty()).then(|| Held::new(&rest)));
                    return Next::Become(state, held);
                }
            }
        }
        Next::Same
    }

    /// Takes a part of what the client sends; whether there was any.
    fn request(&mut self, rest: &mut Segment<'_>, done: &mut Vec<Decoded>) -> bool {
        if rest.bytes.is_empty() || matches!(self.requests, Side::Off) {
            return false;
        }
        if let Some(waiting) = &mut self.waiting {
            let held: usize = waiting.iter().map(Held::len).sum();
            if held + rest.bytes.len() > HEAD_BYTES_MAX {
                self.fail("much was sent before an upgrade was answered".into(), true);
            } else {
                waiting.push(Held::new(rest));
            }
            return false;
        }
        match self.request_part(rest) {
            Ok(()) => self.emit(done),
            Err(why) => self.fail(why, true),
        }
        true
    }

    fn request_part(&mut self, rest: &mut Segment<'_>) -> Result<(), String> {
        let Side::Head(head) = &mut self.requests else {
            let Some(draft) = self.queue.back_mut() else {
                self.requests = Side::Off;
                return Ok(());
            };
            let half = &mut draft.request;
            let (body, trailers) = (&mut half.body, &mut half.trailers);
            if body_part(&mut self.requests, body, trailers, rest)? {
                half.done = true;
                half.ended_ns = rest.time_ns;
                self.requests = Side::head();
                self.waiting = changes(draft).then(Vec::new);
            }
            return Ok(());
        };
        let Some((bytes, at)) = head.take(rest)? else { return Ok(()) };
        if self.queue.len() >= PIPELINED_MAX {
            return Err("too many requests without an answer".into());
        }
        let (request, protocol) = head::request(&bytes, at, &self.setting)?;
        let mut draft = Draft::new(protocol, None, self.setting.hold);
        self.requests = match framing(&request.headers)? {
            Some(side) => side,
            None => Side::Length(0),
        };
        draft.request.ended_ns = rest.time_ns;
        draft.request.head = Some(request);
        if matches!(self.requests, Side::Length(0)) {
            draft.request.done = true;
            self.requests = Side::head();
            self.waiting = changes(&draft).then(Vec::new);
        }
        self.queue.push_back(draft);
        Ok(())
    }

    fn responses(&mut self, mut rest: Segment<'_>, done: &mut Vec<Decoded>) -> Next {
        while !rest.bytes.is_empty() {
            match self.response_part(&mut rest) {
                Ok(Part::Become(state)) => {
                    let mut held = self.waiting.take().unwrap_or_default();
                    if !rest.bytes.is_empty() {
                        held.push(Held::new(&rest));
                    }
                    return self.becomes(state, held, rest.time_ns, done);
                }
                Ok(Part::Empty) => break,
                Ok(Part::More) => self.emit(done),
                Ok(Part::Stays) => {
                    for held in self.waiting.take().unwrap_or_default() {
                        let mut rest = held.segment();
                        while self.request(&mut rest, done) {}
                    }
                    self.emit(done);
                }
                Err(why) => self.fail(why, false),
            }
            if matches!(self.responses, Side::Off) {
                break;
            }
        }
        Next::Same
    }

    fn response_part(&mut self, rest: &mut Segment<'_>) -> Result<Part, String> {
        let Some(index) = self.queue.iter().position(|d| !d.response.done) else {
            let held: usize = self.early.iter().map(Held::len).sum();
            if held + rest.bytes.len() > HEAD_BYTES_MAX {
                return Err("an answer that nobody asked for".into());
            }
            self.early.push(Held::new(rest));
            return Ok(Part::Empty);
        };
        let Some(draft) = self.queue.get_mut(index) else { return Ok(Part::Empty) };
        let half = &mut draft.response;
        let Side::Head(head) = &mut self.responses else {
            let (body, trailers) = (&mut half.body, &mut half.trailers);
            if body_part(&mut self.responses, body, trailers, rest)? {
                half.done = true;
                half.ended_ns = rest.time_ns;
                self.responses = Side::head();
            }
            return Ok(Part::More);
        };
        let Some((bytes, at)) = head.take(rest)? else { return Ok(Part::Empty) };
        let response = head::response(&bytes, at)?;
        let status = response.status;
        let method = draft.request.head.as_ref().map_or("", |r| r.method.as_str());
        let connect = method == "CONNECT" && (200..300).contains(&status);
        if (100..200).contains(&status) && status != 101 {
            draft.interim.push((status, response.headers));
            return Ok(Part::More);
        }
        let bodiless = connect || method == "HEAD" || matches!(status, 101 | 204 | 304);
        let side = match framing(&response.headers)? {
            _ if bodiless => Side::Length(0),
            Some(side) => side,
            None => Side::UntilClose,
        };
        let upgrade = header(&response.headers, "upgrade").map(<[u8]>::to_ascii_lowercase);
        half.head = Some(response);
        half.ended_ns = rest.time_ns;
        self.responses = side;
        if matches!(self.responses, Side::Length(0)) {
            half.done = true;
            self.responses = Side::head();
        }
        if connect {
            return Ok(Part::Become(State2::Tunnel));
        }
        if status != 101 {
            let asked = self.waiting.is_some() && index + 1 == self.queue.len();
            return Ok(if asked { Part::Stays } else { Part::More });
        }
        Ok(Part::Become(match upgrade.as_deref() {
            Some(b"websocket") => match self.queue.remove(index) {
                Some(draft) => match draft.finish(&self.setting, End::Open, rest.time_ns) {
                    Some(decoded) => {
                        State2::WebSocket(Box::new(Socket::new(decoded, &self.setting)))
                    }
                    None => State2::Other,
                },
                None => State2::Other,
            },
            Some(b"h2c") => match self.queue.remove(index) {
                Some(mut draft) => {
                    // The exchange's answer comes as stream 1; this was only the way to it.
                    let switching = draft.response.head.take();
                    draft.interim.extend(switching.map(|r| (r.status, r.headers)));
                    draft.response.done = false;
                    State2::H2(Box::new(draft))
                }
                None => State2::Other,
            },
            _ => State2::Other,
        }))
    }

    /// The connection turns into something else: what is left here ends.
    fn becomes(
        &mut self,
        state: State2,
        held: Vec<Held>,
        time_ns: u64,
        done: &mut Vec<Decoded>,
    ) -> Next {
        self.requests = Side::head();
        self.end(&End::Open, time_ns, done);
        Next::Become(state, held)
    }

    /// Gives out the exchanges that are whole.
    fn emit(&mut self, done: &mut Vec<Decoded>) {
        while self.queue.front().is_some_and(Draft::is_done) {
            let Some(draft) = self.queue.pop_front() else { return };
            let ended_ns = draft.request.ended_ns.max(draft.response.ended_ns);
            done.extend(draft.finish(&self.setting, End::Complete, ended_ns));
        }
    }

    fn fail(&mut self, why: String, requests: bool) {
        // The other direction may still make sense for what was asked before.
        if requests {
            self.requests = Side::Off;
        } else {
            self.responses = Side::Off;
        }
        self.malformed.get_or_insert(why);
    }

    /// One side sends no more.
    pub(super) fn shut(&mut self, by: Direction, time_ns: u64, done: &mut Vec<Decoded>) {
        if by == self.setting.requests {
            return;
        }
        if matches!(self.responses, Side::UntilClose)
            && let Some(draft) = self.queue.iter_mut().find(|d| !d.response.done)
        {
            draft.response.done = true;
            draft.response.ended_ns = time_ns;
            self.responses = Side::Off;
            self.emit(done);
        }
    }

    /// Gives out what there is of the others.
    pub(super) fn end(&mut self, end: &End, time_ns: u64, done: &mut Vec<Decoded>) {
        for draft in self.queue.drain(..) {
            let end = match &self.malformed {
                _ if draft.is_done() => End::Complete,
                Some(why) => End::Malformed(why.clone()),
                None => end.clone(),
            };
            let ended_ns = match end {
                End::Complete => draft.request.ended_ns.max(draft.response.ended_ns),
                _ => time_ns,
            };
            done.extend(draft.finish(&self.setting, end, ended_ns));
        }
    }
}

/// Whether the answer to a request can change the connection's protocol.
fn changes(draft: &Draft) -> bool {
    let head = draft.request.head.as_ref();
    head.is_some_and(|r| r.method == "CONNECT" || header(&r.headers, "upgrade").is_some())
}

/// How a message's body is framed, by its fields; none if they do not say.
fn framing(headers: &[Header]) -> Result<Option<Side>, String> {
    let fields = |name: &'static str| {
        headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name.as_bytes()))
    };
    let codings = fields("transfer-encoding").flat_map(|h| h.value.split(|b| *b == b','));
    if let Some(last) = codings.map(<[u8]>::trim_ascii).last() {
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        return Ok(Some(if chunked {
            Side::Chunked(Chunked::default())
        } else {
            Side::UntilClose
        }));
    }
    // The same length may be said several times.
    let mut lengths = fields("content-length").flat_map(|h| h.value.split(|b| *b == b','));
    let Some(first) = lengths.next().map(<[u8]>::trim_ascii) else { return Ok(None) };
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok());
    match length.filter(|_| digits && lengths.all(|other| other.trim_ascii() == first)) {
        Some(length) => Ok(Some(Side::Length(length))),
        None => Err("a content-length that is no length".into()),
    }
}

/// Takes the body's next bytes off `rest`; whether the body ends with them.
fn body_part(
    side: &mut Side,
    body: &mut Builder,
    trailers: &mut Vec<Header>,
    rest: &mut Segment<'_>,
) -> Result<bool, String> {
    match side {
        Side::Length(left) => {
            let (part, after) = rest.split(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= part.bytes.len() as u64;
            body.push(&part, false);
            *rest = after;
            Ok(*left == 0)
        }
        Side::Chunked(chunked) => chunked.take(rest, body, trailers),
        Side::UntilClose => {
            body.push(rest, false);
            *rest = rest.split(usize::MAX).1;
            Ok(false)
        }
        Side::Head(_) | Side::Off => {
            *rest = rest.split(usize::MAX).1;
            Ok(false)
        }
    }
}

/// The protocol of a version's last digit.
fn protocol(minor: Option<u8>) -> Protocol {
    if minor == Some(0) { Protocol::Http10 } else { Protocol::Http11 }
}

/// A name and value as they stood on the wire.
fn field(h: &httparse::Header<'_>) -> Header {
    Header {
        name: bytes::Bytes::copy_from_slice(h.name.as_bytes()),
        value: bytes::Bytes::copy_from_slice(h.value),
    }
}

/// Where a head began, for what is decoded from it.
type Begun = At;
