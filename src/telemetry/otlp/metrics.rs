//! Metrics of calls of models, as clients see them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

use super::spans::{error_type, scope, server};
use crate::stream::{Api, LlmCall};

/// How often metrics of a running recording are sent.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bounds of durations that the conventions ask for, seconds.
const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Bounds of counts of tokens: powers of four.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The instruments.
pub(super) struct Meters {
    provider: SdkMeterProvider,
    duration: Histogram<f64>,
    first_chunk: Histogram<f64>,
    per_chunk: Histogram<f64>,
    tokens: Histogram<u64>,
}

impl Meters {
    pub(super) fn new(resource: Resource, exporter: impl PushMetricExporter) -> Meters {
        let reader = PeriodicReader::builder(exporter).with_interval(INTERVAL).build();
        let provider =
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let meter = provider.meter_with_scope(scope());
        let seconds = |name: &'static str, description: &'static str| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
            builder.with_boundaries(SECONDS.to_vec()).build()
        };
        let duration = seconds("gen_ai.client.operation.duration", "GenAI operation duration.");
        let first_chunk = seconds(
            "gen_ai.client.operation.time_to_first_chunk",
            "Time from the request to the first chunk of a streamed answer.",
        );
        let per_chunk = seconds(
            "gen_ai.client.operation.time_per_output_chunk",
            "Time from one chunk of a streamed answer to the next.",
        );
        let tokens = meter
            .u64_histogram("gen_ai.client.token.usage")
            .with_unit("{token}")
            .with_description("Number of input and output tokens used.")
            .with_boundaries(TOKENS.to_vec())
            .build();
        Meters { provider, duration, first_chunk, per_chunk, tokens }
    }

    /// Takes in a call that has ended.
    pub(super) fn record(&self, call: &LlmCall, scheme: &str) {
        // Streams that are no calls of a model as far as is known.
        if call.api == Api::Unknown {
            return;
        }
        let (address, port) = server(&call.authority, scheme);
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", call.operation.name()),
            KeyValue::new("gen_ai.provider.name", call.provider.clone()),
            KeyValue::new("server.address", address),
            KeyValue::new("server.port", port),
        ];
        let model = |name: &'static str, model: &Option<String>| {
            model.clone().map(|model| KeyValue::new(name, model))
        };
        attributes.extend(model("gen_ai.request.model", &call.request.model));
        attributes.extend(model("gen_ai.response.model", &call.response_model));
        let kinds = [("input", call.usage.input_tokens), ("output", call.usage.output_tokens)];
        for (kind, count) in kinds {
            let Some(count) = count else { continue };
            let mut attributes = attributes.clone();
            attributes.push(KeyValue::new("gen_ai.token.type", kind));
            self.tokens.record(count, &attributes);
        }
        attributes.extend(error_type(call).map(|error| KeyValue::new("error.type", error)));
        let seconds = |ns: u64| ns as f64 / 1e9;
        let took_ns = call.ended_ns.saturating_sub(call.started_ns);
        self.duration.record(seconds(took_ns), &attributes);
        if !call.streamed {
            return;
        }
        if let Some(first_ns) = call.timing.time_to_first_token_ns {
            self.first_chunk.record(seconds(first_ns), &attributes);
        }
        for token in call.tokens.iter().skip(1) {
            self.per_chunk.record(seconds(token.gap_ns), &attributes);
        }
    }

    /// Sends what there is, and no more after it.
    pub(super) fn finish(&self) -> Result<(), OTelSdkError> {
        self.provider.shutdown()
    }
}

/// Dates metrics by the session, rather than by when they were made of it.
pub(super) fn set_times(request: &mut ExportMetricsServiceRequest, span: (u64, u64)) {
    let scopes = request.resource_metrics.iter_mut().flat_map(|r| &mut r.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        if let Some(Data::Histogram(histogram)) = &mut metric.data {
            for point in &mut histogram.data_points {
                (point.start_time_unix_nano, point.time_unix_nano) = span;
            }
        }
    }
}
