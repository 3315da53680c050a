//! Secret values and what stands in their place.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::launch::setup;

/// Name of the file with the user's key.
const KEY_FILE: &str = ".redaction-key";
/// Shortest value that is replaced wherever it stands; shorter ones would be found by accident.
pub(super) const BYTES_MIN: usize = 8;
/// Longest value that is looked for.
pub(super) const BYTES_MAX: usize = 8192;
/// From this length on, a value of one class of characters is no everyday word.
const PLAIN_WORD_BYTES_MIN: usize = 16;

/// Classes of characters that replace each other: of one kind, and of one length in the Huffman
/// code of HPACK, so that a request with the placeholder has the length of the original.
const CLASSES: [&[u8]; 8] = [
    b"012",
    b"3456789",
    b"aceiost",
    b"bdfghlmnpru",
    b"jkqvwxyz",
    b"BCDEFGHIJKLMNOPQRSTUVWY",
    b"XZ",
    b"A",
];

/// Key of the placeholders: the same value always gets the same one under one key.
#[derive(Clone, Copy)]
pub(super) struct Key(pub [u8; 32]);

/// The key of this user on this machine, which recordings share so that they can be compared; made
/// when it is first needed. One of this process alone where it can't be kept.
pub(super) fn key() -> Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    *KEY.get_or_init(|| {
        let fresh = || {
            // Without randomness from the system, time has to do.
            let of_time = || *blake3::hash(&setup::now_ns().to_le_bytes()).as_bytes();
            Key(setup::seed(None).unwrap_or_else(|_| of_time()))
        };
        let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
        let Some(dir) = state.map(|state| state.join("rr-run")) else { return fresh() };
        let path = dir.join(KEY_FILE);
        let read = || fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()).map(Key);
        if let Some(key) = read() {
            return key;
        }
        let key = fresh();
        let made = fs::create_dir_all(&dir).is_ok();
        // Made whole under another name: recordings that start at once agree on the first.
        let kept = made
            && tempfile::Builder::new().prefix(KEY_FILE).tempfile_in(&dir).is_ok_and(|mut file| {
                file.write_all(&key.0).is_ok() && file.persist_noclobber(&path).is_ok()
            });
        if kept { key } else { read().unwrap_or(key) }
    })
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Whether a value is long and unusual enough to be replaced wherever it stands.
pub(super) fn is_findable(value: &[u8]) -> bool {
    if value.len() < BYTES_MIN || value.len() > BYTES_MAX {
        return false;
    }
    let any = |class: fn(&u8) -> bool| usize::from(value.iter().any(class));
    let classes = any(u8::is_ascii_lowercase)
        + any(u8::is_ascii_uppercase)
        + any(u8::is_ascii_digit)
        + any(|b| !b.is_ascii_alphanumeric());
    let mut seen = [false; 256];
    value.iter().for_each(|b| seen[usize::from(*b)] = true);
    let distinct = seen.iter().filter(|s| **s).count();
    distinct >= 5 && (classes >= 2 || value.len() >= PLAIN_WORD_BYTES_MIN)
}

/// What stands in the place of `value`: of the same length, its first `keep` bytes and all that
/// is no letter or digit as they are, so that it parses where the value did.
pub(super) fn placeholder(key: &Key, value: &[u8], keep: usize) -> Vec<u8> {
    let mut random = blake3::Hasher::new_keyed(&key.0).update(value).finalize_xof();
    let hex = hex_digits(value.get(keep..).unwrap_or_default());
    let kept_last = last_of_base64(value);
    let mut out = value.to_vec();
    for (i, byte) in out.iter_mut().enumerate().skip(keep) {
        let Some(class) = CLASSES.iter().find(|class| class.contains(byte)) else {
            // The last byte of a character in UTF-8 can be any other of its kind.
            let ends = (0x80..0xc0).contains(byte)
                && value.get(i + 1).is_none_or(|next| !(0x80..0xc0).contains(next));
            if ends {
                let mut word = [0; 1];
                random.fill(&mut word);
                *byte = 0x80 | (*byte ^ (1 + word[0] % 63)) & 0x3f;
            }
            continue;
        };
        if kept_last == Some(i) {
            continue;
        }
        let mut members = [0; 32];
        let mut count = 0;
        for member in class.iter().filter(|m| hex.is_none_or(|digits| digits.contains(m))) {
            members[count] = *member;
            count += 1;
        }
        let mut word = [0; 4];
        random.fill(&mut word);
        // Never the same: a short value's placeholder would now and then be the value.
        let at = members[..count].iter().position(|m| m == byte).unwrap_or(0);
        let by = 1 + u32::from_le_bytes(word) as usize % count.saturating_sub(1).max(1);
        if let Some(choice) = members[..count].get((at + by) % count.max(1)) {
            *byte = *choice;
        }
    }
    if out == value {
        // Nothing but signs: those that it parses by are not known.
        out[keep..].fill(b'x');
    }
    out
}

/// The digits of a value that is written in hex.
fn hex_digits(value: &[u8]) -> Option<&'static [u8]> {
    const LOWER: &[u8] = b"0123456789abcdef";
    const UPPER: &[u8] = b"0123456789ABCDEF";
    let written_in = |digits: &[u8]| {
        value.iter().all(|b| digits.contains(b) || !b.is_ascii_alphanumeric())
            && value.iter().any(u8::is_ascii_digit)
    };
    [LOWER, UPPER].into_iter().find(|digits| written_in(digits))
}

/// The last character of a value in base64, if not all of its bits count: others than the
/// original's might not decode.
fn last_of_base64(value: &[u8]) -> Option<usize> {
    let chars = value.iter().position(|b| *b == b'=').unwrap_or(value.len());
    let padding = value.get(chars..).unwrap_or_default();
    let is_base64 = chars >= 16
        && padding.len() <= 2
        && padding.iter().all(|b| *b == b'=')
        && value[..chars].iter().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(b));
    (is_base64 && !chars.is_multiple_of(4)).then(|| chars - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    #[test]
    fn a_placeholder_has_the_form_of_its_value() {
        for (value, keep) in [
            ("sk-ant-api03-abcDEF012345-xyz_98", 13),
            ("deadbeef00112233445566778899aabb", 0),
            ("p\u{e4}ssw\u{f6}rt 12345", 0),
            ("dXNlcjpwYXNzd29yZA==", 0),
        ] {
            let other = placeholder(&KEY, value.as_bytes(), keep);
            assert_eq!(other.len(), value.len());
            assert_ne!(other, value.as_bytes());
            assert_eq!(other[..keep], value.as_bytes()[..keep]);
            assert_eq!(other, placeholder(&KEY, value.as_bytes(), keep));
            assert_ne!(other, placeholder(&Key([8; 32]), value.as_bytes(), keep));
            let text = std::str::from_utf8(&other).unwrap();
            let class = |c: char| (c.is_ascii_digit(), c.is_lowercase(), c.is_uppercase());
            assert!(text.chars().zip(value.chars()).all(|(a, b)| class(a) == class(b)), "{text}");
        }
        for value in [b":.~$7&6%!", b"!#$%&*+./"] {
            for key in 0..200 {
                assert_ne!(placeholder(&Key([key; 32]), value, 0), value);
            }
        }
        let hex = placeholder(&KEY, b"deadbeef00112233445566778899aabb", 0);
        assert!(hex.iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn everyday_words_are_not_looked_for() {
        for word in ["true", "password", "12345678", "aaaaaaaaaaaaaaaaaaaaa", "localhost"] {
            assert!(!is_findable(word.as_bytes()), "{word}");
        }
        for secret in ["hunter2-now", "Tr0ub4dor", "correcthorsebatterystaple"] {
            assert!(is_findable(secret.as_bytes()), "{secret}");
        }
    }
}
