//! Measures the player: `player_load index` and `player_load streams [STREAMS] [TOKENS]`.
//!
//! `index` loads 100,000 exchanges and looks requests up. `streams` serves a synthetic stream of
//! 200 tokens, 20 ms apart, in a process of its own to 1 and to 1,000 clients at a time, who start
//! within a second, and compares each piece's arrival with its recorded time.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_run::player::{Canonical, Host, Library, Options, Player, Rules, Settings, Timing, serve};
use rr_run::stream::{Body, Chunk, End, Exchange, Header, Protocol, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Time between the starts of two streams: a thousand programs do not start at once.
const STARTS_APART: Duration = Duration::from_millis(1);
/// Time between two tokens, nanoseconds.
const APART_NS: u64 = 20_000_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| -> Result<usize> {
        Ok(args.get(i).map_or(Ok(default), |n| n.parse())?)
    };
    match args.first().map(String::as_str) {
        Some("index") => index(number(1, 100_000)?),
        Some("serve") => runtime()?.block_on(serve_one(number(1, 200)?)),
        Some("streams") => streams(number(1, 1000)?, number(2, 200)?),
        _ => Err("usage: player_load index [EXCHANGES] | streams [STREAMS] [TOKENS]".into()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn header(name: &'static str, value: &'static str) -> Header {
    Header { name: name.into(), value: value.into() }
}

/// One chat of a few messages, about 1 kB.
fn exchange(id: u32, tokens: usize) -> Exchange {
    let request = serde_json::json!({
        "model": "model-1",
        "stream": true,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. ".repeat(20)},
            {"role": "user", "content": format!("What is {id} plus {id}? Think aloud. ")},
            {"role": "assistant", "content": "I add the two numbers. ".repeat(8)},
            {"role": "user", "content": format!("Are you sure about {id}?")},
        ],
    });
    let request = Request {
        method: "POST".into(),
        scheme: "http".into(),
        authority: "api.test".into(),
        target: "/v1/chat/completions".into(),
        headers: vec![header("content-type", "application/json")],
        body: Body::held(request.to_string(), Vec::new()),
        trailers: Vec::new(),
        started_ns: 0,
        ended_ns: 0,
        process: 0,
        step: 0,
    };
    let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
    for i in 0..tokens as u64 {
        let delta =
            serde_json::json!({"choices": [{"delta": {"content": format!("token {i:06} ")}}]});
        bytes.extend_from_slice(format!("data: {delta}\n\n").as_bytes());
        chunks.push(Chunk { end: bytes.len() as u64, time_ns: (i + 1) * APART_NS, step: 0 });
    }
    let ended_ns = tokens as u64 * APART_NS;
    let response = Response {
        status: 200,
        reason: "OK".into(),
        headers: vec![header("content-type", "text/event-stream")],
        protocol: Protocol::Http11,
        interim: Vec::new(),
        body: Body::held(bytes, chunks),
        trailers: Vec::new(),
        started_ns: 1_000_000,
        ended_ns,
        step: 0,
    };
    Exchange {
        id,
        connection: 1,
        protocol: Protocol::Http11,
        stream: None,
        request,
        response: Some(response),
        messages: Vec::new(),
        end: End::Complete,
        ended_ns,
    }
}

fn index(count: usize) -> Result<()> {
    let made: Vec<Exchange> = (1..=count as u32).map(|id| exchange(id, 0)).collect();
    let asked: Vec<Request> = made.iter().map(|e| e.request.clone()).collect();
    let start = Instant::now();
    let mut library =
        Library::load(made.into_iter().map(Ok), Rules::builtin()?, Options::default())?;
    println!("{count} exchanges loaded in {:.2?}", start.elapsed());
    let mut times = Vec::new();
    for request in &asked {
        let start = Instant::now();
        let canonical = Canonical::new(request, &[])?;
        std::hint::black_box(library.find(&canonical, Host::Any));
        times.push(start.elapsed());
    }
    println!("lookup: median {:.1?}, p99 {:.1?}", part(&mut times, 0.5), part(&mut times, 0.99));
    Ok(())
}

/// The value that this part of all values does not exceed.
fn part<T: Ord + Copy + Default>(values: &mut [T], part: f64) -> T {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part) as usize).copied().unwrap_or_default()
}

async fn serve_one(tokens: usize) -> Result<()> {
    let mut settings = Settings { timing: Timing::Recorded, ..Settings::default() };
    settings.options.repeat = true;
    let recordings = Arc::new(vec![exchange(1, tokens)]);
    let player = Player::new("load", recordings, Rules::builtin()?, settings)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(serve::serve(listener, Arc::new(player), serve::Setup::default(), std::future::pending())
        .await?)
}

fn streams(streams: usize, tokens: usize) -> Result<()> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", &tokens.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = measure(&mut server, streams, tokens);
    server.kill()?;
    server.wait()?;
    measured
}

fn measure(server: &mut std::process::Child, streams: usize, tokens: usize) -> Result<()> {
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse()?;
    let runtime = runtime()?;
    for count in [1, streams] {
        let mut late = runtime.block_on(async {
            let stream = |i: usize| async move {
                tokio::time::sleep(STARTS_APART * i as u32).await;
                read_stream(address, tokens).await
            };
            let tasks: Vec<_> = (0..count).map(|i| tokio::spawn(stream(i))).collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await??);
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(all)
        })?;
        println!(
            "{count} streams of {tokens} tokens: off by {:.2?} at the median, {:.2?} at p99, \
             at most {:.2?}",
            part(&mut late, 0.5),
            part(&mut late, 0.99),
            part(&mut late, 1.0),
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("server's peak memory: {}", peak.trim_start_matches("VmHWM:").trim());
    Ok(())
}

/// How far from its time each token came.
async fn read_stream(address: SocketAddr, tokens: usize) -> Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let body = exchange(1, 0).request.body.bytes()?;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), &body].concat()).await?;
    let start = Instant::now();
    let (mut late, mut seen, mut buffer) = (Vec::new(), Vec::new(), vec![0; 16 << 10]);
    loop {
        let n = socket.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        let at = start.elapsed();
        seen.extend_from_slice(buffer.get(..n).unwrap_or_default());
        while let Some(end) = seen.windows(2).position(|w| w == b"\n\n") {
            let due = Duration::from_nanos(APART_NS * (late.len() as u64 + 1));
            late.push(at.abs_diff(due));
            seen.drain(..end + 2);
        }
    }
    if late.len() != tokens {
        return Err(format!("{} tokens instead of {tokens}", late.len()).into());
    }
    Ok(late)
}
