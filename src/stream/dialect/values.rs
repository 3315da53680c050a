//! Short ways into JSON that may have any shape.

use serde_json::Value;

use crate::stream::call::{CallError, LlmRequest, Part, Tool};

/// A member that is a string.
pub(super) fn string(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

/// A member that is a string and not empty.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

/// A member that is a number of output, block or call; 0 if there is none.
pub(super) fn index(value: &Value, name: &str) -> u32 {
    value[name].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0)
}

/// The elements of a member that is an array.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A value as arguments of a tool call: JSON text, but what is a text already stays one.
pub(super) fn arguments(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text part.
pub(super) fn text_part(content: &str) -> Part {
    Part::Text { content: content.to_owned() }
}

/// An address, which may hold the bytes itself.
pub(super) fn uri(address: &str) -> Part {
    match address.strip_prefix("data:") {
        Some(data) => {
            let (kind, data) = data.split_once(',').unwrap_or(("", data));
            let mime_type = kind.split(';').next().filter(|kind| !kind.is_empty());
            blob(mime_type, data)
        }
        None => Part::Uri { uri: address.to_owned() },
    }
}

/// Bytes that stand in the request as base64.
pub(super) fn blob(mime_type: Option<&str>, data: &str) -> Part {
    Part::Blob { mime_type: mime_type.map(str::to_owned), encoded_bytes: data.len() as u64 }
}

/// A part that has no type in the conventions.
pub(super) fn other(value: &Value) -> Part {
    Part::Other { value: value.clone() }
}

/// A tool with name and description in `value`, or else the name of its type.
pub(super) fn tool(value: &Value) -> Tool {
    let name = string(value, "name").or_else(|| string(value, "type"));
    Tool { name: name.unwrap_or_default(), description: string(value, "description") }
}

/// Options that most dialects name alike.
pub(super) fn options(body: &Value, request: &mut LlmRequest) {
    request.temperature = body["temperature"].as_f64();
    request.top_p = body["top_p"].as_f64();
    request.top_k = body["top_k"].as_f64();
    request.frequency_penalty = body["frequency_penalty"].as_f64();
    request.presence_penalty = body["presence_penalty"].as_f64();
    request.seed = body["seed"].as_i64();
    request.choice_count = body["n"].as_u64();
    request.stop_sequences = strings(&body["stop"]);
}

/// A string, or an array of strings.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// An error object `{type, code, status, message}`, or a text in its place.
pub(super) fn error(value: &Value) -> CallError {
    if let Some(text) = value.as_str() {
        return CallError { kind: "error".into(), message: text.into() };
    }
    let kind = ["type", "status", "code"].into_iter().find_map(|name| match &value[name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    let message = string(value, "message").unwrap_or_else(|| value.to_string());
    CallError { kind: kind.unwrap_or_else(|| "error".into()), message }
}
