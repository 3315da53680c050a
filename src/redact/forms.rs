//! The encodings in which a value may stand somewhere.

use super::huffman;

/// Shortest pattern that is looked for, bytes.
const PATTERN_BYTES_MIN: usize = 6;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One encoding of a value: what is looked for, and what is put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// What is looked for.
    pub pattern: Vec<u8>,
    /// What is put there, of the same length.
    pub replacement: Vec<u8>,
    /// Bits of the value in the byte before the pattern.
    pub before: Option<Edge>,
    /// Bits of the value in the byte behind the pattern.
    pub behind: Option<Edge>,
    /// Line ends may stand in it.
    pub wraps: bool,
    /// The value is too common for it to be replaced: where it stands is only marked.
    pub weak: bool,
}

/// Bits of a value that share a byte with its neighbour's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    alphabet: Option<&'static [u8; 64]>,
    mask: u8,
    value: u8,
    replacement: u8,
}

impl Form {
    /// Bytes as they are.
    pub(super) fn plain(pattern: Vec<u8>, replacement: Vec<u8>) -> Form {
        Form { pattern, replacement, before: None, behind: None, wraps: false, weak: false }
    }

    /// All forms of a value that is too common to be replaced.
    pub(super) fn weak(value: &[u8]) -> impl Iterator<Item = Form> + use<> {
        let plain = Form::plain(value.to_vec(), value.to_vec());
        let all = [plain].into_iter().chain(forms(value, value));
        all.map(|form| Form { weak: true, ..form })
    }

    /// Compares with the start of `text`.
    pub(super) fn compare(&self, text: &[u8]) -> Compared {
        let mut at = 0;
        for byte in &self.pattern {
            while self.wraps && at > 0 && matches!(text.get(at), Some(b'\n' | b'\r')) {
                at += 1;
            }
            match text.get(at) {
                None => return Compared::Beginning,
                Some(b) if b == byte => at += 1,
                Some(_) => return Compared::Other,
            }
        }
        Compared::Whole(at)
    }

    /// What to put in the place of `text`, in which this was found.
    pub(super) fn instead_of(&self, text: &[u8]) -> Vec<u8> {
        let mut new = self.replacement.iter();
        let is_end = |b: &u8| self.wraps && matches!(b, b'\n' | b'\r');
        text.iter().map(|b| if is_end(b) { *b } else { *new.next().unwrap_or(b) }).collect()
    }
}

/// What a comparison of a form with bytes gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is there, in so many bytes.
    Whole(usize),
    /// The bytes are its beginning.
    Beginning,
    /// It is not there.
    Other,
}

impl Edge {
    /// The byte with the placeholder's bits instead of the value's; none if the value's bits do
    /// not stand there.
    pub(super) fn replace(&self, byte: u8) -> Option<u8> {
        let bits = match self.alphabet {
            Some(alphabet) => alphabet.iter().position(|b| *b == byte)? as u8,
            None => byte,
        };
        if bits & self.mask != self.value {
            return None;
        }
        let bits = bits & !self.mask | self.replacement;
        match self.alphabet {
            Some(alphabet) => alphabet.get(usize::from(bits)).copied(),
            None => Some(bits),
        }
    }
}

/// All forms of `value`, each with the same form of its placeholder.
pub(super) fn forms(value: &[u8], placeholder: &[u8]) -> Vec<Form> {
    let mut all = Vec::new();
    let mut plain = |wraps: bool, encode: &dyn Fn(&[u8]) -> Vec<u8>| {
        let (pattern, replacement) = (encode(value), encode(placeholder));
        add(&mut all, Form { wraps, ..Form::plain(pattern, replacement) });
    };
    plain(false, &|v| v.to_vec());
    plain(false, &|v| json(v, false));
    plain(false, &|v| json(v, true));
    plain(false, &|v| percent(v, b"%20", false));
    plain(false, &|v| percent(v, b"%20", true));
    plain(false, &|v| percent(v, b"+", false));
    plain(true, &|v| hex(v, b"0123456789abcdef"));
    plain(true, &|v| hex(v, b"0123456789ABCDEF"));
    for alphabet in [STANDARD, URL_SAFE] {
        for skipped in 0..3 {
            add(&mut all, base64(value, placeholder, alphabet, skipped));
        }
    }
    for shift in 0..8 {
        all.extend(hpack(value, placeholder, shift).filter(is_long));
    }
    all
}

fn is_long(form: &Form) -> bool {
    form.pattern.len() >= PATTERN_BYTES_MIN && form.pattern.len() == form.replacement.len()
}

fn add(all: &mut Vec<Form>, form: Form) {
    if is_long(&form) && all.iter().all(|f| f.pattern != form.pattern) {
        all.push(form);
    }
}

/// As the content of a JSON string, `/` escaped or not.
fn json(value: &[u8], slash: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'/' if slash => out.extend(b"\\/"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            _ => out.push(*byte),
        }
    }
    out
}

fn percent(value: &[u8], space: &[u8], lower: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b' ' => out.extend(space),
            b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            _ if byte.is_ascii_alphanumeric() => out.push(*byte),
            _ if lower => out.extend(format!("%{byte:02x}").bytes()),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits[usize::from(nibble & 15)];
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// In base64, behind as many other bytes (modulo 3).
fn base64(value: &[u8], placeholder: &[u8], alphabet: &'static [u8; 64], skipped: usize) -> Form {
    let groups = |bytes: &[u8]| -> Vec<u8> {
        let padded: Vec<u8> =
            std::iter::repeat_n(0, skipped).chain(bytes.iter().copied()).chain([0, 0]).collect();
        let (chunks, _) = padded.as_chunks::<3>();
        let sextets = chunks.iter().flat_map(|[a, b, c]| {
            let word = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
            [18, 12, 6, 0].map(|shift| (word >> shift) as u8 & 63)
        });
        sextets.collect()
    };
    let (old, new) = (groups(value), groups(placeholder));
    let bits = (skipped + value.len()) * 8;
    let first = (skipped * 8).div_ceil(6);
    let end = (bits / 6).max(first);
    let text = |sextets: &[u8]| -> Vec<u8> {
        let whole = sextets.get(first..end).unwrap_or_default();
        whole.iter().map(|s| alphabet[usize::from(*s & 63)]).collect()
    };
    let edge = |at: usize, mask: u8| {
        let (value, replacement) = (old.get(at)? & mask, new.get(at)? & mask);
        Some(Edge { alphabet: Some(alphabet), mask, value, replacement })
    };
    let before = match skipped {
        0 => None,
        // The last four bits of the second character, the last two of the third.
        1 => edge(1, 0b1111),
        _ => edge(2, 0b11),
    };
    let behind = match bits % 6 {
        0 => None,
        left => edge(end, 0b11_1111 & !(0b11_1111 >> left)),
    };
    Form { before, behind, wraps: true, ..Form::plain(text(&old), text(&new)) }
}

/// In the Huffman code of HPACK, behind as many bits of the first byte.
fn hpack(value: &[u8], placeholder: &[u8], shift: u32) -> impl Iterator<Item = Form> + use<> {
    let pair = huffman::encode(value, shift).zip(huffman::encode(placeholder, shift));
    pair.filter(|((_, a), (_, b))| a == b)
        .map(|((old, bits), (new, _))| {
            let first = usize::from(shift > 0);
            let end = (bits / 8).max(first);
            let edge = |at: usize, mask: u8| {
                let (value, replacement) = (old.get(at)? & mask, new.get(at)? & mask);
                Some(Edge { alphabet: None, mask, value, replacement })
            };
            let part = |bytes: &[u8]| bytes.get(first..end).unwrap_or_default().to_vec();
            Form {
                before: if shift == 0 { None } else { edge(0, 0xff >> shift) },
                behind: if bits % 8 == 0 { None } else { edge(end, !(0xff >> (bits % 8))) },
                ..Form::plain(part(&old), part(&new))
            }
        })
        .into_iter()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose;

    use super::*;

    /// Applies the form that is found in `text`.
    fn applied(forms: &[Form], text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        for form in forms {
            let len = form.pattern.len();
            for at in 0..text.len().saturating_sub(len - 1) {
                if text[at..at + len] != form.pattern {
                    continue;
                }
                out[at..at + len].copy_from_slice(&form.replacement);
                let edges = [(at.checked_sub(1), form.before), (Some(at + len), form.behind)];
                for (place, edge) in edges {
                    if let Some((at, edge)) = place.zip(edge)
                        && let Some(byte) = text.get(at)
                        && let Some(new) = edge.replace(*byte)
                    {
                        out[at] = new;
                    }
                }
            }
        }
        out
    }

    const VALUE: &[u8] = b"s3cr3t/v\"al?ue+12";
    const OTHER: &[u8] = b"p4qt4v/w\"xz?yq+34";

    #[test]
    fn base64_at_every_alignment_becomes_the_placeholders() {
        let forms = forms(VALUE, OTHER);
        for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE] {
            for (head, tail) in [("", ""), ("u", "~"), ("us", "~~"), ("use", "~~~"), ("user:", "")]
            {
                let text = |v: &[u8]| engine.encode([head.as_bytes(), v, tail.as_bytes()].concat());
                let found = applied(&forms, text(VALUE).as_bytes());
                assert_eq!(String::from_utf8(found).unwrap(), text(OTHER), "{head} {tail}");
            }
        }
    }

    #[test]
    fn texts_become_the_placeholders() {
        let forms = forms(VALUE, OTHER);
        let json = |v: &[u8]| serde_json::to_vec(std::str::from_utf8(v).unwrap()).unwrap();
        assert_eq!(applied(&forms, &json(VALUE)), json(OTHER));
        let query = |v: &[u8]| form_urlencoded::byte_serialize(v).collect::<String>();
        assert_eq!(applied(&forms, query(VALUE).as_bytes()), query(OTHER).as_bytes());
        assert_eq!(applied(&forms, &hex(VALUE, b"0123456789ABCDEF")).len(), VALUE.len() * 2);
    }

    #[test]
    fn huffman_at_every_alignment_becomes_the_placeholders() {
        // Each character has the length of its stand-in.
        let (value, other) = (b"sk-1Bq7xZ-secret", b"sk-2Cz9jX-tocnos");
        let forms = forms(value, other);
        for head in ["", " ", "  ", "Bearer ", "a=", "B=;", ";", "sid=", "?"] {
            let text = |v: &[u8]| {
                let whole = [head.as_bytes(), v, b"; x"].concat();
                huffman::encode(&whole, 0).unwrap().0
            };
            assert_eq!(applied(&forms, &text(value)), text(other), "{head:?}");
        }
    }
}
