//! Calls answered by aimock, a server that is not from here: every interface, three questions,
//! directly and behind nginx, which does its TLS and compresses.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rr_run::session::Session;
use rr_run::stream::{Api, CallEnd, Exchange, LlmCall, Protocol};

use super::{exchanges, traffic};
use crate::harness::{Case, Certificate, Mock, ROOT, Recording, Running};

/// nginx before a server, with TLS and HTTP/2.
struct Front {
    _server: Running,
    certificate: Certificate,
    url: String,
    _dir: tempfile::TempDir,
}

impl Front {
    fn start(behind: &str) -> Front {
        let dir = tempfile::tempdir().expect("a directory");
        let certificate = Certificate::new(dir.path());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let file = |path: &Path| path.display().to_string();
        let (place, pem) = (file(dir.path()), file(&certificate.certificate));
        let key = file(&certificate.key);
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let configuration = format!(
            "{user} daemon off; master_process off; pid {place}/pid; error_log {place}/error;
            events {{}}
            http {{
                access_log off; client_body_temp_path {place}/1; proxy_temp_path {place}/2;
                fastcgi_temp_path {place}/3; uwsgi_temp_path {place}/4; scgi_temp_path {place}/5;
                map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
                gzip on; gzip_proxied any; gzip_min_length 0;
                gzip_types text/event-stream application/json application/x-ndjson;
                server {{
                    listen 127.0.0.1:{port} ssl http2;
                    ssl_certificate {pem}; ssl_certificate_key {key};
                    location / {{
                        proxy_pass {behind}; proxy_http_version 1.1; proxy_buffering off;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $connection_upgrade;
                    }}
                }}
            }}"
        );
        let path = dir.path().join("nginx.conf");
        std::fs::write(&path, configuration).expect("a file");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&path).args(["-p", &place, "-e", &format!("{place}/error")]);
        let server = Running::new(command.spawn().expect("nginx starts"));
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = format!("https://localhost:{port}");
        Front { _server: server, certificate, url, _dir: dir }
    }

    /// A case that trusts it.
    fn trusted(&self, case: Case) -> Case {
        let ca = self.certificate.ca.display().to_string();
        case.env("SSL_CERT_FILE", ca.clone()).env("NODE_EXTRA_CA_CERTS", ca)
    }
}

fn calls(recording: &Recording) -> Vec<LlmCall> {
    let session = Session::open(&recording.session).expect("the session opens");
    let mut calls = Vec::new();
    session.each_llm_call(|call| calls.push(call)).expect("the calls are readable");
    calls
}

/// The calls of a recording are those that aimock answered.
fn same_as_answered(calls: &[LlmCall], mock: &Mock) {
    let mut found: Vec<_> = calls
        .iter()
        .map(|call| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            (call.path.clone(), text(call.request.model.as_deref()), text(call.request.prompt()))
        })
        .collect();
    found.sort();
    assert_eq!(found, mock.journal());
}

/// Compares a call with the fixture for its question.
fn check(call: &LlmCall) {
    assert_eq!((&call.end, &call.error), (&CallEnd::Complete, &None), "{call:#?}");
    assert_eq!(call.notes, [""; 0], "{call:#?}");
    let tools: Vec<_> = call.tool_calls().map(|c| (&*c.name, c.arguments_json())).collect();
    match call.request.prompt() {
        Some("hello") => {
            assert_eq!(call.text(), "Hi there! How can I help you today?", "{call:#?}");
            assert!(tools.is_empty() && call.reasoning().is_empty(), "{call:#?}");
        }
        Some("think") => {
            let text = "The answer is gr\u{fc}n and forty-two, at length.";
            assert_eq!(call.text(), text, "{call:#?}");
            // Ollama's form of this server has none.
            let reasoning = call.reasoning();
            let none = call.api == Api::Ollama && reasoning.is_empty();
            assert!(none || reasoning == "First I consider the question.", "{call:#?}");
        }
        Some("weather") => {
            let arguments = serde_json::json!({ "city": "K\u{f6}ln", "days": 3 });
            assert_eq!(tools, [("get_weather", Some(arguments))], "{call:#?}");
        }
        other => panic!("nobody asked {other:?}"),
    }
    let first_ns = call.timing.time_to_first_token_ns.expect("a token came");
    // Over the WebSocket the server keeps to no pauses.
    assert!(call.status == Some(101) || first_ns >= 30_000_000, "{:?}", call.timing);
}

const SCRIPT: &str = r#"
        ask() {
            curl -sSN $options "$base/$1" -H 'content-type: application/json' -H 'x-api-key: x' \
                -H 'authorization: Bearer x' -H 'anthropic-version: 2023-06-01' -d "$2"
        }
        for q in hello think weather; do
            messages="\"messages\":[{\"role\":\"user\",\"content\":\"$q\"}],\"max_tokens\":9"
            parts="\"role\":\"user\",\"parts\":[{\"text\":\"$q\"}]"
            block="\"role\":\"user\",\"content\":[{\"text\":\"$q\"}]"
            ask v1/chat/completions "{\"model\":\"gpt-4o\",\"stream\":true,$messages}"
            ask v1/responses "{\"model\":\"gpt-4o\",\"stream\":true,\"input\":\"$q\"}"
            ask v1/messages "{\"model\":\"claude\",\"stream\":true,$messages}"
            ask "v1beta/models/g:streamGenerateContent?alt=sse" "{\"contents\":[{$parts}]}"
            ask api/chat "{\"model\":\"llama\",$messages}"
            ask model/anthropic.claude/converse-stream "{\"messages\":[{$block}]}"
            ask model/anthropic.claude/invoke-with-response-stream \
                "{\"anthropic_version\":\"bedrock-2023-05-31\",$messages}"
        done
        echo done
"#;

/// Asks every interface each question; how the exchanges went.
fn every_interface(mock: &Mock, case: Case, protocol: Protocol) -> Vec<Exchange> {
    let recording = case.says("done").limit_s(120).record().unwrap_or_else(|e| panic!("{e}"));
    let calls = calls(&recording);
    assert_eq!(calls.len(), 21);
    calls.iter().for_each(check);
    let all = exchanges(&traffic(&recording.session));
    assert!(all.iter().all(|e| e.protocol == protocol), "{all:?}");
    same_as_answered(&calls, mock);
    all
}

fn script(url: &str, options: &str) -> Case {
    Case::bash(SCRIPT).env("base", url).env("options", options)
}

#[test]
fn every_interface_plain() {
    let mock = Mock::start("aimock.json");
    every_interface(&mock, script(&mock.url, ""), Protocol::Http11);
}

#[test]
fn every_interface_behind_nginx() {
    let mock = Mock::start("aimock.json");
    let front = Front::start(&mock.url);
    for (options, protocol) in
        [("--http1.1 --compressed", Protocol::Http11), ("--http2", Protocol::Http2)]
    {
        let all = every_interface(&mock, front.trusted(script(&front.url, options)), protocol);
        let coded = |e: &&Exchange| {
            let headers = e.response.as_ref().map_or(&[][..], |r| &r.headers);
            headers.iter().any(|h| h.name.eq_ignore_ascii_case(b"content-encoding"))
        };
        assert_eq!(all.iter().filter(coded).count() > 9, options.contains("compressed"));
        assert!(all.iter().all(|e| e.request.scheme == "https"));
        mock.forget();
    }
}

fn over_a_websocket(case: Case) {
    let recording = case.says("done").record().unwrap_or_else(|e| panic!("{e}"));
    let calls = calls(&recording);
    let ids: Vec<_> = calls.iter().map(|call| call.id.turn).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(calls.iter().all(|call| call.api == Api::OpenaiResponses));
    calls.iter().for_each(check);
}

fn websocket(url: &str) -> Case {
    let program = format!("{ROOT}/tests/programs/websocket.mjs");
    let questions = ["hello", "think", "weather"];
    Case::new("node").args(["--experimental-websocket", &program, url]).args(questions)
}

#[test]
fn responses_over_a_websocket() {
    over_a_websocket(websocket(&Mock::start("aimock.json").url));
}

#[test]
fn responses_over_a_websocket_behind_nginx() {
    let mock = Mock::start("aimock.json");
    let front = Front::start(&mock.url);
    over_a_websocket(front.trusted(websocket(&front.url)));
}
