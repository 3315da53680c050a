//! Exchanges for tests.

use bytes::Bytes;
use serde_json::Value;

use crate::stream::{Body, Chunk, End, Exchange, Header, Protocol, Request, Response};

/// A header field.
pub(crate) fn header(name: &str, value: &str) -> Header {
    Header {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

/// A POST of JSON to `api.test`.
pub(crate) fn post(target: &str, body: &Value) -> Request {
    Request {
        method: "POST".into(),
        scheme: "https".into(),
        authority: "api.test".into(),
        target: target.into(),
        headers: vec![header("content-type", "application/json")],
        body: Body::held(body.to_string(), Vec::new()),
        trailers: Vec::new(),
        started_ns: 0,
        ended_ns: 0,
        process: 0,
        step: 0,
    }
}

/// A chat request with these user messages.
pub(crate) fn chat(messages: &[&str]) -> Request {
    let messages: Vec<Value> =
        messages.iter().map(|m| serde_json::json!({"role": "user", "content": m})).collect();
    post("/v1/chat/completions", &serde_json::json!({"model": "m", "messages": messages}))
}

/// A streamed answer of these pieces, one each 10 ms.
pub(crate) fn answered(id: u32, request: Request, pieces: &[&str]) -> Exchange {
    let mut chunks = Vec::new();
    let mut bytes = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        bytes.extend_from_slice(piece.as_bytes());
        let time_ns = (i as u64 + 1) * 10_000_000;
        chunks.push(Chunk { end: bytes.len() as u64, time_ns, step: 0 });
    }
    let ended_ns = chunks.last().map_or(0, |c: &Chunk| c.time_ns);
    Exchange {
        id,
        connection: 1,
        protocol: Protocol::Http11,
        stream: None,
        request,
        response: Some(Response {
            status: 200,
            reason: "OK".into(),
            headers: vec![header("content-type", "text/event-stream")],
            protocol: Protocol::Http11,
            interim: Vec::new(),
            body: Body::held(bytes, chunks),
            trailers: Vec::new(),
            started_ns: 5_000_000,
            ended_ns,
            step: 0,
        }),
        messages: Vec::new(),
        end: End::Complete,
        ended_ns,
    }
}
