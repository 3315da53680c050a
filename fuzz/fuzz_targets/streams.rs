//! Arbitrary bytes as the answer of a model, in each framing: pieces of any size give the same
//! call. The first bytes choose the interface and the size of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run::stream::{CallDecoder, End, Header, LlmCall, Request};
use serde_json::json;

const INTERFACES: [(&str, &str); 10] = [
    ("/v1/chat/completions", "text/event-stream"),
    ("/v1/chat/completions", "application/json"),
    ("/v1/responses", "text/event-stream"),
    ("/v1/messages", "text/event-stream"),
    ("/v1/messages", "application/json"),
    ("/models/m:streamGenerateContent", "text/event-stream"),
    ("/models/m:streamGenerateContent", "application/json"),
    ("/api/chat", "application/x-ndjson"),
    ("/model/m/converse-stream", "application/vnd.amazon.eventstream"),
    ("/elsewhere", "text/event-stream"),
];

fn decode(interface: u8, bytes: &[u8], piece: usize) -> Option<LlmCall> {
    let (target, content_type) = INTERFACES[usize::from(interface) % INTERFACES.len()];
    let request = Request {
        method: "POST".into(),
        scheme: "http".into(),
        authority: "localhost".into(),
        target: target.into(),
        headers: Vec::new(),
        body: Default::default(),
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
    decoder.finish(&End::Complete, 9)
}

fuzz_target!(|input: &[u8]| {
    let [interface, piece, bytes @ ..] = input else { return };
    let whole = decode(*interface, bytes, bytes.len().max(1));
    assert_eq!(decode(*interface, bytes, usize::from(*piece).max(1)), whole);
});
