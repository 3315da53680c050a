//! Anthropic messages.

use serde_json::{Value, json};

use super::{Answer, Interface, Kind, Script, hex, named};

pub(super) struct Messages;

fn blocks(answer: &Answer) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !answer.reasoning.is_empty() {
        let thinking = answer.reasoning.concat();
        blocks.push(json!({ "type": "thinking", "thinking": thinking, "signature": hex(40) }));
    }
    blocks.push(match &answer.tool {
        Some(name) => json!({ "type": "tool_use", "id": format!("toolu_{}", hex(24)),
                              "name": name, "input": answer.input() }),
        None => json!({ "type": "text", "text": answer.whole() }),
    });
    blocks
}

fn reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_use" } else { "end_turn" }
}

impl Interface for Messages {
    fn stream(&self, answer: &Answer) -> Script {
        let mut script = Script::default();
        let mut start = self.whole(answer);
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"]["output_tokens"] = 1.into();
        script.event(named(&json!({ "type": "message_start", "message": start })));
        for (index, mut block) in blocks(answer).into_iter().enumerate() {
            let (place, blank, kind, delta, field) = match block["type"].as_str() {
                Some("tool_use") => {
                    ("input", json!({}), Kind::ToolCall, "input_json_delta", "partial_json")
                }
                Some("thinking") => {
                    ("thinking", json!(""), Kind::Reasoning, "thinking_delta", "thinking")
                }
                _ => ("text", json!(""), Kind::Text, "text_delta", "text"),
            };
            let signature = block["signature"].take();
            block[place] = blank;
            script.event(named(&json!({
                "type": "content_block_start", "index": index, "content_block": block })));
            script.event(named(&json!({ "type": "ping" })));
            let with = |delta: Value| {
                named(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
            };
            let reasoning = matches!(kind, Kind::Reasoning);
            for piece in if reasoning { &answer.reasoning } else { &answer.pieces } {
                script.piece(kind, piece, with(json!({ "type": delta, field: piece })));
            }
            if reasoning {
                let delta = json!({ "type": "signature_delta", "signature": signature });
                script.event(with(delta));
            }
            script.event(named(&json!({ "type": "content_block_stop", "index": index })));
        }
        let delta = json!({ "stop_reason": reason(answer), "stop_sequence": null });
        let usage = json!({ "output_tokens": answer.tokens() });
        script.event(named(&json!({ "type": "message_delta", "delta": delta, "usage": usage })));
        script.event(named(&json!({ "type": "message_stop" })));
        script
    }

    fn whole(&self, answer: &Answer) -> Value {
        json!({
            "id": format!("msg_{}", hex(24)), "type": "message", "role": "assistant",
            "model": answer.model, "content": blocks(answer),
            "stop_reason": reason(answer), "stop_sequence": null,
            "usage": { "input_tokens": answer.prompt_tokens() - 4,
                       "cache_read_input_tokens": 4, "output_tokens": answer.tokens() },
        })
    }

    fn error(&self) -> Vec<u8> {
        let error = json!({ "type": "overloaded_error", "message": "half-way" });
        named(&json!({ "type": "error", "error": error })).into()
    }
}
