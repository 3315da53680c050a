//! OpenTelemetry: spans and metrics of a session, over OTLP or as OTLP/JSON.
//!
//! A session is a span; in it each call of a model is one by the semantic conventions for
//! generative AI, and each other HTTP exchange one by those for HTTP. A request that carried a
//! `traceparent` is in that trace, as a child of the span that it names.

mod client;
mod metrics;
mod spans;

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::create::EventContext;
use super::event::TelemetryEvent;
use super::source::{Observer, Options, Seen, observe};
use crate::error::{Error, Result};
use crate::session::{Manifest, Session};
use crate::stream::{Exchange, LlmCall};
use client::{Client, own_headers};
use metrics::Meters;

/// How long one attempt to send may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Spans that wait to be sent; more are dropped.
const WAITING_MAX: usize = 50_000;
/// Spans in one message.
const BATCH: usize = 512;
/// gRPC's port by convention.
const GRPC_PORT: &str = ":4317";

/// Where OTLP is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Protobuf by HTTP, to this address and `/v1/traces` or `/v1/metrics`.
    Http(String),
    /// gRPC, to this address.
    Grpc(String),
    /// As the `OTEL_EXPORTER_OTLP_*` variables say.
    Environment,
}

impl FromStr for Endpoint {
    type Err = String;

    /// `http://HOST:PORT` and `https://...` (gRPC if the port is 4317), `grpc://` and `grpcs://`
    /// for gRPC on any port, or `env`.
    ///
    /// ```
    /// use rr_run::telemetry::otlp::Endpoint;
    /// let parsed = "http://localhost:4317/".parse();
    /// assert_eq!(parsed, Ok(Endpoint::Grpc("http://localhost:4317".into())));
    /// assert!("localhost".parse::<Endpoint>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Endpoint, String> {
        if text == "env" {
            return Ok(Endpoint::Environment);
        }
        let text = text.trim_end_matches('/');
        let Some((scheme, rest)) = text.split_once("://").filter(|(_, rest)| !rest.is_empty())
        else {
            return Err("an address is needed, http://localhost:4318 for example, or env".into());
        };
        match scheme {
            "grpc" => Ok(Endpoint::Grpc(format!("http://{rest}"))),
            "grpcs" => Ok(Endpoint::Grpc(format!("https://{rest}"))),
            "http" | "https" if rest.ends_with(GRPC_PORT) => Ok(Endpoint::Grpc(text.into())),
            "http" | "https" => Ok(Endpoint::Http(text.into())),
            _ => Err(format!("'{scheme}' is neither http, https, grpc nor grpcs")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Http(address) | Endpoint::Grpc(address) => f.write_str(address),
            Endpoint::Environment => f.write_str("where OTEL_EXPORTER_OTLP_ENDPOINT says"),
        }
    }
}

/// Sends a session, or what is told of a recording, to an endpoint.
pub struct Otlp {
    shared: Shared,
    endpoint: Endpoint,
    spans: SpanExporter,
    meters: Meters,
    /// What the exporters run in.
    runtime: tokio::runtime::Runtime,
}

/// What sending and writing have in common.
struct Shared {
    context: EventContext,
    manifest: Manifest,
    resource: Resource,
    waiting: Vec<SpanData>,
    /// Spans that there was no room for.
    dropped: u64,
    last_ns: u64,
}

impl Shared {
    fn new(manifest: &Manifest, content: bool) -> Shared {
        Shared {
            context: EventContext { content, ..EventContext::new(manifest) },
            resource: spans::resource(manifest),
            manifest: manifest.clone(),
            waiting: Vec::new(),
            dropped: 0,
            last_ns: 0,
        }
    }

    fn add(&mut self, span: SpanData, ended_ns: u64) {
        self.last_ns = self.last_ns.max(ended_ns);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(span);
        } else {
            self.dropped += 1;
        }
    }

    /// The session's own span, the last one.
    fn finish(&mut self) {
        let span = spans::session(&self.context, &self.manifest, self.last_ns);
        self.waiting.push(span);
    }
}

impl Otlp {
    /// An exporter to this endpoint. Nothing is connected yet.
    ///
    /// # Errors
    /// The endpoint's address is none, or no threads can be started.
    pub fn new(endpoint: &Endpoint, manifest: &Manifest, content: bool) -> Result<Otlp> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Error::io("start a thread for telemetry"))?;
        let shared = Shared::new(manifest, content);
        let entered = runtime.enter();
        let exporters = exporters(endpoint, runtime.handle());
        let (mut spans, metrics) = exporters
            .map_err(|e| Error::Usage(format!("OTLP can't be sent to {endpoint}: {e}")))?;
        spans.set_resource(&shared.resource);
        let meters = Meters::new(shared.resource.clone(), metrics);
        drop(entered);
        Ok(Otlp { shared, endpoint: endpoint.clone(), spans, meters, runtime })
    }

    fn failed(&self, error: impl fmt::Display) -> Error {
        Error::Machine {
            doing: format!("send telemetry to {}", self.endpoint),
            reason: error.to_string(),
        }
    }

    fn send(&mut self) -> Result<()> {
        while !self.shared.waiting.is_empty() {
            let count = self.shared.waiting.len().min(BATCH);
            let batch = self.shared.waiting[..count].to_vec();
            let sent = self.runtime.block_on(self.spans.export(batch));
            // What could not be sent is tried again the next time.
            sent.map_err(|e| self.failed(e))?;
            self.shared.waiting.drain(..count);
        }
        Ok(())
    }
}

type Exporters = (SpanExporter, MetricExporter);

fn exporters(
    endpoint: &Endpoint,
    runtime: &tokio::runtime::Handle,
) -> Result<Exporters, Box<dyn std::error::Error + Send + Sync>> {
    let grpc = match endpoint {
        Endpoint::Http(_) => false,
        Endpoint::Grpc(_) => true,
        Endpoint::Environment => client::environment_asks_for_grpc(),
    };
    let asked = *endpoint == Endpoint::Environment;
    if grpc {
        let (mut spans, mut metrics) =
            (SpanExporter::builder().with_tonic(), MetricExporter::builder().with_tonic());
        if let Endpoint::Grpc(address) = endpoint {
            spans = spans.with_endpoint(address).with_interceptor(own_headers);
            metrics = metrics.with_endpoint(address).with_interceptor(own_headers);
            (spans, metrics) = (spans.with_timeout(TIMEOUT), metrics.with_timeout(TIMEOUT));
            if address.starts_with("https://") {
                let tls = client::tonic_tls();
                spans = spans.with_tls_config(tls.clone());
                metrics = metrics.with_tls_config(tls);
            }
        }
        return Ok((spans.build()?, metrics.build()?));
    }
    let client = Arc::new(Client::new(runtime.clone(), asked)?);
    let (mut spans, mut metrics) = (
        SpanExporter::builder().with_http().with_shared_http_client(client.clone()),
        MetricExporter::builder().with_http().with_shared_http_client(client),
    );
    if let Endpoint::Http(address) = endpoint {
        spans = spans.with_endpoint(format!("{address}/v1/traces")).with_timeout(TIMEOUT);
        metrics = metrics.with_endpoint(format!("{address}/v1/metrics")).with_timeout(TIMEOUT);
    }
    Ok((spans.build()?, metrics.build()?))
}

impl Observer for Otlp {
    fn event(&mut self, _event: TelemetryEvent) -> Result<()> {
        Ok(())
    }

    fn call(&mut self, exchange: &Exchange, call: &LlmCall) -> Result<()> {
        let span = spans::call(&self.shared.context, exchange, call);
        self.shared.add(span, call.ended_ns);
        self.meters.record(call, &exchange.request.scheme);
        Ok(())
    }

    fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        let span = spans::exchange(&self.shared.context, exchange);
        self.shared.add(span, exchange.ended_ns);
        Ok(())
    }

    fn round(&mut self, finished: Option<&Manifest>) -> Result<()> {
        let Some(manifest) = finished else { return self.send() };
        self.shared.manifest = manifest.clone();
        self.shared.finish();
        self.send()?;
        self.meters.finish().map_err(|e| self.failed(e))?;
        if self.shared.dropped > 0 {
            let dropped = self.shared.dropped;
            return Err(self.failed(format!("{dropped} spans were too many")));
        }
        Ok(())
    }
}

/// Sends a finished session, or what there is of one that is being recorded.
///
/// # Errors
/// The session can't be read, or the endpoint does not take it.
pub fn send(session: &Session, endpoint: &Endpoint, content: bool) -> Result<Vec<String>> {
    let mut otlp = Otlp::new(endpoint, session.manifest(), content)?;
    tell(session, &mut otlp)
}

fn tell(session: &Session, observer: &mut dyn Observer) -> Result<Vec<String>> {
    let context = EventContext::new(session.manifest());
    let options = Options { recording: false, io: false };
    let damage = observe(session, &context, options, &mut Seen::default(), observer)?;
    observer.round(Some(session.manifest()))?;
    Ok(damage)
}

/// Gets metrics in place of an endpoint.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

impl PushMetricExporter for Capture {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(metrics.into());
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Writes a session as OTLP/JSON: a line of spans for each few hundred of them, then a line of
/// metrics, as collectors' files have it.
struct Lines<'a> {
    shared: Shared,
    meters: Meters,
    captured: Capture,
    out: &'a mut dyn Write,
}

impl Lines<'_> {
    fn write_spans(&mut self) -> std::io::Result<()> {
        let resource = ResourceAttributesWithSchema::from(&self.shared.resource);
        let spans = std::mem::take(&mut self.shared.waiting);
        for batch in spans.chunks(BATCH) {
            let resource_spans = group_spans_by_resource_and_scope(batch.to_vec(), &resource);
            serde_json::to_writer(&mut *self.out, &ExportTraceServiceRequest { resource_spans })?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl Observer for Lines<'_> {
    fn event(&mut self, _event: TelemetryEvent) -> Result<()> {
        Ok(())
    }

    fn call(&mut self, exchange: &Exchange, call: &LlmCall) -> Result<()> {
        let span = spans::call(&self.shared.context, exchange, call);
        self.shared.add(span, call.ended_ns);
        self.meters.record(call, &exchange.request.scheme);
        if self.shared.waiting.len() < BATCH {
            return Ok(());
        }
        self.write_spans().map_err(unwritten)
    }

    fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        let span = spans::exchange(&self.shared.context, exchange);
        self.shared.add(span, exchange.ended_ns);
        Ok(())
    }

    fn round(&mut self, _finished: Option<&Manifest>) -> Result<()> {
        self.shared.finish();
        self.write_spans().map_err(unwritten)?;
        self.meters.finish().map_err(|e| unwritten(std::io::Error::other(e)))?;
        let captured =
            std::mem::take(&mut *self.captured.0.lock().unwrap_or_else(PoisonError::into_inner));
        let started_ns = self.shared.manifest.started_ns;
        let span = (started_ns, started_ns + self.shared.last_ns);
        for mut request in captured {
            metrics::set_times(&mut request, span);
            serde_json::to_writer(&mut *self.out, &request).map_err(|e| unwritten(e.into()))?;
            self.out.write_all(b"\n").map_err(unwritten)?;
        }
        Ok(())
    }
}

fn unwritten(source: std::io::Error) -> Error {
    Error::Io { doing: "write the export".into(), source }
}

/// Writes a session as OTLP/JSON lines; what of it could not be read.
///
/// # Errors
/// The session can't be read, or the writer's.
pub fn write(session: &Session, content: bool, out: &mut dyn Write) -> Result<Vec<String>> {
    let shared = Shared::new(session.manifest(), content);
    let captured = Capture::default();
    let meters = Meters::new(shared.resource.clone(), captured.clone());
    tell(session, &mut Lines { shared, meters, captured, out })
}

/// A moment of a session.
fn moment(context: &EventContext, time_ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(context.started_ns.saturating_add(time_ns))
}
