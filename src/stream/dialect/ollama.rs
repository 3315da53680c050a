//! Ollama chat, generate and embed.

use serde_json::{Value, json};

use super::values::{
    arguments, blob, error, list, options, string, strings, text, text_part, tool,
};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, InputMessage, LlmRequest, Operation, Part, ToolCall, Usage};
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Ollama;

impl Dialect for Ollama {
    fn api(&self) -> Api {
        Api::Ollama
    }

    fn claims(&self, head: &Head<'_>, body: &Value) -> bool {
        let ends = ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings"];
        let path = head.path().trim_end_matches('/');
        head.method == "POST"
            && body["model"].is_string()
            && ends.iter().any(|end| path.ends_with(end))
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        let json = event.json;
        let content = json["message"].is_object() || json["response"].is_string();
        content && json["done"].is_boolean() && json["created_at"].is_string()
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "ollama"
    }

    fn operation(&self, head: &Head<'_>) -> Operation {
        match head.path().trim_end_matches('/').rsplit('/').next() {
            Some("generate") => Operation::TextCompletion,
            Some("embed" | "embeddings") => Operation::Embeddings,
            _ => Operation::Chat,
        }
    }

    fn request(&self, head: &Head<'_>, body: &Value) -> LlmRequest {
        let mut request = LlmRequest {
            model: string(body, "model"),
            stream: body["stream"] != false && self.operation(head) != Operation::Embeddings,
            system_instructions: text(body, "system").map(text_part).into_iter().collect(),
            messages: list(body, "messages").iter().map(message).collect(),
            tools: list(body, "tools")
                .iter()
                .map(|t| tool(if t["function"].is_object() { &t["function"] } else { t }))
                .collect(),
            ..LlmRequest::default()
        };
        let (prompts, inputs) = (strings(&body["prompt"]), strings(&body["input"]));
        for prompt in prompts.into_iter().chain(inputs) {
            let parts = vec![text_part(&prompt)];
            request.messages.push(InputMessage { role: "user".into(), parts });
        }
        options(&body["options"], &mut request);
        request.max_tokens = body["options"]["num_predict"].as_u64();
        request
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = event.json;
        if !json["error"].is_null() {
            out.push(Delta::Error(error(&json["error"])));
            return true;
        }
        let embeddings = json["embeddings"].is_array() || json["embedding"].is_array();
        let content = json["message"].is_object() || json["response"].is_string();
        if !content && !embeddings {
            return false;
        }
        if let Some(model) = string(json, "model") {
            out.push(Delta::Response { id: None, model: Some(model) });
        }
        let message = if json["message"].is_object() { &json["message"] } else { json };
        let named = if json["message"].is_object() { "content" } else { "response" };
        for (kind, name) in [(TokenKind::Reasoning, "thinking"), (TokenKind::Text, named)] {
            if let Some(text) = text(message, name) {
                out.push(Delta::Text { output: 0, kind, text: text.to_owned() });
            }
        }
        for call in list(message, "tool_calls") {
            out.push(Delta::ToolCall {
                output: 0,
                key: None,
                id: string(call, "id"),
                name: string(&call["function"], "name"),
                arguments: arguments(&call["function"]["arguments"]),
            });
        }
        if json["done"] == true || embeddings {
            out.push(Delta::Usage(json!({
                "prompt_eval_count": json["prompt_eval_count"],
                "eval_count": json["eval_count"],
            })));
            if content {
                let reason = string(json, "done_reason").unwrap_or_else(|| "stop".into());
                out.push(Delta::Finish { output: 0, reason });
            }
            out.push(Delta::Done);
        }
        true
    }

    fn usage(&self, merged: &Value) -> Usage {
        Usage {
            input_tokens: merged["prompt_eval_count"].as_u64(),
            output_tokens: merged["eval_count"].as_u64(),
            ..Usage::default()
        }
    }
}

fn message(value: &Value) -> InputMessage {
    let role = string(value, "role").unwrap_or_default();
    if role == "tool" {
        let id = string(value, "tool_call_id").or_else(|| string(value, "tool_name"));
        let response = value["content"].clone();
        return InputMessage { role, parts: vec![Part::ToolCallResponse { id, response }] };
    }
    let mut parts = Vec::new();
    if let Some(content) = string(value, "thinking") {
        parts.push(Part::Reasoning { content });
    }
    parts.extend(text(value, "content").map(text_part));
    parts.extend(list(value, "images").iter().filter_map(|i| i.as_str()).map(|i| blob(None, i)));
    for call in list(value, "tool_calls") {
        parts.push(Part::ToolCall(ToolCall {
            id: string(call, "id"),
            name: string(&call["function"], "name").unwrap_or_default(),
            arguments: arguments(&call["function"]["arguments"]),
        }));
    }
    InputMessage { role, parts }
}
