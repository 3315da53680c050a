//! Layers of a session: what hybrid runs have asked the real services, one file for each run.
//! The recording itself stays as it is.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::redact::{self, Redactor};
use crate::stream::{Body, Chunk, End, Exchange, Header, Protocol, Request, Response};
use hyper::StatusCode;

/// Directory in a session that holds its layers.
pub const LAYERS: &str = "layers";
/// Header fields whose values are not kept.
const SECRET: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
];

/// One exchange as a line of JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    method: String,
    scheme: String,
    authority: String,
    target: String,
    request_headers: Vec<(String, String)>,
    /// Base64.
    request_body: String,
    status: u16,
    headers: Vec<(String, String)>,
    /// Base64.
    body: String,
    /// Ends of the body's pieces, and nanoseconds after the request.
    chunks: Vec<(u64, u64)>,
    /// When the answer began, nanoseconds after the request.
    answered_ns: u64,
    ended_ns: u64,
}

/// The layer of one run, made when there is something to keep.
#[derive(Debug)]
pub struct Layer {
    dir: PathBuf,
    file: Option<File>,
    redactor: Redactor,
}

impl Layer {
    /// A new layer of the session in `dir`.
    ///
    /// # Errors
    /// The rules of what is secret can't be read.
    pub fn new(dir: &Path, redact: &redact::Options) -> Result<Layer> {
        let redactor = Redactor::of_environment(redact)?;
        Ok(Layer { dir: dir.join(LAYERS), file: None, redactor })
    }

    /// Keeps an exchange, its secrets replaced.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&mut self, exchange: &Exchange) -> Result<()> {
        let Some(response) = &exchange.response else { return Ok(()) };
        let request = &exchange.request;
        let after = |ns: u64| ns.saturating_sub(request.ended_ns);
        let chunks = response.body.chunks.iter().map(|c| (c.end, after(c.time_ns))).collect();
        let line = Line {
            method: request.method.clone(),
            scheme: request.scheme.clone(),
            authority: request.authority.clone(),
            target: self.redactor.text(&request.target).into_owned(),
            request_headers: self.fields(&request.headers),
            request_body: self.body(&request.body)?,
            status: response.status,
            headers: self.fields(&response.headers),
            body: self.body(&response.body)?,
            chunks,
            answered_ns: after(response.started_ns),
            ended_ns: after(exchange.ended_ns),
        };
        let mut text =
            serde_json::to_string(&line).map_err(|e| Error::io("write JSON")(e.into()))?;
        text.push('\n');
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.dir)?),
        };
        file.write_all(text.as_bytes()).map_err(Error::file("write in", &self.dir))
    }

    fn fields(&mut self, headers: &[Header]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = |header: &Header| {
            let (name, value) = (text(&header.name), text(&header.value));
            let secret = SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            let value = if secret { "redacted".into() } else { self.redactor.text(&value).into() };
            (name, value)
        };
        headers.iter().map(one).collect()
    }

    fn body(&mut self, body: &Body) -> Result<String> {
        let bytes = body.bytes()?;
        // Placeholders are as long as what they stand for: pieces keep their places.
        let bytes = match std::str::from_utf8(&bytes) {
            Ok(text) => Bytes::from(self.redactor.text(text).into_owned()),
            Err(_) => bytes,
        };
        Ok(STANDARD.encode(bytes))
    }
}

fn create(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let number = files(dir).len() + 1;
    for number in number.. {
        let path = dir.join(format!("{number:04}.jsonl"));
        match File::create_new(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map_err(Error::file("create", &path)),
        }
    }
    unreachable!("numbers do not end")
}

/// All layers, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
    all.sort_unstable();
    all
}

/// The exchanges in the layers of the session in `dir`, numbered from `first` on.
///
/// # Errors
/// They can't be read. A line that was cut off is left out.
pub fn read(dir: &Path, first: u32) -> Result<Vec<Exchange>> {
    let mut all = Vec::new();
    for path in files(&dir.join(LAYERS)) {
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
            let damaged = |e: base64::DecodeError| {
                Error::damaged(&path, e.to_string(), "remove this file and record anew")
            };
            all.push(line.exchange(first + all.len() as u32).map_err(damaged)?);
        }
    }
    Ok(all)
}

impl Line {
    fn exchange(self, id: u32) -> std::result::Result<Exchange, base64::DecodeError> {
        let fields = |all: Vec<(String, String)>| {
            all.into_iter().map(|(name, value)| Header { name: name.into(), value: value.into() })
        };
        // Which phrase the service used is not kept.
        let reason = StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        let chunks = self.chunks.into_iter();
        let chunks = chunks.map(|(end, time_ns)| Chunk { end, time_ns, step: 0 }).collect();
        Ok(Exchange {
            id,
            connection: 0,
            protocol: Protocol::Http11,
            stream: None,
            request: Request {
                method: self.method,
                scheme: self.scheme,
                authority: self.authority,
                target: self.target,
                headers: fields(self.request_headers).collect(),
                body: Body::held(STANDARD.decode(self.request_body)?, Vec::new()),
                trailers: Vec::new(),
                started_ns: 0,
                ended_ns: 0,
                process: 0,
                step: 0,
            },
            response: Some(Response {
                status: self.status,
                reason: reason.unwrap_or_default().to_owned(),
                headers: fields(self.headers).collect(),
                protocol: Protocol::Http11,
                interim: Vec::new(),
                body: Body::held(STANDARD.decode(self.body)?, chunks),
                trailers: Vec::new(),
                started_ns: self.answered_ns,
                ended_ns: self.ended_ns,
                step: 0,
            }),
            messages: Vec::new(),
            end: End::Complete,
            ended_ns: self.ended_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::sample;

    #[test]
    fn a_layer_is_read_as_it_was_kept_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let mut exchange = sample::answered(1, sample::chat(&["hello"]), &["a", "bc"]);
        exchange.request.headers.push(sample::header("authorization", "Bearer x"));
        for _ in 0..2 {
            Layer::new(dir.path(), &redact::Options::default()).unwrap().keep(&exchange).unwrap();
        }
        let read = read(dir.path(), 7).unwrap();
        assert_eq!(read.iter().map(|e| e.id).collect::<Vec<_>>(), [7, 8]);
        let (old, new) = (exchange.response.unwrap(), read[0].response.clone().unwrap());
        assert_eq!(old.body.chunks, new.body.chunks);
        assert_eq!(old.body.bytes().unwrap(), new.body.bytes().unwrap());
        let value = &read[0].request.headers.last().unwrap().value;
        assert_eq!(&value[..], b"redacted");
    }
}
