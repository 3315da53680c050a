//! A divergence for people.

use std::fmt::Write;

use super::{Bytes, Report, What};

/// Bytes in one line of hex.
const LINE_BYTES: usize = 16;

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = write(report, &mut out);
    out
}

fn headline(what: What) -> &'static str {
    match what {
        What::Call => "another call than recorded",
        What::Argument => "the recorded call with another argument",
        What::Buffer => "the recorded call with other bytes",
        What::Result => "the recorded call gave another address",
        What::Thread => "another thread than recorded",
        What::PastEnd => "a call after the end of the log",
        What::File => "a file that is missing or another one",
        What::Log => "the log makes no sense here",
        What::Process => "a process that was not recorded",
        What::Until => "stopped as asked",
        What::End => "another end than recorded",
        What::Standstill => "no process goes on",
    }
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let kind = if report.what == What::Until { "stop" } else { "divergence" };
    writeln!(out, "{kind} at step {}: {}", report.step, headline(report.what))?;
    write!(out, "  process {}", report.process)?;
    if report.pid != 0 {
        write!(out, " (pid {}), thread {}", report.pid, report.thread)?;
    }
    writeln!(out, ": {}", report.program)?;
    match &report.recorded {
        Some(step) if report.what == What::Until => writeln!(out, "  next: {}", step.text)?,
        Some(step) => writeln!(out, "  recorded: {}", step.text)?,
        None => writeln!(out, "  recorded: nothing; the log ends before")?,
    }
    if report.what != What::Until {
        writeln!(out, "  replayed: {}", report.actual)?;
    }
    if let Some(thread) = report.recorded_thread.filter(|t| u32::from(*t) != report.thread) {
        writeln!(out, "  recorded in thread {thread}, replayed in thread {}", report.thread)?;
    }
    if let Some(argument) = &report.argument {
        let name = argument.name.as_deref().unwrap_or("argument");
        let hex = |value: Option<u64>| value.map_or_else(|| "none".into(), |v| format!("{v:#x}"));
        let (recorded, actual) = (hex(argument.recorded), hex(argument.actual));
        match report.bytes {
            Some(_) => writeln!(out, "  {name} differs")?,
            None => writeln!(out, "  {name}: recorded {recorded}, replayed {actual}")?,
        }
    }
    if let Some(both) = &report.bytes {
        bytes(both, out)?;
    }
    if !report.before.is_empty() {
        writeln!(out, "before it:")?;
        for step in &report.before {
            writeln!(out, "  {:>8} {}", step.step, step.text)?;
        }
    }
    if !report.stack.is_empty() {
        writeln!(out, "stack:")?;
        for (number, frame) in report.stack.iter().enumerate() {
            writeln!(out, "  #{number} {frame}")?;
        }
    }
    if !report.causes.is_empty() {
        writeln!(out, "common causes:")?;
        for cause in &report.causes {
            writeln!(out, "  - {cause}")?;
        }
    }
    Ok(())
}

/// The bytes of both sides: as text if they are, else in hex.
fn bytes(both: &Bytes, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  first difference at byte {} of the buffer", both.offset)?;
    for (name, bytes) in [("recorded", &both.recorded.0), ("replayed", &both.actual.0)] {
        match readable(bytes) {
            Some(text) => writeln!(out, "  {name} from byte {}: {text:?}", both.shown_from)?,
            None => {
                writeln!(out, "  {name} from byte {}:", both.shown_from)?;
                for (i, line) in bytes.chunks(LINE_BYTES).enumerate() {
                    let at = both.shown_from + (i * LINE_BYTES) as u64;
                    let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
                    writeln!(out, "    {at:06x}  {}", hex.join(" "))?;
                }
            }
        }
    }
    Ok(())
}

/// The bytes as text, if that is what they are. The cut may go through a character, and a path
/// ends with NUL.
fn readable(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let inner = text.trim_matches('\u{fffd}');
    let cut = text.chars().count() - inner.chars().count();
    let plain = |c: char| !c.is_control() || c.is_ascii_whitespace();
    (cut <= 6 && !inner.contains('\u{fffd}') && inner.chars().all(plain)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::manifest::ByteText;

    #[test]
    fn bytes_are_shown_as_text_or_hex() {
        let show = |recorded: &[u8], actual: &[u8]| {
            let mut out = String::new();
            let (recorded, actual) = (ByteText(recorded.to_vec()), ByteText(actual.to_vec()));
            bytes(&Bytes { offset: 12, shown_from: 10, recorded, actual }, &mut out).unwrap();
            out
        };
        let text = show("temperatur\u{e9}".as_bytes(), b"temporary");
        assert!(text.contains("recorded from byte 10: \"temperaturé\""), "{text}");
        let hex = show(&[0, 1, 255], &[0; 17]);
        assert!(hex.contains("00000a  00 01 ff") && hex.contains("00001a  00"), "{hex}");
    }
}
