//! `application/vnd.amazon.eventstream`: messages with a length, headers and two checksums.
//!
//! ```text
//! total length u32be | headers length u32be | CRC32 of these 8 bytes
//! headers: name length u8, name, type u8, value ...
//! payload | CRC32 of all before
//! ```

use std::fmt;

/// Largest message, bytes (the format's own limit is 16 MiB of payload).
pub const MESSAGE_BYTES_MAX: usize = (16 << 20) + (128 << 10) + 16;
/// Length of the prelude with its checksum.
const PRELUDE: usize = 12;
/// Length of the checksum at the end.
const TRAILER: usize = 4;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    headers: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The value of a header of type string (or bytes).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The headers of type string (or bytes) that are UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            loop {
                let (name, value, after) = header(rest)?;
                rest = after;
                if let (Ok(name), Some(value)) = (std::str::from_utf8(name), value)
                    && let Ok(value) = std::str::from_utf8(value)
                {
                    return Some((name, value));
                }
            }
        })
    }
}

/// Name, value (if of type string or bytes) and what follows the first header.
type Header<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let (&len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(len.into())?;
    let (&kind, rest) = rest.split_first()?;
    let fixed = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => {
            let (len, rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
            return Some((name, Some(value), rest));
        }
        9 => 16,
        _ => return None,
    };
    let (_, rest) = rest.split_at_checked(fixed)?;
    Some((name, None, rest))
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The checksum of the lengths does not match.
    PreludeChecksum,
    /// The checksum of the message does not match.
    MessageChecksum,
    /// The lengths are impossible.
    Length(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::PreludeChecksum => f.write_str("the checksum of a message's lengths is wrong"),
            Fault::MessageChecksum => f.write_str("the checksum of a message is wrong"),
            Fault::Length(n) => write!(f, "a message can't be {n} bytes long"),
        }
    }
}

/// A parser that takes the bytes in any pieces.
///
/// ```
/// use rr_run::stream::eventstream::{Parser, message};
/// let bytes = message(&[(":event-type", "messageStop")], b"{}");
/// let mut seen = Vec::new();
/// let mut parser = Parser::default();
/// for piece in bytes.chunks(5) {
///     parser.push(piece, |m| seen.push(m.header(":event-type").map(str::to_owned)));
/// }
/// assert_eq!(seen, [Some("messageStop".to_owned())]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    fault: Option<Fault>,
}

impl Parser {
    /// Takes the next bytes; `each` gets the messages they complete. After a fault, all that
    /// follows is left alone: nothing tells where the next message begins.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while self.fault.is_none() {
            match split(&self.bytes[at..]) {
                Ok(Some((message, len))) => {
                    each(message);
                    at += len;
                }
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
        self.bytes.drain(..at);
        // What follows a fault is not kept: it may be endless.
        if self.fault.is_some() {
            self.bytes.truncate(PRELUDE);
        }
    }

    /// The bytes of the message that has begun, or that are no message.
    pub fn rest(&self) -> &[u8] {
        &self.bytes
    }

    /// Why parsing has stopped.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

/// The first message of `bytes` and its length; none if it is not complete.
fn split(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Fault> {
    let Some(prelude) = bytes.first_chunk::<PRELUDE>() else { return Ok(None) };
    let word = |at: usize| {
        u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]])
    };
    if crc32fast::hash(&prelude[..8]) != word(8) {
        return Err(Fault::PreludeChecksum);
    }
    let (total, headers) = (word(0) as usize, word(4) as usize);
    if total > MESSAGE_BYTES_MAX || total < PRELUDE + TRAILER + headers {
        return Err(Fault::Length(word(0)));
    }
    let Some(message) = bytes.get(..total) else { return Ok(None) };
    let (content, crc) = message.split_at(total - TRAILER);
    if crc32fast::hash(content).to_be_bytes() != crc {
        return Err(Fault::MessageChecksum);
    }
    let (headers, payload) = content[PRELUDE..].split_at(headers);
    Ok(Some((Message { headers, payload }, total)))
}

/// The bytes of a message with these headers of type string. Names are cut at 255 bytes, values
/// at 65,535.
pub fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        let name = &name.as_bytes()[..name.len().min(255)];
        let value = &value.as_bytes()[..value.len().min(65_535)];
        fields.push(name.len() as u8);
        fields.extend_from_slice(name);
        fields.push(7);
        fields.extend_from_slice(&(value.len() as u16).to_be_bytes());
        fields.extend_from_slice(value);
    }
    let total = PRELUDE + fields.len() + payload.len() + TRAILER;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(&(total as u32).to_be_bytes());
    bytes.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&fields);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> (Vec<String>, Parser) {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(piece) {
            parser.push(piece, |m| {
                let headers: Vec<_> = m.headers().map(|(n, v)| format!("{n}={v}")).collect();
                let payload = String::from_utf8_lossy(m.payload);
                seen.push(format!("{} {payload}", headers.join(",")));
            });
        }
        (seen, parser)
    }

    #[test]
    fn a_message_of_the_formats_documentation_is_read() {
        // "all headers" style: a boolean, an integer and a string, built by hand.
        let mut fields = vec![1, b'b', 0, 1, b'n', 4, 0, 0, 0, 9];
        fields.extend_from_slice(&[1, b's', 7, 0, 2, b'o', b'k']);
        let total = (PRELUDE + fields.len() + 2 + TRAILER) as u32;
        let mut bytes = total.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(fields.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend_from_slice(&fields);
        bytes.extend_from_slice(b"{}");
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(read(&bytes, 1).0, ["s=ok {}"]);
    }

    #[test]
    fn an_empty_message_has_the_known_bytes() {
        // The test vector "empty_message" of the AWS SDKs.
        let known = [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255];
        assert_eq!(message(&[], b""), known);
        assert_eq!(read(&known, 3).0, [" "]);
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let mut bytes = message(&[(":event-type", "a"), ("x", "")], b"{\"a\":1}");
        bytes.extend(message(&[], b"second"));
        bytes.extend_from_slice(&[0, 0, 0]);
        for piece in 1..bytes.len() {
            let (seen, parser) = read(&bytes, piece);
            assert_eq!(seen, [":event-type=a,x= {\"a\":1}", " second"]);
            assert_eq!(parser.rest(), [0, 0, 0]);
        }
    }

    #[test]
    fn damage_is_found() {
        let good = message(&[("a", "b")], b"payload");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (seen, parser) = read(&bad, 4);
            assert!(seen.is_empty() && parser.fault().is_some(), "byte {at}");
        }
        let mut long = u32::MAX.to_be_bytes().to_vec();
        long.extend_from_slice(&[0; 4]);
        long.extend_from_slice(&crc32fast::hash(&long).to_be_bytes());
        assert_eq!(read(&long, 64).1.fault(), Some(Fault::Length(u32::MAX)));
    }
}
