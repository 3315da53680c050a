//! OpenAI chat completions and responses.

use serde_json::{Value, json};

use super::{Answer, Interface, Kind, Script, hex, named};

pub(super) struct Chat;

fn usage(answer: &Answer) -> Value {
    json!({
        "prompt_tokens": answer.prompt_tokens(), "completion_tokens": answer.tokens(),
        "total_tokens": answer.prompt_tokens() + answer.tokens(),
        "prompt_tokens_details": { "cached_tokens": 4 },
        "completion_tokens_details": { "reasoning_tokens": answer.reasoning.len() },
    })
}

fn reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_calls" } else { "stop" }
}

impl Interface for Chat {
    fn stream(&self, answer: &Answer) -> Script {
        let id = format!("chatcmpl-{}", hex(24));
        let created = fastrand::u32(..);
        let chunk = |choices: Value| {
            json!({ "id": id, "object": "chat.completion.chunk", "created": created,
                    "model": answer.model, "choices": choices })
        };
        let delta = |delta: Value, reason: Option<&str>| {
            let choices = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
            format!("data: {}\n\n", chunk(choices))
        };
        let mut script = Script::default();
        script.event(delta(json!({ "role": "assistant" }), None));
        for piece in &answer.reasoning {
            let event = delta(json!({ "reasoning_content": piece }), None);
            script.piece(Kind::Reasoning, piece, event);
        }
        if let Some(name) = &answer.tool {
            let call = json!({ "index": 0, "id": format!("call_{}", hex(24)), "type": "function",
                               "function": { "name": name, "arguments": "" } });
            script.event(delta(json!({ "tool_calls": [call] }), None));
        }
        for piece in &answer.pieces {
            let (kind, data) = match answer.tool {
                Some(_) => (
                    Kind::ToolCall,
                    json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
                ),
                None => (Kind::Text, json!({ "content": piece })),
            };
            script.piece(kind, piece, delta(data, None));
        }
        script.event(delta(json!({}), Some(reason(answer))));
        if answer.usage {
            let mut last = chunk(json!([]));
            last["usage"] = usage(answer);
            script.event(format!("data: {last}\n\n"));
        }
        script.event("data: [DONE]\n\n");
        script
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut message = match &answer.tool {
            Some(name) => json!({ "role": "assistant", "content": null, "tool_calls": [{
                "id": format!("call_{}", hex(24)),
                "type": "function",
                "function": { "name": name, "arguments": answer.whole() },
            }]}),
            None => json!({ "role": "assistant", "content": answer.whole() }),
        };
        if !answer.reasoning.is_empty() {
            message["reasoning_content"] = answer.reasoning.concat().into();
        }
        json!({
            "id": format!("chatcmpl-{}", hex(24)), "object": "chat.completion",
            "created": fastrand::u32(..), "model": answer.model,
            "choices": [{ "index": 0, "message": message, "finish_reason": reason(answer) }],
            "usage": usage(answer),
        })
    }

    fn error(&self) -> Vec<u8> {
        let error = json!({ "error": { "type": "server_error", "message": "half-way" } });
        format!("data: {error}\n\n").into()
    }
}

pub(super) struct Responses;

/// The items of a response's output.
fn items(id: &str, answer: &Answer) -> Vec<Value> {
    let mut items = Vec::new();
    if !answer.reasoning.is_empty() {
        let part = json!({ "type": "summary_text", "text": answer.reasoning.concat() });
        let item = json!({ "type": "reasoning", "id": format!("rs_{id}"), "summary": [part] });
        items.push(item);
    }
    items.push(match &answer.tool {
        Some(name) => json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"),
            "name": name, "arguments": answer.whole(), "status": "completed",
        }),
        None => json!({
            "type": "message", "id": format!("msg_{id}"), "role": "assistant",
            "status": "completed", "content": [part(&answer.whole())],
        }),
    });
    items
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn object(id: &str, answer: &Answer, status: &str) -> Value {
    let done = status == "completed";
    let usage = json!({
        "input_tokens": answer.prompt_tokens(), "output_tokens": answer.tokens(),
        "total_tokens": answer.prompt_tokens() + answer.tokens(),
        "input_tokens_details": { "cached_tokens": 4 },
        "output_tokens_details": { "reasoning_tokens": answer.reasoning.len() },
    });
    json!({
        "id": format!("resp_{id}"), "object": "response", "created_at": fastrand::u32(..),
        "status": status, "model": answer.model, "parallel_tool_calls": true,
        "tool_choice": "auto", "tools": [],
        "output": if done { items(id, answer) } else { Vec::new() },
        "usage": done.then_some(usage),
    })
}

/// Events with their sequence numbers.
#[derive(Default)]
struct Events {
    script: Script,
    sequence: u64,
}

impl Events {
    fn text(&mut self, kind: &str, mut data: Value) -> String {
        data["type"] = kind.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        named(&data)
    }

    fn event(&mut self, kind: &str, data: Value) {
        let text = self.text(kind, data);
        self.script.event(text);
    }

    /// One item with its deltas.
    fn item(&mut self, index: usize, item: &Value, answer: &Answer) {
        let kind = item["type"].as_str().unwrap_or_default();
        let (place, delta, done, field) = match kind {
            "function_call" => (
                "arguments",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "arguments",
            ),
            "reasoning" => (
                "summary",
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "text",
            ),
            _ => ("content", "response.output_text.delta", "response.output_text.done", "text"),
        };
        let (of, pieces) = match kind {
            "function_call" => (Kind::ToolCall, &answer.pieces),
            "reasoning" => (Kind::Reasoning, &answer.reasoning),
            _ => (Kind::Text, &answer.pieces),
        };
        let mut empty = item.clone();
        empty["status"] = "in_progress".into();
        empty[place] = if place == "arguments" { json!("") } else { json!([]) };
        let at = || {
            let mut at = json!({ "item_id": item["id"], "output_index": index });
            match kind {
                "message" => at["content_index"] = 0.into(),
                "reasoning" => at["summary_index"] = 0.into(),
                _ => {}
            }
            at
        };
        let with = |field: &str, value: Value| {
            let mut data = at();
            data[field] = value;
            data
        };
        let added = json!({ "output_index": index, "item": empty });
        self.event("response.output_item.added", added);
        if kind == "message" {
            self.event("response.content_part.added", with("part", part("")));
        }
        for piece in pieces {
            let text = self.text(delta, with("delta", piece.as_str().into()));
            self.script.piece(of, piece, text);
        }
        self.event(done, with(field, pieces.concat().into()));
        if kind == "message" {
            self.event("response.content_part.done", with("part", part(&pieces.concat())));
        }
        self.event("response.output_item.done", json!({ "output_index": index, "item": item }));
    }
}

impl Interface for Responses {
    fn stream(&self, answer: &Answer) -> Script {
        let id = hex(24);
        let mut events = Events::default();
        let start = object(&id, answer, "in_progress");
        for kind in ["response.created", "response.in_progress"] {
            events.event(kind, json!({ "response": start }));
        }
        for (index, item) in items(&id, answer).iter().enumerate() {
            events.item(index, item, answer);
        }
        let end = object(&id, answer, "completed");
        events.event("response.completed", json!({ "response": end }));
        events.script
    }

    fn whole(&self, answer: &Answer) -> Value {
        object(&hex(24), answer, "completed")
    }

    fn error(&self) -> Vec<u8> {
        let error = json!({ "type": "error", "code": "server_error", "message": "half-way" });
        named(&error).into()
    }
}
