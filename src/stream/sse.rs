//! Server-sent events (WHATWG HTML, section 9.2.6), as their bytes come.

/// Largest event that is taken, bytes; what is longer is dropped and counted.
pub const EVENT_BYTES_MAX: usize = 64 << 20;

/// What a stream of events consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An event.
    Event {
        /// Its `event` field; empty if it had none.
        name: &'a [u8],
        /// Its `data` lines, joined by newlines.
        data: &'a [u8],
        /// The last `id` field of the stream so far.
        id: &'a [u8],
    },
    /// A line that begins with a colon, without it: servers keep connections alive by these.
    Comment(&'a [u8]),
    /// How long a client should wait before it connects again, milliseconds.
    Retry(u64),
}

/// A parser that takes the bytes in any pieces.
///
/// ```
/// use rr_run::stream::sse::{Item, Parser};
/// let mut data = Vec::new();
/// let mut parser = Parser::default();
/// for piece in ["data: on", "e\r", "\ndata: two\n\nda"] {
///     parser.push(piece.as_bytes(), |item| {
///         if let Item::Event { data: d, .. } = item {
///             data.push(String::from_utf8_lossy(d).into_owned());
///         }
///     });
/// }
/// assert_eq!(data, ["one\ntwo"]);
/// assert_eq!(parser.rest(), b"da");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Parser {
    /// The line that has begun.
    line: Vec<u8>,
    /// The last byte was a carriage return: a newline after it ends no second line.
    after_return: bool,
    /// A byte order mark may no longer stand here.
    begun: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    id: Vec<u8>,
    /// The lines of the event that has begun, as they came, but for their ends.
    lines: Vec<u8>,
    dropped: u64,
}

impl Parser {
    /// Takes the next bytes; `each` gets what they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Item<'_>)) {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(at) = memchr::memchr2(b'\n', b'\r', bytes) {
            self.extend(&bytes[..at]);
            self.end_line(&mut each);
            let is_return = bytes[at] == b'\r';
            bytes = &bytes[at + 1..];
            if is_return {
                self.after_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.extend(bytes);
    }

    /// The bytes of the event that has begun and is not complete, with newlines for line ends.
    pub fn rest(&self) -> Vec<u8> {
        let mut rest = self.lines.clone();
        rest.extend_from_slice(&self.line);
        rest
    }

    /// Ends the stream: an event whose lines are whole and which only lacks the empty line comes
    /// out, although the standard drops it. What else was left stays in [`Parser::rest`].
    pub fn finish(&mut self, mut each: impl FnMut(Item<'_>)) {
        if self.line.is_empty() {
            self.dispatch(&mut each);
        }
    }

    /// Events that were dropped because they were longer than [`EVENT_BYTES_MAX`].
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.line.len() + self.data.len() + bytes.len() > EVENT_BYTES_MAX {
            (self.line, self.data, self.lines) = Default::default();
            self.has_data = false;
            self.dropped += 1;
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn end_line(&mut self, each: &mut impl FnMut(Item<'_>)) {
        let mut line = std::mem::take(&mut self.line);
        if !self.begun {
            self.begun = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
        }
        if line.is_empty() {
            self.dispatch(each);
        } else if let Some(comment) = line.strip_prefix(b":") {
            each(Item::Comment(comment));
        } else {
            self.lines.extend_from_slice(&line);
            self.lines.push(b'\n');
            self.field(&line, each);
        }
        // The allocation serves the next line.
        line.clear();
        self.line = line;
    }

    fn field(&mut self, line: &[u8], each: &mut impl FnMut(Item<'_>)) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"id" if !value.contains(&0) => self.id = value.to_vec(),
            b"retry" => {
                let digits = std::str::from_utf8(value).ok();
                if let Some(ms) = digits.and_then(|text| text.parse().ok()) {
                    each(Item::Retry(ms));
                }
            }
            // The standard has other fields ignored.
            _ => {}
        }
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Item<'_>)) {
        if self.has_data {
            each(Item::Event { name: &self.name, data: &self.data, id: &self.id });
        }
        self.name.clear();
        self.data.clear();
        self.lines.clear();
        self.has_data = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for piece in pieces {
            parser.push(piece, |item| items.push(shown(item)));
        }
        items
    }

    fn shown(item: Item<'_>) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match item {
            Item::Event { name, data, id } => {
                format!("{}|{}|{}", text(name), text(data), text(id))
            }
            Item::Comment(comment) => format!(":{}", text(comment)),
            Item::Retry(ms) => format!("retry {ms}"),
        }
    }

    #[test]
    fn lines_end_in_any_of_three_ways() {
        let stream = b"data: a\ndata: b\n\ndata: c\r\n\r\ndata: d\r\rdata:e\n\n";
        assert_eq!(items(&[stream]), ["|a\nb|", "|c|", "|d|", "|e|"]);
    }

    #[test]
    fn fields_and_comments_are_told_apart() {
        let stream = b"\xef\xbb\xbf: hi\nid: 7\nevent: x\nretry: 30\nretry: y\ndata\nother: z\n\n\
            event: nothing\n\ndata:  two spaces\n\n";
        let expected = [": hi", "retry 30", "x||7", "| two spaces|7"];
        assert_eq!(items(&[stream]), expected);
    }

    #[test]
    fn any_split_gives_the_same_items() {
        let stream = "event: a\r\ndata: gr\u{fc}n\r\n\r\n: c\r\rid: 1\ndata: x\n\ndata: y\r\n\r\n";
        let whole = items(&[stream.as_bytes()]);
        assert_eq!(whole.len(), 4);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let bytes = stream.as_bytes();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(items(&parts), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_stays_visible() {
        let mut parser = Parser::default();
        parser.push(b"data: 1\n\nevent: x\ndata: {\"a\":", |_| {});
        assert_eq!(parser.rest(), b"event: x\ndata: {\"a\":");
        let mut count = 0;
        parser.finish(|_| count += 1);
        assert_eq!(count, 0);
        parser.push(b"2}\n", |_| {});
        parser.finish(|_| count += 1);
        assert_eq!((count, parser.rest().len()), (1, 0));
    }
}
