//! One exchange, for the eye.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::error::Result;
use crate::report::units::{self, clip, count};
use crate::stream::call::{CallEnd, InputMessage, Part, Usage};
use crate::stream::exchange::{End, Exchange, Header};
use crate::stream::http::content;
use crate::stream::{Direction, LlmCall, StreamTiming};

/// Width of the labels.
const LABEL: usize = 10;
/// Bytes of a body that are shown.
const BODY_BYTES: usize = 4096;
/// Characters of a JSON value that are shown.
const VALUE_CHARS: usize = 2000;

/// The page of an exchange by this process, and of the call it is.
///
/// # Errors
/// A body can't be read.
pub(super) fn page(process: &str, exchange: &Exchange, call: Option<&LlmCall>) -> Result<String> {
    Ok(match call {
        Some(call) => head(exchange, process, Some(call)) + &call_page(call),
        None => head(exchange, process, None) + &plain(exchange)?,
    })
}

fn line(out: &mut String, label: &str, text: impl AsRef<str>) {
    if !text.as_ref().is_empty() {
        _ = writeln!(out, "{label:<LABEL$}{}", text.as_ref());
    }
}

fn head(exchange: &Exchange, process: &str, call: Option<&LlmCall>) -> String {
    let request = &exchange.request;
    let mut out = String::new();
    let id = call.map_or_else(|| exchange.id.to_string(), |call| call.id.to_string());
    // Without the query, which may hold a key.
    let path = request.target.split('?').next().unwrap_or_default();
    let url = format!("{} {}://{}{path}", request.method, request.scheme, request.authority);
    line(&mut out, "exchange", format!("{id}, {url}"));
    let (started_ns, ended_ns, step) = match call {
        Some(call) => (call.started_ns, call.ended_ns, call.step),
        None => (request.started_ns, exchange.ended_ns, request.step),
    };
    line(&mut out, "process", format!("{process}, step {}", count(step)));
    let took = units::duration(ended_ns.saturating_sub(started_ns));
    line(&mut out, "time", format!("{:.3} s, took {took}", started_ns as f64 / 1e9));
    let protocol = serde_json::to_value(exchange.protocol).unwrap_or_default();
    let protocol = protocol.as_str().unwrap_or_default();
    let status = match &exchange.response {
        Some(response) => format!("{} {}", response.status, response.reason),
        None => "no answer".into(),
    };
    let end = match (call.map(|call| &call.end), &exchange.end) {
        (Some(CallEnd::Complete), _) | (None, End::Complete) => String::new(),
        (Some(CallEnd::Open), _) | (None, End::Open) => ", still open".into(),
        (Some(CallEnd::Failed), _) => ", failed".into(),
        (Some(CallEnd::Cut(why)), _) => format!(", cut: {why}"),
        (None, End::Closed(Direction::Sent)) => ", closed by the guest".into(),
        (None, End::Closed(Direction::Received)) => ", closed by the service".into(),
        (None, End::Reset { code, .. }) => format!(", reset (code {code})"),
        (None, End::Malformed(why)) => format!(", malformed: {why}"),
    };
    line(&mut out, "status", format!("{}{end} ({protocol})", status.trim()));
    out
}

fn call_page(call: &LlmCall) -> String {
    let mut out = String::new();
    let request = &call.request;
    let asked = request.model.as_deref().filter(|asked| Some(*asked) != call.model());
    let asked = asked.map_or_else(String::new, |asked| format!(" (asked for {asked})"));
    let model = clip(call.model().unwrap_or("no model named"), VALUE_CHARS);
    let provider = if call.provider.is_empty() { "unknown" } else { &call.provider };
    line(&mut out, "model", format!("{model}{asked}, {provider} {}", call.operation.name()));
    line(&mut out, "tokens", usage(&call.usage));
    line(&mut out, "timing", timing(call));
    let tools: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    line(&mut out, "tools", tools.join(", "));
    if let Some(error) = &call.error {
        let message = if error.message.is_empty() { "" } else { ": " };
        line(&mut out, "error", format!("{}{message}{}", error.kind, shown(&error.message)));
    }
    if !request.system_instructions.is_empty() {
        message(&mut out, "system", &request.system_instructions);
    }
    for InputMessage { role, parts } in &request.messages {
        message(&mut out, role, parts);
    }
    for (number, output) in call.outputs.iter().enumerate() {
        let name = if number == 0 { "answer".into() } else { format!("answer {}", number + 1) };
        message(&mut out, &name, &output.parts);
        if let Some(reason) = &output.finish_reason {
            _ = writeln!(out, "--- {} ---", clip(reason, VALUE_CHARS));
        }
    }
    let unknown = call.tokens.iter().filter(|t| t.kind == crate::stream::TokenKind::Event);
    for token in unknown {
        let at = units::duration(token.arrival_ns);
        _ = writeln!(out, "{at:>8}  {}", clip(&token.text, VALUE_CHARS));
    }
    for note in &call.notes {
        line(&mut out, "note", clip(note, VALUE_CHARS));
    }
    out
}

fn usage(usage: &Usage) -> String {
    let mut text = Vec::new();
    let part = |n: Option<u64>, what: &str| {
        n.filter(|n| *n > 0).map_or_else(String::new, |n| format!(" ({} {what})", count(n)))
    };
    if let Some(n) = usage.input_tokens {
        let cached = part(usage.cache_read_input_tokens, "cached");
        let stored = part(usage.cache_creation_input_tokens, "newly cached");
        text.push(format!("{} in{cached}{stored}", count(n)));
    }
    if let Some(n) = usage.output_tokens {
        text.push(format!("{} out{}", count(n), part(usage.reasoning_output_tokens, "reasoning")));
    }
    text.join(", ")
}

fn timing(call: &LlmCall) -> String {
    let StreamTiming { tokens, time_to_first_token_ns, gaps, .. } = &call.timing;
    let Some(first) = time_to_first_token_ns else { return String::new() };
    let mut text = format!("first after {}", units::duration(*first));
    if !call.streamed {
        return text;
    }
    text += &format!(", {} pieces", count(*tokens));
    if let Some(gaps) = gaps {
        let [p50, p99, max] = [gaps.p50_ns, gaps.p99_ns, gaps.max_ns].map(units::duration);
        text += &format!(", gaps p50 {p50} p99 {p99} max {max}");
    }
    if let Some(rate) = call.tokens_per_second() {
        text += &format!(", {rate:.0} tokens/s");
    }
    if call.timing.stall_count > 0 {
        let stalled = units::duration(call.timing.stalled_ns);
        text += &format!(", stalled {} times for {stalled}", call.timing.stall_count);
    }
    text
}

fn message(out: &mut String, role: &str, parts: &[Part]) {
    _ = writeln!(out, "\n[{}]", clip(role, VALUE_CHARS));
    for part in parts {
        let text = match part {
            Part::Text { content } => shown(content),
            Part::Reasoning { content } => format!("(reasoning) {}", shown(content)),
            Part::Refusal { content } => format!("(refusal) {}", shown(content)),
            Part::ToolCall(call) => {
                let id = call.id.as_deref().unwrap_or("no id");
                format!("(calls {}, {}) {}", call.name, clip(id, 80), shown(&call.arguments))
            }
            Part::ToolCallResponse { id, response } => {
                let id = id.as_deref().unwrap_or("no id");
                let text = response.as_str().map_or_else(|| response.to_string(), str::to_owned);
                format!("(result for {}) {}", clip(id, 80), shown(&text))
            }
            Part::Blob { mime_type, encoded_bytes } => {
                let kind = mime_type.as_deref().unwrap_or("unknown type");
                format!("({}, {} as base64)", clip(kind, 80), units::bytes(*encoded_bytes))
            }
            Part::Uri { uri } => format!("({})", clip(uri, VALUE_CHARS)),
            Part::Other { value } => clip(&value.to_string(), VALUE_CHARS),
        };
        _ = writeln!(out, "{}", text.trim_end_matches('\n'));
    }
}

/// A text with its lines, but without what a terminal would obey.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// An exchange that is no call: fields and the beginning of both bodies.
fn plain(exchange: &Exchange) -> Result<String> {
    let mut out = String::new();
    let request = &exchange.request;
    section(&mut out, "request", &request.headers, &request.body)?;
    if let Some(response) = &exchange.response {
        section(&mut out, "response", &response.headers, &response.body)?;
    }
    for message in &exchange.messages {
        let arrow = if message.direction == Direction::Sent { "->" } else { "<-" };
        let text = String::from_utf8_lossy(&message.bytes);
        let at = message.time_ns as f64 / 1e9;
        _ = writeln!(out, "{at:.3} {arrow} {}", clip(&text, VALUE_CHARS));
    }
    Ok(out)
}

fn section(
    out: &mut String,
    name: &str,
    headers: &[Header],
    body: &crate::stream::Body,
) -> Result<()> {
    _ = writeln!(out, "\n[{name}]");
    for Header { name, value } in headers {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        _ = writeln!(out, "{}: {}", clip(&name, 80), clip(&value, VALUE_CHARS));
    }
    let content = content::content(headers, body)?;
    let bytes = content.body.read(0..BODY_BYTES as u64)?;
    if !bytes.is_empty() {
        let more = content.body.len().saturating_sub(bytes.len() as u64);
        _ = writeln!(out, "\n{}", shown(&String::from_utf8_lossy(&bytes)).trim_end());
        if more > 0 {
            _ = writeln!(out, "... {} more", units::bytes(more));
        }
    }
    if let Some(problem) = &content.problem {
        line(out, "note", problem);
    }
    Ok(())
}

/// Heads of an exchange as JSON, for what the call does not hold.
pub(super) fn head_json(exchange: &Exchange) -> Value {
    let fields = |headers: &[Header]| -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers.iter().map(|h| json!([text(&h.name), text(&h.value)])).collect()
    };
    let request = &exchange.request;
    json!({
        "id": exchange.id,
        "connection": exchange.connection,
        "protocol": exchange.protocol,
        "stream": exchange.stream,
        "end": exchange.end,
        "ended_ns": exchange.ended_ns,
        "request": {
            "method": request.method,
            "scheme": request.scheme,
            "authority": request.authority,
            "target": request.target,
            "headers": fields(&request.headers),
            "body_bytes": request.body.len(),
            "started_ns": request.started_ns,
            "ended_ns": request.ended_ns,
            "process": request.process,
            "step": request.step,
        },
        "response": exchange.response.as_ref().map(|response| json!({
            "status": response.status,
            "headers": fields(&response.headers),
            "body_bytes": response.body.len(),
            "chunks": response.body.chunks,
            "started_ns": response.started_ns,
            "ended_ns": response.ended_ns,
            "step": response.step,
        })),
    })
}
