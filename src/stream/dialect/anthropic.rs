//! Anthropic Messages.

use serde_json::Value;

use super::values::{arguments, blob, error, index, list, options, other, string, strings, text};
use super::values::{text_part, tool};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, InputMessage, LlmRequest, Part, ToolCall, Usage};
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Anthropic;

impl Dialect for Anthropic {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn claims(&self, head: &Head<'_>, body: &Value) -> bool {
        let path = head.path().trim_end_matches('/');
        // On Vertex AI the same bodies go to another path.
        let vertex = path.contains("/publishers/anthropic/models/")
            && (path.ends_with(":streamRawPredict") || path.ends_with(":rawPredict"));
        let named = path.ends_with("/v1/messages")
            || path.ends_with("/messages") && head.has_header("anthropic-version");
        head.method == "POST" && (vertex || named && body["messages"].is_array())
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        match event.json["type"].as_str() {
            Some("message_start") => event.json["message"].is_object(),
            Some("message") => event.json["content"].is_array() && event.json["usage"].is_object(),
            _ => false,
        }
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "anthropic"
    }

    fn request(&self, head: &Head<'_>, body: &Value) -> LlmRequest {
        // Vertex AI has the model in the path.
        let model = string(body, "model").or_else(|| {
            let (_, rest) = head.path().rsplit_once("/models/")?;
            rest.split(':').next().map(str::to_owned)
        });
        let mut request = LlmRequest {
            model,
            stream: body["stream"] == true || head.path().ends_with(":streamRawPredict"),
            system_instructions: content(&body["system"]),
            messages: list(body, "messages")
                .iter()
                .map(|message| InputMessage {
                    role: string(message, "role").unwrap_or_default(),
                    parts: content(&message["content"]),
                })
                .collect(),
            tools: list(body, "tools").iter().map(tool).collect(),
            max_tokens: body["max_tokens"].as_u64(),
            ..LlmRequest::default()
        };
        options(body, &mut request);
        request.stop_sequences = strings(&body["stop_sequences"]);
        request
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = event.json;
        let key = u64::from(index(json, "index"));
        match json["type"].as_str().unwrap_or(event.name) {
            "message_start" => message(&json["message"], out),
            "content_block_start" => block(&json["content_block"], key, true, out),
            "content_block_delta" => return delta(&json["delta"], key, out),
            "message_delta" => ending(&json["delta"], json, out),
            "message_stop" => out.push(Delta::Done),
            "content_block_stop" | "ping" => {}
            "error" => out.push(Delta::Error(error(&json["error"]))),
            "message" => return self.whole(json, out),
            _ => return false,
        }
        true
    }

    fn whole(&self, body: &Value, out: &mut Vec<Delta>) -> bool {
        if body["type"] == "error" {
            out.push(Delta::Error(error(&body["error"])));
            return true;
        }
        if !body["content"].is_array() {
            return false;
        }
        message(body, out);
        ending(body, &Value::Null, out);
        out.push(Delta::Done);
        true
    }

    fn usage(&self, merged: &Value) -> Usage {
        let count = |name: &str| merged[name].as_u64();
        let read = count("cache_read_input_tokens");
        let created = count("cache_creation_input_tokens");
        // Anthropic counts cached tokens apart from the others.
        let cached = read.unwrap_or(0).saturating_add(created.unwrap_or(0));
        Usage {
            input_tokens: count("input_tokens").map(|n| n.saturating_add(cached)),
            output_tokens: count("output_tokens"),
            cache_read_input_tokens: read,
            cache_creation_input_tokens: created,
            reasoning_output_tokens: None,
        }
    }
}

/// The head of a message, and what content it has already.
fn message(message: &Value, out: &mut Vec<Delta>) {
    let (id, model) = (string(message, "id"), string(message, "model"));
    out.push(Delta::Response { id, model });
    for (key, value) in list(message, "content").iter().enumerate() {
        block(value, key as u64, false, out);
    }
    if message["usage"].is_object() {
        out.push(Delta::Usage(message["usage"].clone()));
    }
}

/// Why the message ended, and the counts that come with it.
fn ending(delta: &Value, event: &Value, out: &mut Vec<Delta>) {
    if event["usage"].is_object() {
        out.push(Delta::Usage(event["usage"].clone()));
    }
    if let Some(reason) = string(delta, "stop_reason") {
        out.push(Delta::Finish { output: 0, reason });
    }
}

/// A content block, whole or (`starts`) before its deltas.
fn block(block: &Value, key: u64, starts: bool, out: &mut Vec<Delta>) {
    let mut push = |kind, name: &str| {
        if let Some(text) = text(block, name) {
            out.push(Delta::Text { output: 0, kind, text: text.to_owned() });
        }
    };
    match block["type"].as_str() {
        Some("text") => push(TokenKind::Text, "text"),
        Some("thinking") => push(TokenKind::Reasoning, "thinking"),
        Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
            // Before deltas stands an empty object that is none of the arguments.
            let empty = block["input"].as_object().is_some_and(serde_json::Map::is_empty);
            let input = if starts && empty { String::new() } else { arguments(&block["input"]) };
            out.push(Delta::ToolCall {
                output: 0,
                key: Some(key),
                id: string(block, "id"),
                name: string(block, "name"),
                arguments: input,
            });
        }
        _ => out.push(Delta::Part { output: 0, part: other(block) }),
    }
}

fn delta(delta: &Value, key: u64, out: &mut Vec<Delta>) -> bool {
    let (kind, name) = match delta["type"].as_str() {
        Some("text_delta") => (TokenKind::Text, "text"),
        Some("thinking_delta") => (TokenKind::Reasoning, "thinking"),
        Some("input_json_delta") => {
            let arguments = string(delta, "partial_json").unwrap_or_default();
            out.push(Delta::ToolCall {
                output: 0,
                key: Some(key),
                id: None,
                name: None,
                arguments,
            });
            return true;
        }
        Some("signature_delta" | "citations_delta") => return true,
        _ => return false,
    };
    if let Some(text) = text(delta, name) {
        out.push(Delta::Text { output: 0, kind, text: text.to_owned() });
    }
    true
}

/// The content of a message or of the system's instructions.
fn content(value: &Value) -> Vec<Part> {
    match value {
        Value::String(text) => vec![text_part(text)],
        Value::Array(list) => list.iter().map(part).collect(),
        _ => Vec::new(),
    }
}

fn part(value: &Value) -> Part {
    let source = &value["source"];
    match value["type"].as_str() {
        Some("text") => text_part(value["text"].as_str().unwrap_or_default()),
        Some("thinking") => {
            Part::Reasoning { content: string(value, "thinking").unwrap_or_default() }
        }
        Some("tool_use" | "server_tool_use") => Part::ToolCall(ToolCall {
            id: string(value, "id"),
            name: string(value, "name").unwrap_or_default(),
            arguments: arguments(&value["input"]),
        }),
        Some("tool_result") => Part::ToolCallResponse {
            id: string(value, "tool_use_id"),
            response: value["content"].clone(),
        },
        Some("image" | "document") => match source["type"].as_str() {
            Some("base64") => {
                blob(source["media_type"].as_str(), source["data"].as_str().unwrap_or_default())
            }
            Some("url") => Part::Uri { uri: string(source, "url").unwrap_or_default() },
            _ => other(value),
        },
        _ => other(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::framing::FrameKind;
    use serde_json::json;

    #[test]
    fn input_tokens_hold_the_cached_ones() {
        let usage = json!({ "input_tokens": 3, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20, "output_tokens": 5 });
        let usage = Anthropic.usage(&usage);
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(123), Some(5)));
    }

    #[test]
    fn unknown_events_and_blocks_stay_visible() {
        let mut out = Vec::new();
        fn event(json: &Value) -> Event<'_> {
            Event { kind: FrameKind::Data, name: "", json }
        }
        assert!(!Anthropic.event(&event(&json!({ "type": "new_event" })), &mut out));
        let block = json!({ "type": "content_block_start", "index": 2,
            "content_block": { "type": "web_search_tool_result", "content": [] } });
        assert!(Anthropic.event(&event(&block), &mut out));
        assert!(matches!(&out[..], [Delta::Part { part: Part::Other { .. }, .. }]));
    }
}
