//! A streaming server on loopback for tests, the README and benches.
//!
//! Nothing it answers is the same twice: texts, ids, header values and pauses are random, so a
//! replay that reproduces them can only have them from its log. It speaks HTTP/1.1 and HTTP/2
//! (by prior knowledge, and by ALPN over TLS), counts its requests, and imitates the streaming
//! interfaces of language models (see `llm.rs`) and a git remote (see `git.rs`).
//!
//! It prints one line of JSON with its ports, and ends at SIGTERM or after `--for-secs`.

mod git;
mod llm;
mod tls;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, io::Error>;

const USAGE: &str = "usage: stream_server [--ca FILE] [--git-root DIR] [--log FILE] [--for-secs N]";

struct Options {
    /// Where the PEM of the CA that signed the server's certificate is written.
    ca: Option<PathBuf>,
    /// Directory of the bare repositories served under /git/.
    git_root: Option<PathBuf>,
    /// Where it is written what the models' interfaces sent.
    log: Option<PathBuf>,
    lifetime: Duration,
}

struct State {
    requests: AtomicU64,
    git_root: Option<PathBuf>,
    log: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { ca: None, git_root: None, log: None, lifetime: Duration::from_secs(600) };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match arg.as_str() {
            "--ca" => options.ca = Some(value.into()),
            "--git-root" => options.git_root = Some(value.into()),
            "--log" => options.log = Some(value.into()),
            "--for-secs" => {
                let secs = value.parse().map_err(|_| format!("not a number: {value}"))?;
                options.lifetime = Duration::from_secs(secs);
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let acceptor = tls::acceptor(options.ca.as_deref())?;
    let state = Arc::new(State {
        requests: AtomicU64::new(0),
        git_root: options.git_root.clone(),
        log: options.log.clone(),
    });
    let plain = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let secure = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!(
        "{}",
        serde_json::json!({
            "http": plain.local_addr()?.port(),
            "https": secure.local_addr()?.port(),
            "ca": options.ca,
        })
    );
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let end = tokio::time::sleep(options.lifetime);
    tokio::pin!(end);
    loop {
        tokio::select! {
            accepted = plain.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                tokio::spawn(connection(socket, state.clone()));
            }
            accepted = secure.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                let (acceptor, state) = (acceptor.clone(), state.clone());
                tokio::spawn(async move {
                    // A client that breaks off the handshake is its own affair.
                    if let Ok(socket) = acceptor.accept(socket).await {
                        connection(socket, state).await;
                    }
                });
            }
            _ = term.recv() => return Ok(()),
            () = &mut end => return Ok(()),
        }
    }
}

async fn connection(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    // An error here means that the client went away.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn answer(request: Request<Incoming>, state: &State) -> Response<Body> {
    let path = request.uri().path().to_owned();
    // Asking for the count does not count.
    if path == "/count" {
        return text(format!("{}\n", state.requests.load(Ordering::Relaxed)));
    }
    let number = state.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = match (request.method(), path.as_str()) {
        (&Method::GET | &Method::HEAD, "/") => text(format!("hello {}\n", words(4))),
        (&Method::GET, "/stream") => stream(query(&request)),
        (&Method::POST, "/upload") => upload(request).await,
        (&Method::POST, path) if llm::serves(path) => {
            llm::answer(request, state.log.as_deref()).await
        }
        (_, path) if path.starts_with("/git/") => match &state.git_root {
            Some(root) => git::answer(root, request).await,
            None => status(StatusCode::NOT_FOUND),
        },
        _ => status(StatusCode::NOT_FOUND),
    };
    let headers = response.headers_mut();
    for (name, value) in [("x-request-id", hex(16)), ("x-request-number", number.to_string())] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}

/// Number of lines and mean pause between them, from `?n=..&ms=..`.
fn query(request: &Request<Incoming>) -> (u64, u64) {
    let query = request.uri().query().unwrap_or_default();
    let number = |name: &str, default| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(default)
    };
    (number("n", 10), number("ms", 5))
}

/// Lines of random words with random pauses between them.
fn stream((lines, mean_ms): (u64, u64)) -> Response<Body> {
    streamed("text/plain", move |mut to| async move {
        for i in 0..lines {
            pause(mean_ms).await;
            if to.send_data(format!("{i} {} {}\n", hex(8), words(3)).into()).await.is_err() {
                return;
            }
        }
    })
}

/// Length and FNV-1a hash of what was uploaded, after a random salt.
async fn upload(request: Request<Incoming>) -> Response<Body> {
    let Ok(body) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    text(format!("{} {} {hash:016x}\n", hex(8), body.len()))
}

/// A response whose body `produce` sends bit by bit.
fn streamed<F>(
    content_type: &str,
    produce: impl FnOnce(Sender<Bytes, io::Error>) -> F,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    tokio::spawn(produce(sender));
    response(content_type, body.boxed())
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn text(body: String) -> Response<Body> {
    response("text/plain", full(body))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = text(format!("{status}\n"));
    *response.status_mut() = status;
    response
}

fn response(content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert("content-type", value);
    }
    response
}

/// Waits between nothing and twice `mean_ms`.
async fn pause(mean_ms: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..=mean_ms * 2000))).await;
}

/// `digits` random hexadecimal digits.
fn hex(digits: usize) -> String {
    (0..digits).map(|_| char::from_digit(fastrand::u32(0..16), 16).unwrap_or('0')).collect()
}

/// `count` random words.
fn words(count: usize) -> String {
    let word = |_| {
        let len = fastrand::usize(2..10);
        (0..len).map(|_| fastrand::lowercase()).collect::<String>()
    };
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}
