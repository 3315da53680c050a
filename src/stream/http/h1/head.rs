//! Heads: the request or status line and the fields.

use httparse::Status;

use super::{Begun, HEAD_BYTES_MAX, Setting, field, protocol};
use crate::stream::exchange::header;
use crate::stream::{Header, Protocol, Request, Response, Segment};

/// Most fields of a head.
const FIELDS_MAX: usize = 4096;

/// Gathers a head's bytes.
#[derive(Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    begun: Begun,
}

impl Head {
    /// Takes bytes off `rest` up to the head's end; the head once it is whole.
    pub(super) fn take(
        &mut self,
        rest: &mut Segment<'_>,
    ) -> Result<Option<(Vec<u8>, Begun)>, String> {
        if self.bytes.is_empty() {
            // Empty lines before a message are left out.
            let blank = rest.bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            *rest = rest.split(blank).1;
            self.begun = Begun::from(&*rest);
        }
        let before = self.bytes.len();
        let allowed = rest.split(HEAD_BYTES_MAX + 1 - before).0;
        self.bytes.extend_from_slice(allowed.bytes);
        let Some(end) = end_of_head(&self.bytes, before.saturating_sub(3)) else {
            if self.bytes.len() > HEAD_BYTES_MAX {
                return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes"));
            }
            *rest = rest.split(usize::MAX).1;
            return Ok(None);
        };
        *rest = rest.split(end - before).1;
        self.bytes.truncate(end);
        Ok(Some((std::mem::take(&mut self.bytes), self.begun)))
    }
}

/// Where the head ends, looking from `from` on: behind its first empty line.
pub(super) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', tail).map(|at| from + at + 1).find(|end| {
        let line = bytes.get(..end - 1).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.is_empty() || line.ends_with(b"\n")
    })
}

/// Reads a request's head.
pub(super) fn request(
    bytes: &[u8],
    at: Begun,
    setting: &Setting,
) -> Result<(Request, Protocol), String> {
    let mut fields = vec![httparse::EMPTY_HEADER; count(bytes)];
    let mut parsed = httparse::Request::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config.allow_multiple_spaces_in_request_line_delimiters(true);
    match config.parse_request(&mut parsed, bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err("a request's head that ends early".into()),
        Err(e) => return Err(format!("a request's head: {e}")),
    }
    let headers: Vec<Header> = parsed.headers.iter().map(field).collect();
    let target = parsed.path.unwrap_or_default().to_owned();
    let method = parsed.method.unwrap_or_default().to_owned();
    let host = header(&headers, "host").map(|h| String::from_utf8_lossy(h).into_owned());
    // A proxy is asked with the whole URL (RFC 9112, section 3.2.2).
    let whole = target.split_once("://").map(|(scheme, rest)| {
        (scheme, rest.split(['/', '?']).next().unwrap_or_default().to_owned())
    });
    let (scheme, authority) = match whole {
        _ if method == "CONNECT" => (setting.scheme, target.clone()),
        Some((scheme, authority)) => (scheme, authority),
        None => (
            setting.scheme,
            host.filter(|h| !h.is_empty()).unwrap_or_else(|| setting.authority.clone()),
        ),
    };
    let request = Request {
        scheme: scheme.to_owned(),
        authority,
        method,
        target,
        headers,
        body: Default::default(),
        trailers: Vec::new(),
        started_ns: at.time_ns,
        ended_ns: at.time_ns,
        process: at.process,
        step: at.step,
    };
    let protocol = protocol(parsed.version);
    Ok((request, protocol))
}

/// Reads a response's head.
pub(super) fn response(bytes: &[u8], at: Begun) -> Result<Response, String> {
    let mut fields = vec![httparse::EMPTY_HEADER; count(bytes)];
    let mut parsed = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    match config.parse_response(&mut parsed, bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err("a response's head that ends early".into()),
        Err(e) => return Err(format!("a response's head: {e}")),
    }
    Ok(Response {
        protocol: protocol(parsed.version),
        status: parsed.code.unwrap_or_default(),
        reason: parsed.reason.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(field).collect(),
        interim: Vec::new(),
        body: Default::default(),
        trailers: Vec::new(),
        started_ns: at.time_ns,
        ended_ns: at.time_ns,
        step: at.step,
    })
}

/// Reads fields that stand alone, up to an empty line.
pub(super) fn trailers(bytes: &[u8]) -> Result<Vec<Header>, String> {
    let mut fields = vec![httparse::EMPTY_HEADER; count(bytes)];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(Status::Complete((_, fields))) => Ok(fields.iter().map(field).collect()),
        Ok(Status::Partial) => Err("trailers that end early".into()),
        Err(e) => Err(format!("trailers: {e}")),
    }
}

/// Room for as many fields as there can be.
fn count(head: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', head).count().min(FIELDS_MAX)
}
