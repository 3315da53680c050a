//! The chunked transfer coding (RFC 9112, section 7.1).

use super::{HEAD_BYTES_MAX, head};
use crate::stream::body::Builder;
use crate::stream::{Header, Segment};

/// Longest line with a chunk's size and extensions, bytes.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Where a chunked body stands.
#[derive(Default)]
pub(super) struct Chunked {
    state: State,
    line: Vec<u8>,
}

#[derive(Default)]
enum State {
    #[default]
    Size,
    Data {
        left: u64,
        first: bool,
    },
    /// The line end after a chunk's data.
    DataEnd,
    Trailers,
}

impl Chunked {
    /// Takes bytes off `rest`; whether the body ends with them.
    pub(super) fn take(
        &mut self,
        rest: &mut Segment<'_>,
        body: &mut Builder,
        trailers: &mut Vec<Header>,
    ) -> Result<bool, String> {
        match &mut self.state {
            State::Size => {
                if self.take_line(rest, LINE_BYTES_MAX)? {
                    let size = size(&self.line)?;
                    self.line.clear();
                    self.state = match size {
                        0 => State::Trailers,
                        left => State::Data { left, first: true },
                    };
                }
            }
            State::Data { left, first } => {
                let (part, after) = rest.split(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= part.bytes.len() as u64;
                body.push(&part, std::mem::take(first));
                *rest = after;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
            }
            State::DataEnd => {
                if self.take_line(rest, 2)? {
                    if !self.line.trim_ascii().is_empty() {
                        return Err("a chunk longer than its size".into());
                    }
                    self.line.clear();
                    self.state = State::Size;
                }
            }
            State::Trailers => {
                let start = self.line.len();
                if !self.take_line(rest, HEAD_BYTES_MAX)? {
                    return Ok(false);
                }
                // The empty line that ends them stands at the beginning or after another line.
                let from = start.saturating_sub(2);
                if head::end_of_head(&self.line, from).is_some() {
                    *trailers = head::trailers(&self.line)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes bytes up to a line's end; whether it has come.
    fn take_line(&mut self, rest: &mut Segment<'_>, max: usize) -> Result<bool, String> {
        let end = memchr::memchr(b'\n', rest.bytes).map(|at| at + 1);
        let (part, after) = rest.split(end.unwrap_or(usize::MAX));
        if self.line.len() + part.bytes.len() > max {
            return Err("a line in a chunked body that is too long".into());
        }
        self.line.extend_from_slice(part.bytes);
        *rest = after;
        Ok(end.is_some())
    }
}

/// The size in a chunk's first line.
fn size(line: &[u8]) -> Result<u64, String> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    match u64::from_str_radix(text, 16) {
        Ok(size) if plain => Ok(size),
        _ => Err("a chunk without a size".into()),
    }
}
