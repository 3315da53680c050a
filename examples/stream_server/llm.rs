//! The streaming interfaces of language models: OpenAI chat completions, OpenAI responses and
//! Anthropic messages. A request that offers tools gets a tool call, any other a text.

use http_body_util::channel::Sender;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{Body, hex, pause, response, status, streamed, words};

/// Mean pause between two events, milliseconds.
const PAUSE_MS: u64 = 2;
/// Most pieces of a text.
const PIECES_MAX: usize = 24;

/// One request's invented answer.
struct Answer {
    model: String,
    /// The text in pieces, or the fragments of a tool call's JSON arguments.
    pieces: Vec<String>,
    /// Name of the called tool.
    tool: Option<String>,
}

impl Answer {
    fn whole(&self) -> String {
        self.pieces.concat()
    }

    fn usage(&self) -> u64 {
        self.pieces.len() as u64
    }
}

/// Where the events of one stream go; pauses before each.
struct Events {
    to: Sender<Bytes>,
    sequence: u64,
}

impl Events {
    /// Sends `data` as an event, named by its `type` if `named`. That a client has gone away does
    /// not matter: what is left goes nowhere.
    async fn send(&mut self, named: bool, mut data: Value) {
        pause(PAUSE_MS).await;
        let mut event = String::new();
        if named {
            event = format!("event: {}\n", data["type"].as_str().unwrap_or_default());
        }
        if data["sequence_number"].is_null() && data["type"].as_str().is_some_and(is_response) {
            data["sequence_number"] = self.sequence.into();
            self.sequence += 1;
        }
        self.raw(format!("{event}data: {data}\n\n")).await;
    }

    async fn raw(&mut self, text: String) {
        // Cut at a random place now and then: an event is not a read.
        let cut = fastrand::usize(..text.len());
        let (head, tail) = text.split_at_checked(cut).unwrap_or((&text, ""));
        for part in [head, tail] {
            if !part.is_empty() {
                let _ = self.to.send_data(part.to_owned().into()).await;
            }
            if fastrand::bool() {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn is_response(kind: &str) -> bool {
    kind.starts_with("response.")
}

/// Answers one request to `path`.
pub(crate) async fn answer(path: &str, request: Request<Incoming>) -> Response<Body> {
    let Ok(body) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let Ok(request) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let tool = &request["tools"][0];
    let tool = tool["function"]["name"].as_str().or_else(|| tool["name"].as_str());
    let answer = Answer {
        model: request["model"].as_str().unwrap_or("unnamed").to_owned(),
        pieces: if tool.is_some() { arguments() } else { text() },
        tool: tool.map(str::to_owned),
    };
    let streams = request["stream"].as_bool().unwrap_or(false);
    let usage = request["stream_options"]["include_usage"].as_bool().unwrap_or(false);
    if !streams {
        let whole = match path {
            "/v1/messages" => message(&answer),
            "/v1/responses" => response_object(&hex(24), &answer, "completed"),
            _ => completion(&answer),
        };
        return response("application/json", Full::from(whole.to_string()).boxed());
    }
    let path = path.to_owned();
    streamed("text/event-stream", move |to| async move {
        let events = Events { to, sequence: 0 };
        match path.as_str() {
            "/v1/messages" => message_stream(events, answer).await,
            "/v1/responses" => response_stream(events, answer).await,
            _ => completion_stream(events, answer, usage).await,
        }
    })
}

fn text() -> Vec<String> {
    (0..fastrand::usize(4..PIECES_MAX)).map(|_| words(1) + " ").collect()
}

fn arguments() -> Vec<String> {
    let city = words(2);
    let whole = json!({ "city": city, "days": fastrand::u32(1..10) }).to_string();
    let bytes: Vec<char> = whole.chars().collect();
    bytes.chunks(fastrand::usize(3..9)).map(|c| c.iter().collect()).collect()
}

fn completion(answer: &Answer) -> Value {
    let message = match &answer.tool {
        Some(name) => json!({ "role": "assistant", "content": null, "tool_calls": [{
            "id": format!("call_{}", hex(24)),
            "type": "function",
            "function": { "name": name, "arguments": answer.whole() },
        }]}),
        None => json!({ "role": "assistant", "content": answer.whole() }),
    };
    let reason = if answer.tool.is_some() { "tool_calls" } else { "stop" };
    json!({
        "id": format!("chatcmpl-{}", hex(24)), "object": "chat.completion",
        "created": fastrand::u32(..), "model": answer.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": reason }],
        "usage": { "prompt_tokens": 9, "completion_tokens": answer.usage(),
                   "total_tokens": 9 + answer.usage() },
    })
}

async fn completion_stream(mut events: Events, answer: Answer, usage: bool) {
    let id = format!("chatcmpl-{}", hex(24));
    let created = fastrand::u32(..);
    let chunk = |choices: Value| {
        json!({ "id": id, "object": "chat.completion.chunk", "created": created,
                "model": answer.model, "choices": choices })
    };
    let delta = |delta: Value, reason: Option<&str>| {
        chunk(json!([{ "index": 0, "delta": delta, "finish_reason": reason }]))
    };
    events.send(false, delta(json!({ "role": "assistant" }), None)).await;
    if let Some(name) = &answer.tool {
        let call = json!({ "index": 0, "id": format!("call_{}", hex(24)), "type": "function",
                           "function": { "name": name, "arguments": "" } });
        events.send(false, delta(json!({ "tool_calls": [call] }), None)).await;
    }
    for piece in &answer.pieces {
        let piece = match answer.tool {
            Some(_) => {
                json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] })
            }
            None => json!({ "content": piece }),
        };
        events.send(false, delta(piece, None)).await;
    }
    let reason = if answer.tool.is_some() { "tool_calls" } else { "stop" };
    events.send(false, delta(json!({}), Some(reason))).await;
    if usage {
        let mut last = chunk(json!([]));
        last["usage"] = completion(&answer)["usage"].take();
        events.send(false, last).await;
    }
    events.raw("data: [DONE]\n\n".to_owned()).await;
}

/// The one output item of a response.
fn item(id: &str, answer: &Answer) -> Value {
    match &answer.tool {
        Some(name) => json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"),
            "name": name, "arguments": answer.whole(), "status": "completed",
        }),
        None => json!({
            "type": "message", "id": format!("msg_{id}"), "role": "assistant",
            "status": "completed", "content": [part(&answer.whole())],
        }),
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn response_object(id: &str, answer: &Answer, status: &str) -> Value {
    let done = status == "completed";
    json!({
        "id": format!("resp_{id}"), "object": "response", "created_at": fastrand::u32(..),
        "status": status, "model": answer.model, "parallel_tool_calls": true,
        "tool_choice": "auto", "tools": [],
        "output": if done { json!([item(id, answer)]) } else { json!([]) },
        "usage": done.then(|| json!({
            "input_tokens": 9, "output_tokens": answer.usage(),
            "total_tokens": 9 + answer.usage(),
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens_details": { "reasoning_tokens": 0 },
        })),
    })
}

async fn response_stream(mut events: Events, answer: Answer) {
    let id = hex(24);
    let start = response_object(&id, &answer, "in_progress");
    for kind in ["response.created", "response.in_progress"] {
        events.send(true, json!({ "type": kind, "response": start })).await;
    }
    let whole = item(&id, &answer);
    let item_id = whole["id"].clone();
    let mut empty = whole.clone();
    empty["status"] = "in_progress".into();
    let (place, blank) = match answer.tool {
        Some(_) => ("arguments", json!("")),
        None => ("content", json!([])),
    };
    empty[place] = blank;
    let added = json!({ "type": "response.output_item.added", "output_index": 0, "item": empty });
    events.send(true, added).await;
    let at = |kind: &str| json!({ "type": kind, "item_id": item_id, "output_index": 0 });
    let with = |kind: &str, field: &str, value: Value| {
        let mut event = at(kind);
        event[field] = value;
        if answer.tool.is_none() {
            event["content_index"] = 0.into();
        }
        event
    };
    let (delta, done, field) = match answer.tool {
        Some(_) => (
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "arguments",
        ),
        None => ("response.output_text.delta", "response.output_text.done", "text"),
    };
    if answer.tool.is_none() {
        events.send(true, with("response.content_part.added", "part", part(""))).await;
    }
    for piece in &answer.pieces {
        events.send(true, with(delta, "delta", piece.as_str().into())).await;
    }
    events.send(true, with(done, field, answer.whole().into())).await;
    if answer.tool.is_none() {
        events.send(true, with("response.content_part.done", "part", part(&answer.whole()))).await;
    }
    let done = json!({ "type": "response.output_item.done", "output_index": 0, "item": whole });
    events.send(true, done).await;
    let end = response_object(&id, &answer, "completed");
    events.send(true, json!({ "type": "response.completed", "response": end })).await;
}

fn block(answer: &Answer) -> Value {
    match &answer.tool {
        Some(name) => {
            let input: Value = serde_json::from_str(&answer.whole()).unwrap_or_default();
            json!({ "type": "tool_use", "id": format!("toolu_{}", hex(24)), "name": name,
                    "input": input })
        }
        None => json!({ "type": "text", "text": answer.whole() }),
    }
}

fn message(answer: &Answer) -> Value {
    json!({
        "id": format!("msg_{}", hex(24)), "type": "message", "role": "assistant",
        "model": answer.model, "content": [block(answer)],
        "stop_reason": stop_reason(answer), "stop_sequence": null,
        "usage": { "input_tokens": 9, "output_tokens": answer.usage() },
    })
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_use" } else { "end_turn" }
}

async fn message_stream(mut events: Events, answer: Answer) {
    let mut start = message(&answer);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = 1.into();
    events.send(true, json!({ "type": "message_start", "message": start })).await;
    let mut block = block(&answer);
    let (place, blank, kind, field) = match answer.tool {
        Some(_) => ("input", json!({}), "input_json_delta", "partial_json"),
        None => ("text", json!(""), "text_delta", "text"),
    };
    block[place] = blank;
    let first = json!({ "type": "content_block_start", "index": 0, "content_block": block });
    events.send(true, first).await;
    events.send(true, json!({ "type": "ping" })).await;
    for piece in &answer.pieces {
        let delta = json!({ "type": kind, field: piece });
        let event = json!({ "type": "content_block_delta", "index": 0, "delta": delta });
        events.send(true, event).await;
    }
    events.send(true, json!({ "type": "content_block_stop", "index": 0 })).await;
    let delta = json!({ "stop_reason": stop_reason(&answer), "stop_sequence": null });
    let usage = json!({ "output_tokens": answer.usage() });
    events.send(true, json!({ "type": "message_delta", "delta": delta, "usage": usage })).await;
    events.send(true, json!({ "type": "message_stop" })).await;
}
