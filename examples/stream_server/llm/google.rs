//! Gemini generateContent and streamGenerateContent.

use serde_json::{Value, json};

use super::{Answer, Interface, Kind, Script, hex};

pub(super) struct Gemini {
    /// By server-sent events, rather than as one array.
    pub(super) events: bool,
}

fn chunk(id: &str, answer: &Answer, parts: Value, ends: bool) -> Value {
    let mut candidate = json!({ "index": 0, "content": { "role": "model", "parts": parts } });
    let mut usage = json!({ "promptTokenCount": answer.prompt_tokens() });
    if ends {
        candidate["finishReason"] = "STOP".into();
        usage["candidatesTokenCount"] = answer.pieces.len().into();
        usage["thoughtsTokenCount"] = answer.reasoning.len().into();
    }
    json!({ "candidates": [candidate], "usageMetadata": usage, "modelVersion": answer.model,
            "responseId": id })
}

fn call(answer: &Answer) -> Option<Value> {
    let name = answer.tool.as_ref()?;
    Some(json!({ "functionCall": { "name": name, "args": answer.input() } }))
}

impl Interface for Gemini {
    fn content_type(&self) -> &'static str {
        if self.events { "text/event-stream" } else { "application/json" }
    }

    fn stream(&self, answer: &Answer) -> Script {
        let id = hex(12);
        let mut chunks = Vec::new();
        let chunk = |parts, ends| chunk(&id, answer, parts, ends);
        for piece in &answer.reasoning {
            let parts = json!([{ "text": piece, "thought": true }]);
            chunks.push((chunk(parts, false), Some((Kind::Reasoning, piece.clone()))));
        }
        match call(answer) {
            // A call comes whole.
            Some(call) => {
                let arguments = answer.input().to_string();
                chunks.push((chunk(json!([call]), false), Some((Kind::ToolCall, arguments))));
            }
            None => {
                for piece in &answer.pieces {
                    let parts = json!([{ "text": piece }]);
                    chunks.push((chunk(parts, false), Some((Kind::Text, piece.clone()))));
                }
            }
        }
        chunks.push((chunk(json!([{ "text": "" }]), true), None));
        let mut script = Script::default();
        for (number, (chunk, piece)) in chunks.into_iter().enumerate() {
            let bytes = match (self.events, number) {
                (true, _) => format!("data: {chunk}\r\n\r\n"),
                (false, 0) => format!("[{chunk:#}"),
                (false, _) => format!(",\r\n{chunk:#}"),
            };
            match piece {
                Some((kind, piece)) => script.piece(kind, &piece, bytes),
                None => script.event(bytes),
            }
        }
        if !self.events {
            script.event("]");
        }
        script
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut parts = Vec::new();
        if !answer.reasoning.is_empty() {
            parts.push(json!({ "text": answer.reasoning.concat(), "thought": true }));
        }
        parts.push(call(answer).unwrap_or_else(|| json!({ "text": answer.whole() })));
        chunk(&hex(12), answer, parts.into(), true)
    }

    fn error(&self) -> Vec<u8> {
        let error = json!({ "code": 503, "status": "UNAVAILABLE", "message": "half-way" });
        let error = json!({ "error": error });
        let text =
            if self.events { format!("data: {error}\r\n\r\n") } else { format!(",{error}]") };
        text.into()
    }
}
