//! Hybrid mode: requests that were not recorded, asked of the real service and kept.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::PATIENCE;
use super::answer::AnswerBody;
use super::head::fields;
use crate::error::{Error, Result};
use crate::player::layer::Layer;
use crate::report::out::tell;
use crate::stream::{self, Body, Chunk, End, Exchange, Header, Protocol};

/// The way to the real services.
#[derive(Clone)]
pub(super) struct Upstream {
    layer: Arc<Mutex<Layer>>,
    tls: Arc<ClientConfig>,
    started: Instant,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl Upstream {
    /// What is asked is kept in this layer.
    ///
    /// # Errors
    /// TLS lacks the cipher suites it needs.
    pub(super) fn new(layer: Layer) -> Result<Upstream> {
        let layer = Arc::new(Mutex::new(layer));
        Ok(Upstream { layer, tls: tls()?, started: Instant::now() })
    }

    /// Asks; the answer, which is kept when it is whole.
    pub(super) async fn ask(&self, mut asked: stream::Request) -> io::Result<Response<AnswerBody>> {
        asked.ended_ns = self.now_ns();
        asked.started_ns = asked.ended_ns;
        let response = send(&self.tls, &asked).await?;
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| Header {
            name: Bytes::copy_from_slice(name.as_str().as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        });
        let recorded = stream::Response {
            status: parts.status.as_u16(),
            reason: String::new(),
            headers: headers.collect(),
            protocol: Protocol::Http11,
            interim: Vec::new(),
            body: Body::held(Bytes::new(), Vec::new()),
            trailers: Vec::new(),
            started_ns: self.now_ns(),
            ended_ns: 0,
            step: 0,
        };
        let (sender, channel) = Channel::new(1);
        let mut answer = Response::new(channel.boxed_unsync());
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = fields(&recorded.headers);
        tokio::spawn(self.clone().pass_on(asked, recorded, body, sender));
        Ok(answer)
    }

    /// Passes the pieces of a body on as they come, and keeps the exchange. A client that leaves
    /// does not end that: the next run may want all of it.
    async fn pass_on(
        self,
        request: stream::Request,
        mut response: stream::Response,
        mut body: Incoming,
        sender: Sender<Bytes, io::Error>,
    ) {
        let (mut bytes, mut chunks) = (BytesMut::new(), Vec::new());
        let mut sender = Some(sender);
        while let Some(frame) = body.frame().await {
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_)) => continue,
                Err(e) => {
                    if let Some(sender) = sender {
                        sender.abort(io::Error::other(e));
                    }
                    return;
                }
            };
            bytes.extend_from_slice(&data);
            chunks.push(Chunk { end: bytes.len() as u64, time_ns: self.now_ns(), step: 0 });
            if let Some(open) = &mut sender
                && open.send_data(data).await.is_err()
            {
                sender = None;
            }
        }
        response.ended_ns = self.now_ns();
        response.body = Body::held(bytes, chunks);
        let exchange = Exchange {
            id: 0,
            connection: 0,
            protocol: Protocol::Http11,
            stream: None,
            ended_ns: response.ended_ns,
            request,
            response: Some(response),
            messages: Vec::new(),
            end: End::Complete,
        };
        // Kept before the client sees the end, and may end the run.
        if let Some(Err(e)) = self.layer.lock().ok().map(|mut layer| layer.keep(&exchange)) {
            tell!("rr-run: failed to {e}");
        }
        drop(sender);
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// TLS that trusts who the system trusts.
///
/// # Errors
/// It lacks the cipher suites it needs.
pub(in crate::player) fn tls() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::io("prepare TLS")(io::Error::other(e)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Sends a request to the service that it names; the beginning of the answer.
pub(in crate::player) async fn send(
    tls: &Arc<ClientConfig>,
    asked: &stream::Request,
) -> io::Result<Response<Incoming>> {
    let secure = asked.scheme == "https";
    let (host, port) = match asked.authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(io::Error::other)?)
        }
        _ => (asked.authority.as_str(), if secure { 443 } else { 80 }),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let socket = timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await??;
    socket.set_nodelay(true)?;
    let request = request(asked)?;
    if secure {
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let connecting = TlsConnector::from(tls.clone()).connect(name, socket);
        exchange(timeout(PATIENCE, connecting).await??, request).await
    } else {
        exchange(socket, request).await
    }
}

/// The request as it is sent on, over HTTP/1.1.
fn request(asked: &stream::Request) -> io::Result<Request<Full<Bytes>>> {
    let body = asked.body.bytes().map_err(|e| io::Error::other(e.to_string()))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = asked.method.parse().map_err(io::Error::other)?;
    *request.uri_mut() = asked.target.parse().map_err(io::Error::other)?;
    let mut headers = fields(&asked.headers);
    let host = HeaderValue::from_str(&asked.authority).map_err(io::Error::other)?;
    headers.insert("host", host);
    headers.remove("content-length");
    *request.headers_mut() = headers;
    Ok(request)
}

async fn exchange<I>(io: I, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}
