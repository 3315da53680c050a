//! What the targets share: how an input becomes a conversation or an answer, and what must hold
//! whatever it is.

use rr_run::stream::http::{Setting, decode};
use rr_run::stream::{
    Body, CallDecoder, Direction, End, Exchange, Header, LlmCall, Request, Segment, llm_calls,
};
use serde_json::json;

/// What one side says.
pub type Said<'a> = (Direction, &'a [u8]);

/// Longest input that is cut into pieces, bytes: a small piece makes many.
const CUT_BYTES_MAX: usize = 64 << 10;

/// An input as a conversation: the size of the pieces that it is cut into, then parts, each with
/// its length and direction (the top bit: received) in two bytes.
pub fn conversation(input: &[u8]) -> Option<(usize, Vec<Said<'_>>)> {
    let (piece, mut rest) = input.split_first()?;
    let mut said = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<2>() {
        let head = u16::from_le_bytes(*head);
        let direction = if head & 0x8000 == 0 { Direction::Sent } else { Direction::Received };
        let (part, after) = after.split_at(usize::from(head & 0x7fff).min(after.len()));
        said.push((direction, part));
        rest = after;
    }
    Some((usize::from(*piece).max(1), said))
}

fn exchanges(said: &[Said<'_>], piece: usize, end: &End) -> Vec<Exchange> {
    let setting = Setting {
        connection: 1,
        requests: Direction::Sent,
        scheme: "http",
        authority: "peer:80".into(),
        hold: true,
    };
    let segments = said.iter().zip(1..).flat_map(|((direction, bytes), n)| {
        bytes.chunks(piece).zip(0..).map(move |(bytes, i): (_, u64)| Segment {
            direction: *direction,
            time_ns: n * 1000,
            process: 1,
            step: n,
            log: 1,
            // Where the places of messages join.
            offset: (n << 32) + i * piece as u64,
            bytes,
        })
    });
    decode(setting, segments, end)
}

/// Decodes a conversation in pieces and whole, which must give the same; so must its calls.
pub fn check_conversation(said: &[Said<'_>], piece: usize) {
    let end = End::Closed(Direction::Received);
    let whole = exchanges(said, usize::MAX, &end);
    if said.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < CUT_BYTES_MAX {
        assert_eq!(exchanges(said, piece, &end), whole);
    }
    for exchange in &whole {
        check_body(&exchange.request.body);
        if let Some(response) = &exchange.response {
            check_body(&response.body);
        }
        assert!(exchange.ended_ns >= exchange.request.started_ns);
        llm_calls(exchange).expect("bodies are in memory");
    }
}

fn check_body(body: &Body) {
    assert_eq!(body.bytes().expect("it is in memory").len() as u64, body.len());
    assert_eq!(body.chunks.last().map_or(0, |c| c.end), body.len());
    assert!(body.chunks.is_sorted_by(|a, b| a.end < b.end && a.time_ns <= b.time_ns));
}

fn call(target: &str, content_type: &'static str, bytes: &[u8], piece: usize) -> Option<LlmCall> {
    let request = Request {
        method: "POST".into(),
        scheme: "http".into(),
        authority: "localhost".into(),
        target: target.into(),
        headers: Vec::new(),
        body: Body::default(),
        trailers: Vec::new(),
        started_ns: 1,
        ended_ns: 2,
        process: 1,
        step: 1,
    };
    let body = json!({ "model": "m", "messages": [], "input": "x", "stream": true });
    let mut decoder = CallDecoder::new(1.into(), &request, &body);
    let header = Header { name: "content-type".into(), value: content_type.into() };
    decoder.response(200, &[header]);
    for piece in bytes.chunks(piece) {
        decoder.push(piece, 9, 3);
    }
    decoder.finish(&End::Closed(Direction::Received), 9)
}

/// Decodes an answer of a model at one of these targets (with its content type). The input's
/// first bytes choose which, the size of the pieces, and what is cut off its end.
pub fn check_answer(interfaces: &[(&str, &'static str)], input: &[u8]) {
    let [interface, piece, cut, bytes @ ..] = input else { return };
    let (target, content_type) = interfaces[usize::from(*interface) % interfaces.len()];
    let whole = call(target, content_type, bytes, bytes.len().max(1));
    assert_eq!(call(target, content_type, bytes, usize::from(*piece).max(1)), whole);
    let left = bytes.len().saturating_sub(usize::from(*cut));
    let part = call(target, content_type, &bytes[..left], usize::MAX);
    if let (Some(whole), Some(part)) = (whole, part) {
        // What was complete stays as it is; the last piece may be half of one.
        let sure = part.tokens.len().saturating_sub(1);
        let texts = |call: &LlmCall| -> Vec<_> {
            call.tokens.iter().take(sure).map(|t| (t.kind, t.text.clone())).collect()
        };
        if whole.api == part.api {
            assert_eq!(texts(&whole), texts(&part));
        }
    }
}
