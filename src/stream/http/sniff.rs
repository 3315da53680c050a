//! What a connection speaks, by the first bytes of its client.

use rustls::server::Acceptor;

use super::{ClientHello, HEAD_BYTES_MAX};
use crate::stream::{Direction, Segment};

/// First bytes of HTTP/2 (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest request line that is waited for, bytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Longest method.
const METHOD_BYTES_MAX: usize = 32;

/// Bytes that came before it was known what they are.
#[derive(Debug)]
pub(crate) struct Held {
    direction: Direction,
    time_ns: u64,
    process: u64,
    step: u64,
    log: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Held {
    pub(super) fn new(segment: &Segment<'_>) -> Held {
        let Segment { direction, time_ns, process, step, log, offset, bytes } = *segment;
        Held { direction, time_ns, process, step, log, offset, bytes: bytes.to_vec() }
    }

    pub(super) fn segment(&self) -> Segment<'_> {
        let Held { direction, time_ns, process, step, log, offset, ref bytes } = *self;
        Segment { direction, time_ns, process, step, log, offset, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What it is.
pub(super) enum Sniffed {
    Http1,
    Http2,
    Tls(ClientHello),
    Other,
}

/// Holds back what comes until the client's first bytes tell.
#[derive(Default)]
pub(super) struct Sniff {
    held: Vec<Held>,
    client: Vec<u8>,
    server_bytes: usize,
}

impl Sniff {
    /// What the connection speaks, once that is known; the segment is held in any case.
    pub(super) fn segment(
        &mut self,
        segment: &Segment<'_>,
        requests: Direction,
    ) -> Option<Sniffed> {
        self.held.push(Held::new(segment));
        if segment.direction != requests {
            // An answer can be logged before its request, but not much of it.
            self.server_bytes += segment.bytes.len();
            return (self.server_bytes > HEAD_BYTES_MAX).then_some(Sniffed::Other);
        }
        self.client.extend_from_slice(segment.bytes);
        look(&self.client)
    }

    /// What was held back.
    pub(super) fn take(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.held)
    }
}

fn look(bytes: &[u8]) -> Option<Sniffed> {
    // Robust clients may send an empty line first (RFC 9112, section 2.2).
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    if let [0x16, rest @ ..] = bytes {
        return client_hello(bytes, rest);
    }
    let bytes = bytes.get(start..)?;
    let common = bytes.len().min(PREFACE.len());
    if bytes.get(..common) == PREFACE.get(..common) {
        return (common == PREFACE.len()).then_some(Sniffed::Http2);
    }
    let method = bytes.iter().position(|b| !matches!(b, b'A'..=b'Z' | b'-' | b'_'));
    match method {
        None if bytes.len() <= METHOD_BYTES_MAX => return None,
        Some(end @ 1..=METHOD_BYTES_MAX) if bytes.get(end) == Some(&b' ') => {}
        _ => return Some(Sniffed::Other),
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return (bytes.len() > LINE_BYTES_MAX).then_some(Sniffed::Other);
    };
    let line = bytes.get(..end)?.trim_ascii_end();
    let version = line.len().checked_sub(9).and_then(|at| line.get(at..));
    match version {
        Some(b" HTTP/1.0" | b" HTTP/1.1") => Some(Sniffed::Http1),
        _ => Some(Sniffed::Other),
    }
}

/// Reads the server's name out of a ClientHello, once its record is whole.
fn client_hello(bytes: &[u8], rest: &[u8]) -> Option<Sniffed> {
    const RECORD_HEADER: usize = 5;
    let (&major, rest) = rest.split_first()?;
    if major != 3 {
        return Some(Sniffed::Other);
    }
    let (_minor, rest) = rest.split_first()?;
    let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    if bytes.len() < RECORD_HEADER + len {
        return None;
    }
    let mut acceptor = Acceptor::default();
    let mut reader = bytes;
    let mut sni = None;
    // A hello over several records, or one that rustls does not understand, has no name here.
    if acceptor.read_tls(&mut reader).is_ok()
        && let Ok(Some(accepted)) = acceptor.accept()
    {
        sni = accepted.client_hello().server_name().map(str::to_owned);
    }
    Some(Sniffed::Tls(ClientHello { sni }))
}
