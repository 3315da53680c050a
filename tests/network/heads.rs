//! Heads of answers: what clients print of them is what they printed while recording.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use super::replay;
use crate::harness::Case;

/// Answers by path, as no framework would.
const ANSWERS: [(&str, &str); 8] = [
    (
        "/phrase",
        "HTTP/1.1 200 Here You Are\r\nX-rEQUEST-iD: 7\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "/cookies",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: never\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "/chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: me\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    ("/nothing", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: me\r\n\r\n0\r\n\r\n"),
    ("/unchanged", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1234\r\n\r\n"),
    ("/old", "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end"),
    ("/last", "HTTP/1.1 404 Nope\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngone"),
    (
        "/unknown",
        "HTTP/1.1 299 \r\nUpgrade: h2c\r\nConnection: Upgrade\r\nWWW-Authenticate: Basic\r\nContent-Length: 1\r\n\r\nx",
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
            let answer =
                ANSWERS.iter().find(|(at, _)| *at == path).map_or("", |(_, answer)| answer);
            // A client may have gone.
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn are_the_recorded_ones() {
    let port = server();
    let paths = ANSWERS.map(|(path, _)| path).join(" ");
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
