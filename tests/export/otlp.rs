//! Spans and metrics, as they arrive in receivers that are not from here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rr_run::session::Session;
use rr_run::stream::LlmCall;
use serde_json::Value;

use super::exported;
use crate::harness::{Case, ROOT, RR_RUN, Recording, clean_environment, python, run};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const OTHER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_PARENT: &str = "00f067aa0ba902b7";

/// A call in the program's own trace, one in another, one that is cut, and a plain exchange.
const ASKING: &str = r#"
    ask() { curl -sSN "${@:2}" http://localhost:{http}/v1/chat/completions \
        -H 'content-type: application/json' -d "${b/MODEL/$1}" || true; }
    b='{"model":"MODEL","stream":true,"stream_options":{"include_usage":true},
        "temperature":0.5,"messages":[{"role":"user","content":"hello"}]}'
    ask gpt-one
    ask gpt-two -H 'traceparent: 00-OTHER_TRACE-OTHER_PARENT-01'
    ask m-cut 2>/dev/null
    curl -sS 'http://localhost:{http}/?key=in-query'
    echo done
"#;

/// The receivers; killed on drop.
struct Receivers {
    child: Child,
    grpc: u64,
    http: u64,
    file: PathBuf,
}

impl Receivers {
    fn start(dir: &Path) -> Receivers {
        let file = dir.join("received");
        let mut child = Command::new(python())
            .arg(format!("{ROOT}/tests/programs/otlp_receiver.py"))
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it says its ports");
        let ports: Value = serde_json::from_str(&line).expect("the ports are JSON");
        let port = |name: &str| ports[name].as_u64().expect("a port");
        Receivers { child, grpc: port("grpc"), http: port("http"), file }
    }

    /// What has come, once `enough` says so.
    fn received(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<Value> = lines.collect();
            if enough(&lines) {
                return lines;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{lines:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn case() -> Case {
    let script = ASKING.replace("OTHER_TRACE", OTHER_TRACE).replace("OTHER_PARENT", OTHER_PARENT);
    let case = Case::bash(&script).server().says("done").limit_s(60);
    case.env("TRACEPARENT", format!("00-{TRACE}-{PARENT}-01"))
}

fn calls(recording: &Recording) -> Vec<LlmCall> {
    let session = Session::open(&recording.session).expect("the session opens");
    let mut calls = Vec::new();
    session.each_llm_call(|call| calls.push(call)).expect("the calls are readable");
    calls
}

fn is_session(line: &Value) -> bool {
    line["span"].as_str().is_some_and(|name| name.starts_with("run "))
}

fn has_all(lines: &[Value]) -> bool {
    lines.iter().any(is_session)
        && lines.iter().any(|line| line["metric"] == "gen_ai.client.token.usage")
}

/// Compares what arrived with what the session says.
fn check(recording: &Recording, lines: &[Value], content: bool) {
    let session = Session::open(&recording.session).unwrap();
    let started_ns = session.manifest().started_ns;
    let calls = calls(recording);
    assert_eq!(calls.len(), 3);
    let spans: Vec<&Value> = lines.iter().filter(|line| line["span"].is_string()).collect();
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let root = spans.iter().find(|span| is_session(span)).unwrap();
    assert_eq!((root["trace"].as_str(), root["parent"].as_str()), (Some(TRACE), Some(PARENT)));
    for call in &calls {
        let name = format!("chat {}", call.request.model.as_deref().unwrap());
        let span = spans.iter().find(|span| span["span"] == *name).expect("a span");
        let attributes = &span["attributes"];
        assert_eq!(span["kind"], 3, "a client's");
        assert_eq!(span["start"], started_ns + call.started_ns);
        assert_eq!(span["end"], started_ns + call.ended_ns);
        assert_eq!(attributes["gen_ai.operation.name"], "chat");
        assert_eq!(attributes["gen_ai.provider.name"], *call.provider);
        assert_eq!(attributes["gen_ai.response.model"].as_str(), call.response_model.as_deref());
        assert_eq!(attributes["gen_ai.request.temperature"], 0.5);
        assert_eq!(attributes["gen_ai.usage.input_tokens"].as_u64(), call.usage.input_tokens);
        assert_eq!(attributes["gen_ai.usage.output_tokens"].as_u64(), call.usage.output_tokens);
        let first_s = call.timing.time_to_first_token_ns.unwrap() as f64 / 1e9;
        assert_eq!(attributes["gen_ai.response.time_to_first_chunk"], first_s);
        assert_eq!(attributes["server.address"], "localhost");
        assert_eq!(attributes["gen_ai.input.messages"].is_string(), content);
        if content {
            let said = attributes["gen_ai.output.messages"].as_str().unwrap();
            assert!(said.contains(&serde_json::json!(call.text()).to_string()), "{said}");
        }
        let (trace, parent) = match name.ends_with("gpt-two") {
            true => (OTHER_TRACE, OTHER_PARENT),
            false => (TRACE, root["id"].as_str().unwrap()),
        };
        assert_eq!((span["trace"].as_str(), span["parent"].as_str()), (Some(trace), Some(parent)));
        let cut = name.ends_with("m-cut");
        assert_eq!((span["status"] == 2, attributes["error.type"] == "cut"), (cut, cut));
    }
    let plain = spans.iter().find(|span| span["span"] == "GET").expect("the exchange's span");
    assert_eq!(plain["attributes"]["http.response.status_code"], 200);
    assert!(!plain.to_string().contains("in-query"), "a query may hold a key");

    let points = |name: &str, unit: &str| -> Vec<Value> {
        let of = lines.iter().rfind(|line| line["metric"] == *name).expect("the metric came");
        assert_eq!(of["unit"], unit);
        of["points"].as_array().cloned().unwrap_or_default()
    };
    let count = |points: &[Value]| points.iter().filter_map(|p| p["count"].as_u64()).sum::<u64>();
    let duration = points("gen_ai.client.operation.duration", "s");
    assert_eq!(count(&duration), 3);
    assert_eq!(duration[0]["bounds"][0], 0.01);
    assert_eq!(count(&points("gen_ai.client.operation.time_to_first_chunk", "s")), 3);
    let chunks: u64 = calls.iter().map(|call| call.tokens.len() as u64 - 1).sum();
    assert_eq!(count(&points("gen_ai.client.operation.time_per_output_chunk", "s")), chunks);
    let usage = points("gen_ai.client.token.usage", "{token}");
    let output = usage.iter().filter(|p| p["attributes"]["gen_ai.token.type"] == "output");
    let sum: f64 = output.filter_map(|p| p["sum"].as_f64()).sum();
    let expected: u64 = calls.iter().filter_map(|call| call.usage.output_tokens).sum();
    assert_eq!(sum, expected as f64);
}

#[test]
fn recordings_arrive_by_http_while_they_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let receivers = Receivers::start(dir.path());
    let endpoint = format!("http://127.0.0.1:{}", receivers.http);
    let recording = case().record_with(["--otlp", &endpoint]).record();
    let recording = recording.unwrap_or_else(|e| panic!("{e}"));
    check(&recording, &receivers.received(has_all), false);
}

#[test]
fn sessions_arrive_by_grpc() {
    let dir = tempfile::tempdir().unwrap();
    let receivers = Receivers::start(dir.path());
    let recording = case().record().unwrap_or_else(|e| panic!("{e}"));
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path());
    // Not asked for: not sent.
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-secret=key");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let endpoint = format!("grpc://127.0.0.1:{}", receivers.grpc);
    command.args(["export", "--format", "otlp", "--content", "--otlp", &endpoint]);
    let output = run(command.arg(&recording.session), b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(0), "{output}");
    let lines = receivers.received(has_all);
    check(&recording, &lines, true);
    let resource = lines.iter().find(|line| line["resource"].is_object()).unwrap();
    assert_eq!(resource["resource"]["service.name"], "bash");
    let headers = lines.iter().find_map(|line| line["headers"].as_array()).unwrap();
    assert!(!headers.contains(&"x-secret".into()), "{headers:?}");

    // By the environment, if that is what is asked for.
    fs::write(&receivers.file, "").unwrap();
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path());
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-asked=key");
    let address = format!("http://127.0.0.1:{}", receivers.grpc);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address);
    command.args(["export", "--format", "otlp", "--otlp", "env"]);
    let output = run(command.arg(&recording.session), b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(0), "{output}");
    let lines = receivers.received(has_all);
    check(&recording, &lines, false);
    let headers = lines.iter().find_map(|line| line["headers"].as_array()).unwrap();
    assert!(headers.contains(&"x-asked".into()), "{headers:?}");
}

#[test]
fn the_file_has_the_same_spans_and_metrics() {
    let recording = case().record().unwrap_or_else(|e| panic!("{e}"));
    let text = fs::read_to_string(exported(&recording, "otlp")).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let spans = &lines[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans.as_array().unwrap().len(), 5);
    // OTLP/JSON: ids in hexadecimal, 64-bit numbers as texts.
    assert_eq!(spans[0]["traceId"], TRACE);
    assert!(spans[0]["startTimeUnixNano"].is_string());
    let metrics = &lines[1]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    assert_eq!(metrics.as_array().unwrap().len(), 4);
}

#[test]
fn an_endpoint_that_is_not_there_does_not_keep_the_program() {
    let case = case().record_with(["--otlp", "http://127.0.0.1:9"]);
    let recording = case.record().unwrap_or_else(|e| panic!("{e}"));
    let told = recording.output.err();
    assert!(told.contains("failed to send telemetry to http://127.0.0.1:9"), "{told}");
    assert!(told.contains("try: "), "{told}");
}
