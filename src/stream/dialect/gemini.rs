//! Gemini generateContent and streamGenerateContent, also as Vertex AI and Code Assist have them.

use serde_json::Value;

use super::values::{arguments, blob, error, index, list, other, string, strings, text, text_part};
use super::{Delta, Dialect, Event, Head};
use crate::stream::call::{Api, InputMessage, LlmRequest, Operation, Part, Tool, ToolCall, Usage};
use crate::stream::token::TokenKind;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Gemini;

impl Dialect for Gemini {
    fn api(&self) -> Api {
        Api::Gemini
    }

    fn claims(&self, head: &Head<'_>, _body: &Value) -> bool {
        let verb = head.path().rsplit_once(':').map(|(_, verb)| verb);
        head.method == "POST" && matches!(verb, Some("generateContent" | "streamGenerateContent"))
    }

    fn recognises(&self, event: &Event<'_>) -> bool {
        let json = inner(event.json, "response");
        json["candidates"].is_array() && json["usageMetadata"].is_object()
    }

    fn provider(&self, _head: &Head<'_>) -> &'static str {
        "gcp.gemini"
    }

    fn operation(&self, _head: &Head<'_>) -> Operation {
        Operation::GenerateContent
    }

    fn request(&self, head: &Head<'_>, body: &Value) -> LlmRequest {
        let path = head.path();
        // Code Assist has the model beside the request.
        let model = string(body, "model").or_else(|| {
            let (_, rest) = path.rsplit_once("/models/")?;
            rest.split(':').next().map(str::to_owned)
        });
        let body = inner(body, "request");
        let config = either(body, "generationConfig", "generation_config");
        LlmRequest {
            model,
            stream: path.ends_with(":streamGenerateContent"),
            system_instructions: either(body, "systemInstruction", "system_instruction")["parts"]
                .as_array()
                .map(|parts| parts.iter().map(part).collect())
                .unwrap_or_default(),
            messages: list(body, "contents").iter().map(message).collect(),
            tools: list(body, "tools").iter().flat_map(tools).collect(),
            max_tokens: config["maxOutputTokens"].as_u64(),
            temperature: config["temperature"].as_f64(),
            top_p: config["topP"].as_f64(),
            top_k: config["topK"].as_f64(),
            seed: config["seed"].as_i64(),
            choice_count: config["candidateCount"].as_u64(),
            stop_sequences: strings(&config["stopSequences"]),
            ..LlmRequest::default()
        }
    }

    fn event(&self, event: &Event<'_>, out: &mut Vec<Delta>) -> bool {
        let json = inner(event.json, "response");
        if json["error"].is_object() {
            out.push(Delta::Error(error(&json["error"])));
            return true;
        }
        let blocked = string(&json["promptFeedback"], "blockReason");
        if !json["candidates"].is_array() && !json["usageMetadata"].is_object() && blocked.is_none()
        {
            return false;
        }
        let (id, model) = (string(json, "responseId"), string(json, "modelVersion"));
        if id.is_some() || model.is_some() {
            out.push(Delta::Response { id, model });
        }
        for candidate in list(json, "candidates") {
            let output = index(candidate, "index");
            for part in list(&candidate["content"], "parts") {
                content(part, output, out);
            }
            if let Some(reason) = string(candidate, "finishReason") {
                out.push(Delta::Finish { output, reason });
            }
        }
        if let Some(reason) = blocked {
            out.push(Delta::Finish { output: 0, reason });
        }
        if json["usageMetadata"].is_object() {
            out.push(Delta::Usage(json["usageMetadata"].clone()));
        }
        true
    }

    fn usage(&self, merged: &Value) -> Usage {
        let count = |name: &str| merged[name].as_u64();
        let thoughts = count("thoughtsTokenCount");
        // Gemini counts what tools put into the prompt, and the reasoning, apart.
        let with = |n: Option<u64>, more: Option<u64>| match (n, more) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        Usage {
            input_tokens: with(count("promptTokenCount"), count("toolUsePromptTokenCount")),
            output_tokens: with(count("candidatesTokenCount"), thoughts),
            cache_read_input_tokens: count("cachedContentTokenCount"),
            cache_creation_input_tokens: None,
            reasoning_output_tokens: thoughts,
        }
    }
}

/// The member `name` if there is one, else the value itself.
fn inner<'a>(value: &'a Value, name: &str) -> &'a Value {
    if value[name].is_object() { &value[name] } else { value }
}

/// A member by the name JSON has, or by the one protocol buffers have.
fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> &'a Value {
    if value[camel].is_null() { &value[snake] } else { &value[camel] }
}

/// One part of an answer.
fn content(part: &Value, output: u32, out: &mut Vec<Delta>) {
    let call = &part["functionCall"];
    if call.is_object() {
        out.push(Delta::ToolCall {
            output,
            key: None,
            id: string(call, "id"),
            name: string(call, "name"),
            arguments: arguments(&call["args"]),
        });
    } else if part["text"].is_string() {
        let kind = if part["thought"] == true { TokenKind::Reasoning } else { TokenKind::Text };
        if let Some(text) = text(part, "text") {
            out.push(Delta::Text { output, kind, text: text.to_owned() });
        }
    } else if !(part["thoughtSignature"].is_string()
        && part.as_object().is_some_and(|p| p.len() == 1))
    {
        out.push(Delta::Part { output, part: other(part) });
    }
}

fn message(content: &Value) -> InputMessage {
    let role = string(content, "role").unwrap_or_else(|| "user".into());
    InputMessage { role, parts: list(content, "parts").iter().map(part).collect() }
}

fn part(value: &Value) -> Part {
    let call = either(value, "functionCall", "function_call");
    let response = either(value, "functionResponse", "function_response");
    let inline = either(value, "inlineData", "inline_data");
    let file = either(value, "fileData", "file_data");
    if call.is_object() {
        Part::ToolCall(ToolCall {
            id: string(call, "id"),
            name: string(call, "name").unwrap_or_default(),
            arguments: arguments(&call["args"]),
        })
    } else if response.is_object() {
        let id = string(response, "id").or_else(|| string(response, "name"));
        Part::ToolCallResponse { id, response: response["response"].clone() }
    } else if inline.is_object() {
        let kind = either(inline, "mimeType", "mime_type").as_str();
        blob(kind, inline["data"].as_str().unwrap_or_default())
    } else if file.is_object() {
        let uri = either(file, "fileUri", "file_uri").as_str().unwrap_or_default();
        Part::Uri { uri: uri.to_owned() }
    } else {
        match value["text"].as_str() {
            Some(text) if value["thought"] == true => Part::Reasoning { content: text.into() },
            Some(text) => text_part(text),
            None => other(value),
        }
    }
}

/// The functions of one entry of `tools`, or the service's own tool that it names.
fn tools(entry: &Value) -> Vec<Tool> {
    let functions = either(entry, "functionDeclarations", "function_declarations");
    match functions.as_array() {
        Some(functions) => functions.iter().map(super::values::tool).collect(),
        None => {
            let names = entry.as_object().into_iter().flat_map(|tool| tool.keys());
            names.map(|name| Tool { name: name.clone(), description: None }).collect()
        }
    }
}
