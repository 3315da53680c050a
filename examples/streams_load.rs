//! Measures `rr-run streams` on a large session:
//! `streams_load RR-RUN [EXCHANGES] [KILOBYTES] [STORE]`.
//!
//! Records a client (this program again) that has so many streamed answers of so many kilobytes
//! from a server (this process), then lists them twice (the first time makes the index) and shows
//! one from the middle, with time and memory of each.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Requests over one connection.
const REQUESTS: usize = 100;
/// Letters of one event's text.
const LETTERS: usize = 400;
/// Writes of one answer.
const WRITES: usize = 8;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| -> Result<usize> {
        Ok(args.get(i).map_or(Ok(default), |n| n.parse())?)
    };
    match args.first().map(String::as_str) {
        Some("ask") => ask(u16::try_from(number(1, 0)?)?, number(2, 1)?),
        Some("timed") => timed(&args[1], &args[2..]),
        Some(rr_run) => {
            let dir = tempfile::tempdir()?;
            let store = args.get(3).map_or(dir.path(), Path::new);
            measure(rr_run, number(1, 10_000)?, number(2, 130)?, store)
        }
        None => Err("usage: streams_load RR-RUN [EXCHANGES] [KILOBYTES] [STORE]".into()),
    }
}

fn measure(rr_run: &str, exchanges: usize, kilobytes: usize, store: &Path) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || serve(socket, kilobytes));
        }
    });
    let begun = Instant::now();
    let status = Command::new(rr_run)
        .args(["--record", "-o"])
        .arg(store)
        .arg(std::env::current_exe()?)
        .args(["ask", &port.to_string(), &exchanges.to_string()])
        .status()?;
    if !status.success() {
        return Err(format!("the recording ended with {status}").into());
    }
    let bytes = size(&store.join("latest"))?;
    println!("recorded {exchanges} exchanges, {} MB, in {:?}", bytes >> 20, begun.elapsed());
    let session = store.join("latest").display().to_string();
    let middle = (exchanges / 2).to_string();
    for (what, more) in [("list, first", None), ("list", None), ("one", Some(middle.as_str()))] {
        let status = Command::new(std::env::current_exe()?)
            .args(["timed", what, rr_run, "streams", &session])
            .args(more)
            .status()?;
        if !status.success() {
            return Err(format!("{what}: {status}").into());
        }
    }
    Ok(())
}

/// Runs one command; tells how long it took and the most memory it had.
fn timed(what: &str, command: &[String]) -> Result<()> {
    let [program, args @ ..] = command else { return Err("no command".into()) };
    let begun = Instant::now();
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output()?;
    let took = begun.elapsed();
    let lines = output.stdout.iter().filter(|b| **b == b'\n').count();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{what}: {lines} lines in {took:?}, {} MB at most, {}", peak >> 10, output.status);
    Ok(())
}

/// Answers requests with a stream of random letters, in a few writes.
fn serve(socket: TcpStream, kilobytes: usize) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut to = socket.try_clone()?;
    let mut from = BufReader::new(socket);
    while read_request(&mut from)? {
        let mut body = Vec::with_capacity(kilobytes << 10);
        while body.len() < kilobytes << 10 {
            let text: String = (0..LETTERS).map(|_| fastrand::alphanumeric()).collect();
            let chunk =
                serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
            write!(body, "data: {chunk}\n\n")?;
        }
        body.extend_from_slice(b"data: [DONE]\n\n");
        to.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )?;
        for part in body.chunks(body.len().div_ceil(WRITES)) {
            write!(to, "{:x}\r\n", part.len())?;
            to.write_all(part)?;
            to.write_all(b"\r\n")?;
        }
        to.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads one request; false at the connection's end.
fn read_request(from: &mut impl BufRead) -> Result<bool> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            from.read_exact(&mut body)?;
            return Ok(true);
        }
    }
}

/// The client.
fn ask(port: u16, exchanges: usize) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    for first in (0..exchanges).step_by(REQUESTS) {
        let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        socket.set_nodelay(true)?;
        for number in first..exchanges.min(first + REQUESTS) {
            let question = format!("question {number}");
            let messages = serde_json::json!([{ "role": "user", "content": question }]);
            let body = serde_json::json!({ "model": "m", "stream": true, "messages": messages });
            let body = body.to_string();
            let request = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{port}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(request.as_bytes())?;
            let mut tail = Vec::new();
            while !tail.ends_with(b"\r\n0\r\n\r\n") {
                let len = socket.read(&mut buffer)?;
                if len == 0 {
                    return Err("the server went away".into());
                }
                tail.extend_from_slice(&buffer[..len]);
                tail.drain(..tail.len().saturating_sub(16));
            }
        }
    }
    Ok(())
}

fn size(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { size(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
