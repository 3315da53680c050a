//! Amazon Bedrock: Converse, and InvokeModel with Anthropic's bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::anthropic::Anthropic;
use super::values::tool;
use super::values::{arguments, blob, index, list, other, string, strings, text, text_part};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, CallError, InputMessage, LlmRequest, Part, Tool, ToolCall, Usage};
use crate::stream::decoder::parsed;
use crate::stream::framing::FrameKind;
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Bedrock;

/// The model's id and the action of a path `/model/ID/ACTION`.
fn action<'a>(head: &Head<'a>) -> Option<(&'a str, &'a str)> {
    let (before, action) = head.path().rsplit_once('/')?;
    let (_, model) = before.rsplit_once("/model/")?;
    let actions = ["converse", "converse-stream", "invoke", "invoke-with-response-stream"];
    actions.contains(&action).then_some((model, action))
}

impl Dialect for Bedrock {
    fn api(&self) -> Api {
        Api::Bedrock
    }

    fn claims(&self, head: &Head<'_>, _body: &Value) -> bool {
        head.method == "POST" && action(head).is_some()
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        matches!(event.name, "messageStart" | "contentBlockDelta")
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "aws.bedrock"
    }

    fn request(&self, head: &Head<'_>, body: &Value) -> LlmRequest {
        let (model, action) = action(head).unwrap_or_default();
        let stream = action.ends_with("-stream");
        let model = Some(unescaped(model));
        if action.starts_with("invoke") {
            let mut request = Anthropic.request(head, body);
            // Other models' bodies have their prompt in one of these.
            for prompt in ["prompt", "inputText"].iter().filter_map(|name| text(body, name)) {
                let parts = vec![text_part(prompt)];
                request.messages.push(InputMessage { role: "user".into(), parts });
            }
            return LlmRequest { model, stream, ..request };
        }
        let config = &body["inferenceConfig"];
        LlmRequest {
            model,
            stream,
            system_instructions: list(body, "system").iter().map(part).collect(),
            messages: list(body, "messages")
                .iter()
                .map(|message| InputMessage {
                    role: string(message, "role").unwrap_or_default(),
                    parts: list(message, "content").iter().map(part).collect(),
                })
                .collect(),
            tools: list(&body["toolConfig"], "tools").iter().map(offered).collect(),
            max_tokens: config["maxTokens"].as_u64(),
            temperature: config["temperature"].as_f64(),
            top_p: config["topP"].as_f64(),
            stop_sequences: strings(&config["stopSequences"]),
            ..LlmRequest::default()
        }
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = event.json;
        if event.kind == FrameKind::Exception {
            let message = string(json, "message").or_else(|| json.as_str().map(str::to_owned));
            let message = message.unwrap_or_else(|| json.to_string());
            out.push(Delta::Error(CallError { kind: event.name.to_owned(), message }));
            return true;
        }
        let key = Some(u64::from(index(json, "contentBlockIndex")));
        match event.name {
            "messageStart" | "contentBlockStop" => {}
            "contentBlockStart" => {
                let call = &json["start"]["toolUse"];
                if call.is_object() {
                    let (id, name) = (string(call, "toolUseId"), string(call, "name"));
                    let arguments = String::new();
                    out.push(Delta::ToolCall { output: 0, key, id, name, arguments });
                } else if json["start"]["image"].is_object() {
                    out.push(Delta::Part { output: 0, part: other(&json["start"]) });
                }
            }
            "contentBlockDelta" => return delta(&json["delta"], key, out),
            "messageStop" => {
                let reason = string(json, "stopReason").unwrap_or_default();
                out.push(Delta::Finish { output: 0, reason });
            }
            "metadata" => {
                out.push(Delta::Usage(json["usage"].clone()));
                out.push(Delta::Done);
            }
            "chunk" => return chunk(json, out),
            // Without the wrapping, as some gateways send it.
            _ => return Anthropic.event(event, out),
        }
        true
    }

    fn whole(&self, body: &Value, out: &mut Vec<Delta>) -> bool {
        let content = &body["output"]["message"]["content"];
        let Some(content) = content.as_array() else {
            return Anthropic.whole(body, out);
        };
        for value in content {
            let (kind, text) = match part(value) {
                Part::Text { content } => (TokenKind::Text, content),
                Part::Reasoning { content } => (TokenKind::Reasoning, content),
                Part::ToolCall(ToolCall { id, name, arguments }) => {
                    let name = Some(name);
                    out.push(Delta::ToolCall { output: 0, key: None, id, name, arguments });
                    continue;
                }
                part => {
                    out.push(Delta::Part { output: 0, part });
                    continue;
                }
            };
            out.push(Delta::Text { output: 0, kind, text });
        }
        if let Some(reason) = string(body, "stopReason") {
            out.push(Delta::Finish { output: 0, reason });
        }
        out.push(Delta::Usage(body["usage"].clone()));
        out.push(Delta::Done);
        true
    }

    fn usage(&self, merged: &Value) -> Usage {
        if merged["inputTokens"].is_null() {
            return Anthropic.usage(merged);
        }
        let count = |name: &str| merged[name].as_u64();
        let (read, written) = (count("cacheReadInputTokens"), count("cacheWriteInputTokens"));
        // As Anthropic does, Bedrock counts cached tokens apart.
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        Usage {
            input_tokens: count("inputTokens").map(|n| n.saturating_add(cached)),
            output_tokens: count("outputTokens"),
            cache_read_input_tokens: read,
            cache_creation_input_tokens: written,
            reasoning_output_tokens: None,
        }
    }
}

fn delta(delta: &Value, key: Option<u64>, out: &mut Vec<Delta>) -> bool {
    let reasoning = &delta["reasoningContent"];
    let (kind, text) = if let Some(text) = delta["text"].as_str() {
        (TokenKind::Text, text)
    } else if delta["toolUse"].is_object() {
        let arguments = string(&delta["toolUse"], "input").unwrap_or_default();
        out.push(Delta::ToolCall { output: 0, key, id: None, name: None, arguments });
        return true;
    } else if let Some(text) = reasoning["text"].as_str() {
        (TokenKind::Reasoning, text)
    } else {
        // Signatures, hidden reasoning and citations are no text.
        return reasoning.is_object() || delta["citation"].is_object();
    };
    if !text.is_empty() {
        out.push(Delta::Text { output: 0, kind, text: text.to_owned() });
    }
    true
}

/// A piece of what InvokeModel passes on: the model's own event, in base64 (or as it is, as some
/// gateways send it).
fn chunk(json: &Value, out: &mut Vec<Delta>) -> bool {
    let bytes = json["bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let inner = bytes.and_then(|bytes| parsed(&bytes));
    let json = inner.as_ref().unwrap_or(json);
    Anthropic.event(&Event { kind: FrameKind::Data, name: "", json }, out)
}

fn offered(entry: &Value) -> Tool {
    if entry["toolSpec"].is_object() {
        return tool(&entry["toolSpec"]);
    }
    let name = entry.as_object().and_then(|e| e.keys().next()).cloned().unwrap_or_default();
    Tool { name, description: None }
}

fn part(value: &Value) -> Part {
    let (call, result) = (&value["toolUse"], &value["toolResult"]);
    let file = ["image", "document", "video"].iter().map(|n| &value[n]).find(|v| v.is_object());
    if let Some(text) = value["text"].as_str() {
        text_part(text)
    } else if call.is_object() {
        Part::ToolCall(ToolCall {
            id: string(call, "toolUseId"),
            name: string(call, "name").unwrap_or_default(),
            arguments: arguments(&call["input"]),
        })
    } else if result.is_object() {
        let (id, response) = (string(result, "toolUseId"), result["content"].clone());
        Part::ToolCallResponse { id, response }
    } else if let Some(text) = value["reasoningContent"]["reasoningText"]["text"].as_str() {
        Part::Reasoning { content: text.to_owned() }
    } else if let Some(bytes) = file.and_then(|f| f["source"]["bytes"].as_str()) {
        blob(file.and_then(|f| f["format"].as_str()), bytes)
    } else {
        other(value)
    }
}

/// Without percent escapes: ids of models hold colons, and ARNs slashes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if byte == b'%' => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
