//! Bedrock's Converse and ConverseStream.

use rr_run::stream::eventstream::message;
use serde_json::{Value, json};

use super::{Answer, Interface, Kind, Script, hex};

pub(super) struct Converse;

fn event(name: &str, data: &Value) -> Vec<u8> {
    let headers =
        [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    message(&headers, data.to_string().as_bytes())
}

fn reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_use" } else { "end_turn" }
}

fn usage(answer: &Answer) -> Value {
    json!({ "inputTokens": answer.prompt_tokens() - 4, "outputTokens": answer.tokens(),
            "cacheReadInputTokens": 4 })
}

impl Interface for Converse {
    fn content_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn stream(&self, answer: &Answer) -> Script {
        let mut script = Script::default();
        script.event(event("messageStart", &json!({ "role": "assistant" })));
        let delta = |index: u32, delta: Value| {
            let data = json!({ "contentBlockIndex": index, "delta": delta, "p": hex(6) });
            event("contentBlockDelta", &data)
        };
        for piece in &answer.reasoning {
            let data = json!({ "reasoningContent": { "text": piece } });
            script.piece(Kind::Reasoning, piece, delta(0, data));
        }
        script.event(event("contentBlockStop", &json!({ "contentBlockIndex": 0 })));
        if let Some(name) = &answer.tool {
            let start = json!({ "toolUse": { "toolUseId": hex(12), "name": name } });
            let data = json!({ "contentBlockIndex": 1, "start": start });
            script.event(event("contentBlockStart", &data));
        }
        for piece in &answer.pieces {
            let (kind, data) = match answer.tool {
                Some(_) => (Kind::ToolCall, json!({ "toolUse": { "input": piece } })),
                None => (Kind::Text, json!({ "text": piece })),
            };
            script.piece(kind, piece, delta(1, data));
        }
        script.event(event("contentBlockStop", &json!({ "contentBlockIndex": 1 })));
        script.event(event("messageStop", &json!({ "stopReason": reason(answer) })));
        let metadata = json!({ "usage": usage(answer), "metrics": { "latencyMs": 5 } });
        script.event(event("metadata", &metadata));
        script
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut content = Vec::new();
        if !answer.reasoning.is_empty() {
            let text = json!({ "text": answer.reasoning.concat() });
            content.push(json!({ "reasoningContent": { "reasoningText": text } }));
        }
        content.push(match &answer.tool {
            Some(name) => json!({ "toolUse": {
                "toolUseId": hex(12), "name": name, "input": answer.input() } }),
            None => json!({ "text": answer.whole() }),
        });
        let message = json!({ "role": "assistant", "content": content });
        json!({ "output": { "message": message }, "stopReason": reason(answer),
                "usage": usage(answer), "metrics": { "latencyMs": 5 } })
    }

    fn error(&self) -> Vec<u8> {
        let headers = [
            (":exception-type", "modelStreamErrorException"),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        message(&headers, json!({ "message": "half-way" }).to_string().as_bytes())
    }
}
