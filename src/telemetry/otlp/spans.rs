//! Spans and their attributes.

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::json;

use super::moment;
use crate::report::units;
use crate::session::{Manifest, Status as SessionStatus};
use crate::stream::{Api, CallEnd, End, Exchange, LlmCall, Protocol};
use crate::telemetry::create::EventContext;
use crate::telemetry::trace::TraceContext;

/// What the session's spans are of.
pub(super) fn resource(manifest: &Manifest) -> Resource {
    let name = manifest.program.argv.first().map_or_else(String::new, ToString::to_string);
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    // Nothing of the environment that rr-run itself runs in.
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", name),
            KeyValue::new("host.name", manifest.machine.host.clone()),
            KeyValue::new("telemetry.distro.name", "rr-run"),
            KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("rr_run.session", manifest.name.clone()),
        ])
        .build()
}

/// Who tells.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("rr-run").with_version(env!("CARGO_PKG_VERSION")).build()
}

fn span(
    context: &EventContext,
    (own, parent): (TraceContext, Option<u64>),
    (start_ns, end_ns): (u64, u64),
    name: String,
    span_kind: SpanKind,
) -> SpanData {
    let (trace, id) = (TraceId::from(own.trace_id), SpanId::from(own.span_id));
    let state = TraceState::default();
    let parent_id = parent.map_or(SpanId::INVALID, SpanId::from);
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
        parent_span_id: parent_id,
        // A parent that is not the session's own span is of another program.
        parent_span_is_remote: parent.is_some_and(|id| id != context.trace.own.span_id),
        span_kind,
        name: name.into(),
        start_time: moment(context, start_ns),
        end_time: moment(context, end_ns.max(start_ns)),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope(),
    }
}

/// The span of a whole session.
pub(super) fn session(context: &EventContext, manifest: &Manifest, last_ns: u64) -> SpanData {
    let ended_ns = manifest.ended_ns.saturating_sub(manifest.started_ns).max(last_ns);
    let program = manifest.program.argv.first().map_or_else(String::new, ToString::to_string);
    let name = format!("run {}", program.rsplit('/').next().unwrap_or_default());
    let ids = (context.trace.own, context.trace.parent);
    let mut span = span(context, ids, (0, ended_ns), name, SpanKind::Internal);
    span.attributes.push(KeyValue::new("process.executable.name", program));
    if let Some(code) = manifest.exit_code {
        span.attributes.push(KeyValue::new("process.exit.code", i64::from(code)));
        if code != 0 {
            span.status = Status::error(format!("exit code {code}"));
        }
    }
    if let SessionStatus::CutShort { .. } = &manifest.status {
        let status = units::status(&manifest.status);
        span.attributes.push(KeyValue::new("rr_run.session.status", status));
    }
    span
}

/// Host and port of what was asked.
pub(super) fn server(authority: &str, scheme: &str) -> (String, i64) {
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(default)),
        _ => (authority, default),
    };
    (host.trim_matches(['[', ']']).to_owned(), port)
}

fn count(n: u64) -> Value {
    i64::try_from(n).unwrap_or(i64::MAX).into()
}

fn strings(list: impl IntoIterator<Item = String>) -> Value {
    Value::Array(Array::String(list.into_iter().map(StringValue::from).collect()))
}

/// The error that ended a call: `error.type`.
pub(super) fn error_type(call: &LlmCall) -> Option<String> {
    match (&call.error, &call.end) {
        (Some(error), _) => Some(error.kind.clone()),
        (None, CallEnd::Cut(_)) => Some("cut".into()),
        (None, CallEnd::Failed) => Some("_OTHER".into()),
        (None, CallEnd::Complete | CallEnd::Open) => {
            call.status.filter(|status| *status >= 400).map(|status| status.to_string())
        }
    }
}

/// The span of a call of a model.
pub(super) fn call(context: &EventContext, exchange: &Exchange, call: &LlmCall) -> SpanData {
    let (own, parent) = context.trace.of_exchange(exchange, call.id.turn);
    let operation = call.operation.name();
    let name = match &call.request.model {
        Some(model) => format!("{operation} {model}"),
        None => operation.to_owned(),
    };
    let times = (call.started_ns, call.ended_ns);
    let mut span = span(context, (own, Some(parent)), times, name, SpanKind::Client);
    let mut set = |name: &'static str, value: Option<Value>| {
        span.attributes.extend(value.map(|value| KeyValue::new(name, value)));
    };
    let (address, port) = server(&call.authority, &exchange.request.scheme);
    let request = &call.request;
    let usage = &call.usage;
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let list = |list: Vec<String>| (!list.is_empty()).then(|| strings(list));
    set("gen_ai.operation.name", Some(operation.into()));
    set("gen_ai.provider.name", Some(call.provider.clone().into()));
    set("gen_ai.request.model", text(&request.model));
    set("gen_ai.request.stream", Some(request.stream.into()));
    set("gen_ai.request.max_tokens", request.max_tokens.map(count));
    set("gen_ai.request.temperature", request.temperature.map(Value::from));
    set("gen_ai.request.top_p", request.top_p.map(Value::from));
    set("gen_ai.request.top_k", request.top_k.map(Value::from));
    set("gen_ai.request.frequency_penalty", request.frequency_penalty.map(Value::from));
    set("gen_ai.request.presence_penalty", request.presence_penalty.map(Value::from));
    set("gen_ai.request.stop_sequences", list(request.stop_sequences.clone()));
    set("gen_ai.request.seed", request.seed.map(Value::from));
    // One is what is asked for by saying nothing.
    set("gen_ai.request.choice.count", request.choice_count.filter(|n| *n != 1).map(count));
    set("gen_ai.conversation.id", text(&request.conversation_id));
    set("gen_ai.response.id", text(&call.response_id));
    set("gen_ai.response.model", text(&call.response_model));
    let reasons = call.finish_reasons().into_iter().map(str::to_owned).collect();
    set("gen_ai.response.finish_reasons", list(reasons));
    let first = call.timing.time_to_first_token_ns.filter(|_| call.streamed);
    let seconds = |ns: u64| Value::from(ns as f64 / 1e9);
    set("gen_ai.response.time_to_first_chunk", first.map(seconds));
    set("gen_ai.usage.input_tokens", usage.input_tokens.map(count));
    set("gen_ai.usage.output_tokens", usage.output_tokens.map(count));
    set("gen_ai.usage.cache_read.input_tokens", usage.cache_read_input_tokens.map(count));
    set("gen_ai.usage.cache_creation.input_tokens", usage.cache_creation_input_tokens.map(count));
    set("gen_ai.usage.reasoning.output_tokens", usage.reasoning_output_tokens.map(count));
    let api = match call.api {
        Api::OpenaiChat => Some("chat_completions"),
        Api::OpenaiResponses => Some("responses"),
        _ => None,
    };
    set("openai.api.type", api.filter(|_| call.provider == "openai").map(Value::from));
    set("server.address", Some(address.into()));
    set("server.port", Some(port.into()));
    set("error.type", error_type(call).map(Value::from));
    set("rr_run.exchange", Some(call.id.to_string().into()));
    set("rr_run.step", Some(count(call.step)));
    if context.content {
        let json = |value: serde_json::Value| Some(Value::from(value.to_string()));
        set("gen_ai.input.messages", json(json!(request.messages)));
        if !request.system_instructions.is_empty() {
            set("gen_ai.system_instructions", json(json!(request.system_instructions)));
        }
        if !request.tools.is_empty() {
            let tool = |tool: &crate::stream::call::Tool| {
                json!({
                    "type": "function", "name": tool.name, "description": tool.description,
                })
            };
            let tools = request.tools.iter().map(tool).collect();
            set("gen_ai.tool.definitions", json(serde_json::Value::Array(tools)));
        }
        let output = |output: &crate::stream::call::Output| {
            let reason = output.finish_reason.as_deref().unwrap_or("error");
            json!({ "role": "assistant", "parts": output.parts, "finish_reason": reason })
        };
        let outputs = call.outputs.iter().map(output).collect();
        set("gen_ai.output.messages", json(serde_json::Value::Array(outputs)));
    }
    if let Some(error) = error_type(call) {
        let message = call.error.as_ref().map(|e| e.message.clone()).filter(|_| context.content);
        span.status = Status::error(message.unwrap_or(error));
    }
    span
}

/// The span of an exchange that is no call of a model.
pub(super) fn exchange(context: &EventContext, exchange: &Exchange) -> SpanData {
    let (own, parent) = context.trace.of_exchange(exchange, 0);
    let (request, response) = (&exchange.request, exchange.response.as_ref());
    let times = (request.started_ns, exchange.ended_ns);
    let method = request.method.clone();
    let mut span = span(context, (own, Some(parent)), times, method.clone(), SpanKind::Client);
    let (address, port) = server(&request.authority, &request.scheme);
    let version = match exchange.protocol {
        Protocol::Http10 => "1.0",
        Protocol::Http11 | Protocol::WebSocket => "1.1",
        Protocol::Http2 => "2",
    };
    // The query is left out: it may hold keys.
    let path = request.target.split('?').next().unwrap_or_default();
    let url = match path.contains("://") {
        true => path.to_owned(),
        false => format!("{}://{}{path}", request.scheme, request.authority),
    };
    let process = format!("{:016x}", request.process);
    span.attributes.extend([
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.full", url),
        KeyValue::new("server.address", address),
        KeyValue::new("server.port", port),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("network.protocol.version", version),
        KeyValue::new("http.request.body.size", count(request.body.len())),
        KeyValue::new("rr_run.exchange", exchange.id.to_string()),
        KeyValue::new("rr_run.process", process),
        KeyValue::new("rr_run.step", count(request.step)),
    ]);
    if let Some(response) = response {
        let status = i64::from(response.status);
        span.attributes.extend([
            KeyValue::new("http.response.status_code", status),
            KeyValue::new("http.response.body.size", count(response.body.len())),
        ]);
    }
    let error = match (&exchange.end, response) {
        (End::Complete | End::Open, Some(response)) if response.status >= 400 => {
            Some(response.status.to_string())
        }
        (End::Complete | End::Open, _) => None,
        (End::Closed(_), _) => Some("closed".into()),
        (End::Reset { .. }, _) => Some("reset".into()),
        (End::Malformed(_), _) => Some("malformed".into()),
    };
    if let Some(error) = error {
        span.attributes.push(KeyValue::new("error.type", error.clone()));
        span.status = Status::error(error);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(server("a.example:8443", "https"), ("a.example".into(), 8443));
        assert_eq!(server("a.example", "https"), ("a.example".into(), 443));
        assert_eq!(server("[::1]", "http"), ("::1".into(), 80));
        assert_eq!(server("[::1]:81", "http"), ("::1".into(), 81));
    }
}
