//! What counts as a token of a streamed body: an event, a line, or a piece.

use crate::player::key::field;
use crate::stream::Header;
use crate::stream::framing::Framing;

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
        if field(headers, "content-encoding").is_some_and(|coding| coding != "identity") {
            return Units::Pieces;
        }
        match field(headers, "content-type").and_then(|kind| Framing::of_content_type(&kind)) {
            Some(Framing::Sse) => Units::Events,
            Some(Framing::Lines) => Units::Lines,
            _ => Units::Pieces,
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
        if self.units == Units::Pieces {
            return None;
        }
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

    /// A recorded piece leaves; whether that is the last.
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
