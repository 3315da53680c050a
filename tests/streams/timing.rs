//! When the pieces of a stream came, against when a server wrote them.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rr_run::stream::{End, Traffic};

use super::{exchanges, traffic};
use crate::harness::Case;

/// Pauses before the writes, milliseconds.
const GAPS_MS: [u64; 6] = [300, 50, 200, 10, 400, 100];
/// Bytes of the stream.
const BYTES: usize = 992;
const HEADERS: [&str; 4] =
    ["Content-Type: text/event-stream", "X-Extra: 1", "x-extra:  two", "Set-Cookie: a=b; Secure"];

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

fn serve(mut socket: TcpStream, times: &Sender<Instant>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", HEADERS.join("\r\n"));
    socket.write_all(head.as_bytes())?;
    for (bytes, gap) in writes().iter().zip(GAPS_MS) {
        std::thread::sleep(Duration::from_millis(gap));
        socket.write_all(bytes)?;
        let _ = times.send(Instant::now());
    }
    Ok(())
}

/// Records curl once; largest difference between the server's and the session's times.
fn record() -> (Duration, Traffic) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, times) = channel();
    std::thread::spawn(move || serve(listener.accept()?.0, &sender));
    let case = Case::new("curl").args(["-sSN", &format!("http://127.0.0.1:{port}/events")]);
    let recording = case.record().unwrap();
    let traffic = traffic(&recording.session);
    let times: Vec<Instant> = times.iter().collect();
    let all = exchanges(&traffic);
    let answer = all[0].response.as_ref().unwrap();
    assert_eq!(answer.body.bytes().unwrap(), writes().concat());
    let since = |ns: u64| Duration::from_nanos(ns - answer.body.chunks[0].time_ns);
    let off = times
        .iter()
        .zip(&answer.body.chunks)
        .map(|(time, chunk)| time.duration_since(times[0]).abs_diff(since(chunk.time_ns)));
    (off.max().unwrap(), traffic)
}

#[test]
fn a_stream_of_six_writes_is_six_chunks_at_their_times() {
    // On a loaded machine it may take some attempts to have both woken in time.
    let (off, traffic) = (0..6)
        .map(|_| record())
        .find(|(off, _)| *off < Duration::from_millis(5))
        .expect("within 5 ms");
    println!("{off:?} apart at most");
    let all = exchanges(&traffic);
    let answer = all[0].response.as_ref().unwrap();
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
    assert_eq!(all[0].end, End::Complete);
}
