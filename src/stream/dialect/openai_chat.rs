//! OpenAI chat completions, completions and embeddings, and the many servers that imitate them.

use serde_json::Value;

use super::values::{arguments, error, index, list, options, other, string, text, text_part};
use super::values::{tool, uri};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, InputMessage, LlmRequest, Operation, Part, ToolCall, Usage};
use crate::stream::framing::FrameKind;
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct OpenaiChat;

impl Dialect for OpenaiChat {
    fn api(&self) -> Api {
        Api::OpenaiChat
    }

    fn claims(&self, head: &Head<'_>, _body: &Value) -> bool {
        let path = head.path().trim_end_matches('/');
        let ends = ["/chat/completions", "/completions", "/embeddings"];
        head.method == "POST" && ends.iter().any(|end| path.ends_with(end))
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        let object = event.json["object"].as_str().unwrap_or_default();
        object.starts_with("chat.completion") || object == "text_completion"
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "openai"
    }

    fn operation(&self, head: &Head<'_>) -> Operation {
        let path = head.path().trim_end_matches('/');
        if path.ends_with("/embeddings") {
            Operation::Embeddings
        } else if path.ends_with("/completions") && !path.ends_with("/chat/completions") {
            Operation::TextCompletion
        } else {
            Operation::Chat
        }
    }

    fn request(&self, _head: &Head<'_>, body: &Value) -> LlmRequest {
        let mut request = LlmRequest {
            model: string(body, "model"),
            stream: body["stream"] == true,
            messages: list(body, "messages").iter().map(message).collect(),
            tools: list(body, "tools").iter().chain(list(body, "functions")).map(offered).collect(),
            max_tokens: ["max_completion_tokens", "max_tokens"]
                .iter()
                .find_map(|name| body[name].as_u64()),
            ..LlmRequest::default()
        };
        options(body, &mut request);
        // Completions have a prompt, embeddings an input: a text or several.
        for text in [&body["prompt"], &body["input"]].into_iter().flat_map(super::values::strings) {
            let parts = vec![text_part(&text)];
            request.messages.push(InputMessage { role: "user".into(), parts });
        }
        request
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = event.json;
        if json == "[DONE]" {
            out.push(Delta::Done);
            return true;
        }
        if !json["error"].is_null() || event.kind == FrameKind::Exception {
            let value = &json["error"];
            out.push(Delta::Error(error(if value.is_null() { json } else { value })));
            return true;
        }
        let Some(choices) = json["choices"].as_array() else {
            // A chunk with usage alone, or one of a server's own.
            return self.embeddings(json, out);
        };
        self.head(json, out);
        for choice in choices {
            let output = index(choice, "index");
            // A stream has `delta`, a whole answer `message`; completions have `text`.
            let delta = if choice["delta"].is_object() { "delta" } else { "message" };
            content(&choice[delta], output, out);
            push_text(output, TokenKind::Text, choice["text"].as_str(), out);
            if let Some(reason) = string(choice, "finish_reason") {
                out.push(Delta::Finish { output, reason });
            }
        }
        true
    }

    fn whole(&self, body: &Value, out: &mut Vec<Delta>) -> bool {
        let known = self.event(&Event { kind: FrameKind::Data, name: "", json: body }, out);
        out.push(Delta::Done);
        known
    }

    fn usage(&self, merged: &Value) -> Usage {
        let details = |of: &str, name: &str| merged[of][name].as_u64();
        Usage {
            input_tokens: merged["prompt_tokens"].as_u64(),
            output_tokens: merged["completion_tokens"].as_u64(),
            cache_read_input_tokens: details("prompt_tokens_details", "cached_tokens")
                .or_else(|| merged["prompt_cache_hit_tokens"].as_u64()),
            cache_creation_input_tokens: None,
            reasoning_output_tokens: details("completion_tokens_details", "reasoning_tokens"),
        }
    }
}

impl OpenaiChat {
    fn head(&self, json: &Value, out: &mut Vec<Delta>) {
        let id = text(json, "id").map(str::to_owned);
        let model = text(json, "model").map(str::to_owned);
        if id.is_some() || model.is_some() {
            out.push(Delta::Response { id, model });
        }
        // Groq's first form of it stands apart.
        for usage in [&json["usage"], &json["x_groq"]["usage"]] {
            if usage.is_object() {
                out.push(Delta::Usage(usage.clone()));
            }
        }
    }

    fn embeddings(&self, json: &Value, out: &mut Vec<Delta>) -> bool {
        let known = json["data"].is_array() || json["usage"].is_object();
        if known {
            self.head(json, out);
        }
        known
    }
}

fn push_text(output: u32, kind: TokenKind, text: Option<&str>, out: &mut Vec<Delta>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.push(Delta::Text { output, kind, text: text.to_owned() });
    }
}

/// What a delta (or a whole message) carries.
fn content(delta: &Value, output: u32, out: &mut Vec<Delta>) {
    let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|name| text(delta, name));
    push_text(output, TokenKind::Reasoning, reasoning, out);
    match &delta["content"] {
        // Mistral's reasoning models send parts.
        Value::Array(parts) => {
            for part in parts {
                for thought in list(part, "thinking") {
                    push_text(output, TokenKind::Reasoning, thought["text"].as_str(), out);
                }
                push_text(output, TokenKind::Text, part["text"].as_str(), out);
            }
        }
        content => push_text(output, TokenKind::Text, content.as_str(), out),
    }
    push_text(output, TokenKind::Refusal, delta["refusal"].as_str(), out);
    for (place, call) in list(delta, "tool_calls").iter().enumerate() {
        // A whole message's calls have no index.
        let key = call["index"].as_u64().unwrap_or(place as u64);
        let function = if call["custom"].is_object() { "custom" } else { "function" };
        let function = &call[function];
        let input = if function["input"].is_null() { "arguments" } else { "input" };
        out.push(Delta::ToolCall {
            output,
            key: Some(key),
            id: text(call, "id").map(str::to_owned),
            name: text(function, "name").map(str::to_owned),
            arguments: arguments(&function[input]),
        });
    }
    let function = &delta["function_call"];
    if function.is_object() {
        out.push(Delta::ToolCall {
            output,
            key: Some(u64::MAX),
            id: None,
            name: text(function, "name").map(str::to_owned),
            arguments: arguments(&function["arguments"]),
        });
    }
}

fn offered(value: &Value) -> crate::stream::call::Tool {
    let inner = ["function", "custom"].iter().map(|name| &value[name]).find(|v| v.is_object());
    tool(inner.unwrap_or(value))
}

fn message(value: &Value) -> InputMessage {
    let role = string(value, "role").unwrap_or_default();
    let mut parts = Vec::new();
    if role == "tool" || role == "function" {
        let id = string(value, "tool_call_id").or_else(|| string(value, "name"));
        parts.push(Part::ToolCallResponse { id, response: value["content"].clone() });
        return InputMessage { role, parts };
    }
    if let Some(reasoning) = text(value, "reasoning_content") {
        parts.push(Part::Reasoning { content: reasoning.to_owned() });
    }
    match &value["content"] {
        Value::String(text) => parts.push(text_part(text)),
        Value::Array(list) => parts.extend(list.iter().map(part)),
        _ => {}
    }
    for call in list(value, "tool_calls") {
        let name = string(&call["function"], "name").unwrap_or_default();
        let arguments = arguments(&call["function"]["arguments"]);
        parts.push(Part::ToolCall(ToolCall { id: string(call, "id"), name, arguments }));
    }
    InputMessage { role, parts }
}

fn part(value: &Value) -> Part {
    match value["type"].as_str() {
        Some("text") => text_part(value["text"].as_str().unwrap_or_default()),
        Some("refusal") => Part::Refusal { content: string(value, "refusal").unwrap_or_default() },
        Some("image_url") => {
            uri(value["image_url"]["url"].as_str().or(value["image_url"].as_str()).unwrap_or(""))
        }
        _ => other(value),
    }
}
