//! Heads of answers: what clients print of them is what they printed while recording.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use super::replay;
use crate::harness::Case;

/// Answers by path, as no framework would: the head's lines, and what follows.
const ANSWERS: [(&str, &[&str], &str); 8] = [
    (
        "/phrase",
        &["HTTP/1.1 200 Here You Are", "X-rEQUEST-iD: 7", "ETag: \"a\"", "Content-Length: 2"],
        "ok",
    ),
    (
        "/cookies",
        &["HTTP/1.1 200 OK", "Set-Cookie: a", "Set-Cookie: b", "Date: never", "content-length: 0"],
        "",
    ),
    (
        "/chunked",
        &["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Server: me", "Keep-Alive: timeout=5"],
        "3\r\nabc\r\n0\r\n\r\n",
    ),
    ("/nothing", &["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    ("/unchanged", &["HTTP/1.1 304 Not Modified", "ETag: \"a\"", "Content-Length: 1234"], ""),
    ("/old", &["HTTP/1.0 200 OK", "Server: old"], "until the end"),
    ("/last", &["HTTP/1.1 404 Nope", "Connection: close", "Content-Length: 4"], "gone"),
    (
        "/unknown",
        &["HTTP/1.1 299 ", "Upgrade: h2c", "WWW-Authenticate: Basic", "Content-Length: 1"],
        "x",
    ),
];

/// Serves [`ANSWERS`]; its port.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match socket.read(&mut byte) {
                    Ok(1) => asked.push(byte[0]),
                    _ => break,
                }
            }
            let asked = String::from_utf8_lossy(&asked);
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let Some((_, head, rest)) = ANSWERS.iter().find(|(at, ..)| *at == path) else {
                continue;
            };
            let answer = format!("{}\r\n\r\n{rest}", head.join("\r\n"));
            // A client may have gone.
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn are_the_recorded_ones() {
    let port = server();
    let paths = ANSWERS.map(|(path, ..)| path).join(" ");
    let script = format!(
        "for path in {paths}; do curl -si --raw http://127.0.0.1:{port}$path; echo; done
         curl -sI http://127.0.0.1:{port}/phrase"
    );
    let recording = Case::bash(&script).record().expect("a recording");
    let output = replay(&recording, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let recorded = String::from_utf8_lossy(&recording.output.stdout).into_owned();
    assert!(recorded.contains("HTTP/1.1 200 Here You Are\r\nX-rEQUEST-iD: 7"), "{recorded}");
    assert_eq!(output.out(), recorded);
}
