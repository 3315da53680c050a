//! Which framing a response's body has, and its frames.

use super::{eventstream, ndjson, sse};

/// What divides a body into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`.
    Sse,
    /// One JSON value a line.
    Lines,
    /// `application/vnd.amazon.eventstream`.
    EventStream,
    /// One JSON value, or an array whose elements come one by one.
    Json,
}

impl Framing {
    /// The framing that a `content-type` names.
    pub fn of_content_type(value: &str) -> Option<Framing> {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "text/event-stream" => Framing::Sse,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Framing::Lines,
            "application/vnd.amazon.eventstream" => Framing::EventStream,
            "application/json" => Framing::Json,
            other if other.ends_with("+json") => Framing::Json,
            _ => return None,
        })
    }

    /// The framing that a body's first bytes look like, where its type says nothing.
    pub fn of_bytes(bytes: &[u8]) -> Option<Framing> {
        let bytes = bytes.trim_ascii_start();
        let sse = [&b"data:"[..], b"event:", b"id:", b"retry:", b":"];
        match bytes.first()? {
            b'{' | b'[' => Some(Framing::Json),
            _ if sse.iter().any(|field| bytes.starts_with(field)) => Some(Framing::Sse),
            _ => None,
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// An event, line, value or message with data.
    Data,
    /// A JSON value that is the whole body.
    Whole,
    /// An exception of an event stream.
    Exception,
    /// A comment: keeps the connection alive.
    Comment,
}

/// One frame of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: FrameKind,
    /// Its name: SSE's `event`, the type of an event stream's event or exception; else empty.
    pub name: &'a str,
    /// Its data.
    pub data: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A frame of data without a name.
    pub fn data(data: &'a [u8]) -> Frame<'a> {
        Frame { kind: FrameKind::Data, name: "", data }
    }
}

/// A parser of any of the framings.
#[derive(Clone, Debug)]
pub enum Framer {
    /// See [`sse`].
    Sse(sse::Parser),
    /// See [`ndjson::Lines`].
    Lines(ndjson::Lines),
    /// See [`eventstream`].
    EventStream(eventstream::Parser),
    /// See [`ndjson::Values`].
    Json(ndjson::Values),
}

impl Framer {
    /// A parser at the beginning of a body.
    pub fn new(framing: Framing) -> Framer {
        match framing {
            Framing::Sse => Framer::Sse(sse::Parser::default()),
            Framing::Lines => Framer::Lines(ndjson::Lines::default()),
            Framing::EventStream => Framer::EventStream(eventstream::Parser::default()),
            Framing::Json => Framer::Json(ndjson::Values::default()),
        }
    }

    /// Takes the next bytes; `each` gets the frames they complete.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        match self {
            Framer::Sse(parser) => parser.push(bytes, sse_frame(each)),
            Framer::Lines(parser) => parser.push(bytes, |line| each(Frame::data(line))),
            Framer::Json(parser) => parser.push(bytes, |data, of_array| {
                let kind = if of_array { FrameKind::Data } else { FrameKind::Whole };
                each(Frame { kind, name: "", data });
            }),
            Framer::EventStream(parser) => {
                parser.push(bytes, |message| {
                    let kind = match message.header(":message-type") {
                        Some("exception" | "error") => FrameKind::Exception,
                        _ => FrameKind::Data,
                    };
                    let name = [":event-type", ":exception-type", ":error-code"];
                    let name = name.iter().find_map(|n| message.header(n)).unwrap_or_default();
                    let data = match message.header(":error-message") {
                        Some(text) if message.payload.is_empty() => text.as_bytes(),
                        _ => message.payload,
                    };
                    each(Frame { kind, name, data });
                });
            }
        }
    }

    /// Ends the body, which is `whole` or was cut off: what only lacks its end comes out. Returns
    /// what is left of it then.
    pub fn finish(&mut self, whole: bool, mut each: impl FnMut(Frame<'_>)) -> Vec<u8> {
        match self {
            Framer::Sse(parser) => {
                if whole {
                    parser.finish(sse_frame(each));
                }
                parser.rest()
            }
            Framer::EventStream(parser) => parser.rest().to_vec(),
            Framer::Lines(parser) => last(parser.rest(), whole, FrameKind::Data, &mut each),
            Framer::Json(parser) => last(parser.rest(), whole, FrameKind::Whole, &mut each),
        }
    }

    /// What is wrong with the bytes, for the user.
    pub fn problem(&self) -> Option<String> {
        let (dropped, what) = match self {
            Framer::Sse(parser) => (parser.dropped(), "events"),
            Framer::Lines(parser) => (parser.dropped(), "lines"),
            Framer::Json(parser) => (parser.dropped(), "values"),
            Framer::EventStream(parser) => return parser.fault().map(|fault| fault.to_string()),
        };
        (dropped > 0).then(|| format!("{dropped} {what} were too long and are left out"))
    }

    /// Whether the answer is a stream: events, lines, or an array's elements.
    pub fn streams(&self) -> bool {
        match self {
            Framer::Json(parser) => parser.is_array(),
            _ => true,
        }
    }
}

/// Comes out if it is JSON as it stands.
fn last(rest: &[u8], whole: bool, kind: FrameKind, each: &mut impl FnMut(Frame<'_>)) -> Vec<u8> {
    let rest = rest.trim_ascii();
    if whole && serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok() {
        each(Frame { kind, name: "", data: rest });
        return Vec::new();
    }
    rest.to_vec()
}

fn sse_frame(mut each: impl FnMut(Frame<'_>)) -> impl FnMut(sse::Item<'_>) {
    move |item| match item {
        sse::Item::Event { name, data, .. } => {
            let name = String::from_utf8_lossy(name);
            each(Frame { kind: FrameKind::Data, name: &name, data });
        }
        sse::Item::Comment(data) => each(Frame { kind: FrameKind::Comment, name: "", data }),
        sse::Item::Retry(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framings_are_known_by_type_or_first_bytes() {
        let of = Framing::of_content_type;
        assert_eq!(of("text/event-stream; charset=utf-8"), Some(Framing::Sse));
        assert_eq!(of("application/problem+json"), Some(Framing::Json));
        assert_eq!(of("text/html"), None);
        assert_eq!(Framing::of_bytes(b"\n: hello\n"), Some(Framing::Sse));
        assert_eq!(Framing::of_bytes(b"{"), Some(Framing::Json));
        assert_eq!(Framing::of_bytes(b"<html>"), None);
    }

    #[test]
    fn an_exception_of_an_event_stream_is_told_apart() {
        let headers = [(":message-type", "exception"), (":exception-type", "throttlingException")];
        let bytes = eventstream::message(&headers, b"{\"message\":\"slow down\"}");
        let mut seen = Vec::new();
        Framer::new(Framing::EventStream)
            .push(&bytes, |frame| seen.push((frame.kind, frame.name.to_owned())));
        assert_eq!(seen, [(FrameKind::Exception, "throttlingException".to_owned())]);
    }
}
