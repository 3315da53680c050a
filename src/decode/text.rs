//! Strings, numbers and flags as strace shows them.

use std::fmt::Write;

use log_format::table::FlagSet;

/// `0x1f`, and `NULL` for 0.
pub(super) fn address(value: u64) -> String {
    if value == 0 { "NULL".into() } else { hex(value) }
}

/// `0x1f`, and `0` for 0.
pub(super) fn hex(value: u64) -> String {
    if value == 0 { "0".into() } else { format!("{value:#x}") }
}

/// A quoted string of at most `max` bytes, with "..." behind it if there are more.
///
/// Printable UTF-8 stands as it is; all else is escaped as in C.
pub(super) fn quoted(bytes: &[u8], max: usize) -> String {
    let (shown, cut) = cut(bytes, max);
    let mut out = String::with_capacity(shown.len() + 8);
    out.push('"');
    escape(shown, &mut out, true);
    out.push('"');
    if cut {
        out.push_str("...");
    }
    out
}

/// Text without quotes, its control characters escaped.
pub(super) fn plain(bytes: &[u8], max: usize) -> String {
    let (shown, cut) = cut(bytes, max);
    let mut out = String::new();
    escape(shown, &mut out, false);
    if cut {
        out.push_str("...");
    }
    out
}

/// The first `max` bytes, not ending inside a character; whether there are more.
fn cut(bytes: &[u8], max: usize) -> (&[u8], bool) {
    let Some(mut shown) = bytes.get(..max).filter(|_| bytes.len() > max) else {
        return (bytes, false);
    };
    // Only a lead byte can be cut from its character, and only by up to three bytes.
    let lead = (1..=3.min(shown.len())).find(|n| shown[shown.len() - n] & 0xc0 != 0x80);
    if let Some(n) = lead {
        let (head, tail) = shown.split_at(shown.len() - n);
        let whole = match tail[0] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        if whole > n {
            shown = head;
        }
    }
    (shown, true)
}

fn escape(bytes: &[u8], out: &mut String, quotes: bool) {
    for chunk in bytes.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' | '\\' if quotes => {
                    out.push('\\');
                    out.push(c);
                }
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => {
                    // An octal number ends where no digit follows.
                    let digit_follows = chars.peek().is_some_and(char::is_ascii_digit);
                    octal(c as u8, digit_follows, out);
                }
                c if c.is_control() || is_format(c) => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        octal(byte, true, out);
                    }
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            octal(*byte, true, out);
        }
    }
}

/// Characters that change how a terminal shows the others: line separators, directions, marks.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn octal(byte: u8, full: bool, out: &mut String) {
    _ = if full { write!(out, "\\{byte:03o}") } else { write!(out, "\\{byte:o}") };
}

/// `NAME|NAME|0x40`, or a number for a value without a name.
pub(super) fn flags(set: FlagSet, value: u32) -> String {
    let mut rest = value;
    let mut names: Vec<&str> = Vec::new();
    let mut covered = 0;
    for flag in set.names() {
        let mask = if flag.mask == 0 { flag.value } else { flag.mask };
        let free = covered & mask == 0;
        // Of two names for overlapping bits the first in the list wins.
        if free && value & mask == flag.value && (flag.mask != 0 || flag.value != 0) {
            names.push(flag.name);
            rest &= !mask;
            covered |= mask;
        }
    }
    if names.is_empty() {
        return match value {
            1..=64 if set == FlagSet::Clone => super::signal_name(value),
            _ if set == FlagSet::IpcGet => mode(value),
            _ => hex(value.into()),
        };
    }
    let mut out = names.join("|");
    match rest {
        0 => {}
        // The lowest byte is the signal at the child's end.
        1..=64 if set == FlagSet::Clone => _ = write!(out, "|{}", super::signal_name(rest)),
        // Permissions.
        _ if set == FlagSet::IpcGet => _ = write!(out, "|{}", mode(rest)),
        _ => _ = write!(out, "|{rest:#x}"),
    }
    // As strace writes it.
    if set == FlagSet::Futex { out.replacen("|FUTEX_PRIVATE_FLAG", "_PRIVATE", 1) } else { out }
}

/// The name of one value of an enumeration, or the value.
pub(super) fn one(set: FlagSet, value: u32) -> String {
    match set.name_of(value) {
        Some(name) => name.into(),
        None => (value as i32).to_string(),
    }
}

/// A file mode: `0644`.
pub(super) fn mode(value: u32) -> String {
    if value == 0 { "000".into() } else { format!("0{value:03o}") }
}

/// `[a, b, c]`, with "..." for items beyond `max`.
pub(super) fn list(items: impl IntoIterator<Item = String>, max: usize) -> String {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if i == max {
            out.push_str("...");
            break;
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_and_cut_at_characters() {
        assert_eq!(quoted(b"a\"b\\c\n\0\x1b[1m", 64), r#""a\"b\\c\n\0\33[1m""#);
        assert_eq!(quoted(b"\x011\xff", 64), r#""\0011\377""#);
        assert_eq!(quoted("Grüße".as_bytes(), 64), "\"Grüße\"");
        assert_eq!(quoted("Grüße".as_bytes(), 3), "\"Gr\"...");
        assert_eq!(quoted(b"abc", 0), "\"\"...");
        assert_eq!(quoted("\u{202e}x".as_bytes(), 64), "\"\\342\\200\\256x\"");
    }

    #[test]
    fn flags_have_names_and_a_rest() {
        assert_eq!(flags(FlagSet::Open, 0o2000000), "O_RDONLY|O_CLOEXEC");
        assert_eq!(flags(FlagSet::Open, 0o20200001), "O_WRONLY|O_TMPFILE");
        assert_eq!(flags(FlagSet::Open, 0o4010000), "O_RDONLY|O_SYNC");
        assert_eq!(flags(FlagSet::Prot, 0), "PROT_NONE");
        assert_eq!(flags(FlagSet::Prot, 0x43), "PROT_READ|PROT_WRITE|0x40");
        assert_eq!(flags(FlagSet::Futex, 0x80), "FUTEX_WAIT_PRIVATE");
        assert_eq!(flags(FlagSet::Futex, 0x189), "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME");
        assert_eq!(flags(FlagSet::Clone, 0x4100 | 17), "CLONE_VM|CLONE_VFORK|SIGCHLD");
        assert_eq!(flags(FlagSet::IpcGet, 0o1600), "IPC_CREAT|0600");
        assert_eq!(flags(FlagSet::At, 0), "0");
        assert_eq!(flags(FlagSet::Hex, 0x20), "0x20");
        assert_eq!(flags(FlagSet::Whence, 2), "SEEK_END");
    }
}
