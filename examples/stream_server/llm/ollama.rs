//! Ollama chat.

use serde_json::{Value, json};

use super::{Answer, Interface, Kind, Script};

pub(super) struct Chat;

fn line(answer: &Answer, message: Value, done: bool) -> Value {
    let mut line = json!({ "model": answer.model, "created_at": "2026-01-01T00:00:00Z",
                           "message": message, "done": done });
    if done {
        line["done_reason"] = "stop".into();
        line["prompt_eval_count"] = answer.prompt_tokens().into();
        line["eval_count"] = answer.tokens().into();
        line["total_duration"] = fastrand::u32(..).into();
    }
    line
}

fn calls(answer: &Answer) -> Value {
    json!([{ "function": { "name": answer.tool, "arguments": answer.input() } }])
}

impl Interface for Chat {
    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn stream(&self, answer: &Answer) -> Script {
        let mut script = Script::default();
        let text = |message: Value, done| format!("{}\n", line(answer, message, done));
        for piece in &answer.reasoning {
            let message = json!({ "role": "assistant", "content": "", "thinking": piece });
            script.piece(Kind::Reasoning, piece, text(message, false));
        }
        if answer.tool.is_some() {
            let message =
                json!({ "role": "assistant", "content": "", "tool_calls": calls(answer) });
            script.piece(Kind::ToolCall, &answer.input().to_string(), text(message, false));
        } else {
            for piece in &answer.pieces {
                let message = json!({ "role": "assistant", "content": piece });
                script.piece(Kind::Text, piece, text(message, false));
            }
        }
        script.event(text(json!({ "role": "assistant", "content": "" }), true));
        script
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut message = json!({ "role": "assistant", "content": answer.whole() });
        if answer.tool.is_some() {
            message = json!({ "role": "assistant", "content": "", "tool_calls": calls(answer) });
        }
        if !answer.reasoning.is_empty() {
            message["thinking"] = answer.reasoning.concat().into();
        }
        line(answer, message, true)
    }

    fn error(&self) -> Vec<u8> {
        format!("{}\n", json!({ "error": "half-way" })).into()
    }
}
