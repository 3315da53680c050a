//! Frames (RFC 9113, section 4), taken from bytes that come in any portions.

use super::super::draft::At;
use super::super::sniff::PREFACE;
use crate::stream::Segment;

/// Bytes of a frame's header.
const HEADER_BYTES: usize = 9;
/// Largest field block over a HEADERS frame and its CONTINUATIONs, bytes.
const BLOCK_BYTES_MAX: usize = 256 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// What the frames of one direction say.
pub(super) enum Event<'a> {
    /// Part of a DATA frame's content; `first` of this frame.
    Data { stream: u32, part: Segment<'a>, first: bool },
    /// A DATA frame is whole; `last` of its message.
    DataEnd { stream: u32, last: bool },
    /// A field section is whole; `last` of its message.
    Headers { stream: u32, block: Vec<u8>, last: bool, begun: At },
    /// The server announces what it answers unasked.
    Promise { promised: u32, block: Vec<u8>, begun: At },
    /// The stream was given up.
    Reset { stream: u32, code: u32 },
}

/// Reads the frames of one direction.
pub(super) struct Reader {
    /// Bytes of the preface still expected.
    preface: usize,
    header: Vec<u8>,
    begun: At,
    frame: Option<Frame>,
    payload: Vec<u8>,
    /// A field section whose CONTINUATIONs follow.
    section: Option<Section>,
}

#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes of the payload that have not come.
    left: usize,
    /// DATA: padding at its end, once it is known.
    padding: Option<usize>,
    /// DATA: none of its content has come yet.
    first: bool,
    /// Whether its payload is gathered.
    gather: bool,
}

struct Section {
    stream: u32,
    promised: Option<u32>,
    block: Vec<u8>,
    last: bool,
    begun: At,
}

impl Reader {
    /// A reader of a direction that begins with the client's preface or not.
    pub(super) fn new(preface: bool) -> Reader {
        Reader {
            preface: if preface { PREFACE.len() } else { 0 },
            header: Vec::new(),
            begun: At::default(),
            frame: None,
            payload: Vec::new(),
            section: None,
        }
    }

    /// Takes bytes off `rest`; what is then known, if anything is.
    pub(super) fn take<'a>(&mut self, rest: &mut Segment<'a>) -> Result<Option<Event<'a>>, String> {
        if self.preface > 0 {
            let at = PREFACE.len() - self.preface;
            let (part, after) = rest.split(self.preface);
            if PREFACE.get(at..at + part.bytes.len()) != Some(part.bytes) {
                return Err("no preface of HTTP/2".into());
            }
            self.preface -= part.bytes.len();
            *rest = after;
            return Ok(None);
        }
        let Some(frame) = &mut self.frame else {
            if self.header.is_empty() {
                self.begun = At::from(&*rest);
            }
            let (part, after) = rest.split(HEADER_BYTES - self.header.len());
            self.header.extend_from_slice(part.bytes);
            *rest = after;
            if let Some(header) = self.header.first_chunk::<HEADER_BYTES>() {
                let frame = self.begin(*header)?;
                self.header.clear();
                self.frame = Some(frame);
                if frame.left == 0 {
                    return self.end(frame);
                }
            }
            return Ok(None);
        };
        let mut data = None;
        if frame.kind == DATA {
            data = frame.data(rest)?;
        } else {
            let (part, after) = rest.split(frame.left);
            frame.left -= part.bytes.len();
            if frame.gather {
                self.payload.extend_from_slice(part.bytes);
            }
            *rest = after;
        }
        // The end of a DATA frame is told after its content.
        match data {
            Some(part) => Ok(Some(part)),
            None if frame.left == 0 => {
                let frame = *frame;
                self.end(frame)
            }
            None => Ok(None),
        }
    }

    /// A DATA frame whose content was told ends now: not a byte is needed for it.
    pub(super) fn pending(&mut self) -> Result<Option<Event<'static>>, String> {
        match self.frame {
            Some(frame) if frame.left == 0 => self.end(frame),
            _ => Ok(None),
        }
    }

    fn begin(&mut self, header: [u8; HEADER_BYTES]) -> Result<Frame, String> {
        let [a, b, c, kind, flags, stream @ ..] = header;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let continues = kind == CONTINUATION;
        if self.section.as_ref().is_some_and(|s| !continues || s.stream != stream)
            || (continues && self.section.is_none())
        {
            return Err("a field section without its continuation".into());
        }
        let gather = matches!(kind, HEADERS | RST_STREAM | PUSH_PROMISE | CONTINUATION);
        let gathered = self.section.as_ref().map_or(0, |s| s.block.len());
        if gather && gathered + len > BLOCK_BYTES_MAX {
            return Err(format!("a field section of more than {BLOCK_BYTES_MAX} bytes"));
        }
        if kind == DATA && stream == 0 {
            return Err("data without a stream".into());
        }
        self.payload.clear();
        let padding = (flags & PADDED == 0).then_some(0);
        Ok(Frame { kind, flags, stream, left: len, padding, first: true, gather })
    }

    /// The frame is whole.
    fn end(&mut self, frame: Frame) -> Result<Option<Event<'static>>, String> {
        self.frame = None;
        let stream = frame.stream;
        let last = frame.flags & END_STREAM != 0;
        match frame.kind {
            DATA => return Ok(Some(Event::DataEnd { stream, last })),
            RST_STREAM => {
                let code = self.payload.first_chunk().map(|c| u32::from_be_bytes(*c));
                let code = code.ok_or("a reset without its code")?;
                return Ok(Some(Event::Reset { stream, code }));
            }
            HEADERS | PUSH_PROMISE => {
                let mut content = unpadded(&self.payload, frame.flags)?;
                let mut promised = None;
                if frame.kind == PUSH_PROMISE {
                    let (id, rest) = content.split_first_chunk().ok_or("a promise of nothing")?;
                    promised = Some(u32::from_be_bytes(*id) & 0x7fff_ffff);
                    content = rest;
                } else if frame.flags & PRIORITY != 0 {
                    content = content.get(5..).ok_or("a priority that ends early")?;
                }
                let (block, begun) = (content.to_vec(), self.begun);
                self.section = Some(Section { stream, promised, block, last, begun });
            }
            CONTINUATION => {
                if let Some(section) = &mut self.section {
                    section.block.extend_from_slice(&self.payload);
                }
            }
            _ => return Ok(None),
        }
        if frame.flags & END_HEADERS == 0 {
            return Ok(None);
        }
        let Some(Section { stream, promised, block, last, begun }) = self.section.take() else {
            return Ok(None);
        };
        Ok(Some(match promised {
            Some(promised) => Event::Promise { promised, block, begun },
            None => Event::Headers { stream, block, last, begun },
        }))
    }
}

impl Frame {
    /// Takes bytes of a DATA frame off `rest`; its content among them.
    fn data<'a>(&mut self, rest: &mut Segment<'a>) -> Result<Option<Event<'a>>, String> {
        let Some(padding) = self.padding else {
            let (part, after) = rest.split(1);
            let padding = part.bytes.first().map_or(0, |b| usize::from(*b));
            self.left -= part.bytes.len();
            *rest = after;
            self.padding = Some(padding);
            return if padding <= self.left { Ok(None) } else { Err(TOO_LONG.into()) };
        };
        let (part, after) = rest.split(self.left.saturating_sub(padding));
        if part.bytes.is_empty() {
            let (pad, after) = rest.split(self.left);
            self.left -= pad.bytes.len();
            *rest = after;
            return Ok(None);
        }
        self.left -= part.bytes.len();
        *rest = after;
        let first = std::mem::take(&mut self.first);
        Ok(Some(Event::Data { stream: self.stream, part, first }))
    }
}

const TOO_LONG: &str = "a padding longer than its frame";

/// A payload without its padding.
fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], &'static str> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (len, rest) = payload.split_first().ok_or(TOO_LONG)?;
    let end = rest.len().checked_sub(usize::from(*len)).ok_or(TOO_LONG)?;
    Ok(rest.get(..end).unwrap_or_default())
}
