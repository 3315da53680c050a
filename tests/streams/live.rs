//! Streams of a session that is being recorded, and of one whose recorder was killed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rr_run::session::Session;
use rr_run::stream::{CallEnd, LlmCall};

use crate::harness::{Certificate, RR_RUN, clean_environment};

const EVENT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"one more "}}]}"#;

fn calls(session: &std::path::Path) -> Vec<LlmCall> {
    let mut calls = Vec::new();
    if let Ok(session) = Session::open(session) {
        // What is written at this moment may be half there.
        let _ = session.each_llm_call(|call| calls.push(call));
    }
    calls
}

/// Looks until a call has this text.
fn wait_for(session: &std::path::Path, text: &str) -> LlmCall {
    let begun = Instant::now();
    loop {
        let all = calls(session);
        if let Some(call) = all.iter().find(|call| call.text() == text) {
            return call.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no {text:?} in {all:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(tls: bool) {
    let dir = tempfile::tempdir().unwrap();
    let certificate = Certificate::new(dir.path());
    let ca = certificate.ca.clone();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (go, steps) = channel::<()>();
    // Each step is answered by one more event.
    std::thread::spawn(move || -> std::io::Result<()> {
        let socket = listener.accept()?.0;
        socket.set_nodelay(true)?;
        let mut to: Box<dyn ReadWrite> =
            if tls { Box::new(certificate.accept(socket)) } else { Box::new(socket) };
        let mut from = BufReader::new(&mut to);
        let mut line = String::new();
        while from.read_line(&mut line)? > 2 {
            line.clear();
        }
        drop(from);
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
        for () in steps {
            to.write_all(format!("{EVENT}\n\n").as_bytes())?;
            to.flush()?;
        }
        Ok(())
    });
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{port}/v1/chat/completions");
    let mut command = Command::new(RR_RUN);
    command.args(["--record", "-o"]).arg(dir.path().join("store"));
    command.args(["curl", "-sSN", &url, "-H", "content-type: application/json"]);
    command.args(["-H", "expect:", "-d", r#"{"model":"m","stream":true,"messages":[]}"#]);
    clean_environment(&mut command);
    command.env("SSL_CERT_FILE", &ca).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let session = dir.path().join("store/latest");
    for count in 1..4 {
        go.send(()).unwrap();
        let call = wait_for(&session, &"one more ".repeat(count));
        assert_eq!((call.end, call.tokens.len()), (CallEnd::Open, count));
    }
    let output = Command::new(RR_RUN).arg("streams").arg(&session).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains(" 200 open") && shown.contains("/v1/chat/completions"), "{shown}");
    let output = Command::new(RR_RUN).args(["top", "--once"]).arg(&session).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["recording", "curl -sSN", "3 tokens", &format!("localhost:{port}")] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let call = wait_for(&session, &"one more ".repeat(3));
    assert!(matches!(call.end, CallEnd::Open | CallEnd::Cut(_)), "{call:#?}");
}

trait ReadWrite: std::io::Read + Write {}

impl<T: std::io::Read + Write> ReadWrite for T {}

#[test]
fn a_running_session_shows_what_has_come() {
    check(false);
}

#[test]
fn a_running_session_shows_what_has_come_over_tls() {
    check(true);
}
