//! Options of recordings and replays that tell what happens.

use std::path::PathBuf;

#[cfg(feature = "otlp")]
use crate::telemetry::otlp::Endpoint;
use crate::telemetry::watch::Telemetry;

/// Where events are told.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TelemetryArgs {
    /// Write what happens to this file, as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Telemetry")]
    telemetry: Option<PathBuf>,
    /// Send spans and metrics to this OpenTelemetry endpoint (http://localhost:4318,
    /// grpc://localhost:4317), or with `env` where OTEL_EXPORTER_OTLP_ENDPOINT says
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "ENDPOINT", help_heading = "Telemetry")]
    otlp: Option<Endpoint>,
    /// Tell also what models are asked and what they answer
    #[arg(long, help_heading = "Telemetry")]
    telemetry_content: bool,
}

impl TelemetryArgs {
    pub(crate) fn into_telemetry(self) -> Telemetry {
        Telemetry {
            file: self.telemetry,
            #[cfg(feature = "otlp")]
            otlp: self.otlp,
            content: self.telemetry_content,
        }
    }
}
