//! An exchange's bytes.

use std::io::Write;

use crate::error::Result;
use crate::report::out::written;
use crate::stream::exchange::{Exchange, Header};
use crate::stream::{Body, Direction};

/// Bytes of a body that are copied at a time.
const COPIED_BYTES: u64 = 1 << 20;

/// Writes heads, and bodies without their transfer coding; of a WebSocket its messages, one a
/// line after an arrow.
///
/// # Errors
/// A body can't be read, or the writer's.
pub(super) fn raw(out: &mut dyn Write, exchange: &Exchange) -> Result<u8> {
    let request = &exchange.request;
    writeln!(out, "{} {}", request.method, request.target).map_err(written)?;
    part(out, &request.headers, &request.body)?;
    if let Some(response) = &exchange.response {
        writeln!(out, "\n{} {}", response.status, response.reason).map_err(written)?;
        part(out, &response.headers, &response.body)?;
    }
    for message in &exchange.messages {
        let arrow: &[u8] = if message.direction == Direction::Sent { b"-> " } else { b"<- " };
        for bytes in [arrow, &message.bytes, b"\n"] {
            out.write_all(bytes).map_err(written)?;
        }
    }
    Ok(0)
}

fn part(out: &mut dyn Write, headers: &[Header], body: &Body) -> Result<()> {
    for Header { name, value } in headers {
        for bytes in [&name[..], b": ", value, b"\n"] {
            out.write_all(bytes).map_err(written)?;
        }
    }
    out.write_all(b"\n").map_err(written)?;
    let mut at = 0;
    while at < body.len() {
        let end = at + COPIED_BYTES;
        out.write_all(&body.read(at..end)?).map_err(written)?;
        at = end;
    }
    Ok(())
}
