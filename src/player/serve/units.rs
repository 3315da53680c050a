//! What counts as a token of a streamed body: an event, a line, or a piece.

use crate::stream::Header;
use crate::stream::exchange::header;

/// How a body is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// Server-sent events, which end with an empty line.
    Events,
    /// Lines (NDJSON).
    Lines,
    /// Pieces as they were recorded: compressed bodies, and those of any other kind.
    Pieces,
}

impl Units {
    /// The units of a body with these fields.
    pub(super) fn of(headers: &[Header]) -> Units {
        let field = |name: &str| header(headers, name).unwrap_or_default().to_ascii_lowercase();
        let kind = field("content-type");
        let is = |name: &[u8]| memchr::memmem::find(&kind, name).is_some();
        if !matches!(field("content-encoding").as_slice(), b"" | b"identity") {
            Units::Pieces
        } else if is(b"text/event-stream") {
            Units::Events
        } else if is(b"ndjson") || is(b"jsonl") || is(b"json-lines") {
            Units::Lines
        } else {
            Units::Pieces
        }
    }
}

/// Counts units as a body leaves.
#[derive(Debug)]
pub(super) struct Counter {
    units: Units,
    /// Units so far.
    pub(super) count: usize,
    /// Whether the line so far is empty, and something stands before it.
    empty: bool,
    begun: bool,
}

impl Counter {
    pub(super) fn new(units: Units) -> Counter {
        Counter { units, count: 0, empty: true, begun: false }
    }

    /// Counts the units that end in `bytes`, up to `max` in all; where that one ends.
    pub(super) fn take(&mut self, bytes: &[u8], max: usize) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let ends = match (self.units, byte) {
                (Units::Pieces, _) => false,
                (Units::Lines, _) => *byte == b'\n',
                (Units::Events, b'\n') => {
                    let ends = std::mem::replace(&mut self.empty, true) && self.begun;
                    self.begun &= !ends;
                    ends
                }
                (Units::Events, b'\r') => false,
                (Units::Events, _) => {
                    (self.empty, self.begun) = (false, true);
                    false
                }
            };
            if ends {
                self.count += 1;
                if self.count >= max {
                    return Some(at + 1);
                }
            }
        }
        None
    }

    /// A recorded piece is over; whether that was the last.
    pub(super) fn piece(&mut self, max: usize) -> bool {
        if self.units == Units::Pieces {
            self.count += 1;
        }
        self.count >= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::sample::header;

    #[test]
    fn events_and_lines_are_counted_across_pieces() {
        let mut events = Counter::new(Units::of(&[header("content-type", "text/event-stream")]));
        for (piece, count) in [
            (&b"data: a\n"[..], 0),
            (b"\ndata: b\r\n\r", 1),
            (b"\n\n\n: note\n\nda", 3),
            (b"ta: c\n\n", 4),
        ] {
            assert_eq!(events.take(piece, usize::MAX), None);
            assert!(!events.piece(usize::MAX));
            assert_eq!(events.count, count);
        }
        let mut lines = Counter::new(Units::of(&[header("content-type", "application/x-ndjson")]));
        assert_eq!(lines.take(b"{}\n{}\n{}\n", 2), Some(6));
        let gzip =
            [header("content-type", "text/event-stream"), header("content-encoding", "gzip")];
        let mut pieces = Counter::new(Units::of(&gzip));
        assert_eq!(pieces.take(b"a\n\nb\n\n", 1), None);
        assert!(!pieces.piece(2) && pieces.piece(2));
    }
}
