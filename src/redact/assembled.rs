//! What a reader puts together, though it does not stand together in the log: the content of
//! bodies that came in transfer chunks or frames, and texts of which each event of a stream has a
//! few letters.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::Result;
use crate::stream::{Body, Message, Piece};

/// Arrays and objects in each other that are looked into.
const DEPTH_MAX: usize = 64;

/// A text, and where its bytes stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Assembled {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where they stand, in order.
    pub parts: Vec<Part>,
}

/// Bytes of a text that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where they start in the text.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// Key of the log; none for bytes that stand there in another form, an escape.
    pub log: Option<u64>,
    /// Where they start in that log, bytes.
    pub at: u64,
    /// What they are masked by there, over and over.
    pub mask: [u8; 4],
}

impl Assembled {
    /// A body.
    ///
    /// # Errors
    /// As [`Body::bytes`].
    pub(super) fn body(body: &Body) -> Result<Assembled> {
        let pieces = body.pieces();
        let ends = pieces.iter().skip(1).map(|p| p.start).chain([body.len()]);
        let part = |(piece, end): (&Piece, u64)| Part {
            start: piece.start as usize,
            len: (end - piece.start) as usize,
            log: Some(piece.log),
            at: piece.offset,
            mask: [0; 4],
        };
        let parts = pieces.iter().zip(ends).map(part).collect();
        Ok(Assembled { bytes: body.bytes()?.into(), parts })
    }

    /// Adds a message of a WebSocket as a line of its own; one that came compressed stands nowhere.
    pub(super) fn message(&mut self, message: &Message) {
        let pieces = &message.pieces;
        let ends = pieces.iter().skip(1).map(|p| p.start).chain([message.bytes.len()]);
        for (piece, end) in pieces.iter().zip(ends) {
            let bytes = message.bytes.get(piece.start..end).unwrap_or_default();
            self.push_masked(bytes, Some(piece.log), piece.offset, piece.mask);
        }
        self.push(b"\n", None, 0);
    }

    /// Whether bytes of this range are not found where they stand: apart from each other, or
    /// masked.
    pub(super) fn is_apart(&self, range: &Range<usize>) -> bool {
        let mut parts = self.within(range.clone());
        let first = parts.next();
        parts.next().is_some() || first.is_some_and(|part| part.mask != [0; 4])
    }

    /// Where the bytes of a range stand.
    pub(super) fn within(&self, range: Range<usize>) -> impl Iterator<Item = Part> + '_ {
        let first = self.parts.partition_point(|part| part.start + part.len <= range.start);
        let rest = self.parts.iter().skip(first).take_while(move |part| part.start < range.end);
        rest.map(move |part| {
            let start = range.start.max(part.start);
            let len = range.end.min(part.start + part.len) - start;
            let inside = start - part.start;
            let mut mask = part.mask;
            mask.rotate_left(inside % 4);
            Part { start, len, at: part.at + inside as u64, mask, ..*part }
        })
    }

    fn push(&mut self, bytes: &[u8], log: Option<u64>, at: u64) {
        self.push_masked(bytes, log, at, [0; 4]);
    }

    fn push_masked(&mut self, bytes: &[u8], log: Option<u64>, at: u64, mask: [u8; 4]) {
        if !bytes.is_empty() {
            self.parts.push(Part { start: self.bytes.len(), len: bytes.len(), log, at, mask });
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The texts that the events of a stream of JSON give piece by piece: strings with the same
    /// path, and the same numbers named `index` around them. `skip` tells the keys of strings that
    /// are left out.
    ///
    /// Events are lines of JSON, with or without `data:` before them. What is no JSON is passed
    /// over.
    pub(super) fn of_events(&self, skip: impl Fn(&[u8]) -> bool) -> Vec<Assembled> {
        let mut texts: HashMap<Vec<u8>, Assembled> = HashMap::new();
        let mut at = 0;
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n') {
            let json = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii_start();
            let start = at + (line.len() - json.len());
            at += line.len();
            if !matches!(json.first(), Some(b'{' | b'[')) {
                continue;
            }
            let mut scan = Scan { text: json, at: 0, skip: &skip };
            let (mut found, mut path) = (Vec::new(), Vec::new());
            // Of an event that was cut off, what stands before its end.
            let _ = scan.value(&mut path, &mut found, DEPTH_MAX);
            for (path, range) in found {
                self.add(texts.entry(path).or_default(), start + range.start..start + range.end);
            }
        }
        texts.into_values().filter(|text| text.parts.len() > 1).collect()
    }

    /// Adds the JSON string without its quotes that stands in a range.
    fn add(&self, to: &mut Assembled, range: Range<usize>) {
        let text = self.bytes.get(range.clone()).unwrap_or_default();
        let mut at = 0;
        while at < text.len() {
            let plain = text[at..].iter().position(|b| *b == b'\\').unwrap_or(text.len() - at);
            let here = range.start + at;
            for part in self.within(here..here + plain) {
                let bytes = &self.bytes[part.start..part.start + part.len];
                to.push_masked(bytes, part.log, part.at, part.mask);
            }
            at += plain;
            if at < text.len() {
                let (bytes, len) = unescaped(&text[at..]);
                to.push(&bytes, None, 0);
                at += len;
            }
        }
    }
}

/// What an escape at the start of `text` stands for, and its length.
fn unescaped(text: &[u8]) -> (Vec<u8>, usize) {
    let simple = |byte: u8| (vec![byte], 2);
    match text.get(1) {
        Some(b'n') => simple(b'\n'),
        Some(b'r') => simple(b'\r'),
        Some(b't') => simple(b'\t'),
        Some(b'u') => {
            let digits = text.get(2..6).and_then(|d| std::str::from_utf8(d).ok());
            let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
            // Halves of surrogate pairs are in no secret.
            let letter = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            (letter.to_string().into_bytes(), text.len().min(6))
        }
        Some(byte) => simple(*byte),
        None => (Vec::new(), 1),
    }
}

/// Strings that were found: their paths, and where they stand without their quotes.
type Found = Vec<(Vec<u8>, Range<usize>)>;

/// Passes over JSON, and finds its strings.
struct Scan<'a, F> {
    text: &'a [u8],
    at: usize,
    skip: &'a F,
}

impl<'a, F: Fn(&[u8]) -> bool> Scan<'a, F> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes over a value; none where the text ends or is no JSON.
    fn value(&mut self, path: &mut Vec<u8>, found: &mut Found, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let range = self.string()?;
                found.push((path.clone(), range));
                Some(())
            }
            b'{' => self.object(path, found, depth.checked_sub(1)?),
            b'[' => self.array(path, found, depth.checked_sub(1)?),
            _ => self.word().map(drop),
        }
    }

    fn object(&mut self, path: &mut Vec<u8>, found: &mut Found, depth: usize) -> Option<()> {
        let (first, mut index) = (found.len(), Vec::new());
        let whole = self.members(path, found, depth, &mut index);
        for (path, _) in found.iter_mut().skip(first).filter(|_| !index.is_empty()) {
            path.extend_from_slice(&index);
        }
        whole
    }

    fn members(
        &mut self,
        path: &mut Vec<u8>,
        found: &mut Found,
        depth: usize,
        index: &mut Vec<u8>,
    ) -> Option<()> {
        self.take(b'{')?;
        while self.peek()? != b'}' {
            let (text, key) = (self.text, self.string()?);
            let key = text.get(key)?;
            self.take(b':')?;
            if key.ends_with(b"index") && self.peek()?.is_ascii_digit() {
                index.push(b'#');
                index.extend_from_slice(self.word()?);
            } else {
                let (before, len) = (found.len(), path.len());
                path.push(b'/');
                path.extend_from_slice(key);
                let done = self.value(path, found, depth);
                path.truncate(len);
                if (self.skip)(key) {
                    found.truncate(before);
                }
                done?;
            }
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.take(b'}')
    }

    fn array(&mut self, path: &mut Vec<u8>, found: &mut Found, depth: usize) -> Option<()> {
        self.take(b'[')?;
        while self.peek()? != b']' {
            self.value(path, found, depth)?;
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.take(b']')
    }

    /// Where a string stands without its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(start..self.at - 1)
    }

    /// A number or a name.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let text = self.text;
        let rest = text.get(self.at..)?;
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        let len = rest.iter().position(|b| !is_word(b)).unwrap_or(rest.len());
        self.at += len;
        (len > 0).then(|| &rest[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which each line has a place of its own: a thousand times its number.
    fn body(text: &str) -> Assembled {
        let mut body = Assembled::default();
        for (line, number) in text.split_inclusive('\n').zip(0..) {
            body.push(line.as_bytes(), Some(1), number * 1000);
        }
        body
    }

    fn texts(text: &str) -> Vec<String> {
        let all = body(text).of_events(|key| key == b"signature");
        let mut all: Vec<_> =
            all.into_iter().map(|t| String::from_utf8(t.bytes).unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn texts_are_put_together_by_path_and_index() {
        let event = |index: u32, text: &str| {
            format!(
                "data: {{\"id\":\"x\",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\
                 \"{text}\",\"signature\":\"s\"}}}}]}}\r\n\r\n"
            )
        };
        let all = [event(0, "sk-"), event(1, "to"), event(0, "abc"), event(1, "ken")].concat();
        let expected = ["sk-abc", "token", "xxxx"];
        assert_eq!(texts(&format!(": hello\n{all}data: [DONE]\n")), expected);
        let lines = "{\"response\":\"a\\u0041\\n\"}\n{\"response\":\"b\"}\nno json\n{\"resp";
        assert_eq!(texts(lines), ["aA\nb"]);
    }

    #[test]
    fn places_are_those_of_the_letters() {
        let body = body("data: {\"t\":\"ab\\/c\"}\ndata: {\"t\":\"de\"}\n");
        let all = body.of_events(|_| false);
        let mask = [0; 4];
        let part = |start, len, at| Part { start, len, log: Some(1), at, mask };
        let escape = Part { start: 2, len: 1, log: None, at: 0, mask };
        assert_eq!(all[0].bytes, b"ab/cde");
        let parts = [part(0, 2, 12), escape, part(3, 1, 16), part(4, 2, 1012)];
        assert_eq!(all[0].parts, parts);
        let within: Vec<_> = all[0].within(1..5).collect();
        assert_eq!(within, [part(1, 1, 13), escape, part(3, 1, 16), part(4, 1, 1012)]);
        assert!(all[0].is_apart(&(3..5)) && !all[0].is_apart(&(4..6)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text in "[\\[\\]{}\":,\\\\a-cu0-9\n]{0,200}") {
            let all = body(&format!("data: {text}")).of_events(|_| false);
            for text in all {
                let len: usize = text.parts.iter().map(|part| part.len).sum();
                assert_eq!(len, text.bytes.len());
            }
        }
    }
}
