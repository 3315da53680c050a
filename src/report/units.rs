//! Sizes, times, commands and ends of processes, for the eye.

use std::time::{Duration, UNIX_EPOCH};

use crate::decode;
use crate::session::manifest::{ByteText, Process, Status};

/// `812 B`, `4.0 KiB`, `1.2 GiB`.
pub fn bytes(n: u64) -> String {
    const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut name = "B";
    for next in NAMES {
        // What would be shown as 1024.0 belongs to the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        name = next;
    }
    if name == "B" { format!("{n} B") } else { format!("{value:.1} {name}") }
}

/// `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 process`, `2 processes`, `0 files`.
pub fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n as u64), if n == 1 { one } else { many })
}

/// Nanoseconds since the epoch as `2026-11-23T01:35:53Z`; `-` for 0.
pub fn time(ns: u64) -> String {
    if ns == 0 {
        return "-".into();
    }
    let at = UNIX_EPOCH + Duration::from_nanos(ns);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A duration in nanoseconds with three significant places: `1.57 s`, `43 ms`.
pub fn duration(ns: u64) -> String {
    let s = ns as f64 / 1e9;
    match s {
        _ if s >= 100.0 => humantime::format_duration(Duration::from_secs(s as u64)).to_string(),
        _ if s >= 1.0 => format!("{s:.2} s"),
        _ if s >= 0.001 => format!("{:.0} ms", s * 1e3),
        _ => format!("{:.0} us", s * 1e6),
    }
}

/// Arguments as a shell takes them, on one line, at most `max` characters.
pub fn command(argv: &[ByteText], max: usize) -> String {
    let quote = |arg: &ByteText| match shlex::bytes::try_quote(&arg.0) {
        Ok(quoted) => String::from_utf8_lossy(&quoted).into_owned(),
        Err(_) => arg.to_string(),
    };
    let line = argv.iter().map(quote).collect::<Vec<_>>().join(" ");
    clip(&line, max)
}

/// The first `max` characters, with "..." in place of the rest; control characters are shown.
pub fn clip(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i + 3 >= max && text.chars().count() > max {
            out.push_str("...");
            break;
        }
        match c {
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// How a process ended: `exited with 0`, `killed by SIGKILL`, or that this was not seen.
pub fn end(process: &Process) -> String {
    match process.wait_status {
        Some(status) => decode::exit(status as u32),
        None => "end not seen".into(),
    }
}

/// A session's status in a word or a sentence.
pub fn status(status: &Status) -> String {
    match status {
        Status::Recording => "recording".into(),
        Status::Complete => "complete".into(),
        Status::CutShort { reason } => format!("cut short: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!((bytes(4096), bytes((1 << 20) - 1)), ("4.0 KiB".into(), "1.0 MiB".into()));
        assert_eq!((count(7), count(1234567)), ("7".into(), "1,234,567".into()));
        assert_eq!(
            (duration(1_570_000_000), duration(43_000_000)),
            ("1.57 s".into(), "43 ms".into())
        );
        assert_eq!(time(0), "-");
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let argv = [ByteText(b"sh".to_vec()), ByteText(b"echo a".to_vec())];
        assert_eq!(command(&argv, 80), "sh 'echo a'");
        assert_eq!(command(&argv, 8), "sh 'e...");
        assert_eq!(clip("a\nb", 80), "a\\nb");
    }
}
