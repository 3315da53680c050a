//! OpenAI Responses, by SSE and by WebSocket.

use serde_json::Value;

use super::values::{arguments, error, list, options, other, string, text, text_part, tool, uri};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, InputMessage, LlmRequest, Part, ToolCall, Usage};
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct OpenaiResponses;

impl Dialect for OpenaiResponses {
    fn api(&self) -> Api {
        Api::OpenaiResponses
    }

    fn claims(&self, head: &Head<'_>, body: &Value) -> bool {
        // GET, and CONNECT over HTTP/2, begin a WebSocket.
        let path = head.path().trim_end_matches('/');
        match head.method {
            "POST" => path.ends_with("/responses") && body.is_object(),
            "GET" | "CONNECT" => path.ends_with("/responses"),
            _ => false,
        }
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        let created = event.json["type"] == "response.created";
        created || event.json["object"] == "response" && event.json["output"].is_array()
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "openai"
    }

    fn request(&self, _head: &Head<'_>, body: &Value) -> LlmRequest {
        // Over a WebSocket the request is itself an event, in the first versions a nested one.
        let body = if body["response"].is_object() { &body["response"] } else { body };
        let mut request = LlmRequest {
            model: string(body, "model"),
            stream: body["stream"] == true || body["type"] == "response.create",
            system_instructions: text(body, "instructions").map(text_part).into_iter().collect(),
            messages: match &body["input"] {
                Value::String(text) => {
                    vec![InputMessage { role: "user".into(), parts: vec![text_part(text)] }]
                }
                Value::Array(items) => items.iter().map(item).collect(),
                _ => Vec::new(),
            },
            tools: list(body, "tools").iter().map(tool).collect(),
            max_tokens: body["max_output_tokens"].as_u64(),
            conversation_id: string(body, "previous_response_id")
                .or_else(|| string(body, "conversation"))
                .or_else(|| string(&body["conversation"], "id")),
            ..LlmRequest::default()
        };
        options(body, &mut request);
        request
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = event.json;
        let key = json["output_index"].as_u64();
        let kind = json["type"].as_str().unwrap_or(event.name);
        let piece = |kind| {
            let text = text(json, "delta")?.to_owned();
            Some(Delta::Text { output: 0, kind, text })
        };
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                head(&json["response"], out);
            }
            "response.output_text.delta" => out.extend(piece(TokenKind::Text)),
            "response.refusal.delta" => out.extend(piece(TokenKind::Refusal)),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                out.extend(piece(TokenKind::Reasoning));
            }
            "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
            | "response.mcp_call_arguments.delta" => {
                let arguments = string(json, "delta").unwrap_or_default();
                out.push(Delta::ToolCall { output: 0, key, id: None, name: None, arguments });
            }
            "response.output_item.added" => added(&json["item"], key, out),
            "response.output_item.done" => finished(&json["item"], out),
            "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
                end(&json["response"], out);
            }
            "error" => {
                let nested = &json["error"];
                out.push(Delta::Error(error(if nested.is_null() { json } else { nested })));
            }
            _ => {
                // The rest says again what the deltas said, or where a tool of the service is.
                let progress = ["_call.", ".done", ".added", ".part", "audio"];
                return kind.starts_with("response.") && progress.iter().any(|p| kind.contains(p));
            }
        }
        true
    }

    fn whole(&self, body: &Value, out: &mut Vec<Delta>) -> bool {
        if body["error"].is_object() && !body["output"].is_array() {
            out.push(Delta::Error(error(&body["error"])));
            return true;
        }
        let known = body["output"].is_array();
        if known {
            head(body, out);
            end(body, out);
        }
        known
    }

    fn usage(&self, merged: &Value) -> Usage {
        Usage {
            input_tokens: merged["input_tokens"].as_u64(),
            output_tokens: merged["output_tokens"].as_u64(),
            cache_read_input_tokens: merged["input_tokens_details"]["cached_tokens"].as_u64(),
            cache_creation_input_tokens: None,
            reasoning_output_tokens: merged["output_tokens_details"]["reasoning_tokens"].as_u64(),
        }
    }
}

fn head(response: &Value, out: &mut Vec<Delta>) {
    let (id, model) = (string(response, "id"), string(response, "model"));
    out.push(Delta::Response { id, model });
}

/// A call of one of the program's own tools, whose arguments come as deltas.
fn added(item: &Value, key: Option<u64>, out: &mut Vec<Delta>) {
    let input = match item["type"].as_str() {
        Some("function_call" | "mcp_call") => "arguments",
        Some("custom_tool_call") => "input",
        _ => return,
    };
    out.push(Delta::ToolCall {
        output: 0,
        key,
        id: string(item, "call_id").or_else(|| string(item, "id")),
        name: string(item, "name"),
        arguments: arguments(&item[input]),
    });
}

/// An item that only its end tells: a call of one of the service's tools.
fn finished(item: &Value, out: &mut Vec<Delta>) {
    let of_deltas =
        ["message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "compaction"];
    if !of_deltas.contains(&item["type"].as_str().unwrap_or("message")) {
        out.push(Delta::Part { output: 0, part: other(item) });
    }
}

/// The whole response object, at the end.
fn end(response: &Value, out: &mut Vec<Delta>) {
    let mut again = Vec::new();
    for item in list(response, "output") {
        let mut push = |kind, text: Option<&str>| {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                again.push(Delta::Text { output: 0, kind, text: text.to_owned() });
            }
        };
        match item["type"].as_str() {
            Some("message") => {
                for part in list(item, "content") {
                    push(TokenKind::Text, part["text"].as_str());
                    push(TokenKind::Refusal, part["refusal"].as_str());
                }
            }
            Some("reasoning") => {
                for part in list(item, "content").iter().chain(list(item, "summary")) {
                    push(TokenKind::Reasoning, part["text"].as_str());
                }
            }
            Some("function_call" | "mcp_call" | "custom_tool_call") => {
                added(item, None, &mut again)
            }
            _ => again.push(Delta::Part { output: 0, part: other(item) }),
        }
    }
    if !again.is_empty() {
        out.push(Delta::Again(again));
    }
    if response["usage"].is_object() {
        out.push(Delta::Usage(response["usage"].clone()));
    }
    if response["error"].is_object() {
        out.push(Delta::Error(error(&response["error"])));
    }
    let incomplete = &response["incomplete_details"];
    if let Some(reason) = string(incomplete, "reason").or_else(|| string(response, "status")) {
        out.push(Delta::Finish { output: 0, reason });
    }
    out.push(Delta::Done);
}

/// An item of the request's input, as a message.
fn item(value: &Value) -> InputMessage {
    let of = |role: &str, part| InputMessage { role: role.into(), parts: vec![part] };
    match value["type"].as_str() {
        Some("function_call" | "custom_tool_call") => {
            let input = if value["input"].is_null() { "arguments" } else { "input" };
            let call = ToolCall {
                id: string(value, "call_id"),
                name: string(value, "name").unwrap_or_default(),
                arguments: arguments(&value[input]),
            };
            of("assistant", Part::ToolCall(call))
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            let (id, response) = (string(value, "call_id"), value["output"].clone());
            of("tool", Part::ToolCallResponse { id, response })
        }
        Some("reasoning") => {
            let parts = list(value, "summary").iter().chain(list(value, "content"));
            let content = parts.filter_map(|part| part["text"].as_str()).collect();
            of("assistant", Part::Reasoning { content })
        }
        None | Some("message") => InputMessage {
            role: string(value, "role").unwrap_or_default(),
            parts: match &value["content"] {
                Value::String(text) => vec![text_part(text)],
                Value::Array(list) => list.iter().map(part).collect(),
                _ => Vec::new(),
            },
        },
        Some(_) => of("assistant", other(value)),
    }
}

fn part(value: &Value) -> Part {
    match value["type"].as_str() {
        Some("input_text" | "output_text" | "text") => {
            text_part(value["text"].as_str().unwrap_or_default())
        }
        Some("refusal") => Part::Refusal { content: string(value, "refusal").unwrap_or_default() },
        Some("input_image") => uri(value["image_url"].as_str().unwrap_or_default()),
        _ => other(value),
    }
}
