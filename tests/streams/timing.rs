//! When the pieces of a stream came, against when a server wrote them and the client saw them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rr_run::session::Session;
use rr_run::stream::{End, Exchange};
use rustix::time::{ClockId, clock_gettime};

use super::{exchanges, traffic};
use crate::harness::{Case, Certificate};

/// Pauses before the writes, milliseconds.
const GAPS_MS: [u64; 6] = [300, 50, 200, 10, 400, 100];
/// Bytes of the stream.
const BYTES: usize = 992;
const HEADERS: [&str; 4] =
    ["Content-Type: text/event-stream", "X-Extra: 1", "x-extra:  two", "Set-Cookie: a=b; Secure"];
/// Farthest that any two may be apart, nanoseconds, on a machine that does nothing else
/// (`RR_TEST_QUIET=1`).
const APART_NS_MAX: u64 = 5_000_000;
/// Recordings until one keeps within that: on a loaded machine it may take some to have all
/// woken in time.
const ATTEMPTS: u32 = 6;

/// The stream in six writes: a comment, CRLF, a character over two writes.
fn writes() -> [Vec<u8>; 6] {
    let mut writes = [
        b": a comment\r\n\r\n".to_vec(),
        b"data: {\"text\": \"caf\xc3".to_vec(),
        b"\xa9\"}\r\n\r\n".to_vec(),
        b"event: delta\ndata: two\n\n".to_vec(),
        b"data: three\n\n".to_vec(),
        b"data: [DONE]\n\n".to_vec(),
    ];
    let sum: usize = writes.iter().map(Vec::len).sum();
    let fill = format!("data: {}\n\n", "x".repeat(BYTES - sum - 8));
    writes[4].extend(fill.into_bytes());
    writes
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn serve(socket: impl Read + Write, times: &Sender<u64>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    while socket.read_line(&mut line)? > 2 {
        line.clear();
    }
    let socket = socket.get_mut();
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", HEADERS.join("\r\n"));
    socket.write_all(head.as_bytes())?;
    socket.flush()?;
    for (bytes, gap) in writes().iter().zip(GAPS_MS) {
        std::thread::sleep(Duration::from_millis(gap));
        let _ = times.send(now_ns());
        socket.write_all(bytes)?;
        socket.flush()?;
    }
    Ok(())
}

/// Records a client once; the exchange, and the largest distances of the client's and of the
/// session's times from the server's, nanoseconds.
fn record(tls: bool) -> (Exchange, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let certificate = tls.then(|| Certificate::new(dir.path()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = certificate.as_ref().map(|c| c.ca.display().to_string());
    let (sender, times) = channel();
    std::thread::spawn(move || {
        let socket = listener.accept()?.0;
        socket.set_nodelay(true)?;
        match certificate {
            Some(certificate) => {
                let mut secure = certificate.accept(socket);
                serve(&mut secure, &sender)?;
                secure.conn.send_close_notify();
                secure.flush()
            }
            None => serve(&mut { socket }, &sender),
        }
    });
    let scheme = if tls { "https" } else { "http" };
    let mut case = Case::python("reading.py").arg(format!("{scheme}://localhost:{port}/events"));
    if let Some(ca) = ca {
        case = case.env("SSL_CERT_FILE", ca);
    }
    let recording = case.record().unwrap();
    let sent_ns: Vec<u64> = times.iter().collect();
    let base_ns = Session::open(&recording.session).unwrap().manifest().started_mono_ns;
    let exchange = exchanges(&traffic(&recording.session)).remove(0);
    let answer = exchange.response.as_ref().unwrap();
    let stored = answer.body.chunks.iter().map(|chunk| base_ns + chunk.time_ns);
    let seen: Vec<(u64, usize)> = recording
        .output
        .out()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(ns, len)| (ns.parse().unwrap(), len.parse().unwrap()))
        .collect();
    let lens: Vec<usize> = writes().iter().map(Vec::len).collect();
    assert_eq!(answer.body.bytes().unwrap(), writes().concat());
    assert_eq!(seen.iter().map(|(_, len)| *len).collect::<Vec<_>>(), lens, "{seen:?}");
    let apart = |times: &mut dyn Iterator<Item = u64>| {
        times.zip(&sent_ns).map(|(time, sent)| time.abs_diff(*sent)).max().unwrap()
    };
    let client_ns = apart(&mut seen.iter().map(|(ns, _)| *ns));
    let stored_ns = apart(&mut { stored });
    (exchange, client_ns, stored_ns)
}

fn check(tls: bool) {
    let mut last = record(tls);
    for _ in 1..ATTEMPTS {
        if last.1.max(last.2) < APART_NS_MAX {
            break;
        }
        last = record(tls);
    }
    let (exchange, client_ns, stored_ns) = last;
    if std::env::var_os("RR_TEST_QUIET").is_some() {
        assert!(client_ns.max(stored_ns) < APART_NS_MAX, "{client_ns} ns, {stored_ns} ns");
    }
    println!("at most {client_ns} ns until the client sees it, {stored_ns} ns as stored");
    let answer = exchange.response.as_ref().unwrap();
    assert_eq!(exchange.request.scheme, if tls { "https" } else { "http" });
    let ends: Vec<u64> = answer.body.chunks.iter().map(|c| c.end).collect();
    let expected: Vec<u64> = writes()
        .iter()
        .scan(0, |sum, bytes| {
            *sum += bytes.len() as u64;
            Some(*sum)
        })
        .collect();
    assert_eq!((ends, answer.body.len()), (expected, BYTES as u64));
    let headers: Vec<String> = answer
        .headers
        .iter()
        .map(|h| format!("{}: {}", h.name.escape_ascii(), h.value.escape_ascii()))
        .collect();
    assert_eq!(headers, HEADERS.map(|h| h.replace("  ", " ")));
    assert_eq!(exchange.end, End::Complete);
}

#[test]
fn a_stream_of_six_writes_is_six_chunks_at_their_times() {
    check(false);
}

#[test]
fn the_same_over_intercepted_tls() {
    check(true);
}
