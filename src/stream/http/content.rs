//! Content codings: gzip, deflate, br and zstd taken off a body, with the times kept.

use std::io::Write;

use bytes::Bytes;

use crate::error::Result;
use crate::stream::exchange::header;
use crate::stream::{Body, Chunk, Header};

/// Largest content that is made of an encoded body, bytes.
const CONTENT_BYTES_MAX: usize = 256 << 20;
/// Most codings on top of each other.
const CODINGS_MAX: usize = 4;

/// A body with its content codings removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// The content. Each chunk is what could be decoded when that chunk of the body had come.
    pub body: Body,
    /// Why it is not all there is: an unknown coding, or damage.
    pub problem: Option<String>,
}

/// The content of a body with these header fields.
///
/// # Errors
/// As [`Body::bytes`]; damage of the content itself stands in [`Content::problem`].
pub fn content(headers: &[Header], body: &Body) -> Result<Content> {
    let names = header(headers, "content-encoding").unwrap_or_default();
    let names: Vec<String> = String::from_utf8_lossy(names)
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "identity")
        .collect();
    if names.is_empty() {
        return Ok(Content { body: body.clone(), problem: None });
    }
    let mut out = Output::default();
    // The last coding was put on last.
    let mut coders: Vec<Coder> = Vec::new();
    for name in names.iter().rev() {
        match Coder::new(name) {
            Some(coder) if coders.len() < CODINGS_MAX => coders.push(coder),
            _ => {
                let problem = Some(format!("unknown content coding '{name}'"));
                return Ok(Content { body: body.clone(), problem });
            }
        }
    }
    for (index, chunk) in body.chunks.iter().enumerate() {
        let bytes = body.chunk(index)?;
        if let Err(why) = through(&mut coders, &bytes, &mut out) {
            out.problem = Some(why);
        }
        let end = out.bytes.len() as u64;
        if out.chunks.last().map_or(0, |c: &Chunk| c.end) < end {
            out.chunks.push(Chunk { end, ..*chunk });
        }
        if out.problem.is_some() {
            break;
        }
    }
    Ok(Content { body: Body::held(Bytes::from(out.bytes), out.chunks), problem: out.problem })
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    problem: Option<String>,
}

/// Passes bytes through all codings into the output.
fn through(coders: &mut [Coder], bytes: &[u8], out: &mut Output) -> Result<(), String> {
    let mut now = bytes.to_vec();
    let mut failed = Ok(());
    for coder in coders {
        let (decoded, result) = coder.decode(&now);
        now = decoded;
        if failed.is_ok() {
            failed = result;
        }
    }
    if out.bytes.len() + now.len() > CONTENT_BYTES_MAX {
        return Err(format!("the content has more than {CONTENT_BYTES_MAX} bytes"));
    }
    out.bytes.extend_from_slice(&now);
    failed
}

/// Removes one coding, as far as the bytes so far allow.
enum Coder {
    Gzip(Box<flate2::write::MultiGzDecoder<Limited>>),
    /// `deflate` is zlib's format, and raw deflate with some servers: the first byte tells.
    Deflate(Option<Inflate>),
    Brotli(Box<brotli::DecompressorWriter<Limited>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Limited>>),
}

enum Inflate {
    Zlib(Box<flate2::write::ZlibDecoder<Limited>>),
    Raw(Box<flate2::write::DeflateDecoder<Limited>>),
}

/// Memory that takes only so much at once.
#[derive(Default)]
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > CONTENT_BYTES_MAX {
            return Err(std::io::Error::other("too much content"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Coder {
    fn new(name: &str) -> Option<Coder> {
        /// Bytes that brotli decodes at a time.
        const BROTLI_BYTES: usize = 16 << 10;
        let out = Limited::default();
        Some(match name {
            "gzip" | "x-gzip" => Coder::Gzip(Box::new(flate2::write::MultiGzDecoder::new(out))),
            "deflate" => Coder::Deflate(None),
            "br" => Coder::Brotli(Box::new(brotli::DecompressorWriter::new(out, BROTLI_BYTES))),
            "zstd" => Coder::Zstd(Box::new(zstd::stream::write::Decoder::new(out).ok()?)),
            _ => return None,
        })
    }

    /// What these bytes add; also what came before damage.
    fn decode(&mut self, bytes: &[u8]) -> (Vec<u8>, Result<(), String>) {
        if bytes.is_empty() {
            return (Vec::new(), Ok(()));
        }
        if let Coder::Deflate(inflate @ None) = self {
            // zlib's first byte names the method 8 in its low half (RFC 1950).
            let zlib = bytes.first().is_some_and(|b| b & 0x0f == 8);
            let out = Limited::default();
            *inflate = Some(if zlib {
                Inflate::Zlib(Box::new(flate2::write::ZlibDecoder::new(out)))
            } else {
                Inflate::Raw(Box::new(flate2::write::DeflateDecoder::new(out)))
            });
        }
        let (coder, name): (&mut dyn Write, _) = match self {
            Coder::Gzip(coder) => (coder, "gzip"),
            Coder::Deflate(Some(Inflate::Zlib(coder))) => (coder, "deflate"),
            Coder::Deflate(Some(Inflate::Raw(coder))) => (coder, "deflate"),
            Coder::Deflate(None) => return (Vec::new(), Ok(())),
            Coder::Brotli(coder) => (coder, "br"),
            Coder::Zstd(coder) => (coder, "zstd"),
        };
        let result = coder.write_all(bytes).and_then(|()| coder.flush());
        let result = result.map_err(|e| format!("the content is no {name}: {e}"));
        let out = match self {
            Coder::Gzip(coder) => coder.get_mut(),
            Coder::Deflate(Some(Inflate::Zlib(coder))) => coder.get_mut(),
            Coder::Deflate(Some(Inflate::Raw(coder))) => coder.get_mut(),
            Coder::Deflate(None) => return (Vec::new(), result),
            Coder::Brotli(coder) => coder.get_mut(),
            Coder::Zstd(coder) => coder.get_mut(),
        };
        (std::mem::take(&mut out.0), result)
    }
}
