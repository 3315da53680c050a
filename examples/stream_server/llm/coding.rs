//! Content codings of a stream: each event can be decoded once it has come.

use std::io::{self, Write};

use flate2::write::GzEncoder;

/// What compresses a stream.
pub(super) enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    /// The one that a model's name asks for, if the client accepts it.
    pub(super) fn new(model: &str, accepts: &str) -> Option<Coder> {
        const BUFFER_BYTES: usize = 4096;
        let accepts = |name| accepts.split(',').any(|part| part.trim() == name);
        Some(if model.contains("gzip") && accepts("gzip") {
            Coder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
        } else if model.contains("brotli") && accepts("br") {
            let coder = brotli::CompressorWriter::new(Vec::new(), BUFFER_BYTES, 5, 20);
            Coder::Brotli(Box::new(coder))
        } else if model.contains("zstd") && accepts("zstd") {
            Coder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3).ok()?)
        } else {
            return None;
        })
    }

    /// As `Content-Encoding` names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Coder::Gzip(_) => "gzip",
            Coder::Brotli(_) => "br",
            Coder::Zstd(_) => "zstd",
        }
    }

    /// What goes over the wire for these bytes.
    pub(super) fn coded(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let coder: &mut dyn Write = match self {
            Coder::Gzip(coder) => coder,
            Coder::Brotli(coder) => coder,
            Coder::Zstd(coder) => coder,
        };
        coder.write_all(bytes)?;
        coder.flush()?;
        Ok(std::mem::take(match self {
            Coder::Gzip(coder) => coder.get_mut(),
            Coder::Brotli(coder) => coder.get_mut(),
            Coder::Zstd(coder) => coder.get_mut(),
        }))
    }

    /// The end.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Coder::Gzip(coder) => coder.finish(),
            Coder::Brotli(coder) => Ok(coder.into_inner()),
            Coder::Zstd(coder) => coder.finish(),
        }
    }
}
