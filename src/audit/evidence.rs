//! Whether what a program passed on can be found in what it was given.

use std::collections::BTreeSet;

use log_format::record::{Dir, Kind, Record};
use memchr::memmem;

use super::Source;
use super::compare::Bytes;
use crate::error::Result;
use crate::session::{Process, Session};

/// Bytes kept of what one source gave last.
const DATA_BYTES_MAX: usize = 256 * 1024;
/// Numbers kept of one source.
const NUMBERS_MAX: usize = 64;
/// Bytes of a difference that are looked for, and fewest that say something.
const NEEDLE_BYTES: usize = 8;
const NEEDLE_BYTES_MIN: usize = 4;
/// Digits of a time that are looked for: the rest changes until it is printed.
const DIGITS: usize = 8;

/// What one source has given lately, of the events that differ.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    data: Vec<u8>,
    numbers: BTreeSet<String>,
}

impl Evidence {
    /// Takes an event in.
    pub fn add(&mut self, source: Source, record: &Record) {
        if record.header.kind == Kind::Clock {
            let digits = record.value().unwrap_or(0).to_string();
            if let Some(first) = digits.get(..DIGITS) {
                self.number(first);
            }
            return;
        }
        let Ok(call) = record.call() else { return };
        if source == Source::Pid {
            self.number(&call.ret.to_string());
            return;
        }
        for buf in call.bufs().flatten().filter(|b| b.dir == Dir::Out) {
            let tail = buf.bytes.len().saturating_sub(DATA_BYTES_MAX);
            self.data.extend_from_slice(buf.bytes.get(tail..).unwrap_or_default());
        }
        // Not at every event: shifting costs as much as what is kept.
        if self.data.len() > 2 * DATA_BYTES_MAX {
            self.data.drain(..self.data.len() - DATA_BYTES_MAX);
        }
    }

    fn number(&mut self, digits: &str) {
        if self.numbers.len() < NUMBERS_MAX {
            self.numbers.insert(digits.to_owned());
        }
    }

    /// Whether the first run's side of a difference holds what the source gave.
    pub fn explains(&self, difference: &Bytes) -> bool {
        if needle(difference).is_some_and(|needle| holds(&self.data, needle)) {
            return true;
        }
        self.numbers.iter().any(|digits| starts_number(&difference.a, digits))
    }
}

/// What is looked for: the first bytes that differ, in the first run; none if they are too few.
fn needle(difference: &Bytes) -> Option<&[u8]> {
    let differing = difference.a.get(difference.offset - difference.from..)?;
    let needle = differing.get(..NEEDLE_BYTES).unwrap_or(differing);
    (needle.len() >= NEEDLE_BYTES_MIN).then_some(needle)
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    memmem::find(all, part).is_some()
}

/// Whether a number begins with these digits somewhere in a text; a short one must be all of it.
fn starts_number(text: &[u8], digits: &str) -> bool {
    let digit = |at: Option<usize>| at.and_then(|i| text.get(i)).is_some_and(u8::is_ascii_digit);
    text.windows(digits.len()).enumerate().any(|(i, window)| {
        let end = i + digits.len();
        window == digits.as_bytes()
            && !digit(i.checked_sub(1))
            && (digits.len() >= DIGITS || !digit(Some(end)))
    })
}

/// The last event before a step at which a process was given the bytes that differ.
///
/// # Errors
/// The log can't be read.
pub fn origin(
    session: &Session,
    process: &Process,
    step: u64,
    difference: &Bytes,
) -> Result<Option<u64>> {
    let Some(needle) = needle(difference) else { return Ok(None) };
    let mut events = session.events(process)?;
    let mut found = None;
    while let Some(event) = events.next_event()? {
        if event.step >= step {
            break;
        }
        let Ok(call) = event.record.call() else { continue };
        let mut given = call.bufs().flatten().filter(|b| b.dir == Dir::Out);
        if given.any(|buf| holds(buf.bytes, needle)) {
            found = Some(event.step);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::sample::call;

    #[test]
    fn copied_bytes_and_printed_numbers_are_recognised() {
        let bytes = Bytes::between(b"say hello42", b"say jello43").unwrap();
        let mut given = Evidence::default();
        let read = call(0, &[3], 9, &[(1, Dir::Out, b"\r\nhello42\r\n")]);
        given.add(Source::Network, &Record::parse(&read).unwrap());
        assert!(given.explains(&bytes));
        let mut pid = Evidence::default();
        let getpid = call(39, &[], 42, &[]);
        pid.add(Source::Pid, &Record::parse(&getpid).unwrap());
        assert!(pid.explains(&bytes));
        assert!(!Evidence::default().explains(&bytes));
    }
}
