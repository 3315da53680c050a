//! JSON one value a line, and JSON bodies whose values can be told apart while they come.

/// Largest value that is taken, bytes; what is longer is dropped and counted.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// Splits bytes into lines; empty ones are left out.
///
/// ```
/// let mut lines = Vec::new();
/// let mut parser = rr_run::stream::ndjson::Lines::default();
/// for piece in ["{\"a\":1}\r\n{\"a\"", ":2}\n\n{"] {
///     parser.push(piece.as_bytes(), |line| lines.push(line.to_vec()));
/// }
/// assert_eq!(lines, [b"{\"a\":1}", b"{\"a\":2}"]);
/// assert_eq!(parser.rest(), b"{");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    dropped: u64,
}

impl Lines {
    /// Takes the next bytes; `each` gets the lines they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.extend(&bytes[..at]);
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if !line.trim_ascii().is_empty() {
                each(line);
            }
            self.line.clear();
            bytes = &bytes[at + 1..];
        }
        self.extend(bytes);
    }

    /// The line that has begun: at the body's end it may be whole all the same.
    pub fn rest(&self) -> &[u8] {
        &self.line
    }

    /// Lines that were dropped because they were longer than [`VALUE_BYTES_MAX`].
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > VALUE_BYTES_MAX {
            self.line.clear();
            self.dropped += 1;
            return;
        }
        self.line.extend_from_slice(bytes);
    }
}

/// Splits a JSON body into its values: the elements of an array, as soon as each has ended, or
/// what else stands there.
///
/// ```
/// let mut values = Vec::new();
/// let mut parser = rr_run::stream::ndjson::Values::default();
/// for piece in ["[{\"a\": \"]", "\"}", ",\r\n{\"b\":[]", "}]"] {
///     parser.push(piece.as_bytes(), |value, of_array| values.push((value.to_vec(), of_array)));
/// }
/// let text = |i: usize| std::str::from_utf8(&values[i].0).unwrap();
/// assert_eq!((values.len(), text(0), text(1)), (2, r#"{"a": "]"}"#, r#"{"b":[]}"#));
/// assert!(parser.is_array() && parser.rest().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Values {
    value: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    array: Option<bool>,
    dropped: u64,
}

impl Values {
    /// Takes the next bytes; `each` gets the values they complete, and whether they are elements
    /// of an array.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8], bool)) {
        for &byte in bytes {
            self.byte(byte, &mut each);
        }
    }

    /// Whether the body is an array (or at least begins as one).
    pub fn is_array(&self) -> bool {
        self.array == Some(true)
    }

    /// The value that has begun: at the body's end a number or word may be whole all the same.
    pub fn rest(&self) -> &[u8] {
        self.value.trim_ascii()
    }

    /// Values that were dropped because they were longer than [`VALUE_BYTES_MAX`].
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn byte(&mut self, byte: u8, each: &mut impl FnMut(&[u8], bool)) {
        if self.in_string {
            self.value.push(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        if self.array.is_none() && !byte.is_ascii_whitespace() {
            self.array = Some(byte == b'[');
            if byte == b'[' {
                return;
            }
        }
        if self.depth == 0 {
            match byte {
                b',' | b']' if self.is_array() => return self.end(each),
                _ if byte.is_ascii_whitespace() && self.value.is_empty() => return,
                _ => {}
            }
        }
        if self.value.len() >= VALUE_BYTES_MAX {
            self.value.clear();
            self.dropped += 1;
        }
        self.value.push(byte);
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.end(each);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&[u8], bool)) {
        let value = self.value.trim_ascii();
        if !value.is_empty() {
            each(value, self.array == Some(true));
        }
        self.value.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pieces: &[&str]) -> (Vec<String>, String) {
        let mut values = Vec::new();
        let mut parser = Values::default();
        for piece in pieces {
            let each = |v: &[u8], _| values.push(String::from_utf8_lossy(v).into_owned());
            parser.push(piece.as_bytes(), each);
        }
        (values, String::from_utf8_lossy(parser.rest()).into_owned())
    }

    #[test]
    fn values_end_with_their_last_brace() {
        assert_eq!(values(&["{\"a\":{}}"]).0, ["{\"a\":{}}"]);
        assert_eq!(values(&[" [ 1 , \"x,\\\"]\" , [2] ]\n"]).0, ["1", "\"x,\\\"]\"", "[2]"]);
        assert_eq!(values(&["{\"a\":1}\n{\"b\":2}"]).0.len(), 2);
        assert_eq!(values(&["[{\"a\":\"}"]), (Vec::new(), "{\"a\":\"}".into()));
        assert_eq!(values(&["]", "}"]).0, ["]", "}"]);
    }

    #[test]
    fn any_split_gives_the_same_values() {
        let text = "[{\"t\": \"a\\\\\\\"]}\"},\r\n [1,{}], null]";
        let whole = values(&[text]);
        assert_eq!(whole.0.len(), 3);
        for at in 0..text.len() {
            assert_eq!(values(&[&text[..at], &text[at..]]), whole);
        }
    }
}
