//! How OTLP is sent: by HTTP, with TLS by the machine's certificates.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Headers that are not the user's.
const OWN_HEADERS: [&str; 4] = ["content-type", "content-encoding", "content-length", "user-agent"];

/// Sends requests, each over a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Client {
    runtime: Handle,
    tls: TlsConnectorDebug,
    /// Whether the headers that the environment names are sent.
    environment: bool,
}

#[derive(Clone)]
struct TlsConnectorDebug(TlsConnector);

impl std::fmt::Debug for TlsConnectorDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl Client {
    pub(super) fn new(runtime: Handle, environment: bool) -> Result<Client, HttpError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnectorDebug(TlsConnector::from(Arc::new(config)));
        Ok(Client { runtime, tls, environment })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if !self.environment {
            keep_own(request.headers_mut());
        }
        let tls = self.tls.0.clone();
        // Whoever waits for the answer may do so outside of the runtime.
        self.runtime.spawn(send(request, tls)).await?
    }
}

async fn send(request: Request<Bytes>, tls: TlsConnector) -> Result<Response<Bytes>, HttpError> {
    let (mut parts, body) = request.into_parts();
    let uri = parts.uri.clone();
    let host = uri.host().ok_or("the address has no host")?.to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let authority = uri.authority().map_or(host.as_str(), |authority| authority.as_str());
    parts.headers.insert(HOST, HeaderValue::from_str(authority)?);
    parts.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>()?;
    let request = Request::from_parts(parts, Full::new(body));
    let host = host.trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if secure {
        let name = ServerName::try_from(host)?;
        return over(tls.connect(name, stream).await?, request).await;
    }
    over(stream, request).await
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

/// Removes headers that the exporter has taken from the environment.
fn keep_own(headers: &mut HeaderMap) {
    let names: Vec<_> =
        headers.keys().filter(|name| !OWN_HEADERS.contains(&name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The same for gRPC.
pub(super) fn own_headers(
    request: tonic::Request<()>,
) -> Result<tonic::Request<()>, tonic::Status> {
    let (metadata, extensions, message) = request.into_parts();
    let mut headers = metadata.into_headers();
    keep_own(&mut headers);
    let metadata = tonic::metadata::MetadataMap::from_headers(headers);
    Ok(tonic::Request::from_parts(metadata, extensions, message))
}

/// TLS for gRPC.
pub(super) fn tonic_tls() -> ClientTlsConfig {
    ClientTlsConfig::new().with_native_roots()
}

/// Whether `OTEL_EXPORTER_OTLP_PROTOCOL` names gRPC.
pub(super) fn environment_asks_for_grpc() -> bool {
    std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").is_ok_and(|protocol| protocol == "grpc")
}
