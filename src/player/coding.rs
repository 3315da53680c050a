//! Content codings of bodies.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::stream::Header;

use super::key::field;

/// Most that a request's body is decoded to, bytes: what is larger is compared as it came.
const DECODED_BYTES_MAX: u64 = 256 << 20;

/// A body without its content codings; as it is, if one is unknown or it is not well-formed.
pub fn decoded<'a>(headers: &[Header], bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(codings) = field(headers, "content-encoding") else { return bytes.into() };
    let mut current = Cow::Borrowed(bytes);
    for coding in codings.rsplit(',') {
        match one(&coding.trim().to_ascii_lowercase(), &current) {
            Ok(Some(next)) => current = next.into(),
            Ok(None) => {}
            Err(_) => return bytes.into(),
        }
    }
    current
}

fn one(coding: &str, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let reader: Box<dyn Read + '_> = match coding {
        "" | "identity" => return Ok(None),
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?),
        other => return Err(io::Error::other(format!("unknown coding {other}"))),
    };
    if reader.take(DECODED_BYTES_MAX + 1).read_to_end(&mut out)? as u64 > DECODED_BYTES_MAX {
        return Err(io::Error::other("too long"));
    }
    Ok(Some(out))
}
