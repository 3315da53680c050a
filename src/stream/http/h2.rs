//! HTTP/2 (RFC 9113).

mod frame;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::draft::{At, Decoded, Draft};
use super::{HEAD_BYTES_MAX, Setting};
use crate::stream::{End, Header, Protocol, Request, Response, Segment};
use frame::{Event, Reader};

/// Streams that can be open at once; more are not decoded.
const STREAMS_MAX: usize = 100_000;

/// One connection.
pub(super) struct H2 {
    setting: Setting,
    client: Side,
    server: Side,
    streams: BTreeMap<u32, Draft>,
    malformed: Option<String>,
}

struct Side {
    reader: Reader,
    hpack: loona_hpack::Decoder<'static>,
    broken: bool,
}

impl Side {
    fn new(preface: bool) -> Side {
        let mut hpack = loona_hpack::Decoder::new();
        // An encoder stays within what the other side has allowed; that is not followed here.
        hpack.set_max_allowed_table_size(HEAD_BYTES_MAX);
        Side { reader: Reader::new(preface), hpack, broken: false }
    }
}

impl H2 {
    pub(super) fn new(setting: Setting) -> H2 {
        let (client, server) = (Side::new(true), Side::new(false));
        H2 { setting, client, server, streams: BTreeMap::new(), malformed: None }
    }

    /// After an upgrade from HTTP/1.1: the first stream answers that request.
    pub(super) fn upgraded(setting: Setting, mut first: Draft) -> H2 {
        let mut h2 = H2::new(setting);
        first.protocol = Protocol::Http2;
        first.stream = Some(1);
        h2.streams.insert(1, first);
        h2
    }

    pub(super) fn segment(&mut self, segment: &Segment<'_>, done: &mut Vec<Decoded>) {
        let client = segment.direction == self.setting.requests;
        let mut rest = *segment;
        while !rest.bytes.is_empty() {
            let side = if client { &mut self.client } else { &mut self.server };
            if side.broken {
                return;
            }
            let taken = side.reader.take(&mut rest);
            let mut result = self.taken(taken, client, &rest, done);
            if result.is_ok() {
                let pending = self.side(client).reader.pending();
                result = self.taken(pending, client, &rest, done);
            }
            if let Err(why) = result {
                let side = if client { &mut self.client } else { &mut self.server };
                side.broken = true;
                self.malformed.get_or_insert(why);
            }
        }
    }

    fn taken(
        &mut self,
        taken: Result<Option<Event<'_>>, String>,
        client: bool,
        segment: &Segment<'_>,
        done: &mut Vec<Decoded>,
    ) -> Result<(), String> {
        taken?.map_or(Ok(()), |event| self.event(event, client, segment, done))
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: bool,
        segment: &Segment<'_>,
        done: &mut Vec<Decoded>,
    ) -> Result<(), String> {
        match event {
            Event::Data { stream, part, first } => {
                if let Some(draft) = self.streams.get_mut(&stream) {
                    let body =
                        if client { &mut draft.request.body } else { &mut draft.response.body };
                    body.push(&part, first);
                }
            }
            Event::DataEnd { stream, last } => {
                if last {
                    self.half_done(stream, client, segment.time_ns, done);
                }
            }
            Event::Headers { stream, block, last, begun } => {
                let fields = fields(&mut self.side(client).hpack, &block)?;
                self.headers(stream, fields, client, begun);
                if last {
                    self.half_done(stream, client, segment.time_ns, done);
                }
            }
            Event::Promise { promised, block, begun } => {
                let fields = fields(&mut self.side(client).hpack, &block)?;
                self.headers(promised, fields, !client, begun);
                self.half_done(promised, true, segment.time_ns, done);
            }
            Event::Reset { stream, code } => {
                if let Some(draft) = self.streams.remove(&stream) {
                    let by = segment.direction;
                    let end = End::Reset { code, by };
                    done.extend(draft.finish(&self.setting, end, segment.time_ns));
                }
            }
        }
        Ok(())
    }

    fn side(&mut self, client: bool) -> &mut Side {
        if client { &mut self.client } else { &mut self.server }
    }

    fn headers(&mut self, stream: u32, fields: Fields, request: bool, begun: At) {
        if !self.streams.contains_key(&stream) {
            // A field section of a stream that has ended, or that began before the recording.
            if self.streams.len() >= STREAMS_MAX || (!request && fields.status.is_none()) {
                return;
            }
            let draft = Draft::new(Protocol::Http2, Some(stream), self.setting.hold);
            self.streams.insert(stream, draft);
        }
        let Some(draft) = self.streams.get_mut(&stream) else { return };
        if request {
            if draft.request.head.is_some() {
                draft.request.trailers = fields.headers;
            } else {
                draft.request.head = Some(fields.request(begun, &self.setting));
            }
            return;
        }
        match fields.status {
            Some(status) if (100..200).contains(&status) => {
                draft.interim.push((status, fields.headers));
            }
            Some(status) if draft.response.head.is_none() => {
                draft.response.head = Some(fields.response(status, begun));
            }
            _ => draft.response.trailers = fields.headers,
        }
    }

    /// A message of a stream is whole.
    fn half_done(&mut self, stream: u32, request: bool, time_ns: u64, done: &mut Vec<Decoded>) {
        let Some(draft) = self.streams.get_mut(&stream) else { return };
        let (flag, ended) = if request {
            (&mut draft.request.done, &mut draft.request.ended_ns)
        } else {
            (&mut draft.response.done, &mut draft.response.ended_ns)
        };
        (*flag, *ended) = (true, time_ns);
        if draft.is_done()
            && let Some(draft) = self.streams.remove(&stream)
        {
            done.extend(draft.finish(&self.setting, End::Complete, time_ns));
        }
    }

    pub(super) fn end(&mut self, end: &End, time_ns: u64, done: &mut Vec<Decoded>) {
        for (_, draft) in std::mem::take(&mut self.streams) {
            let end = match &self.malformed {
                Some(why) => End::Malformed(why.clone()),
                None => end.clone(),
            };
            done.extend(draft.finish(&self.setting, end, time_ns));
        }
    }
}

/// A decoded field section.
#[derive(Default)]
struct Fields {
    method: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    protocol: Option<String>,
    status: Option<u16>,
    headers: Vec<Header>,
}

fn fields(hpack: &mut loona_hpack::Decoder<'_>, block: &[u8]) -> Result<Fields, String> {
    let mut fields = Fields::default();
    let mut bytes = 0;
    let decoded = hpack.decode_with_cb(block, |name, value| {
        // References of a byte can stand for long fields.
        bytes += name.len() + value.len() + 32;
        if bytes > HEAD_BYTES_MAX {
            return;
        }
        let text = || Some(String::from_utf8_lossy(&value).into_owned());
        match &*name {
            b":method" => fields.method = text(),
            b":scheme" => fields.scheme = text(),
            b":authority" => fields.authority = text(),
            b":path" => fields.path = text(),
            b":protocol" => fields.protocol = text(),
            b":status" => fields.status = text().and_then(|t| t.parse().ok()),
            _ => fields.headers.push(Header {
                name: Bytes::copy_from_slice(&name),
                value: Bytes::copy_from_slice(&value),
            }),
        }
    });
    decoded.map_err(|e| format!("a header block: {e}"))?;
    if bytes > HEAD_BYTES_MAX {
        return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes"));
    }
    Ok(fields)
}

impl Fields {
    fn request(self, at: At, setting: &Setting) -> Request {
        let host = || {
            let host = crate::stream::exchange::header(&self.headers, "host")?;
            Some(String::from_utf8_lossy(host).into_owned())
        };
        let authority = self.authority.or_else(host).unwrap_or_else(|| setting.authority.clone());
        Request {
            method: self.method.unwrap_or_default(),
            scheme: self.scheme.unwrap_or_else(|| setting.scheme.to_owned()),
            target: self.path.unwrap_or_else(|| authority.clone()),
            authority,
            headers: self.headers,
            body: Default::default(),
            trailers: Vec::new(),
            started_ns: at.time_ns,
            ended_ns: at.time_ns,
            process: at.process,
            step: at.step,
        }
    }

    fn response(self, status: u16, at: At) -> Response {
        Response {
            status,
            reason: String::new(),
            headers: self.headers,
            protocol: Protocol::Http2,
            interim: Vec::new(),
            body: Default::default(),
            trailers: Vec::new(),
            started_ns: at.time_ns,
            ended_ns: at.time_ns,
            step: at.step,
        }
    }
}
