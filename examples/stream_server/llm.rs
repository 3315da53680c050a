//! The interfaces of language models: OpenAI chat completions and responses, Anthropic messages,
//! Gemini, Ollama and Bedrock. A request that offers tools gets a tool call, any other a text.
//!
//! What is in the model's name chooses further: `reason` thinks first, `gzip`, `brotli` and `zstd`
//! compress (for clients that accept it), `error` tells an error half-way, `cut` breaks off in
//! mid-event.
//! With `--log FILE` the server writes down what it sent: a line of JSON for each answer.

mod anthropic;
mod bedrock;
mod coding;
mod google;
mod ollama;
mod openai;

use std::io::{self, Write};
use std::path::Path;

use http_body_util::BodyExt;
use http_body_util::channel::Sender;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{Body, full, hex, pause, response, status, streamed, words};
use coding::Coder;

/// Mean pause between two events, milliseconds.
const PAUSE_MS: u64 = 2;
/// Most pieces of a text.
const PIECES_MAX: usize = 24;

/// One request's invented answer.
pub(crate) struct Answer {
    model: String,
    /// What it thinks first, in pieces.
    reasoning: Vec<String>,
    /// The text in pieces, or the fragments of a tool call's JSON arguments.
    pieces: Vec<String>,
    /// Name of the called tool.
    tool: Option<String>,
    /// Whether the client wants the counts in a chunk of their own (chat completions).
    usage: bool,
}

impl Answer {
    fn whole(&self) -> String {
        self.pieces.concat()
    }

    fn input(&self) -> Value {
        serde_json::from_str(&self.whole()).unwrap_or_default()
    }

    /// Tokens of the prompt; 4 of them were in a cache.
    fn prompt_tokens(&self) -> u64 {
        9
    }

    /// Tokens of the answer, its reasoning included.
    fn tokens(&self) -> u64 {
        (self.reasoning.len() + self.pieces.len()) as u64
    }
}

/// What one event of a stream carries of the answer.
#[derive(Clone, Copy)]
enum Kind {
    Reasoning,
    Text,
    ToolCall,
}

/// The events of a stream, in order.
#[derive(Default)]
pub(crate) struct Script(Vec<(Vec<u8>, Option<Said>)>);

/// What a piece says: of which kind, and the text.
type Said = (Kind, String);

impl Script {
    /// An event that carries nothing of the answer.
    fn event(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.push((bytes.into(), None));
    }

    /// An event that carries a piece of the answer.
    fn piece(&mut self, kind: Kind, piece: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((bytes.into(), Some((kind, piece.to_owned()))));
    }
}

/// One of the interfaces.
trait Interface {
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn stream(&self, answer: &Answer) -> Script;

    fn whole(&self, answer: &Answer) -> Value;

    /// The event that tells an error in mid-stream.
    fn error(&self) -> Vec<u8>;
}

/// The interface at a path, and whether the path itself asks for a stream.
fn interface(path: &str) -> Option<(Box<dyn Interface + Send>, Option<bool>)> {
    Some(match path {
        "/v1/chat/completions" => (Box::new(openai::Chat), None),
        "/v1/responses" => (Box::new(openai::Responses), None),
        "/v1/messages" => (Box::new(anthropic::Messages), None),
        "/api/chat" => (Box::new(ollama::Chat), None),
        _ if path.starts_with("/v1beta/models/") => {
            let (_, verb) = path.rsplit_once(':')?;
            let stream = verb == "streamGenerateContent";
            (Box::new(google::Gemini { events: true }), Some(stream))
        }
        _ if path.starts_with("/model/") => {
            (Box::new(bedrock::Converse), Some(path.ends_with("/converse-stream")))
        }
        _ => return None,
    })
}

/// Whether there is an interface at this path.
pub(crate) fn serves(path: &str) -> bool {
    interface(path).is_some()
}

/// Answers one request, and writes to `log` what it sent.
pub(crate) async fn answer(request: Request<Incoming>, log: Option<&Path>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let Some((mut interface, streams)) = interface(path) else {
        return status(StatusCode::NOT_FOUND);
    };
    let Ok(body) = body.collect().await else { return status(StatusCode::BAD_REQUEST) };
    let Ok(request) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return status(StatusCode::BAD_REQUEST);
    };
    if path.contains("/models/") && !head.uri.query().unwrap_or_default().contains("alt=sse") {
        interface = Box::new(google::Gemini { events: false });
    }
    let answer = invent(path, &request);
    // Ollama streams unless told not to.
    let asked = request["stream"].as_bool().unwrap_or(path == "/api/chat");
    let accepts = head.headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let coder = Coder::new(&answer.model, accepts.unwrap_or_default());
    let coding = coder.as_ref().map(Coder::name);
    let sent = Sent {
        log: log.map(Path::to_owned),
        path: path.to_owned(),
        request,
        tokens: Vec::new(),
        coder,
        began_ns: now_ns(),
    };
    if !streams.unwrap_or(asked) {
        let whole = interface.whole(&answer);
        sent.finish(&answer, "complete");
        return response("application/json", full(whole.to_string()));
    }
    let script = interface.stream(&answer);
    let error = interface.error();
    let mut response =
        streamed(interface.content_type(), move |to| send(script, error, answer, sent, to));
    if let Some(coding) = coding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

/// What was sent so far.
struct Sent {
    log: Option<std::path::PathBuf>,
    path: String,
    request: Value,
    tokens: Vec<Value>,
    coder: Option<Coder>,
    /// When the request had come; all times are of the monotonic clock.
    began_ns: u64,
}

impl Sent {
    /// The bytes that go over the wire for these of the stream.
    fn coded(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match &mut self.coder {
            Some(coder) => coder.coded(bytes),
            None => Ok(bytes.to_vec()),
        }
    }

    /// Writes the answer's line of the log.
    fn finish(self, answer: &Answer, end: &str) {
        let Some(log) = &self.log else { return };
        let line = json!({
            "path": self.path, "request": self.request, "model": answer.model,
            "reasoning": answer.reasoning.concat(), "tool": answer.tool, "text": answer.whole(),
            "usage": [answer.prompt_tokens(), answer.tokens()], "end": end,
            "tokens": self.tokens, "began_ns": self.began_ns,
        });
        let file = std::fs::File::options().create(true).append(true).open(log);
        if let Err(e) = file.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes())) {
            eprintln!("failed to write {}: {e}", log.display());
        }
    }
}

/// Sends a script's events with pauses between them. That a client has gone away does not
/// matter: what is left goes nowhere.
async fn send(
    script: Script,
    error: Vec<u8>,
    answer: Answer,
    mut sent: Sent,
    mut to: Sender<Bytes, io::Error>,
) {
    let half = script.0.len() / 2;
    let (fails, breaks) = (answer.model.contains("error"), answer.model.contains("cut"));
    for (number, (bytes, token)) in script.0.into_iter().enumerate() {
        pause(PAUSE_MS).await;
        if number == half && fails {
            let Ok(bytes) = sent.coded(&error) else { return };
            let _ = to.send_data(bytes.into()).await;
            return sent.finish(&answer, "error");
        }
        if number == half && breaks {
            let Ok(bytes) = sent.coded(&bytes[..bytes.len() / 2]) else { return };
            let _ = to.send_data(bytes.into()).await;
            // So that it is on its way before the connection is reset.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            to.abort(io::Error::other("cut"));
            return sent.finish(&answer, "cut");
        }
        let Ok(bytes) = sent.coded(&bytes) else { return };
        // Cut at a random place now and then: an event is not a read.
        let cut = fastrand::usize(..=bytes.len());
        let (head, tail) = bytes.split_at(cut);
        for part in [head, tail] {
            if !part.is_empty() {
                let _ = to.send_data(part.to_vec().into()).await;
            }
            if fastrand::bool() {
                tokio::task::yield_now().await;
            }
        }
        if let Some((kind, text)) = token {
            let kind = match kind {
                Kind::Reasoning => "reasoning",
                Kind::Text => "text",
                Kind::ToolCall => "tool_call",
            };
            sent.tokens.push(json!({ "kind": kind, "text": text, "time_ns": now_ns() }));
        }
    }
    if let Some(coder) = sent.coder.take()
        && let Ok(rest) = coder.finish()
    {
        let _ = to.send_data(rest.into()).await;
    }
    // Before the body's end, so that a client that has read it finds the line.
    sent.finish(&answer, "complete");
}

fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn invent(path: &str, request: &Value) -> Answer {
    let tool = &request["tools"][0];
    let places = [
        &tool["function"]["name"],
        &tool["name"],
        &tool["functionDeclarations"][0]["name"],
        &request["toolConfig"]["tools"][0]["toolSpec"]["name"],
    ];
    let tool = places.iter().find_map(|name| name.as_str());
    let in_path = ["/models/", "/model/"].iter().find_map(|before| path.split_once(before));
    let in_path = in_path.and_then(|(_, rest)| rest.split([':', '/']).next());
    let model = request["model"].as_str().or(in_path).unwrap_or("unnamed").to_owned();
    Answer {
        reasoning: if model.contains("reason") { text() } else { Vec::new() },
        model,
        pieces: if tool.is_some() { arguments() } else { text() },
        tool: tool.map(str::to_owned),
        usage: request["stream_options"]["include_usage"].as_bool().unwrap_or(false),
    }
}

fn text() -> Vec<String> {
    let word = |_| words(1) + if fastrand::u8(..4) == 0 { "gr\u{fc}n \u{1f600}" } else { " " };
    (0..fastrand::usize(4..PIECES_MAX)).map(word).collect()
}

fn arguments() -> Vec<String> {
    let city = words(2);
    let whole = json!({ "city": city, "days": fastrand::u32(1..10) }).to_string();
    let bytes: Vec<char> = whole.chars().collect();
    bytes.chunks(fastrand::usize(3..9)).map(|c| c.iter().collect()).collect()
}

/// An event named by the `type` of its data.
fn named(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}
