//! From an exchange to the calls of a model in it.
//!
//! 1. [`dialect::of_request`] tells from the request which dialect is spoken; where it can't, the
//!    first event of the answer may ([`dialect::of_event`]).
//! 2. The pieces of the answer go through a [`Framer`], each frame's data is parsed once.
//! 3. The dialect turns it into [`Delta`]s, and [`CallDecoder`] collects these, with the time and
//!    step of the piece that completed the frame.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Direction;
use super::call::{Api, CallEnd, CallError, CallId, LlmCall, LlmRequest, Output, Part, ToolCall};
use super::dialect::{self, Delta, Dialect, Event, Head};
use super::exchange::{End, Header, Request};
use super::framing::{Frame, FrameKind, Framer, Framing};
use super::timing::analyze_stream_timing;
use super::token::{StreamToken, TokenKind};

/// Outputs and parts of one answer that are kept apart: their numbers come from outside.
const OUTPUTS_MAX: usize = 1024;
/// So many bytes that are no white space tell the framing, or that there is none.
const TELLING: usize = 8;
/// Bytes of a broken-off event that are quoted.
const QUOTED_BYTES: usize = 80;

/// A value of a header field, as text.
pub(super) fn field<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(&header.value).ok()
}

/// Collects one call while its answer comes.
#[derive(Debug)]
pub struct CallDecoder {
    call: LlmCall,
    dialect: Option<&'static dyn Dialect>,
    /// The request again, for a dialect that only the answer tells.
    request: (Request, Value),
    framer: Option<Framer>,
    /// What was answered so far can't be framed: it is no event stream or JSON.
    opaque: bool,
    /// First bytes of an answer whose type does not name its framing.
    first: Vec<u8>,
    usage: Map<String, Value>,
    /// Parts of tool calls that go on: output, the dialect's key, place among the parts.
    keys: Vec<(u32, u64, usize)>,
    done: bool,
    /// A piece of the answer itself has come.
    came: bool,
    last_ns: u64,
    last_step: u64,
    unknown: BTreeMap<String, u64>,
    /// Room for what the next event says.
    deltas: Vec<Delta>,
}

impl CallDecoder {
    /// Begins with a request, its body parsed (null if it is no JSON).
    pub fn new(id: CallId, request: &Request, body: &Value) -> CallDecoder {
        let head = head(request);
        let dialect = dialect::of_request(&head, body);
        // Without the body, which may be large and is not needed again.
        let kept = Request { body: Default::default(), ..request.clone() };
        let call = LlmCall {
            id,
            api: Api::Unknown,
            provider: String::new(),
            operation: Default::default(),
            process: request.process,
            step: request.step,
            authority: request.authority.clone(),
            path: head.path().to_owned(),
            started_ns: request.started_ns,
            ended_ns: request.ended_ns,
            status: None,
            request: LlmRequest::default(),
            streamed: false,
            response_id: None,
            response_model: None,
            outputs: Vec::new(),
            usage: Default::default(),
            error: None,
            end: CallEnd::Open,
            tokens: Vec::new(),
            timing: Default::default(),
            notes: Vec::new(),
        };
        let mut decoder = CallDecoder {
            call,
            dialect: None,
            request: (kept, Value::Null),
            framer: None,
            opaque: false,
            first: Vec::new(),
            usage: Map::new(),
            keys: Vec::new(),
            done: false,
            came: false,
            last_ns: request.ended_ns,
            last_step: request.step,
            unknown: BTreeMap::new(),
            deltas: Vec::new(),
        };
        match dialect {
            Some(dialect) => decoder.speaks(dialect, body),
            None => decoder.request.1 = body.clone(),
        }
        decoder
    }

    /// What is known so far; times in sum, usage and end only come with [`CallDecoder::finish`].
    pub fn call(&self) -> &LlmCall {
        &self.call
    }

    /// Takes the head of the answer.
    pub fn response(&mut self, status: u16, headers: &[Header]) {
        self.call.status = Some(status);
        let framing = field(headers, "content-type").and_then(Framing::of_content_type);
        self.framer = framing.map(Framer::new);
    }

    /// Takes the head of an answer that begins a WebSocket.
    pub fn switched(&mut self, status: u16) {
        self.call.status = Some(status);
    }

    /// Whether the rest of the answer can still make it a call of a model.
    pub fn may_be_a_call(&self) -> bool {
        self.dialect.is_some() || self.framer.is_some()
    }

    /// Takes the next bytes of the answer's body, content coding removed.
    pub fn push(&mut self, bytes: &[u8], time_ns: u64, step: u64) {
        (self.last_ns, self.last_step) = (time_ns, step);
        if bytes.is_empty() || self.opaque {
            return;
        }
        if self.framer.is_none() {
            // The type says nothing: the first bytes may.
            self.first.extend_from_slice(bytes);
            self.framer = Framing::of_bytes(&self.first).map(Framer::new);
            self.opaque = self.framer.is_none() && self.first.trim_ascii_start().len() >= TELLING;
        }
        let Some(mut framer) = self.framer.take() else { return };
        let first = std::mem::take(&mut self.first);
        let bytes = if first.is_empty() { bytes } else { &first };
        framer.push(bytes, |frame| self.frame(frame));
        self.call.streamed = framer.streams();
        self.framer = Some(framer);
    }

    /// Takes a message of a WebSocket.
    pub fn message(&mut self, bytes: &[u8], time_ns: u64, step: u64) {
        (self.last_ns, self.last_step) = (time_ns, step);
        self.call.streamed = true;
        self.frame(Frame::data(bytes));
    }

    /// Whether the answer has ended as its dialect has it end.
    pub fn is_done(&self) -> bool {
        self.done || self.call.error.is_some()
    }

    /// Adds something that is to be said about the answer.
    pub fn note(&mut self, note: String) {
        self.call.notes.push(note);
    }

    /// Ends the call as its exchange ended; none if it is not a model's, as far as can be told.
    pub fn finish(mut self, end: &End, ended_ns: u64) -> Option<LlmCall> {
        let mut left = Vec::new();
        if let Some(mut framer) = self.framer.take() {
            left = framer.finish(*end == End::Complete, |frame| self.frame(frame));
            self.call.notes.extend(framer.problem());
            self.call.streamed = framer.streams();
        }
        if self.dialect.is_none() && !self.call.streamed {
            return None;
        }
        if !left.is_empty() {
            let quoted = String::from_utf8_lossy(&left[..left.len().min(QUOTED_BYTES)]);
            let more = if left.len() > QUOTED_BYTES { " ..." } else { "" };
            let n = left.len();
            self.call.notes.push(format!("the last {n} bytes are no whole event: {quoted}{more}"));
        }
        for (name, n) in &self.unknown {
            let many = if *n == 1 { "event is" } else { "events are" };
            self.call.notes.push(format!("{n} {many} not understood: {name}"));
        }
        self.error_of_status();
        if let Some(dialect) = self.dialect {
            self.call.usage = dialect.usage(&Value::Object(self.usage));
        }
        self.call.timing = analyze_stream_timing(&self.call.tokens);
        let finished = self.done || !self.call.finish_reasons().is_empty();
        let whole = finished || !self.call.streamed || self.dialect.is_none();
        self.call.end = match end {
            _ if self.call.error.is_some() => CallEnd::Failed,
            _ if self.done => CallEnd::Complete,
            End::Open => CallEnd::Open,
            End::Complete if whole && left.is_empty() => CallEnd::Complete,
            End::Complete => CallEnd::Cut("the answer stops in the middle".into()),
            End::Closed(by) => CallEnd::Cut(format!("{} closed the connection", side(*by))),
            End::Reset { code, by } => {
                CallEnd::Cut(format!("{} reset the stream (code {code})", side(*by)))
            }
            End::Malformed(why) => CallEnd::Cut(why.clone()),
        };
        self.call.ended_ns = if self.done { self.last_ns } else { ended_ns.max(self.last_ns) };
        Some(self.call)
    }

    fn speaks(&mut self, dialect: &'static dyn Dialect, body: &Value) {
        let request = &self.request.0;
        let head = head(request);
        self.call.api = dialect.api();
        self.call.provider = dialect::provider(dialect, &head).to_owned();
        self.call.operation = dialect.operation(&head);
        self.call.request = dialect.request(&head, body);
        self.dialect = Some(dialect);
    }

    fn frame(&mut self, frame: Frame<'_>) {
        if frame.kind == FrameKind::Comment {
            return;
        }
        // What is no JSON ([DONE], say) is taken as a text.
        let json = parsed(frame.data)
            .unwrap_or_else(|| Value::String(String::from_utf8_lossy(frame.data).into_owned()));
        let event = Event { kind: frame.kind, name: frame.name, json: &json };
        if self.dialect.is_none()
            && let Some(dialect) = dialect::of_event(&event)
        {
            let body = std::mem::take(&mut self.request.1);
            self.speaks(dialect, &body);
        }
        let mut deltas = std::mem::take(&mut self.deltas);
        let known = match self.dialect {
            // Errors before the stream begins look alike everywhere.
            Some(_) if self.call.status.is_some_and(|status| status >= 400) => {
                deltas.push(Delta::Error(told(&json, self.call.status.unwrap_or_default())));
                true
            }
            Some(dialect) if frame.kind == FrameKind::Whole => dialect.whole(&json, &mut deltas),
            Some(dialect) => dialect.event(&event, &mut deltas),
            None if frame.kind == FrameKind::Whole => true,
            None => {
                let text = String::from_utf8_lossy(frame.data).into_owned();
                self.token(0, TokenKind::Event, None, text);
                true
            }
        };
        for delta in deltas.drain(..) {
            self.apply(delta);
        }
        self.deltas = deltas;
        if !known {
            let name = json["type"].as_str().unwrap_or(frame.name);
            let name = if name.is_empty() { "data without a type" } else { name };
            *self.unknown.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn apply(&mut self, delta: Delta) {
        match delta {
            Delta::Response { id, model } => {
                let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
                self.call.response_id = self.call.response_id.take().or(filled(id));
                self.call.response_model = self.call.response_model.take().or(filled(model));
            }
            Delta::Text { output, kind, text } => {
                self.text(output, kind, &text);
                self.token(output, kind, None, text);
            }
            Delta::ToolCall { output, key, id, name, arguments } => {
                let number = self.tool_call(output, key, id, name, &arguments);
                if !arguments.is_empty() && number.is_some() {
                    self.token(output, TokenKind::ToolCall, number, arguments);
                }
            }
            Delta::Part { output, part } => {
                self.came = true;
                if let Some(output) = self.output(output) {
                    output.parts.push(part);
                }
            }
            Delta::Usage(Value::Object(counts)) => {
                self.usage.extend(counts.into_iter().filter(|(_, count)| !count.is_null()));
            }
            Delta::Usage(_) => {}
            Delta::Finish { output, reason } => {
                if let Some(output) = self.output(output) {
                    output.finish_reason = Some(reason);
                }
            }
            Delta::Done => self.done = true,
            Delta::Error(error) => self.call.error = Some(error),
            Delta::Again(deltas) if !self.came => deltas.into_iter().for_each(|d| self.apply(d)),
            Delta::Again(_) => {}
        }
    }

    fn output(&mut self, output: u32) -> Option<&mut Output> {
        let at = output as usize;
        if at < OUTPUTS_MAX && self.call.outputs.len() <= at {
            self.call.outputs.resize_with(at + 1, Output::default);
        }
        self.call.outputs.get_mut(at)
    }

    fn text(&mut self, output: u32, kind: TokenKind, text: &str) {
        self.came = true;
        let Some(output) = self.output(output) else { return };
        let part = match (output.parts.last_mut(), kind) {
            (Some(Part::Text { content }), TokenKind::Text)
            | (Some(Part::Reasoning { content }), TokenKind::Reasoning)
            | (Some(Part::Refusal { content }), TokenKind::Refusal) => {
                content.push_str(text);
                return;
            }
            (_, TokenKind::Reasoning) => Part::Reasoning { content: text.to_owned() },
            (_, TokenKind::Refusal) => Part::Refusal { content: text.to_owned() },
            (_, TokenKind::Text | TokenKind::ToolCall | TokenKind::Event) => {
                Part::Text { content: text.to_owned() }
            }
        };
        output.parts.push(part);
    }

    /// Adds to a tool call, a new one if its key is new; its number among the output's calls.
    fn tool_call(
        &mut self,
        output: u32,
        key: Option<u64>,
        id: Option<String>,
        name: Option<String>,
        arguments: &str,
    ) -> Option<u32> {
        self.came = true;
        let known = key.and_then(|key| {
            self.keys.iter().rev().find(|(o, k, _)| (*o, *k) == (output, key)).map(|(.., at)| *at)
        });
        let parts = &mut self.output(output)?.parts;
        // Some servers give every whole call the same index: another id is another call.
        let same = |at: &usize| match (&parts[*at], &id) {
            (Part::ToolCall(call), Some(id)) => call.id.as_ref().is_none_or(|known| known == id),
            _ => true,
        };
        let at = match known.filter(same) {
            Some(at) => at,
            None if parts.len() >= OUTPUTS_MAX => return None,
            None => {
                parts.push(Part::ToolCall(ToolCall::default()));
                parts.len() - 1
            }
        };
        let number = parts[..at].iter().filter(|part| matches!(part, Part::ToolCall(_))).count();
        if let Some(Part::ToolCall(call)) = parts.get_mut(at) {
            call.id = call.id.take().or(id);
            if let Some(name) = name.filter(|_| call.name.is_empty()) {
                call.name = name;
            }
            call.arguments.push_str(arguments);
        }
        if let Some(key) = key.filter(|_| known != Some(at)) {
            self.keys.push((output, key, at));
        }
        u32::try_from(number).ok()
    }

    fn token(&mut self, output: u32, kind: TokenKind, tool_call: Option<u32>, text: String) {
        let arrival_ns = self.last_ns.saturating_sub(self.call.started_ns);
        let before = self.call.tokens.last().map_or(0, |token| token.arrival_ns);
        self.call.tokens.push(StreamToken {
            index: self.call.tokens.len().try_into().unwrap_or(u32::MAX),
            kind,
            output,
            tool_call,
            text,
            arrival_ns,
            gap_ns: arrival_ns.saturating_sub(before),
            step: self.last_step,
        });
    }

    /// An answer whose status alone says that it is an error.
    fn error_of_status(&mut self) {
        let refused = self.call.status.filter(|status| *status >= 400);
        if let (None, Some(status)) = (&self.call.error, refused) {
            let kind = status.to_string();
            self.call.error = Some(CallError { kind, message: String::new() });
        }
    }
}

/// A JSON value. Halves of surrogate pairs, which services written in JavaScript send where they
/// cut a text, become U+FFFD.
pub(super) fn parsed(bytes: &[u8]) -> Option<Value> {
    // Checked at once, rather than string by string.
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| serde_json::from_str(text).ok()).or_else(|| {
        let text = String::from_utf8_lossy(bytes);
        serde_json::from_str(&without_halves(&text)).ok()
    })
}

/// A JSON text with every half of a surrogate pair replaced.
fn without_halves(text: &str) -> String {
    /// The code unit of an escape that this begins with.
    fn unit(text: &str) -> Option<u16> {
        u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push('\u{fffd}');
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // An escaped backslash, too, is one escape.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out + rest
}

/// The error that a refusing answer's body tells.
fn told(json: &Value, status: u16) -> CallError {
    let inner = json.get("error").or_else(|| json[0].get("error")).unwrap_or(json);
    let mut error = match inner.as_str() {
        Some(text) => CallError { kind: String::new(), message: text.to_owned() },
        None => {
            let kind = ["type", "status", "code", "__type"].iter().find_map(|n| inner[*n].as_str());
            let message = ["message", "Message", "detail"].iter().find_map(|n| inner[*n].as_str());
            CallError {
                kind: kind.unwrap_or_default().to_owned(),
                message: message.map_or_else(|| inner.to_string(), str::to_owned),
            }
        }
    };
    if error.kind.is_empty() {
        error.kind = status.to_string();
    }
    error
}

fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Sent => "the guest",
        Direction::Received => "the service",
    }
}

fn head(request: &Request) -> Head<'_> {
    Head {
        method: &request.method,
        authority: &request.authority,
        target: &request.target,
        headers: &request.headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_do_not_make_an_event_unreadable() {
        let json = parsed(br#"{"a":"x\ud83d","b":"\ude00y","c":"\\ud83d \ud83d\ude00 \u00e9"}"#);
        let json = json.expect("it parses");
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        assert_eq!((text("a"), text("b")), ("x\u{fffd}".into(), "\u{fffd}y".into()));
        assert_eq!(text("c"), "\\ud83d \u{1f600} \u{e9}");
        assert_eq!(parsed(b"{"), None);
        assert_eq!(without_halves("\\"), "\\");
    }
}
