//! The calls of a model in an exchange.

use serde_json::Value;

use super::call::{CallId, LlmCall};
use super::decoder::CallDecoder;
use super::exchange::{Exchange, Protocol};
use super::http::content::content;
use super::{Direction, Message};
use crate::error::Result;

/// Opcode of a WebSocket's text message.
const TEXT: u8 = 1;

/// The calls of a model that an exchange is: none, one, or over a WebSocket several.
///
/// A stream of events or JSON lines that no dialect knows is a call too, of
/// [`super::Api::Unknown`], its events its tokens.
///
/// # Errors
/// As [`super::Body::bytes`].
pub fn llm_calls(exchange: &Exchange) -> Result<Vec<LlmCall>> {
    if exchange.protocol == Protocol::WebSocket {
        return Ok(websocket_calls(exchange));
    }
    let request = content(&exchange.request.headers, &exchange.request.body)?.body.bytes()?;
    let body = serde_json::from_slice(&request).unwrap_or(Value::Null);
    drop(request);
    let mut decoder = CallDecoder::new(exchange.id.into(), &exchange.request, &body);
    drop(body);
    let mut ended_ns = exchange.ended_ns;
    if let Some(response) = &exchange.response {
        decoder.response(response.status, &response.headers);
        if !decoder.may_be_a_call() {
            return Ok(Vec::new());
        }
        let content = content(&response.headers, &response.body)?;
        let bytes = content.body.bytes()?;
        let mut start = 0;
        for chunk in &content.body.chunks {
            let end = usize::try_from(chunk.end).unwrap_or(usize::MAX).clamp(start, bytes.len());
            decoder.push(&bytes[start..end], chunk.time_ns, chunk.step);
            start = end;
        }
        if let Some(problem) = content.problem {
            decoder.note(problem);
        }
        ended_ns = response.ended_ns;
    }
    Ok(decoder.finish(&exchange.end, ended_ns).into_iter().collect())
}

/// Each message with a request begins a call; what the service sends after it is its answer.
fn websocket_calls(exchange: &Exchange) -> Vec<LlmCall> {
    let mut calls = Vec::new();
    let mut current: Option<CallDecoder> = None;
    let mut turn = 0;
    for message in exchange.messages.iter().filter(|message| message.opcode == TEXT) {
        match message.direction {
            Direction::Sent => {
                let Some(body) = request(message) else { continue };
                turn += 1;
                let id = CallId { exchange: exchange.id, turn };
                let mut request = exchange.request.clone();
                (request.started_ns, request.ended_ns) = (message.time_ns, message.time_ns);
                request.step = message.step;
                let mut next = CallDecoder::new(id, &request, &body);
                let Some(response) = &exchange.response else { continue };
                next.switched(response.status);
                // A request before the last one's end: that one goes on beside it, and the
                // service's events are the newest one's.
                if let Some(before) = current.replace(next) {
                    calls.extend(before.finish(&exchange.end, message.time_ns));
                }
            }
            Direction::Received => {
                let Some(decoder) = &mut current else { continue };
                decoder.message(&message.bytes, message.time_ns, message.step);
                if decoder.is_done() {
                    let done = current.take();
                    calls.extend(done.and_then(|d| d.finish(&exchange.end, message.time_ns)));
                }
            }
        }
    }
    calls.extend(current.and_then(|decoder| decoder.finish(&exchange.end, exchange.ended_ns)));
    calls
}

/// What a message asks for, if it begins a call.
fn request(message: &Message) -> Option<Value> {
    let body: Value = serde_json::from_slice(&message.bytes).ok()?;
    (body["type"] == "response.create").then_some(body)
}

#[cfg(test)]
pub(crate) mod tests;
