//! HTTP archives: HAR 1.2.
//!
//! Bodies stand there without their content coding, as the format asks. What it has no place for
//! stands in fields that begin with an underscore: the pieces of an answer with their times, the
//! messages of a WebSocket (as Chrome writes them), how an exchange ended if not well.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::unwritten;
use crate::error::Result;
use crate::session::Session;
use crate::stream::connection::Peer;
use crate::stream::exchange::header;
use crate::stream::http::content::content;
use crate::stream::{
    Connection, Direction, End, Exchange, Header, Message, Protocol, Request, Response,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    time: f64,
    request: HarRequest,
    response: HarResponse,
    cache: Value,
    timings: Timings,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "serverIPAddress")]
    server_ip_address: Option<String>,
    connection: String,
    #[serde(rename = "_rr_run")]
    rr_run: Value,
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest {
    method: String,
    url: String,
    http_version: &'static str,
    cookies: Vec<Value>,
    headers: Vec<Pair>,
    query_string: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<Value>,
    headers_size: i64,
    body_size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HarResponse {
    status: u16,
    status_text: String,
    http_version: &'static str,
    cookies: Vec<Value>,
    headers: Vec<Pair>,
    content: Content,
    #[serde(rename = "redirectURL")]
    redirect_url: String,
    headers_size: i64,
    body_size: i64,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

/// Milliseconds; -1: not known.
#[derive(Serialize)]
struct Timings {
    blocked: f64,
    dns: f64,
    connect: f64,
    send: f64,
    wait: f64,
    receive: f64,
    ssl: f64,
}

/// Writes the exchanges of a session as a HTTP archive; what of it could not be read.
///
/// # Errors
/// The session can't be read, or the writer's.
pub fn write(session: &Session, out: &mut dyn Write) -> Result<Vec<String>> {
    let traffic = session.traffic()?;
    let manifest = session.manifest();
    let creator = json!({ "name": "rr-run", "version": env!("CARGO_PKG_VERSION") });
    let comment = format!("session {}", manifest.name);
    // By hand, so that only one exchange at a time is in memory.
    write!(
        out,
        "{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"comment\":{},\"entries\":[",
        Value::from(comment)
    )
    .map_err(unwritten)?;
    let started_ns = manifest.started_ns;
    for (number, exchange) in traffic.exchanges().enumerate() {
        let exchange = exchange?;
        let connection = traffic.connection(exchange.connection);
        let entry = entry(started_ns, &exchange, connection)?;
        out.write_all(if number == 0 { b"\n" } else { b",\n" }).map_err(unwritten)?;
        serde_json::to_writer(&mut *out, &entry).map_err(|e| unwritten(e.into()))?;
    }
    out.write_all(b"\n]}}\n").map_err(unwritten)?;
    Ok(traffic.damage().to_vec())
}

fn entry(started_ns: u64, exchange: &Exchange, connection: Option<&Connection>) -> Result<Entry> {
    let Exchange { request, response, .. } = exchange;
    let ms = |ns: u64| ns as f64 / 1e6;
    let version = version(exchange.protocol);
    let answers = response.as_ref().map_or(version, |r| self::version(r.protocol));
    let answered_ns = response.as_ref().map_or(exchange.ended_ns, |r| r.started_ns);
    let ended_ns = response.as_ref().map_or(exchange.ended_ns, |r| r.ended_ns).max(answered_ns);
    // An answer may begin before the request has been sent whole.
    let sent_ns = request.ended_ns.clamp(request.started_ns, answered_ns.max(request.started_ns));
    let timings = Timings {
        blocked: -1.0,
        dns: -1.0,
        connect: -1.0,
        send: ms(sent_ns - request.started_ns),
        wait: ms(answered_ns.saturating_sub(sent_ns)),
        receive: ms(ended_ns - answered_ns),
        ssl: -1.0,
    };
    let server_ip_address = connection.and_then(|c| match (&c.peer, c.accepted) {
        (Peer::Inet(peer), false) => Some(peer.ip().to_string()),
        _ => None,
    });
    let chunks = response.iter().flat_map(|r| &r.body.chunks);
    let chunks: Vec<Value> = chunks
        .map(|c| {
            let time_ms = ms(c.time_ns.saturating_sub(request.started_ns));
            json!({ "end": c.end, "time_ms": time_ms, "step": c.step })
        })
        .collect();
    let messages = &exchange.messages;
    Ok(Entry {
        started_date_time: date(started_ns + request.started_ns),
        time: timings.send + timings.wait + timings.receive,
        request: har_request(request, version)?,
        response: har_response(exchange, response.as_ref(), answers)?,
        cache: json!({}),
        timings,
        server_ip_address,
        connection: exchange.connection.to_string(),
        rr_run: json!({
            "exchange": exchange.id,
            "process": format!("{:016x}", request.process),
            "step": request.step,
            "chunks": chunks,
        }),
        messages: (exchange.protocol == Protocol::WebSocket)
            .then(|| messages.iter().map(|m| message(started_ns, m)).collect()),
    })
}

/// As a status line names it, and as HTTP/2 is called.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 => "HTTP/1.0",
        Protocol::Http11 | Protocol::WebSocket => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    }
}

fn har_request(request: &Request, http_version: &'static str) -> Result<HarRequest> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let post_data = if request.body.is_empty() {
        None
    } else {
        let mime_type = text_of(&request.headers, "content-type").unwrap_or_default();
        let bytes = content(&request.headers, &request.body)?.body.bytes()?;
        Some(match std::str::from_utf8(&bytes) {
            Ok(text) => json!({ "mimeType": mime_type, "text": text }),
            // The format has no place for bytes in a request.
            Err(_) => {
                let text = STANDARD.encode(&bytes);
                json!({ "mimeType": mime_type, "text": text, "_encoding": "base64" })
            }
        })
    };
    Ok(HarRequest {
        method: request.method.clone(),
        url: url(request),
        http_version,
        cookies: cookies(&request.headers, "cookie"),
        headers: pairs(&request.headers),
        query_string: form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| Pair { name: name.into(), value: value.into() })
            .collect(),
        post_data,
        headers_size: -1,
        body_size: request.body.len(),
    })
}

fn har_response(
    exchange: &Exchange,
    response: Option<&Response>,
    http_version: &'static str,
) -> Result<HarResponse> {
    let error = match &exchange.end {
        End::Complete => None,
        End::Open => Some("the recording ends inside it".to_owned()),
        End::Closed(by) => Some(format!("closed by {}", side(*by))),
        End::Reset { code, by } => Some(format!("reset by {} (code {code})", side(*by))),
        End::Malformed(why) => Some(format!("malformed: {why}")),
    };
    let Some(response) = response else {
        let content = Content { mime_type: "x-unknown".into(), ..Content::default() };
        return Ok(HarResponse {
            status: 0,
            status_text: String::new(),
            http_version,
            cookies: Vec::new(),
            headers: Vec::new(),
            content,
            redirect_url: String::new(),
            headers_size: -1,
            body_size: -1,
            error: error.or_else(|| Some("no answer".into())),
        });
    };
    let decoded = content(&response.headers, &response.body)?;
    let bytes = decoded.body.bytes()?;
    let (text, encoding) = match std::str::from_utf8(&bytes) {
        _ if bytes.is_empty() => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (Some(STANDARD.encode(&bytes)), Some("base64")),
    };
    let saved = bytes.len() as i64 - response.body.len() as i64;
    let encoded = header(&response.headers, "content-encoding").is_some();
    let mime_type = text_of(&response.headers, "content-type");
    Ok(HarResponse {
        status: response.status,
        status_text: response.reason.clone(),
        http_version,
        cookies: cookies(&response.headers, "set-cookie"),
        headers: pairs(&response.headers),
        content: Content {
            size: bytes.len() as u64,
            compression: encoded.then_some(saved),
            mime_type: mime_type.unwrap_or_else(|| "x-unknown".into()),
            text,
            encoding,
            comment: decoded.problem,
        },
        redirect_url: text_of(&response.headers, "location").unwrap_or_default(),
        headers_size: -1,
        body_size: response.body.len() as i64,
        error,
    })
}

fn side(side: Direction) -> &'static str {
    match side {
        Direction::Sent => "the recorded program",
        Direction::Received => "the other side",
    }
}

/// The absolute address that was asked for.
pub(super) fn url(request: &Request) -> String {
    let Request { scheme, authority, target, .. } = request;
    if target.contains("://") {
        return target.clone();
    }
    match target.strip_prefix('/') {
        Some(path) => format!("{scheme}://{authority}/{path}"),
        // CONNECT and OPTIONS *.
        None => format!("{scheme}://{authority}/"),
    }
}

fn date(ns: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_of(headers: &[Header], name: &str) -> Option<String> {
    header(headers, name).map(text)
}

fn pairs(headers: &[Header]) -> Vec<Pair> {
    headers.iter().map(|h| Pair { name: text(&h.name), value: text(&h.value) }).collect()
}

/// The cookies in all fields of this name.
fn cookies(headers: &[Header], field: &str) -> Vec<Value> {
    let fields = headers.iter().filter(|h| h.name.eq_ignore_ascii_case(field.as_bytes()));
    let mut found = Vec::new();
    for field_value in fields {
        let value = text(&field_value.value);
        let pair = |part: &str| {
            let (name, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
            json!({ "name": name, "value": value })
        };
        if field == "cookie" {
            found.extend(value.split(';').filter(|part| !part.trim().is_empty()).map(pair));
            continue;
        }
        let mut parts = value.split(';');
        let mut cookie = pair(parts.next().unwrap_or_default());
        for part in parts {
            let (name, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
            match name.to_ascii_lowercase().as_str() {
                "path" => cookie["path"] = value.into(),
                "domain" => cookie["domain"] = value.into(),
                "httponly" => cookie["httpOnly"] = true.into(),
                "secure" => cookie["secure"] = true.into(),
                _ => {}
            }
        }
        found.push(cookie);
    }
    found
}

fn message(started_ns: u64, message: &Message) -> Value {
    let data = match std::str::from_utf8(&message.bytes) {
        Ok(text) if message.opcode == Message::TEXT => text.to_owned(),
        _ => STANDARD.encode(&message.bytes),
    };
    json!({
        "type": if message.direction == Direction::Sent { "send" } else { "receive" },
        "time": (started_ns + message.time_ns) as f64 / 1e9,
        "opcode": message.opcode,
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn cookies_are_taken_apart() {
        let field = |name: &'static str, value: &'static str| Header {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
        };
        let headers = [
            field("Cookie", "a=1; b=2=3;"),
            field("set-cookie", "s=x; Path=/; HttpOnly; Max-Age=3"),
            field("Set-Cookie", "t=y; Secure; domain=example.org"),
        ];
        assert_eq!(
            cookies(&headers, "cookie"),
            [json!({ "name": "a", "value": "1" }), json!({ "name": "b", "value": "2=3" })]
        );
        assert_eq!(
            cookies(&headers, "set-cookie"),
            [
                json!({ "name": "s", "value": "x", "path": "/", "httpOnly": true }),
                json!({ "name": "t", "value": "y", "secure": true, "domain": "example.org" }),
            ]
        );
    }
}
