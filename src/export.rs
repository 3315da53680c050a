//! Sessions in the formats of other tools: one file for each format.
//!
//! An export reads what the session holds and nothing of the environment it is made in, so what
//! was redacted when the session was written stays so.

pub mod har;
pub mod jsonl;
pub mod pcapng;
pub mod perfetto;

use std::io::Write;

use crate::error::{Error, Result};
use crate::session::Session;

/// What a session can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// HTTP archive 1.2: browsers' developer tools, proxies
    Har,
    /// Events of rr-run's telemetry, as JSON lines: docs/telemetry.md
    Jsonl,
    /// Spans and metrics, as OTLP/JSON lines: OpenTelemetry
    #[cfg(feature = "otlp")]
    Otlp,
    /// Packets with the plaintext of TLS: Wireshark
    Pcapng,
    /// Processes, connections, exchanges and tokens on a time line: ui.perfetto.dev
    Perfetto,
}

/// Writes a session. Without `content`, formats of telemetry leave out what was asked and answered;
/// the others always have it.
///
/// # Errors
/// The session can't be read, or the writer's. Of a damaged session what can be read is written,
/// and the damage is in the result.
pub fn export(
    session: &Session,
    format: Format,
    content: bool,
    out: &mut dyn Write,
) -> Result<Vec<String>> {
    match format {
        Format::Har => har::write(session, out),
        Format::Jsonl => jsonl::write(session, content, out),
        #[cfg(feature = "otlp")]
        Format::Otlp => crate::telemetry::otlp::write(session, content, out),
        Format::Pcapng => pcapng::write(session, out),
        Format::Perfetto => perfetto::write(session, out),
    }
}

/// The error of a failed write of an export.
fn unwritten(source: std::io::Error) -> Error {
    Error::Io { doing: "write the export".into(), source }
}
