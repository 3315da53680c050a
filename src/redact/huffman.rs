//! The Huffman code of HPACK (RFC 7541, appendix B), for printable ASCII.
//!
//! The code is canonical: codes of one length follow each other in the order of the characters.

/// Lengths in bits, and their characters in order.
const LENGTHS: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];
/// The only other printable character.
const BACKSLASH: (u32, u32) = (19, 0x7fff0);

/// Length and bits of a character.
fn code(byte: u8) -> Option<(u32, u32)> {
    if byte == b'\\' {
        return Some(BACKSLASH);
    }
    let mut first = 0;
    let mut before = 5;
    for (bits, chars) in LENGTHS {
        first <<= bits - before;
        before = bits;
        if let Some(i) = chars.iter().position(|c| *c == byte) {
            return Some((bits, first + i as u32));
        }
        first += chars.len() as u32;
    }
    None
}

/// The code of `text` behind `shift` zero bits, filled up with zeros; its bits in all. None if a
/// character of it is not printable ASCII.
pub(super) fn encode(text: &[u8], shift: u32) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::with_capacity(text.len() + 2);
    let (mut word, mut held) = (0u64, shift);
    let mut bits = shift as usize;
    for byte in text {
        let (len, code) = code(*byte)?;
        word = word << len | u64::from(code);
        held += len;
        bits += len as usize;
        while held >= 8 {
            held -= 8;
            out.push((word >> held) as u8);
        }
    }
    if held > 0 {
        out.push((word << (8 - held)) as u8);
    }
    Some((out, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_come_out() {
        // RFC 7541, C.4.1 and C.6.1; the rest of the last byte is ones there.
        let (bytes, bits) = encode(b"www.example.com", 0).unwrap();
        assert_eq!(bits, 89);
        assert_eq!(bytes[..11], [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4]);
        let (date, _) = encode(b"Mon, 21 Oct 2013 20:13:21 GMT", 0).unwrap();
        assert_eq!(date[..6], [0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54]);
        let cookie = encode(b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1", 0);
        let (bytes, _) = cookie.unwrap();
        assert_eq!(bytes[..8], [0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7]);
        assert_eq!(code(b'~').unwrap(), (13, 0x1ffd));
        assert_eq!(code(b'{').unwrap(), (15, 0x7ffe));
    }
}
