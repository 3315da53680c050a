//! WebSocket frames (RFC 6455) and their compression (RFC 7692).

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use crate::stream::exchange::MessagePiece;
use crate::stream::{Direction, Message, Segment};

/// Largest message, before and after it is inflated, bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Largest payload of a control frame, bytes.
const CONTROL_BYTES_MAX: u64 = 125;

/// What both ends have agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Messages may be compressed (`permessage-deflate`).
    pub deflate: bool,
    /// The server begins each message with an empty window.
    pub server_no_context: bool,
    /// The client begins each message with an empty window.
    pub client_no_context: bool,
}

impl Extensions {
    /// Reads the `Sec-WebSocket-Extensions` of a response.
    pub fn parse(value: &[u8]) -> Extensions {
        let text = String::from_utf8_lossy(value);
        let mut found = Extensions::default();
        for extension in text.split(',') {
            let mut words = extension.split(';').map(str::trim);
            if words.next() != Some("permessage-deflate") {
                continue;
            }
            found.deflate = true;
            for word in words {
                match word {
                    "server_no_context_takeover" => found.server_no_context = true,
                    "client_no_context_takeover" => found.client_no_context = true,
                    _ => {}
                }
            }
        }
        found
    }
}

/// Decodes both directions of a connection after its upgrade.
pub struct WebSocket {
    client: Side,
    server: Side,
    /// Which way the client's frames go.
    requests: Direction,
}

struct Side {
    header: Vec<u8>,
    frame: Option<Frame>,
    /// Payloads of the message that is being sent.
    message: Vec<u8>,
    pieces: Vec<MessagePiece>,
    /// Opcode of that message and whether it is compressed, from its first frame.
    begun: Option<(u8, bool)>,
    control: Vec<u8>,
    inflate: Option<Inflate>,
    /// It has said goodbye, or its bytes make no sense any more.
    over: bool,
}

#[derive(Clone, Copy)]
struct Frame {
    fin: bool,
    compressed: bool,
    opcode: u8,
    left: u64,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload so far, for the mask.
    at: usize,
}

struct Inflate {
    state: Decompress,
    no_context: bool,
}

impl WebSocket {
    /// Both directions; the client's frames go `requests`' way.
    pub fn new(requests: Direction, extensions: Extensions) -> WebSocket {
        let side = |no_context| {
            let inflate =
                extensions.deflate.then(|| Inflate { state: Decompress::new(false), no_context });
            Side {
                header: Vec::new(),
                frame: None,
                message: Vec::new(),
                pieces: Vec::new(),
                begun: None,
                control: Vec::new(),
                inflate,
                over: false,
            }
        };
        let client = side(extensions.client_no_context);
        WebSocket { client, server: side(extensions.server_no_context), requests }
    }

    /// Takes the next bytes of a direction; `found` gets the messages that end in them.
    ///
    /// # Errors
    /// Why the bytes are no WebSocket frames; nothing more comes from that direction.
    pub fn segment(
        &mut self,
        segment: &Segment<'_>,
        found: &mut impl FnMut(Message),
    ) -> Result<(), String> {
        let client = segment.direction == self.requests;
        let side = if client { &mut self.client } else { &mut self.server };
        let mut rest = segment.bytes;
        while !rest.is_empty() && !side.over {
            let offset = segment.offset + (segment.bytes.len() - rest.len()) as u64;
            match side.take(&mut rest, (segment.log, offset)) {
                Ok(None) => {}
                Ok(Some(Whole { opcode, bytes, pieces })) => {
                    // Nothing follows it (RFC 6455, section 5.5.1).
                    side.over = opcode == Message::CLOSE;
                    found(Message {
                        direction: segment.direction,
                        opcode,
                        bytes,
                        time_ns: segment.time_ns,
                        step: segment.step,
                        pieces,
                    });
                }
                Err(why) => {
                    side.over = true;
                    return Err(why);
                }
            }
        }
        Ok(())
    }
}

/// A message that has come to its end.
struct Whole {
    opcode: u8,
    bytes: Bytes,
    pieces: Vec<MessagePiece>,
}

impl Side {
    /// Takes bytes off `rest`, which stands at a place of a log; a message that ends with them.
    fn take(
        &mut self,
        rest: &mut &[u8],
        (log, offset): (u64, u64),
    ) -> Result<Option<Whole>, String> {
        let Some(frame) = &mut self.frame else {
            let Some((byte, after)) = rest.split_first() else { return Ok(None) };
            self.header.push(*byte);
            *rest = after;
            self.frame = header(&self.header)?;
            let Some(frame) = self.frame else { return Ok(None) };
            self.header.clear();
            self.check(&frame)?;
            return if frame.left == 0 { self.frame_end(&frame) } else { Ok(None) };
        };
        let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
        let (part, after) = rest.split_at(len);
        *rest = after;
        frame.left -= len as u64;
        let control = frame.opcode >= Message::CLOSE;
        let to = if control { &mut self.control } else { &mut self.message };
        if to.len() + len > MESSAGE_BYTES_MAX {
            return Err(format!("a message of more than {MESSAGE_BYTES_MAX} bytes"));
        }
        let mut mask = frame.mask.unwrap_or_default();
        mask.rotate_left(frame.at % 4);
        let piece = MessagePiece { start: to.len(), log, offset, mask };
        if !control && !self.pieces.last().is_some_and(|last| last.goes_on_with(&piece)) {
            self.pieces.push(piece);
        }
        match frame.mask {
            None => to.extend_from_slice(part),
            Some(_) => to.extend(part.iter().zip(mask.iter().cycle()).map(|(byte, m)| byte ^ m)),
        }
        frame.at += len;
        let frame = *frame;
        if frame.left == 0 { self.frame_end(&frame) } else { Ok(None) }
    }

    fn check(&mut self, frame: &Frame) -> Result<(), String> {
        match frame.opcode {
            0 if self.begun.is_none() => Err("a continuation of no message".into()),
            0 => Ok(()),
            Message::TEXT | Message::BINARY if self.begun.is_some() => {
                Err("a message inside another".into())
            }
            Message::TEXT | Message::BINARY if frame.compressed && self.inflate.is_none() => {
                Err("a compressed message without an agreement".into())
            }
            Message::TEXT | Message::BINARY => {
                self.begun = Some((frame.opcode, frame.compressed));
                Ok(())
            }
            Message::CLOSE..=Message::PONG if frame.fin && frame.left <= CONTROL_BYTES_MAX => {
                Ok(())
            }
            Message::CLOSE..=Message::PONG => Err("a control frame that is too long".into()),
            other => Err(format!("a frame of unknown opcode {other}")),
        }
    }

    /// A frame is whole: the message, if it was its last.
    fn frame_end(&mut self, frame: &Frame) -> Result<Option<Whole>, String> {
        self.frame = None;
        let whole = |opcode, bytes: Vec<u8>, pieces| Whole { opcode, bytes: bytes.into(), pieces };
        if frame.opcode >= Message::CLOSE {
            let bytes = std::mem::take(&mut self.control);
            return Ok(Some(whole(frame.opcode, bytes, Vec::new())));
        }
        if !frame.fin {
            return Ok(None);
        }
        let (bytes, pieces) = (std::mem::take(&mut self.message), std::mem::take(&mut self.pieces));
        match (self.begun.take(), &mut self.inflate) {
            (Some((opcode, true)), Some(inflate)) => {
                Ok(Some(whole(opcode, inflate.message(bytes)?, Vec::new())))
            }
            (begun, _) => Ok(begun.map(|(opcode, _)| whole(opcode, bytes, pieces))),
        }
    }
}

/// A frame's header, once its bytes are there.
fn header(bytes: &[u8]) -> Result<Option<Frame>, String> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x30 != 0 {
        return Err("a frame with reserved bits".into());
    }
    let short = second & 0x7f;
    let long = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masked = second & 0x80 != 0;
    if rest.len() < long + if masked { 4 } else { 0 } {
        return Ok(None);
    }
    let (length, mask) = rest.split_at(long);
    let left = match long {
        0 => short.into(),
        _ => length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    let frame = Frame {
        fin: first & 0x80 != 0,
        compressed: first & 0x40 != 0,
        opcode: first & 0x0f,
        left,
        mask: mask.first_chunk().filter(|_| masked).copied(),
        at: 0,
    };
    Ok(Some(frame))
}

impl Inflate {
    /// Inflates a whole message (RFC 7692, section 7.2.2).
    fn message(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        bytes.extend_from_slice(&[0, 0, 0xff, 0xff]);
        if self.no_context {
            self.state.reset(false);
        }
        let mut out = Vec::with_capacity(bytes.len() * 2);
        let mut rest = &bytes[..];
        loop {
            if out.len() > MESSAGE_BYTES_MAX {
                return Err(format!("a message of more than {MESSAGE_BYTES_MAX} bytes"));
            }
            out.reserve(out.len().clamp(4096, 1 << 20));
            let before = self.state.total_in();
            let given = out.len();
            let status = self
                .state
                .decompress_vec(rest, &mut out, FlushDecompress::Sync)
                .map_err(|e| format!("a compressed message: {e}"))?;
            let used = (self.state.total_in() - before) as usize;
            rest = rest.get(used..).unwrap_or_default();
            let full = out.len() == out.capacity();
            match status {
                // A final block: the next message starts anew.
                Status::StreamEnd => {
                    self.state.reset(false);
                    return Ok(out);
                }
                Status::BufError if !full => return Ok(out),
                _ if rest.is_empty() && !full => return Ok(out),
                _ if used == 0 && out.len() == given => {
                    return Err("a compressed message that ends early".into());
                }
                _ => {}
            }
        }
    }
}
