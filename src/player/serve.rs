//! Serving: sockets around a [`Player`].
//!
//! A connection may be a client that was pointed here by its base URL, or one that uses the
//! player as its proxy (absolute targets, CONNECT).

mod answer;
mod body;
mod head;
mod setup;
mod units;
mod upstream;
mod websocket;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;

use super::{Client, Decision, Player};
use crate::error::{Error, Result};
use crate::network::asker::Asker;
use crate::network::{Accepted, Answers, GuestEnd};
use crate::report::out::tell;
use crate::stream::{self, Header};
use answer::AnswerBody;
pub use setup::Setup;
pub(super) use upstream::{send, tls};

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;
/// Largest body of a request, bytes.
const REQUEST_BYTES_MAX: usize = 512 << 20;
/// Longest wait for a request's head, or for a connection's last answers at the end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for its first byte, where nothing recorded says what it speaks.
const PATIENCE_NEW: Duration = Duration::from_secs(5);
/// Most requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 10_000;

/// What is needed to answer a connection.
#[derive(Debug)]
struct Context {
    player: Arc<Player>,
    setup: Arc<Setup>,
    /// Who asks, if that is known.
    program: Option<String>,
    /// And where in the program.
    asker: Option<Asker>,
    /// The host that it has connected to, if that is known.
    name: Option<String>,
    /// The client's end of the connection, in a network replay.
    guest: Option<GuestEnd>,
}

impl Context {
    /// Tells of a client that could not be answered; `whom` it wanted, if that is known, and
    /// whether that is a failure.
    fn unanswered(&self, whom: Option<&str>, why: &str, fails: bool) {
        let program = self.program.as_deref().unwrap_or("a client");
        let name = self.name.as_deref().filter(|name| whom.is_none_or(|w| !w.starts_with(name)));
        let host = name.map(|name| format!(" ({name})")).unwrap_or_default();
        let to = whom.map(|whom| format!(" to {whom}{host}")).unwrap_or_default();
        let hosts = [whom, self.name.as_deref()];
        let hosts: Vec<&str> = hosts.into_iter().flatten().collect();
        self.player.unanswered(&format!("{program}{to}: {why}"), &hosts, fails);
    }
}

/// How a connection came here.
#[derive(Clone, Debug)]
struct Origin {
    scheme: &'static str,
    /// Host that the client believes to talk to, if that is not the player.
    authority: Option<String>,
}

/// Answers the connections of a network replay.
#[derive(Debug)]
pub struct Answering {
    player: Arc<Player>,
    setup: Arc<Setup>,
}

impl Answering {
    /// Answers from this player.
    pub fn new(player: Arc<Player>, setup: Setup) -> Answering {
        Answering { player, setup: Arc::new(setup) }
    }
}

impl Answers for Answering {
    fn answer(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (player, setup) = (self.player.clone(), self.setup.clone());
        let Accepted { stream, destination, name, guest, asker, .. } = accepted;
        let program = asker.and_then(|asker| asker.program());
        let guest = Some(guest);
        let context = Arc::new(Context { player, setup, program, asker, name, guest });
        Box::pin(async move {
            let _ = connection(stream, context, Some(destination)).await;
        })
    }
}

/// Error that cuts a connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cut(&'static str);

/// Serves until `stop` completes, and a little longer what is being answered then.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    player: Arc<Player>,
    setup: Setup,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let setup = Arc::new(setup);
    let nobody = Context { player, setup, program: None, asker: None, name: None, guest: None };
    let context = Arc::new(nobody);
    let (running, ended) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let (context, running) = (context.clone(), running.subscribe());
                tokio::spawn(async move {
                    // A client that goes away is no error of the player's.
                    let _ = connection(socket, context, None).await;
                    drop(running);
                });
            }
            // Out of descriptors: some will be closed.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) => return Err(Error::io("accept connections")(e)),
        }
    }
    drop(ended);
    let _ = tokio::time::timeout(Duration::from_millis(200), running.closed()).await;
    Ok(())
}

/// Answers one connection; `destination` is where the client wanted to connect to, if that was
/// not the player.
async fn connection(
    socket: TcpStream,
    context: Arc<Context>,
    destination: Option<SocketAddr>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let authority = destination.map(|d| d.to_string());
    let spoken = destination.map(|d| context.setup.spoken.get(&d));
    if spoken == Some(Some(&false)) {
        let why = "while recording it spoke no HTTP there, or TLS that could not be read";
        context.unanswered(authority.as_deref(), why, true);
        return Ok(());
    }
    // A client whose server speaks first waits: nothing recorded is served to it.
    let is_new = spoken == Some(None);
    let patience = if is_new { PATIENCE_NEW } else { PATIENCE };
    let mut first = [0];
    match timeout(patience, socket.peek(&mut first)).await {
        Ok(Ok(0)) => return Ok(()),
        Ok(peeked) => peeked.map(drop)?,
        Err(_) if is_new => {
            let why = "it said nothing, as to servers that begin";
            context.unanswered(authority.as_deref(), why, true);
            return Ok(());
        }
        // Connections may be made for later.
        Err(_) => return Ok(()),
    }
    if first[0] == TLS_HANDSHAKE {
        return secured(socket, context, authority).await;
    }
    // The Host field names what the client wants; the address stands in for it.
    http(socket, context, Origin { scheme: "http", authority }).await;
    Ok(())
}

/// Ends the TLS of a connection, as the server that the client names.
async fn secured<I>(io: I, context: Arc<Context>, destination: Option<String>) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(authority) = &context.setup.authority else {
        let why = "it speaks TLS, which is served if `--ca FILE` is given";
        context.unanswered(destination.as_deref(), why, true);
        return Ok(());
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io);
    let start = timeout(PATIENCE, start).await?.inspect_err(|e| {
        let why = format!("its TLS can't be read: {e}");
        context.unanswered(destination.as_deref(), &why, !went_away(e));
    })?;
    let hello = start.client_hello();
    let sni = hello.server_name().map(str::to_owned);
    let h2 = hello.alpn().is_some_and(|mut all| all.any(|protocol| protocol == b"h2"));
    let alpn = hello.alpn().is_some().then_some(if h2 { &b"h2"[..] } else { b"http/1.1" });
    let (host, port) = match destination.as_deref().and_then(|d| d.rsplit_once(':')) {
        Some((host, port)) => {
            (Some(host.trim_matches(['[', ']']).to_owned()), Some(port.to_owned()))
        }
        None => (None, None),
    };
    let name = sni.clone().or(host).unwrap_or_else(|| "127.0.0.1".into());
    let mut names = vec![name.clone()];
    // A client that does not say whom it means (Java, of names without a dot) has looked it up.
    if sni.is_none()
        && let Ok(address) = name.parse()
    {
        names.extend(context.setup.names(address));
    }
    let config = authority.server(names, alpn).map_err(|e| io::Error::other(e.to_string()))?;
    let at = port.map(|port| format!("{}:{port}", sni.as_deref().unwrap_or(&name)));
    let stream = timeout(PATIENCE, start.into_stream(config)).await?.inspect_err(|e| {
        let why = format!("it ended the TLS handshake ({e}); does it trust other certificates?");
        context.unanswered(at.as_deref().or(Some(&name)), &why, !went_away(e));
    })?;
    http(stream, context, Origin { scheme: "https", authority: at }).await;
    Ok(())
}

/// Whether a client has ended its connection without a word of complaint.
fn went_away(e: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(e.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Serves HTTP/1 or HTTP/2, whichever the client speaks.
fn http<I>(io: I, context: Arc<Context>, origin: Origin) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let mut http1 = builder.http1();
        http1.auto_date_header(false).timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        http1.half_close(true);
        let mut http2 = builder.http2();
        http2.auto_date_header(false).max_concurrent_streams(STREAMS_MAX);
        let (told, came) = (context.clone(), origin.clone());
        let asked = Arc::new(AtomicBool::new(false));
        let asks = asked.clone();
        let service = service_fn(move |request| {
            asks.store(true, Ordering::Relaxed);
            answered(request, context.clone(), origin.clone())
        });
        let served = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
        let failed = served.err().and_then(|e| e.downcast::<hyper::Error>().ok());
        let at = came.authority.as_deref();
        match failed {
            Some(e) if e.is_parse() => {
                told.unanswered(at, &format!("it sent no HTTP request: {e}"), true);
            }
            Some(e) if e.is_timeout() => {}
            // Clients may cut connections, but those that pin a key do so before they have asked.
            _ if came.scheme == "https" && !asked.load(Ordering::Relaxed) => {
                let why = "it went away after the TLS handshake; does it want another certificate?";
                told.unanswered(at, why, false);
            }
            _ => {}
        }
    })
}

async fn answered(
    mut request: Request<Incoming>,
    context: Arc<Context>,
    origin: Origin,
) -> Result<Response<AnswerBody>, Cut> {
    if request.method() == Method::CONNECT {
        return Ok(tunnel(request, context));
    }
    if context.setup.cors && is_preflight(&request) {
        return Ok(answer::preflight(&request));
    }
    let upgrade = websocket::wanted(&request).then(|| hyper::upgrade::on(&mut request));
    let from_browser = context.setup.cors && request.headers().contains_key("origin");
    let (parts, body) = request.into_parts();
    // HTTP/2 always names the authority; in HTTP/1 only clients of a proxy do.
    let proxied = parts.version < hyper::Version::HTTP_2 && parts.uri.authority().is_some();
    let direct = origin.authority.is_none() && !proxied;
    let client = Client { direct, program: context.program.clone(), asker: context.asker };
    let collected = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(e) if e.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
            return Ok(answer::plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n"));
        }
        Err(_) => return Err(Cut("the request was cut off")),
    };
    let at = Instant::now();
    let asked = as_request(&parts, bytes, &origin);
    let again = context.setup.upstream.is_some().then(|| asked.clone());
    let player = context.player.clone();
    let key = upgrade.is_some().then(|| websocket::accept(&parts.headers)).flatten();
    // Canonical forms of large bodies and reading the session take their time.
    let asks = client.clone();
    let decided = tokio::task::spawn_blocking(move || {
        let canonical = player.canonical(&asked)?;
        player.decide(&canonical, &asks).map(|decision| (decision, canonical))
    });
    let (decision, canonical) = match decided.await {
        Ok(Ok(decided)) => decided,
        Ok(Err(e)) => {
            tell!("rr-run: failed to {e}");
            return Ok(answer::failed(&e));
        }
        Err(_) => return Err(Cut("the player has stopped")),
    };
    let mut response = match (decision, upgrade, key) {
        (Decision::Serve { exchange, action, .. }, Some(upgrade), Some(key))
            if exchange.protocol == stream::Protocol::WebSocket =>
        {
            let session = websocket::Session { player: context.player.clone(), canonical, client };
            websocket::open(session, *exchange, action, upgrade, key, at).await
        }
        (Decision::Serve { exchange, action, .. }, ..) => {
            let timing = context.player.settings().timing;
            let how = answer::How {
                timing,
                spellings: &context.setup.spellings,
                guest: context.guest.clone(),
            };
            answer::exchange(*exchange, action, at, &parts, how).await?
        }
        (Decision::Fault(action), ..) => answer::fault(action).await?,
        (Decision::Refuse(report), ..) => answer::refused(&report),
        (Decision::Upstream(meant), ..) => match (&context.setup.upstream, again) {
            (Some(upstream), Some(mut asked)) => {
                if let Some((scheme, authority)) = meant {
                    (asked.scheme, asked.authority) = (scheme, authority);
                }
                upstream.ask(asked).await.unwrap_or_else(|e| {
                    context.player.unreached();
                    answer::unreachable(&e)
                })
            }
            _ => answer::refused("the player has no way to the real services"),
        },
    };
    if from_browser {
        answer::allow_origin(&mut response);
    }
    Ok(response)
}

/// A request as recorded ones are described.
fn as_request(
    parts: &hyper::http::request::Parts,
    bytes: Bytes,
    origin: &Origin,
) -> stream::Request {
    let host = || {
        let host = parts.headers.get("host")?;
        Some(String::from_utf8_lossy(host.as_bytes()).into_owned())
    };
    let named = parts.uri.authority().map(ToString::to_string);
    let own = origin.authority.clone();
    // As recordings have it, even where a tunnel or TLS has named another.
    let authority = named.or_else(host).or(own).unwrap_or_default();
    let headers = parts.headers.iter().map(|(name, value)| Header {
        name: Bytes::copy_from_slice(name.as_str().as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    stream::Request {
        method: parts.method.to_string(),
        scheme: parts.uri.scheme_str().unwrap_or(origin.scheme).to_owned(),
        authority,
        target: target.to_owned(),
        headers: headers.collect(),
        body: stream::Body::held(bytes, Vec::new()),
        trailers: Vec::new(),
        started_ns: 0,
        ended_ns: 0,
        process: 0,
        step: 0,
    }
}

fn is_preflight(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key("access-control-request-method")
}

/// Answers a CONNECT and serves what comes through the tunnel, as the host that was named.
fn tunnel(mut request: Request<Incoming>, context: Arc<Context>) -> Response<AnswerBody> {
    let Some(authority) = request.uri().authority().map(ToString::to_string) else {
        return answer::plain(StatusCode::BAD_REQUEST, "CONNECT needs a host and a port\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // What a tunnel is for; to port 80 it carries plain HTTP.
            if authority.ends_with(":80") {
                let authority = Some(authority);
                let origin = Origin { scheme: "http", authority };
                http(TokioIo::new(upgraded), context, origin).await;
            } else {
                let _ = secured(TokioIo::new(upgraded), context, Some(authority)).await;
            }
        }
    });
    Response::new(answer::empty())
}
