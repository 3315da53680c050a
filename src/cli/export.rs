//! `rr-run export`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use super::StoreArgs;
use crate::error::{Error, Result};
use crate::export::{Format, export};
use crate::report::out::stdout;
use crate::report::out::tell;
#[cfg(feature = "otlp")]
use crate::telemetry::otlp::{self, Endpoint};

/// Write a session in the format of another tool.
///
/// Works on a session that is being recorded, too: what stands there at present is written.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Directory that holds sessions [default: $RR_RUN_DIR, else the XDG state directory]
    #[arg(long = "dir", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What to write
    #[arg(short, long, value_enum)]
    format: Format,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Send spans and metrics to this OpenTelemetry endpoint rather than write a file
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "output")]
    otlp: Option<Endpoint>,
    /// With jsonl and otlp: also what models were asked and what they answered
    #[arg(long)]
    content: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Export {
    /// Writes the export; the exit code.
    ///
    /// # Errors
    /// There is no such session, it can't be read, or the export can't be written.
    pub(super) fn run(self) -> Result<u8> {
        let store = StoreArgs { dir: self.dir };
        let session = store.store()?.open(self.session.as_deref())?;
        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &self.otlp {
            if self.format != Format::Otlp {
                return Err(Error::Usage("--otlp goes with --format otlp".into()));
            }
            tell(otlp::send(&session, endpoint, self.content)?);
            return Ok(0);
        }
        let mut damage = Vec::new();
        let code = match &self.output {
            None => stdout(|out| {
                damage = export(&session, self.format, self.content, out)?;
                Ok(0)
            })?,
            Some(path) => {
                let file = File::create(path).map_err(Error::file("create", path))?;
                let mut out = BufWriter::with_capacity(256 * 1024, file);
                damage = export(&session, self.format, self.content, &mut out)?;
                out.flush().map_err(Error::file("write", path))?;
                0
            }
        };
        tell(damage);
        Ok(code)
    }
}

/// Says what of the session could not be read.
fn tell(damage: Vec<String>) {
    for damage in damage {
        tell!("rr-run: the export is not all: {damage}");
    }
}
