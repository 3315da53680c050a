//! Heads of answers, as the client got them while recording: over HTTP/1 with version, reason
//! phrase, the case of field names, and the fields of the connection.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::exchange::header;
use crate::stream::{Header, Protocol, Response as Recorded};

/// Fields that belong to one connection of HTTP/1 (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "proxy-authenticate",
];
/// Sets of names whose case is kept.
const SPELLINGS_MAX: usize = 1024;
/// Room for a head's names.
const NAMES_BYTES: usize = 64 << 10;

/// Gives a response the recorded head, as far as the client's protocol has it.
pub(super) async fn give<B>(
    response: &mut Response<B>,
    recorded: &Recorded,
    asked: Version,
    spellings: &Spellings,
) {
    *response.status_mut() =
        StatusCode::from_u16(recorded.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let http1 = matches!(recorded.protocol, Protocol::Http10 | Protocol::Http11);
    if asked >= Version::HTTP_2 || !http1 {
        *response.headers_mut() = fields(&recorded.headers);
        return;
    }
    if recorded.protocol == Protocol::Http10 {
        *response.version_mut() = Version::HTTP_10;
    }
    if let Some(spelling) = spellings.of(&recorded.headers).await {
        *response.extensions_mut() = spelling;
    }
    if let Ok(reason) = ReasonPhrase::try_from(recorded.reason.as_bytes()) {
        response.extensions_mut().insert(reason);
    }
    let coding = header(&recorded.headers, "transfer-encoding");
    let chunked = coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    for field in &recorded.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        // Where both stand, the length means nothing (RFC 9112, section 6.3).
        let overruled = chunked && is("content-length");
        if !overruled && (chunked || !is("transfer-encoding")) {
            insert(response.headers_mut(), &field.name, &field.value);
        }
    }
}

/// Recorded fields, without those of the connection.
pub(super) fn fields(recorded: &[Header]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(recorded.len());
    for field in recorded {
        let own = OF_THE_CONNECTION.iter().any(|n| field.name.eq_ignore_ascii_case(n.as_bytes()));
        if !own {
            insert(&mut headers, &field.name, &field.value);
        }
    }
    headers
}

/// Adds a field, unless HTTP has no such name or value.
pub(super) fn insert(headers: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        headers.append(name, value);
    }
}

/// What makes hyper write names in a case of their own. It has that for proxies only, and says
/// it of responses that it has parsed: so it is given one with these names.
#[derive(Debug, Default)]
pub(super) struct Spellings(Mutex<HashMap<Vec<u8>, Option<Extensions>>>);

impl Spellings {
    async fn of(&self, fields: &[Header]) -> Option<Extensions> {
        if !fields.iter().any(|field| field.name.iter().any(u8::is_ascii_uppercase)) {
            return None;
        }
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for field in fields {
            head.extend_from_slice(&field.name);
            head.extend_from_slice(b": 0\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let known = self.0.lock().ok().and_then(|known| known.get(&head).cloned());
        if let Some(known) = known {
            return known;
        }
        let found = parsed(&head).await.ok();
        if let Ok(mut known) = self.0.lock() {
            if known.len() >= SPELLINGS_MAX {
                known.clear();
            }
            known.insert(head, found.clone());
        }
        found
    }
}

/// What hyper says of a response with this head.
async fn parsed(head: &[u8]) -> Result<Extensions, Box<dyn std::error::Error + Send + Sync>> {
    let (ours, mut theirs) = tokio::io::duplex(NAMES_BYTES);
    let mut builder = http1::Builder::new();
    let (mut client, connection) =
        builder.preserve_header_case(true).handshake(TokioIo::new(ours)).await?;
    let connection = tokio::spawn(connection);
    let answer = async {
        // A response must not come before its request.
        theirs.read_u8().await?;
        theirs.write_all(head).await
    };
    let request = Request::new(Empty::<Bytes>::new());
    let (response, answered) = tokio::join!(client.send_request(request), answer);
    connection.abort();
    answered?;
    Ok(std::mem::take(response?.extensions_mut()))
}
