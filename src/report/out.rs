//! Standard output whose reader may leave early, and remarks on standard error.

use std::io::{self, BufWriter, ErrorKind, Write};

use crate::error::{Error, Result};

/// Gives `print` a buffered standard output. A reader that has gone (`| head`) ends it quietly
/// with exit code 0.
///
/// # Errors
/// Those of `print`, but for a closed pipe.
pub fn stdout(print: impl FnOnce(&mut dyn Write) -> Result<u8>) -> Result<u8> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let printed = print(&mut out);
    // Also after an error: what was found before it is part of the answer.
    let flushed = out.flush().map_err(written);
    match printed.and_then(|code| flushed.map(|()| code)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(0),
        other => other,
    }
}

/// Writes a line to standard error. Without a reader there is nobody to tell.
macro_rules! tell {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}
pub(crate) use tell;

/// Writes to standard output at once, for a conversation; see [`stdout`] for all else.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        let _ = write!(out, $($arg)*).and_then(|()| out.flush());
    }};
}
pub(crate) use say;

/// Tells on standard error, in one line, what is no error and should be known.
///
/// Only such lines begin so: who compares what a replay puts out can leave them out.
pub fn note(text: &str) {
    tell!("rr-run: note: {text}");
}

/// The error of a failed write to standard output.
pub fn written(source: io::Error) -> Error {
    Error::Io { doing: "write to standard output".into(), source }
}

/// Writes a value as indented JSON and a newline.
///
/// # Errors
/// The writer's.
pub fn json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|e| written(e.into()))?;
    writeln!(out).map_err(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = || written(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(stdout(|_| Err(gone())).unwrap(), 0);
        assert!(stdout(|_| Err(written(io::Error::from(ErrorKind::StorageFull)))).is_err());
        assert_eq!(stdout(|_| Ok(3)).unwrap(), 3);
    }
}
