//! Options of recordings and replays that tell what happens.

use std::path::PathBuf;

use crate::telemetry::watch::Telemetry;

/// Where events are told.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TelemetryArgs {
    /// Write what happens to this file, as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Telemetry")]
    telemetry: Option<PathBuf>,
    /// Tell also what models are asked and what they answer
    #[arg(long, help_heading = "Telemetry")]
    telemetry_content: bool,
}

impl TelemetryArgs {
    pub(crate) fn into_telemetry(self) -> Telemetry {
        Telemetry { file: self.telemetry, content: self.telemetry_content }
    }
}
