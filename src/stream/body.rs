//! A message's content, in memory or left in the log until it is asked for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Chunk;
use crate::error::{Error, Result};

/// A message's content as it was transferred: transfer coding removed, content coding kept.
///
/// A session's bodies stay in its log: [`Body::bytes`] and its like read them when they are
/// called, so that a body may be larger than memory.
///
/// ```
/// use rr_run::stream::Body;
///
/// let body = Body::held(&b"one two"[..], vec![]);
/// assert_eq!((body.len(), &body.bytes()?[..]), (7, &b"one two"[..]));
/// # Ok::<(), rr_run::error::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Body {
    /// The pieces it came in: one for each read (or write) and transfer chunk or DATA frame.
    pub chunks: Vec<Chunk>,
    len: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Held(Bytes),
    Logged { pieces: Vec<Piece>, source: Option<Arc<dyn Source>> },
}

impl Default for Content {
    fn default() -> Content {
        Content::Held(Bytes::new())
    }
}

/// Part of a body that stands in one place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it starts in the body; it ends where the next one starts.
    pub start: u64,
    /// Key of the log: a process's, or that of plaintext.
    pub log: u64,
    /// Where it starts in that log, bytes.
    pub offset: u64,
}

/// Reads a log at a place.
pub trait Source: Send + Sync {
    /// Appends `len` bytes of the log with the key `log`, from `offset` on, to `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if they are not there, or the system's.
    fn read(&self, log: u64, offset: u64, len: usize, out: &mut BytesMut) -> Result<()>;
}

impl Body {
    /// A body whose bytes are at hand.
    pub fn held(bytes: impl Into<Bytes>, chunks: Vec<Chunk>) -> Body {
        let bytes = bytes.into();
        Body { chunks, len: bytes.len() as u64, content: Content::Held(bytes) }
    }

    /// A body of `len` bytes that stand in the log at `pieces`.
    pub fn logged(
        len: u64,
        chunks: Vec<Chunk>,
        pieces: Vec<Piece>,
        source: Option<Arc<dyn Source>>,
    ) -> Body {
        Body { chunks, len, content: Content::Logged { pieces, source } }
    }

    /// Its length, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it stands in the log; nothing for a body in memory.
    pub fn pieces(&self) -> &[Piece] {
        match &self.content {
            Content::Held(_) => &[],
            Content::Logged { pieces, .. } => pieces,
        }
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn bytes(&self) -> Result<Bytes> {
        self.read(0..self.len)
    }

    /// Bytes of the chunk with this index; empty if there is none.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn chunk(&self, index: usize) -> Result<Bytes> {
        let Some(chunk) = self.chunks.get(index) else { return Ok(Bytes::new()) };
        let start = index.checked_sub(1).and_then(|i| self.chunks.get(i)).map_or(0, |c| c.end);
        self.read(start..chunk.end)
    }

    /// The bytes in this range, as far as it lies in the body.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        let (pieces, source) = match &self.content {
            Content::Held(bytes) => return Ok(bytes.slice(start as usize..end as usize)),
            Content::Logged { pieces, source } => (pieces, source),
        };
        let Some(source) = source else {
            let missing = std::io::Error::other("the body was decoded without its log");
            return Err(Error::io("read a body")(missing));
        };
        let mut out = BytesMut::with_capacity((end - start).min(1 << 24) as usize);
        let first = pieces.partition_point(|p| p.start <= start).saturating_sub(1);
        let ends = pieces.iter().skip(first + 1).map(|p| p.start).chain([self.len]);
        for (piece, piece_end) in pieces.iter().skip(first).zip(ends) {
            let (from, to) = (piece.start.max(start), piece_end.min(end));
            if from >= to {
                break;
            }
            let offset = piece.offset + (from - piece.start);
            source.read(piece.log, offset, (to - from) as usize, &mut out)?;
        }
        Ok(out.freeze())
    }

    /// The same body, read from `source`; one in memory stays as it is.
    pub(crate) fn attach(&mut self, from: &Arc<dyn Source>) {
        if let Content::Logged { source, .. } = &mut self.content {
            *source = Some(from.clone());
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::held(text, Vec::new())
    }
}

impl PartialEq for Body {
    /// Whether chunks and content are equal; of bodies in the log, their places are compared.
    fn eq(&self, other: &Body) -> bool {
        let content = match (&self.content, &other.content) {
            (Content::Held(a), Content::Held(b)) => a == b,
            (Content::Logged { pieces: a, .. }, Content::Logged { pieces: b, .. }) => a == b,
            _ => false,
        };
        content && self.len == other.len && self.chunks == other.chunks
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Body");
        out.field("len", &self.len).field("chunks", &self.chunks.len());
        match &self.content {
            Content::Held(bytes) => out.field("held", bytes),
            Content::Logged { pieces, .. } => out.field("pieces", &pieces.len()),
        };
        out.finish()
    }
}

/// Puts a body together while it is decoded.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    chunks: Vec<Chunk>,
    pieces: Vec<Piece>,
    len: u64,
    /// The bytes themselves, for what has no log.
    held: Option<BytesMut>,
}

impl Builder {
    /// A body that keeps its bytes, if `hold`, or else only their places in the log.
    pub(crate) fn new(hold: bool) -> Builder {
        Builder { held: hold.then(BytesMut::new), ..Builder::default() }
    }

    /// Adds the bytes of a segment's part. What one call moved is one chunk, unless `apart` says
    /// that a transfer chunk or frame begins here.
    pub(crate) fn push(&mut self, part: &super::Segment<'_>, apart: bool) {
        if part.bytes.is_empty() {
            return;
        }
        let start = self.len;
        self.len += part.bytes.len() as u64;
        match &mut self.held {
            Some(held) => held.extend_from_slice(part.bytes),
            None => self.place(start, part),
        }
        let (end, time_ns, step) = (self.len, part.time_ns, part.step);
        match self.chunks.last_mut() {
            Some(last) if !apart && (last.time_ns, last.step) == (time_ns, step) => last.end = end,
            _ => self.chunks.push(Chunk { end, time_ns, step }),
        }
    }

    fn place(&mut self, start: u64, part: &super::Segment<'_>) {
        let follows = self.pieces.last().is_some_and(|last| {
            last.log == part.log && last.offset + (start - last.start) == part.offset
        });
        if !follows {
            self.pieces.push(Piece { start, log: part.log, offset: part.offset });
        }
    }

    /// The body.
    pub(crate) fn finish(self) -> Body {
        match self.held {
            Some(held) => Body::held(held.freeze(), self.chunks),
            None => Body::logged(self.len, self.chunks, self.pieces, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text;

    impl Source for Text {
        fn read(&self, log: u64, offset: u64, len: usize, out: &mut BytesMut) -> Result<()> {
            let all = if log == 1 { "abcdefgh" } else { "ABCDEFGH" };
            out.extend_from_slice(&all.as_bytes()[offset as usize..offset as usize + len]);
            Ok(())
        }
    }

    #[test]
    fn parts_are_read_from_where_they_stand() {
        let piece = |start, log, offset| Piece { start, log, offset };
        let pieces = vec![piece(0, 1, 1), piece(3, 2, 0), piece(5, 1, 6)];
        let chunks = [3, 6, 7].map(|end| Chunk { end, time_ns: end, step: end }).to_vec();
        let body = Body::logged(7, chunks, pieces, Some(Arc::new(Text)));
        assert_eq!(body.bytes().unwrap(), "bcdABgh");
        assert_eq!(body.read(2..6).unwrap(), "dABg");
        assert_eq!(body.read(6..100).unwrap(), "h");
        let chunks: Vec<Bytes> = (0..4).map(|i| body.chunk(i).unwrap()).collect();
        assert_eq!(chunks, ["bcd", "ABg", "h", ""]);
    }
}
