//! Python's HTTP and WebSocket clients: what they say they got is what is decoded.

use std::collections::BTreeMap;
use std::path::Path;

use rr_run::stream::{Direction, End, Message, Protocol};
use serde_json::Value;

use super::{exchanges, table, traffic};
use crate::harness::Case;

fn lines(stdout: &[u8]) -> Vec<Vec<Value>> {
    String::from_utf8_lossy(stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

/// Compares every answer that a client told with its exchange.
fn same_as_told(session: &Path, stdout: &[u8]) {
    let traffic = traffic(session);
    let exchanges = exchanges(&traffic);
    let mut found = BTreeMap::new();
    for exchange in &exchanges {
        let answer = exchange.response.as_ref().expect("an answer");
        let body = answer.body.bytes().unwrap();
        assert_eq!(exchange.end, End::Complete, "{}", table(&traffic));
        assert!(answer.headers.iter().any(|h| &h.name[..] == b"x-request-id"));
        found.insert(
            (exchange.request.method.clone(), exchange.request.target.clone()),
            (exchange.protocol, answer.status, body.len(), sha256(&body)),
        );
    }
    let told = lines(stdout);
    assert_eq!(told.len(), exchanges.len(), "{}", table(&traffic));
    for line in told {
        let text = |i: usize| line[i].as_str().unwrap_or_default().to_owned();
        let (protocol, status, len, hash) = &found[&(text(1), text(2))];
        let http2 = matches!(text(0).as_str(), "httpx2" | "async");
        assert_eq!(*protocol == Protocol::Http2, http2, "{line:?}");
        assert_eq!(
            (line[3].as_u64(), line[4].as_u64()),
            (Some((*status).into()), Some(*len as u64))
        );
        assert_eq!(&text(5), hash, "{line:?}");
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum starts");
    child.stdin.take().expect("it has input").write_all(bytes).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

#[test]
fn clients_over_plain_http() {
    let case = Case::python("clients.py").arg("http://127.0.0.1:{http}").server().limit_s(120);
    let recording = case.record().unwrap();
    same_as_told(&recording.session, &recording.output.stdout);
}

#[test]
fn clients_over_intercepted_tls() {
    let case = Case::python("clients.py")
        .args(["https://localhost:{https}", "without aiohttp"])
        .env("SSL_CERT_FILE", "{ca}")
        .env("REQUESTS_CA_BUNDLE", "{ca}")
        .server()
        .limit_s(120);
    let recording = case.record().unwrap();
    same_as_told(&recording.session, &recording.output.stdout);
}

#[test]
fn both_ends_of_a_websocket() {
    let recording = Case::python("talking.py").limit_s(120).record().unwrap();
    let traffic = traffic(&recording.session);
    let told = lines(&recording.output.stdout);
    for (who, accepted) in [("client", false), ("server", true)] {
        let expected: Vec<(String, String)> = told
            .iter()
            .filter(|line| line[0] == who)
            .map(|line| (line[1].as_str().unwrap().into(), line[2].as_str().unwrap().into()))
            .collect();
        let mut found = Vec::new();
        for exchange in exchanges(&traffic) {
            let connection = &traffic.connections()[exchange.connection as usize - 1];
            if connection.accepted != accepted {
                continue;
            }
            assert_eq!((exchange.protocol, &exchange.end), (Protocol::WebSocket, &End::Complete));
            let summary = &traffic.summaries()[exchange.id as usize - 1];
            assert_eq!(summary.messages, exchange.messages.len() as u64);
            for message in &exchange.messages {
                let kind = match message.opcode {
                    Message::TEXT => "text",
                    Message::BINARY => "binary",
                    _ => continue,
                };
                if message.direction == Direction::Received {
                    let hex = message.bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
                    found.push((kind.to_owned(), hex));
                }
            }
        }
        assert_eq!(found, expected, "{who}: {}", table(&traffic));
    }
}
