//! Events of the telemetry schema, as JSON lines.

use std::io::Write;

use super::unwritten;
use crate::error::Result;
use crate::session::Session;
use crate::telemetry::{events, lines};

/// Writes the events of a session; what of it could not be read.
///
/// # Errors
/// The session can't be read, or the writer's.
pub fn write(session: &Session, content: bool, out: &mut dyn Write) -> Result<Vec<String>> {
    events(session, content, &mut |event| lines::line(out, &event).map_err(unwritten))
}
