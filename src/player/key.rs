//! Canonical requests and their fingerprints (the io_key).
//!
//! Two requests with the same canonical form ask the same. What says nothing about the question
//! is left out: most header fields, credentials in the query, the order of JSON members and of
//! query parameters, the boundary of a multipart body, its transfer and content coding.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::stream::exchange::header;
use crate::stream::http::content;
use crate::stream::{Header, Request};

/// Header fields that are compared unless the rules name more: those that choose the answer.
pub const HEADERS: [&str; 6] =
    ["anthropic-version", "content-type", "depth", "git-protocol", "range", "x-amz-target"];

/// Query parameters that carry credentials; they are never compared, nor shown.
const CREDENTIALS: [&str; 9] = [
    "key",
    "api_key",
    "apikey",
    "access_token",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "sig",
];

/// A request in the form in which it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical {
    /// Method, upper case.
    pub method: String,
    /// Host in lower case, with its port unless that is the scheme's.
    pub host: String,
    /// Path, percent-decoded where that is unambiguous.
    pub path: String,
    /// Query parameters, decoded, by name.
    pub query: Vec<(String, String)>,
    /// The chosen header fields, by name.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Content,
}

/// A body in the form in which it is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// No bytes.
    Empty,
    /// JSON.
    Json(Value),
    /// A form: fields in order.
    Form(Vec<(String, String)>),
    /// The parts of a multipart body, in order.
    Multipart(Vec<Part>),
    /// Other text.
    Text(String),
    /// Anything else, by its hash.
    Binary {
        /// Length, bytes.
        bytes: u64,
        /// BLAKE3, in hexadecimal.
        hash: String,
    },
}

/// One part of a multipart body.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Field name.
    pub name: String,
    /// File name, if it has one.
    pub filename: Option<String>,
    /// Its content.
    pub content: Content,
}

/// Hash of a canonical request without its host: 128 bits of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Canonical {
    /// The canonical form of a request; `more` names header fields to compare besides
    /// [`HEADERS`], in lower case.
    ///
    /// # Errors
    /// The body can't be read.
    pub fn new(request: &Request, more: &[String]) -> Result<Canonical> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut query: Vec<_> = pairs(query.split('#').next().unwrap_or_default());
        query.retain(|(name, _)| !CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()));
        query.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Canonical {
            method: request.method.to_ascii_uppercase(),
            host: host(&request.authority, &request.scheme),
            path: decoded_path(path),
            query,
            headers: chosen(&request.headers, more),
            body: body(request)?,
        })
    }

    /// Its hash, the host left out.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Hasher::default();
        hasher.text(&self.method);
        hasher.text(&self.path);
        hasher.pairs(&self.query);
        hasher.pairs(&self.headers);
        hasher.content(&self.body);
        hasher.finish()
    }

    /// As JSON, for reports.
    pub fn to_json(&self) -> Value {
        let strings = |pairs: &[(String, String)]| {
            let member = |(n, v): &(String, String)| (n.clone(), Value::String(v.clone()));
            Value::Object(pairs.iter().map(member).collect())
        };
        let mut map = Map::new();
        map.insert("method".into(), self.method.clone().into());
        map.insert("host".into(), self.host.clone().into());
        map.insert("path".into(), self.path.clone().into());
        if !self.query.is_empty() {
            map.insert("query".into(), strings(&self.query));
        }
        if !self.headers.is_empty() {
            map.insert("headers".into(), strings(&self.headers));
        }
        if self.body != Content::Empty {
            map.insert("body".into(), self.body.to_json());
        }
        Value::Object(map)
    }

    /// Reads [`Canonical::to_json`]'s form; none if the body is of a kind that it does not tell.
    pub fn from_json(json: &Value) -> Option<Canonical> {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let strings = |name: &str| {
            let members = json[name].as_object().into_iter().flatten();
            members.map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
        };
        let headers: Vec<_> = strings("headers");
        let is_json = headers.iter().any(|(n, v)| n == "content-type" && v.contains("json"));
        let body = match &json["body"] {
            Value::Null => Content::Empty,
            Value::Object(map) if map.len() == 2 && map.contains_key("blake3") => return None,
            // Clients do not always say that what they send is JSON.
            body @ (Value::Object(_) | Value::Number(_) | Value::Bool(_)) => {
                Content::Json(body.clone())
            }
            body if is_json => Content::Json(body.clone()),
            Value::String(text) => Content::Text(text.clone()),
            Value::Array(_) => return None,
        };
        Some(Canonical {
            method: text("method")?,
            host: text("host")?,
            path: text("path")?,
            query: strings("query"),
            headers,
            body,
        })
    }
}

impl Content {
    /// As JSON, for reports.
    pub fn to_json(&self) -> Value {
        match self {
            Content::Empty => Value::Null,
            Content::Json(value) => value.clone(),
            Content::Text(text) => Value::String(text.clone()),
            Content::Form(fields) => fields
                .iter()
                .map(|(name, value)| Value::String(format!("{name}={value}")))
                .collect::<Vec<_>>()
                .into(),
            Content::Multipart(parts) => parts
                .iter()
                .map(|part| {
                    serde_json::json!({
                        "name": part.name,
                        "filename": part.filename,
                        "content": part.content.to_json(),
                    })
                })
                .collect::<Vec<_>>()
                .into(),
            Content::Binary { bytes, hash } => {
                serde_json::json!({ "bytes": bytes, "blake3": hash })
            }
        }
    }

    /// The JSON in it, if it is JSON.
    pub fn json(&self) -> Option<&Value> {
        match self {
            Content::Json(value) => Some(value),
            _ => None,
        }
    }
}

/// First field of this name as text.
pub fn field<'a>(headers: &'a [Header], name: &str) -> Option<Cow<'a, str>> {
    header(headers, name).map(String::from_utf8_lossy)
}

/// Host in lower case, without the port that the scheme implies.
pub fn host(authority: &str, scheme: &str) -> String {
    let authority = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let implied = if scheme == "http" { ":80" } else { ":443" };
    authority.strip_suffix(implied).unwrap_or(&authority).to_owned()
}

fn chosen(headers: &[Header], more: &[String]) -> Vec<(String, String)> {
    let mut chosen = Vec::new();
    for field in headers {
        let Ok(name) = std::str::from_utf8(&field.name) else { continue };
        let name = name.to_ascii_lowercase();
        if !HEADERS.contains(&name.as_str()) && !more.contains(&name) {
            continue;
        }
        let value = String::from_utf8_lossy(&field.value);
        // Boundaries are random, and a charset of JSON says nothing.
        let value = if name == "content-type" { media_type(&value) } else { value.into_owned() };
        chosen.push((name, value));
    }
    chosen.sort();
    chosen
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Decodes escapes of unreserved characters only: `%2F` is not a separator.
fn decoded_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3);
        let byte = escape.and_then(|e| u8::from_str_radix(&e[1..], 16).ok());
        match (byte, escape) {
            (Some(b), _) if b.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(&b) => {
                out.push(char::from(b));
            }
            (Some(_), Some(escape)) => out.push_str(&escape.to_ascii_uppercase()),
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    if out.is_empty() { "/".into() } else { out }
}

/// Fields of a query or a form, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn body(request: &Request) -> Result<Content> {
    if request.body.is_empty() {
        return Ok(Content::Empty);
    }
    let kind = field(&request.headers, "content-type").unwrap_or_default();
    let mut body = request.body.clone();
    if header(&request.headers, "content-encoding").is_some() {
        let content = content::content(&request.headers, &request.body)?;
        // What can't be decoded is compared as it came.
        if content.problem.is_none() {
            body = content.body;
        }
    }
    Ok(typed(&kind, &media_type(&kind), &body.bytes()?))
}

fn typed(kind: &str, essence: &str, bytes: &[u8]) -> Content {
    // Clients send JSON under many names (curl -d: as a form).
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let looks_json = essence.contains("json") || matches!(first, Some(b'{' | b'['));
    if looks_json && let Ok(value) = serde_json::from_slice(bytes) {
        return Content::Json(value);
    }
    if essence == "multipart/form-data" || essence == "multipart/mixed" {
        let boundary = kind.split(';').filter_map(|p| p.trim().strip_prefix("boundary=")).next();
        if let Some(parts) = boundary.and_then(|b| multipart(bytes, b.trim_matches('"'))) {
            return Content::Multipart(parts);
        }
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if essence == "application/x-www-form-urlencoded" => Content::Form(pairs(text)),
        Ok(text) => Content::Text(text.to_owned()),
        Err(_) => Content::Binary {
            bytes: bytes.len() as u64,
            hash: blake3::hash(bytes).to_hex().to_string(),
        },
    }
}

/// The parts between the boundaries; none if it is not well-formed.
fn multipart(bytes: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memchr::memmem::find_iter(bytes, delimiter.as_bytes()).collect();
    let mut parts = Vec::new();
    for pair in starts.windows(2) {
        let part = bytes.get(pair[0] + delimiter.len()..pair[1])?;
        let part = part.strip_prefix(b"\r\n")?;
        let part = part.strip_suffix(b"\r\n").unwrap_or(part);
        let end = memchr::memmem::find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..end]);
        let content = &part[end + 4..];
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
        };
        let disposition = field("content-disposition").unwrap_or_default();
        let parameter = |name: &str| {
            let mut all = disposition.split(';').filter_map(|p| p.trim().split_once('='));
            all.find(|(n, _)| *n == name).map(|(_, v)| v.trim_matches('"').to_owned())
        };
        let kind = field("content-type").unwrap_or_default();
        parts.push(Part {
            name: parameter("name").unwrap_or_default(),
            filename: parameter("filename"),
            content: typed(kind, &media_type(kind), content),
        });
    }
    starts
        .last()
        .filter(|at| bytes.get(**at + delimiter.len()..).is_some_and(|r| r.starts_with(b"--")))?;
    Some(parts)
}

/// Hashes values so that no two different ones give the same input.
#[derive(Default)]
pub(super) struct Hasher(blake3::Hasher);

impl Hasher {
    fn tag(&mut self, tag: u8, length: usize) {
        let mut head = [0; 9];
        head[0] = tag;
        head[1..].copy_from_slice(&(length as u64).to_le_bytes());
        self.0.update(&head);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.tag(b's', text.len());
        self.0.update(text.as_bytes());
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        self.tag(b'p', pairs.len());
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Empty => self.tag(b'e', 0),
            Content::Json(value) => self.value(value),
            Content::Form(fields) => self.pairs(fields),
            Content::Multipart(parts) => {
                self.tag(b'm', parts.len());
                for part in parts {
                    self.text(&part.name);
                    self.text(part.filename.as_deref().unwrap_or_default());
                    self.content(&part.content);
                }
            }
            Content::Text(text) => self.text(text),
            Content::Binary { hash, .. } => {
                self.tag(b'b', 0);
                self.text(hash);
            }
        }
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.tag(b'n', 0),
            Value::Bool(b) => self.tag(b'l', usize::from(*b)),
            Value::Number(number) => {
                self.tag(b'd', 0);
                // 1, 1.0 and 1e0 are one number; beyond 2^53 the text decides.
                match (number.as_i64(), number.as_f64()) {
                    (Some(n), _) if n.unsigned_abs() < 1 << 53 => self.number(n as f64),
                    (None, Some(n)) if n.abs() < 9e15 => self.number(n),
                    _ => self.text(&number.to_string()),
                }
            }
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.tag(b'a', items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Object(map) => {
                self.tag(b'o', map.len());
                let mut members: Vec<_> = map.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in members {
                    self.text(name);
                    self.value(value);
                }
            }
        }
    }

    fn number(&mut self, n: f64) {
        // -0.0 equals 0.0.
        self.0.update(&(n + 0.0).to_le_bytes());
    }

    pub(super) fn finish(&self) -> Fingerprint {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        Fingerprint(u128::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::player::sample;
    use crate::stream::Body;

    fn fingerprint(request: &Request) -> Fingerprint {
        Canonical::new(request, &[]).unwrap().fingerprint()
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let mut a = sample::post("/v1/x?b=2&a=1&key=secret", &json!({"a": 1, "b": [1.0, "x"]}));
        let mut b = sample::post("/v1/%78?a=1&b=2", &json!({"b": [1, "x"], "a": 1.0}));
        b.body = r#" {"b":[1,"x"] , "a":1e0}"#.into();
        a.headers.push(sample::header("Authorization", "Bearer 1"));
        b.headers.push(sample::header("x-stainless-os", "Linux"));
        assert_eq!(fingerprint(&a), fingerprint(&b));
        b.headers.push(sample::header("Range", "bytes=1-2"));
        assert_ne!(fingerprint(&a), fingerprint(&b));
    }

    #[test]
    fn hosts_lose_the_implied_port() {
        assert_eq!(host("API.x.com:443", "https"), "api.x.com");
        assert_eq!(host("a:443", "http"), "a:443");
        assert_eq!(host("user:p@a:80", "http"), "a");
    }

    #[test]
    fn multipart_bodies_do_not_depend_on_their_boundary() {
        let with = |boundary: &str| {
            let mut request = sample::post("/upload", &json!(null));
            request.headers = vec![sample::header(
                "content-type",
                &format!("multipart/form-data; boundary={boundary}"),
            )];
            let body = format!(
                "--{boundary}\r\n\
                 Content-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\n\
                 Content-Type: application/json\r\n\r\n{{\"x\":1}}\r\n--{boundary}--\r\n"
            );
            request.body = Body::held(body, Vec::new());
            Canonical::new(&request, &[]).unwrap()
        };
        let (a, b) = (with("one"), with("another"));
        assert_eq!(a, b);
        assert!(matches!(&a.body, Content::Multipart(parts) if parts.len() == 1));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-c]{1,3}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_fingerprints_are_equal_values(a in value(), b in value()) {
            let of = |v: &Value| fingerprint(&sample::post("/", v));
            prop_assert_eq!(a == b, of(&a) == of(&b));
        }

        #[test]
        fn any_bytes_have_a_canonical_form(
            target in "\\PC{0,40}", kind in "\\PC{0,40}", body: Vec<u8>,
        ) {
            let mut request = sample::post(&target, &json!(null));
            request.headers = vec![sample::header("content-type", &kind)];
            request.body = Body::held(body, Vec::new());
            Canonical::new(&request, &[]).unwrap().fingerprint();
        }
    }
}
