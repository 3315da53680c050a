//! Events as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::event::TelemetryEvent;
use super::source::Observer;
use crate::error::{Error, Result};
use crate::session::Manifest;

/// Writes events to a file, each as a line of JSON.
pub struct Lines {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Lines {
    /// Creates the file; one that is there is written anew.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> Result<Lines> {
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Lines { out: BufWriter::with_capacity(64 * 1024, file), path: path.to_owned() })
    }
}

impl Observer for Lines {
    fn event(&mut self, event: TelemetryEvent) -> Result<()> {
        line(&mut self.out, &event).map_err(Error::file("write", &self.path))
    }

    fn round(&mut self, _finished: Option<&Manifest>) -> Result<()> {
        self.out.flush().map_err(Error::file("write", &self.path))
    }
}

/// Writes one event as a line.
///
/// # Errors
/// The writer's.
pub fn line(out: &mut dyn Write, event: &TelemetryEvent) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}
