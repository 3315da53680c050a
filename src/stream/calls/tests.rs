//! Exchanges made by hand, in the form the services send.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::stream::call::{Api, CallEnd, Part};
use crate::stream::exchange::{End, Header, Request, Response};
use crate::stream::{Body, Chunk};
use crate::stream::{TokenKind, eventstream, merge_stream_chunks};

const MS: u64 = 1_000_000;

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned().into(), value: value.to_owned().into() }
}

fn body<B: AsRef<[u8]>>(pieces: &[(B, u64)]) -> Body {
    let mut bytes = Vec::new();
    let mut chunks = Vec::new();
    for (piece, ms) in pieces {
        bytes.extend_from_slice(piece.as_ref());
        chunks.push(Chunk { end: bytes.len() as u64, time_ns: ms * MS, step: *ms });
    }
    Body::held(bytes, chunks)
}

/// A request at 100 ms, and an answer of these pieces at their times.
pub(crate) fn exchange<B: AsRef<[u8]>>(
    target: &str,
    request: Value,
    content_type: &str,
    pieces: &[(B, u64)],
) -> Exchange {
    let ended_ns = pieces.last().map_or(100, |(_, ms)| *ms) * MS;
    Exchange {
        id: 7,
        connection: 1,
        protocol: Protocol::Http11,
        stream: None,
        request: Request {
            method: "POST".into(),
            scheme: "http".into(),
            authority: "localhost:8080".into(),
            target: target.into(),
            headers: vec![header("Content-Type", "application/json")],
            body: body(&[(request.to_string(), 100)]),
            trailers: Vec::new(),
            started_ns: 100 * MS,
            ended_ns: 101 * MS,
            process: 3,
            step: 40,
        },
        response: Some(Response {
            status: 200,
            reason: "OK".into(),
            headers: vec![header("Content-Type", content_type)],
            protocol: Protocol::Http11,
            interim: Vec::new(),
            body: body(pieces),
            trailers: Vec::new(),
            started_ns: 150 * MS,
            ended_ns,
            step: 50,
        }),
        messages: Vec::new(),
        end: End::Complete,
        ended_ns,
    }
}

fn call(exchange: &Exchange) -> LlmCall {
    let mut calls = llm_calls(exchange).unwrap();
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

const SSE: &str = "text/event-stream; charset=utf-8";

fn chat(pieces: &[(&str, u64)]) -> Exchange {
    let request = json!({ "model": "gpt", "stream": true, "temperature": 0.5,
        "messages": [{ "role": "system", "content": "be brief" },
                     { "role": "user", "content": [{ "type": "text", "text": "hello?" }] }],
        "tools": [{ "type": "function", "function": { "name": "weather" } }] });
    exchange("/v1/chat/completions", request, SSE, pieces)
}

#[test]
fn chat_completions() {
    let call = call(&chat(&[
        (
            "data: {\"id\":\"c1\",\"model\":\"gpt-1\",\
             \"choices\":[{\"index\":0,\"delta\":{\"role\":",
            200,
        ),
        (
            "\"assistant\",\"content\":\"\"}}]}\r\n\r\n: keep-alive\r\n\r\n\
             data: {\"choices\":[{\"ind",
            210,
        ),
        ("ex\":0,\"delta\":{\"content\":\"Hi\"}}],\"obfuscation\":\"x\"}\n\n", 220),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" you\"}}]}\n\n\
          data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            250,
        ),
        (
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\
          \"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\ndata: [DONE]\n\n",
            260,
        ),
    ]));
    assert_eq!(
        (call.api, call.provider.as_str(), call.streamed),
        (Api::OpenaiChat, "openai", true)
    );
    assert_eq!((call.request.model.as_deref(), call.model()), (Some("gpt"), Some("gpt-1")));
    assert_eq!(call.request.prompt(), Some("hello?"));
    assert_eq!(
        (call.request.tools[0].name.as_str(), call.request.temperature),
        ("weather", Some(0.5))
    );
    assert_eq!((call.text().as_str(), call.finish_reasons()), ("Hi you", vec!["stop"]));
    let tokens: Vec<_> =
        call.tokens.iter().map(|t| (&*t.text, t.arrival_ns / MS, t.gap_ns / MS, t.step)).collect();
    assert_eq!(tokens, [("Hi", 120, 120, 220), (" you", 150, 30, 250)]);
    let usage = call.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(9), Some(2)));
    assert_eq!(usage.cache_read_input_tokens, Some(4));
    assert_eq!((call.end, call.notes), (CallEnd::Complete, Vec::new()));
    assert_eq!((call.status, call.ended_ns, call.timing.total_ns), (Some(200), 260 * MS, 150 * MS));
}

#[test]
fn chat_completions_with_parallel_tool_calls_and_reasoning() {
    let delta = |delta: Value| {
        format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta }] }))
    };
    let call_of = |index: u32, rest: Value| {
        let mut call = rest;
        call["index"] = index.into();
        delta(json!({ "tool_calls": [call] }))
    };
    let events = [
        delta(json!({ "reasoning_content": "Hm, " })),
        delta(json!({ "reasoning": "rain" })),
        call_of(0, json!({ "id": "a", "function": { "name": "weather", "arguments": "" } })),
        call_of(1, json!({ "id": "b", "function": { "name": "time", "arguments": "{" } })),
        call_of(0, json!({ "function": { "arguments": "{\"city\":" } })),
        call_of(1, json!({ "function": { "arguments": "}" } })),
        call_of(0, json!({ "function": { "arguments": "\"Bonn\"}" } })),
        delta(json!({ "refusal": "no" })),
    ];
    let pieces: Vec<_> = events.iter().map(|e| (e.as_str(), 200)).collect();
    let call = call(&chat(&pieces));
    assert_eq!(call.reasoning(), "Hm, rain");
    let calls: Vec<_> = call.tool_calls().map(|c| (&*c.name, &*c.arguments)).collect();
    assert_eq!(calls, [("weather", "{\"city\":\"Bonn\"}"), ("time", "{}")]);
    assert_eq!(call.tool_calls().next().unwrap().id.as_deref(), Some("a"));
    let merged = merge_stream_chunks(&call.tokens);
    assert_eq!(merged.tool_arguments, ["{\"city\":\"Bonn\"}", "{}"]);
    assert_eq!((merged.reasoning.as_str(), merged.refusal.as_str()), ("Hm, rain", "no"));
    // Neither a finish reason nor [DONE] came.
    assert_eq!(call.end, CallEnd::Cut("the answer stops in the middle".into()));
}

#[test]
fn a_whole_chat_completion() {
    let answer = json!({ "id": "c", "object": "chat.completion", "model": "m", "choices": [
        { "index": 0, "message": { "content": "one" }, "finish_reason": "stop" },
        { "index": 1, "message": { "content": null, "tool_calls": [
            { "id": "x", "function": { "name": "f", "arguments": "{}" } }] },
          "finish_reason": "tool_calls" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 2 } });
    let request = json!({ "model": "m", "messages": [], "n": 2 });
    let text = answer.to_string();
    let call = call(&exchange("/v1/chat/completions", request, "application/json", &[(text, 300)]));
    assert_eq!((call.streamed, call.text().as_str()), (false, "one"));
    assert_eq!(call.finish_reasons(), ["stop", "tool_calls"]);
    assert_eq!(call.outputs[1].tool_calls().next().unwrap().name, "f");
    assert_eq!((call.timing.time_to_first_token_ns, call.end), (Some(200 * MS), CallEnd::Complete));
}

fn named(kind: &str, mut data: Value) -> String {
    data["type"] = kind.into();
    format!("event: {kind}\ndata: {data}\n\n")
}

pub(crate) fn anthropic_stream() -> String {
    let start = json!({ "message": { "id": "msg", "model": "claude-1", "content": [],
        "usage": { "input_tokens": 5, "cache_read_input_tokens": 10, "output_tokens": 1 } } });
    let block = |index: u32, block: Value| {
        named("content_block_start", json!({ "index": index, "content_block": block }))
    };
    let delta = |index: u32, delta: Value| {
        named("content_block_delta", json!({ "index": index, "delta": delta }))
    };
    [
        named("message_start", start),
        block(0, json!({ "type": "thinking", "thinking": "" })),
        named("ping", json!({})),
        delta(0, json!({ "type": "thinking_delta", "thinking": "Let me" })),
        delta(0, json!({ "type": "signature_delta", "signature": "abc" })),
        named("content_block_stop", json!({ "index": 0 })),
        block(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "gr\u{fc}n" })),
        block(2, json!({ "type": "tool_use", "id": "toolu", "name": "get", "input": {} })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"a\"" })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": ":1}" })),
        named(
            "message_delta",
            json!({ "delta": { "stop_reason": "tool_use" },
            "usage": { "output_tokens": 15 } }),
        ),
        named("message_stop", json!({})),
    ]
    .concat()
}

fn anthropic(pieces: &[(&[u8], u64)]) -> Exchange {
    let request = json!({ "model": "claude", "stream": true, "max_tokens": 9, "system": "s",
        "messages": [{ "role": "user", "content": "q" },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "t", "name": "get", "input": { "x": 1 } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "content": "42" }] }] });
    exchange("/v1/messages?beta=true", request, SSE, pieces)
}

#[test]
fn anthropic_messages() {
    let stream = anthropic_stream();
    let call = call(&anthropic(&[(stream.as_bytes(), 200)]));
    assert_eq!((call.api, call.path.as_str()), (Api::Anthropic, "/v1/messages"));
    assert_eq!((call.reasoning().as_str(), call.text().as_str()), ("Let me", "gr\u{fc}n"));
    let tool = call.tool_calls().next().unwrap();
    assert_eq!((tool.name.as_str(), tool.arguments_json()), ("get", Some(json!({ "a": 1 }))));
    assert_eq!((call.usage.input_tokens, call.usage.output_tokens), (Some(15), Some(15)));
    assert_eq!((call.finish_reasons(), &call.end), (vec!["tool_use"], &CallEnd::Complete));
    assert_eq!(call.request.system_instructions.len(), 1);
    assert!(matches!(&call.request.messages[2].parts[0],
        Part::ToolCallResponse { id: Some(id), response } if id == "t" && response == "42"));
    assert_eq!(call.tokens.len(), 4);
}

#[test]
fn an_error_in_mid_stream() {
    let error = json!({ "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let stream = anthropic_stream();
    let cut = stream.find("event: message_delta").unwrap();
    let text = format!("{}{}", &stream[..cut], named("error", error));
    let call = call(&anthropic(&[(text.as_bytes(), 200)]));
    let error = call.error.unwrap();
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("overloaded_error", "Overloaded"));
    assert_eq!((call.end, call.tokens.len()), (CallEnd::Failed, 4));
}

#[test]
fn a_connection_cut_in_mid_token() {
    let stream = anthropic_stream();
    let at = stream.find("gr\u{fc}n").unwrap() + 3;
    let mut exchange = anthropic(&[(&stream.as_bytes()[..at], 200)]);
    exchange.end = End::Closed(Direction::Received);
    let call = call(&exchange);
    assert_eq!(call.end, CallEnd::Cut("the service closed the connection".into()));
    assert_eq!((call.reasoning().as_str(), call.text().as_str()), ("Let me", ""));
    assert!(call.notes[0].starts_with("the last 54 bytes are no whole event"), "{:?}", call.notes);
}

#[test]
fn an_error_in_place_of_an_answer() {
    let error = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "m" } });
    let text = error.to_string();
    let mut exchange = anthropic(&[(text.as_bytes(), 200)]);
    let response = exchange.response.as_mut().unwrap();
    response.status = 429;
    response.headers = vec![header("content-type", "application/json")];
    let call = call(&exchange);
    assert_eq!((call.status, call.error.unwrap().kind.as_str()), (Some(429), "rate_limit_error"));
    let mut exchange = anthropic(&[(b"<html>bad gateway", 200)]);
    let response = exchange.response.as_mut().unwrap();
    (response.status, response.headers) = (502, vec![header("content-type", "text/html")]);
    assert_eq!(llm_calls(&exchange).unwrap()[0].error.as_ref().unwrap().kind, "502");
    let mut exchange = anthropic(&[]);
    (exchange.response, exchange.end) = (None, End::Closed(Direction::Received));
    assert!(matches!(llm_calls(&exchange).unwrap()[0].end, CallEnd::Cut(_)));
}

fn responses_events() -> Vec<String> {
    let response = |status: &str| json!({ "id": "resp", "model": "gpt-r", "status": status });
    let mut end = response("completed");
    end["usage"] = json!({ "input_tokens": 3, "output_tokens": 8,
        "output_tokens_details": { "reasoning_tokens": 4 } });
    end["output"] = json!([{ "type": "message", "content": [
        { "type": "output_text", "text": "one two" }] }]);
    [
        ("response.created", json!({ "response": response("in_progress") })),
        ("response.reasoning_summary_text.delta", json!({ "delta": "why" })),
        ("response.content_part.added", json!({ "output_index": 1 })),
        ("response.output_text.delta", json!({ "output_index": 1, "delta": "one" })),
        ("response.output_text.delta", json!({ "output_index": 1, "delta": " two" })),
        ("response.output_text.done", json!({ "output_index": 1, "text": "one two" })),
        (
            "response.output_item.added",
            json!({ "output_index": 2, "item": {
            "type": "function_call", "call_id": "call", "name": "f", "arguments": "" } }),
        ),
        ("response.function_call_arguments.delta", json!({ "output_index": 2, "delta": "{}" })),
        ("response.function_call_arguments.done", json!({ "output_index": 2, "arguments": "{}" })),
        ("codex.rate_limits", json!({})),
        ("response.completed", json!({ "response": end })),
    ]
    .into_iter()
    .map(|(kind, mut data)| {
        data["type"] = kind.into();
        data.to_string()
    })
    .collect()
}

fn check_responses(call: &LlmCall) {
    assert_eq!((call.api, call.text().as_str()), (Api::OpenaiResponses, "one two"));
    assert_eq!((call.reasoning().as_str(), call.model()), ("why", Some("gpt-r")));
    assert_eq!(call.tool_calls().next().unwrap().arguments, "{}");
    assert_eq!((call.usage.input_tokens, call.usage.reasoning_output_tokens), (Some(3), Some(4)));
    assert_eq!((&call.end, call.finish_reasons()), (&CallEnd::Complete, vec!["completed"]));
    assert_eq!(call.notes, ["1 event is not understood: codex.rate_limits"]);
    assert_eq!(call.request.prompt(), Some("hello"));
}

#[test]
fn openai_responses() {
    let stream: String =
        responses_events().iter().map(|data| format!("data: {data}\n\n")).collect();
    let request = json!({ "model": "gpt-r", "input": "hello", "stream": true });
    let call = call(&exchange("/v1/responses", request, SSE, &[(stream, 300)]));
    check_responses(&call);
}

#[test]
fn openai_responses_that_only_the_end_tells() {
    let last = responses_events().pop().unwrap();
    let request = json!({ "model": "gpt-r", "input": "hello", "stream": true });
    let stream = format!("data: {last}\n\n");
    let call = call(&exchange("/v1/responses", request, SSE, &[(stream, 300)]));
    assert_eq!(call.text(), "one two");
}

#[test]
fn openai_responses_over_a_websocket() {
    let mut exchange = exchange::<&str>("/v1/responses", Value::Null, "", &[]);
    exchange.protocol = Protocol::WebSocket;
    exchange.request.method = "GET".into();
    exchange.request.body = Body::default();
    let mut time_ms = 1000;
    let mut message = |direction, text: String| {
        time_ms += 10;
        let (time_ns, step) = (time_ms * MS, time_ms);
        Message { direction, opcode: TEXT, bytes: text.into(), time_ns, step, pieces: Vec::new() }
    };
    let create = json!({ "type": "response.create", "model": "gpt-r", "input": "hello" });
    for _ in 0..2 {
        exchange.messages.push(message(Direction::Sent, create.to_string()));
        let events = responses_events().into_iter();
        exchange.messages.extend(events.map(|e| message(Direction::Received, e)));
    }
    exchange.messages.push(message(Direction::Sent, create.to_string()));
    exchange.messages.push(message(Direction::Received, responses_events().swap_remove(0)));
    exchange.end = End::Open;
    let calls = llm_calls(&exchange).unwrap();
    assert_eq!(calls.iter().map(|c| c.id.to_string()).collect::<Vec<_>>(), ["7", "7.2", "7.3"]);
    check_responses(&calls[0]);
    check_responses(&calls[1]);
    assert_eq!(calls[1].tokens[0].arrival_ns, 20 * MS);
    assert_eq!(calls[2].end, CallEnd::Open);
}

fn gemini_elements() -> Vec<String> {
    let chunk = |parts: Value, more: Value| {
        let mut candidate = json!({ "content": { "role": "model", "parts": parts } });
        if let Some(reason) = more["reason"].as_str() {
            candidate["finishReason"] = reason.into();
        }
        json!({ "candidates": [candidate], "modelVersion": "gemini-1", "responseId": "r",
            "usageMetadata": { "promptTokenCount": 4, "thoughtsTokenCount": 2,
                "candidatesTokenCount": more["count"] } })
        .to_string()
    };
    vec![
        chunk(json!([{ "text": "hm", "thought": true }]), json!({ "count": null })),
        chunk(json!([{ "text": "a]b" }]), json!({ "count": 1 })),
        chunk(
            json!([{ "functionCall": { "name": "f", "args": { "x": 1 } } },
                   { "functionCall": { "name": "g", "args": {} } }]),
            json!({ "count": 7, "reason": "STOP" }),
        ),
    ]
}

fn check_gemini(call: &LlmCall) {
    assert_eq!((call.api, call.provider.as_str()), (Api::Gemini, "gcp.gemini"));
    assert_eq!((call.text().as_str(), call.reasoning().as_str()), ("a]b", "hm"));
    let calls: Vec<_> = call.tool_calls().map(|c| (&*c.name, &*c.arguments)).collect();
    assert_eq!(calls, [("f", "{\"x\":1}"), ("g", "{}")]);
    assert_eq!((call.usage.input_tokens, call.usage.output_tokens), (Some(4), Some(9)));
    assert_eq!((&call.end, call.streamed), (&CallEnd::Complete, true));
    assert_eq!(call.request.model.as_deref(), Some("g-flash"));
    assert_eq!(call.request.tools[0].name, "f");
}

fn gemini_request() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "q" }] }],
        "tools": [{ "functionDeclarations": [{ "name": "f" }] }] })
}

#[test]
fn gemini_by_events() {
    let stream: String = gemini_elements().iter().map(|e| format!("data: {e}\r\n\r\n")).collect();
    let target = "/v1beta/models/g-flash:streamGenerateContent?alt=sse&key=secret";
    let call = call(&exchange(target, gemini_request(), SSE, &[(stream, 300)]));
    check_gemini(&call);
    assert!(!serde_json::to_string(&call).unwrap().contains("secret"));
}

#[test]
fn gemini_as_an_array() {
    let elements = gemini_elements();
    let pieces: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(i, e)| (format!("{}{e}", if i == 0 { "[" } else { ",\r\n" }), 200 + i as u64 * 50))
        .chain([("]".to_owned(), 400)])
        .collect();
    let target = "/v1beta/models/g-flash:streamGenerateContent";
    let call = call(&exchange(target, gemini_request(), "application/json", &pieces));
    check_gemini(&call);
    let times: Vec<_> = call.tokens.iter().map(|t| t.arrival_ns / MS).collect();
    assert_eq!(times, [100, 150, 200, 200]);
}

#[test]
fn ollama_lines() {
    let lines = [
        json!({ "model": "l", "created_at": "t", "message": { "role": "assistant",
            "content": "", "thinking": "hm" }, "done": false }),
        json!({ "model": "l", "created_at": "t", "message": { "content": "yes" }, "done": false }),
        json!({ "model": "l", "created_at": "t", "message": { "content": "", "tool_calls": [
            { "function": { "name": "f", "arguments": { "a": 1 } } }] }, "done": false }),
        json!({ "model": "l", "created_at": "t", "message": { "content": "" }, "done": true,
            "done_reason": "stop", "prompt_eval_count": 6, "eval_count": 3 }),
    ];
    let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let request = json!({ "model": "l", "messages": [{ "role": "user", "content": "q" }],
        "options": { "num_predict": 5 } });
    let call = call(&exchange("/api/chat", request, "application/x-ndjson", &[(stream, 300)]));
    assert_eq!((call.api, call.text().as_str()), (Api::Ollama, "yes"));
    assert_eq!((call.reasoning().as_str(), call.request.max_tokens), ("hm", Some(5)));
    assert_eq!(call.tool_calls().next().unwrap().arguments, "{\"a\":1}");
    assert_eq!((call.usage.input_tokens, call.usage.output_tokens), (Some(6), Some(3)));
    assert_eq!((&call.end, call.finish_reasons()), (&CallEnd::Complete, vec!["stop"]));
}

fn bedrock(events: &[(&str, Value)]) -> Vec<u8> {
    let event = |(name, data): &(&str, Value)| {
        let kind = if name.ends_with("Exception") { "exception" } else { "event" };
        let named = format!(":{kind}-type");
        let headers = [(named.as_str(), *name), (":message-type", kind)];
        eventstream::message(&headers, data.to_string().as_bytes())
    };
    events.iter().flat_map(event).collect()
}

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

#[test]
fn bedrock_converse() {
    let delta = |index: u32, delta: Value| {
        ("contentBlockDelta", json!({ "contentBlockIndex": index, "delta": delta }))
    };
    let mut events = vec![
        ("messageStart", json!({ "role": "assistant" })),
        delta(0, json!({ "reasoningContent": { "text": "hm" } })),
        delta(0, json!({ "reasoningContent": { "signature": "s" } })),
        delta(1, json!({ "text": "Hello" })),
        (
            "contentBlockStart",
            json!({ "contentBlockIndex": 2,
            "start": { "toolUse": { "toolUseId": "t", "name": "f" } } }),
        ),
        delta(2, json!({ "toolUse": { "input": "{\"a\":" } })),
        delta(2, json!({ "toolUse": { "input": "1}" } })),
        ("messageStop", json!({ "stopReason": "tool_use" })),
        (
            "metadata",
            json!({ "usage": { "inputTokens": 2, "outputTokens": 5,
            "cacheReadInputTokens": 1 } }),
        ),
    ];
    let request = json!({ "messages": [{ "role": "user", "content": [{ "text": "q" }] }],
        "inferenceConfig": { "maxTokens": 9 } });
    let target = "/model/us.anthropic.claude-v2%3A0/converse-stream";
    let made = |events: &[(&str, Value)]| {
        exchange(target, request.clone(), EVENT_STREAM, &[(bedrock(events), 300)])
    };
    let whole = call(&made(&events));
    assert_eq!((whole.text().as_str(), whole.reasoning().as_str()), ("Hello", "hm"));
    assert_eq!(whole.request.model.as_deref(), Some("us.anthropic.claude-v2:0"));
    assert_eq!(whole.tool_calls().next().unwrap().arguments, "{\"a\":1}");
    assert_eq!((whole.usage.input_tokens, &whole.end), (Some(3), &CallEnd::Complete));
    events.truncate(4);
    events.push(("throttlingException", json!({ "message": "slow" })));
    let failed = call(&made(&events)).error.unwrap();
    assert_eq!((failed.kind.as_str(), failed.message.as_str()), ("throttlingException", "slow"));
    let mut broken = bedrock(&events);
    broken[200] ^= 1;
    let exchange = exchange(target, request, EVENT_STREAM, &[(broken, 300)]);
    let call = call(&exchange);
    assert!(call.notes[0].contains("checksum"), "{:?}", call.notes);
}

#[test]
fn bedrock_passes_a_models_own_events_on() {
    use base64::Engine as _;
    let chunk = |event: Value| {
        let bytes = base64::engine::general_purpose::STANDARD.encode(event.to_string());
        ("chunk", json!({ "bytes": bytes, "p": "abc" }))
    };
    let events = [
        chunk(json!({ "type": "content_block_delta", "index": 0,
            "delta": { "type": "text_delta", "text": "hi" } })),
        chunk(json!({ "type": "message_stop" })),
    ];
    let request = json!({ "messages": [{ "role": "user", "content": "q" }] });
    let target = "/model/m/invoke-with-response-stream";
    let call = call(&exchange(target, request, EVENT_STREAM, &[(bedrock(&events), 300)]));
    assert_eq!((call.text().as_str(), call.end), ("hi", CallEnd::Complete));
    assert_eq!(call.request.prompt(), Some("q"));
}

#[test]
fn unknown_events_stay_visible() {
    let stream = "event: tick\ndata: one\n\ndata: {\"n\":2}\n\n";
    let call = call(&exchange("/events", json!({}), SSE, &[(stream, 300)]));
    assert_eq!((call.api, &call.end), (Api::Unknown, &CallEnd::Complete));
    let texts: Vec<_> = call.tokens.iter().map(|t| (t.kind, &*t.text)).collect();
    assert_eq!(texts, [(TokenKind::Event, "one"), (TokenKind::Event, "{\"n\":2}")]);
    let page = exchange("/", json!({}), "text/html", &[("<html>", 300)]);
    assert_eq!(llm_calls(&page).unwrap(), []);
    let data = exchange("/data", json!({}), "application/json", &[("{\"a\":1}", 300)]);
    assert_eq!(llm_calls(&data).unwrap(), []);
}

#[test]
fn a_dialect_at_an_unusual_address_is_known_by_its_events() {
    let stream = anthropic_stream();
    let mut exchange = anthropic(&[(stream.as_bytes(), 200)]);
    exchange.request.target = "/gateway/llm".into();
    let call = call(&exchange);
    assert_eq!((call.api, call.text().as_str()), (Api::Anthropic, "gr\u{fc}n"));
    assert_eq!(call.request.messages.len(), 3);
}

/// Streams of all framings, as a target and type with their bytes.
fn streams() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let responses: String = responses_events().iter().map(|e| format!("data: {e}\r\r")).collect();
    let array = format!("[{}]", gemini_elements().join(",\n"));
    let delta = json!({ "contentBlockIndex": 0, "delta": { "text": "gr\u{fc}n" } });
    let lines = "{\"message\":{\"content\":\"a\"},\"done\":false}\r\n\
        {\"message\":{\"content\":\"\u{1f600}\"},\"done\":true}\n";
    vec![
        ("/v1/messages", SSE, anthropic_stream().into_bytes()),
        ("/v1/responses", SSE, responses.into_bytes()),
        ("/models/g:streamGenerateContent", "application/json", array.into_bytes()),
        ("/api/chat", "application/x-ndjson", lines.into()),
        ("/model/m/converse-stream", EVENT_STREAM, bedrock(&[("contentBlockDelta", delta)])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_tokens(
        which in 0..5_usize,
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let (target, content_type, bytes) = streams().swap_remove(which);
        let request = json!({ "model": "m", "messages": [], "input": "", "stream": true });
        let whole = call(&exchange(target, request.clone(), content_type, &[(&bytes, 300)]));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> =
            cuts.windows(2).map(|cut| (&bytes[cut[0]..cut[1]], 300)).collect();
        prop_assert_eq!(call(&exchange(target, request, content_type, &pieces)), whole);
    }

    #[test]
    fn any_bytes_give_some_answer(
        which in 0..5_usize,
        at in any::<proptest::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let (target, content_type, mut bytes) = streams().swap_remove(which);
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        let request = json!({ "model": "m", "messages": [], "stream": true });
        let call = call(&exchange(target, request, content_type, &[(bytes, 300)]));
        prop_assert!(!serde_json::to_string(&call).unwrap().is_empty());
    }
}
