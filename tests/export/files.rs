//! Exports to files: HAR, pcapng, Perfetto.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rr_run::session::Session;
use serde_json::Value;

use super::{exported, recording, tool};
use crate::harness::{ROOT, clean_environment, run};

/// Runs tshark on a capture; its lines.
fn tshark(capture: &Path, args: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    clean_environment(&mut command);
    command.env("HOME", "/nonexistent").arg("-r").arg(capture).args(args);
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(0), "{output}");
    output.out().lines().map(str::to_owned).collect()
}

#[test]
fn a_validator_accepts_the_archive() {
    let recording = recording();
    let path = exported(&recording, "har");
    let script = "require('har-validator').har(require(process.argv[1])).then(() => \
                  console.log('valid'), e => console.log(e.message, JSON.stringify(e.errors)))";
    let json = path.with_extension("json");
    std::fs::copy(&path, &json).expect("a file can be copied");
    let mut node = Command::new("node");
    clean_environment(&mut node);
    node.env("NODE_PATH", format!("{ROOT}/tests/node_modules")).args(["-e", script]).arg(&json);
    let output = run(&mut node, b"", Duration::from_secs(60));
    assert_eq!(output.out().trim(), "valid", "{output}");

    let har: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    let session = Session::open(&recording.session).unwrap();
    let exchanges: Vec<_> = session.traffic().unwrap().exchanges().map(Result::unwrap).collect();
    assert_eq!(entries.len(), exchanges.len());
    for (entry, exchange) in entries.iter().zip(&exchanges) {
        let answer = exchange.response.as_ref().unwrap();
        assert_eq!(entry["request"]["method"], exchange.request.method);
        assert_eq!(entry["response"]["bodySize"], answer.body.len());
        assert_eq!(entry["response"]["headers"].as_array().unwrap().len(), answer.headers.len());
        let chunks = entry["_rr_run"]["chunks"].as_array().unwrap();
        assert_eq!(chunks.len(), answer.body.chunks.len());
        let parts = ["send", "wait", "receive"].map(|name| entry["timings"][name].as_f64());
        let sum: f64 = parts.into_iter().flatten().sum();
        assert!((sum - entry["time"].as_f64().unwrap()).abs() < 0.001, "{entry}");
    }
    let texts: Vec<_> =
        entries.iter().filter_map(|e| e["response"]["content"]["text"].as_str()).collect();
    // Decoded, though it was compressed.
    assert!(texts[4].starts_with("data: "), "{}", texts[4]);
    assert!(entries[4]["response"]["content"]["compression"].is_i64());
    assert!(entries[3]["response"]["_error"].is_string());
    assert_eq!(entries[6]["request"]["cookies"][1]["value"], "2");
    assert_eq!(entries[2]["request"]["httpVersion"], "HTTP/2");
}

#[test]
fn tshark_sees_the_decrypted_requests() {
    let recording = recording();
    let path = exported(&recording, "pcapng");
    let fields = ["-Y", "http.request", "-T", "fields", "-e", "http.request.uri"];
    let paths = tshark(&path, &fields);
    assert_eq!(paths.iter().filter(|p| **p == "/v1/chat/completions").count(), 3, "{paths:?}");
    let fields = ["-Y", "http2.headers.path", "-T", "fields", "-e", "http2.headers.path"];
    assert_eq!(tshark(&path, &fields), ["/v1/messages", "/v1/messages"]);
    let sse = tshark(&path, &["-Y", "http.response and http.content_type contains \"event\""]);
    assert!(sse.len() >= 2, "{sse:?}");
    // Nothing that TCP's own rules would not allow.
    assert_eq!(tshark(&path, &["-Y", "tcp.analysis.flags or _ws.malformed"]), [""; 0]);
    // The times are those of the session.
    let session = Session::open(&recording.session).unwrap();
    let traffic = session.traffic().unwrap();
    let started_ns = session.manifest().started_ns + traffic.summaries()[0].started_ns;
    let at = ["-Y", "http.request", "-T", "fields", "-e", "frame.time_epoch", "-c", "9"];
    let first: f64 = tshark(&path, &at)[0].parse().unwrap();
    assert!((first - started_ns as f64 / 1e9).abs() < 1e-5, "{first} {started_ns}");
}

#[test]
fn perfetto_reads_the_trace() {
    let recording = recording();
    let path = exported(&recording, "perfetto");
    let told: Value = serde_json::from_str(&tool("perfetto_trace.py", &[&path])).unwrap();
    println!("{}", told["by"]);
    let session = Session::open(&recording.session).unwrap();
    let traffic = session.traffic().unwrap();
    let mut tokens = 0;
    session.each_llm_call(|call| tokens += call.tokens.len()).unwrap();
    let slices = told["slices"].as_array().unwrap();
    let of = |category: &str| slices.iter().filter(|s| s["category"] == category).count();
    assert_eq!(of("exchange"), traffic.summaries().len());
    assert_eq!(of("connection"), traffic.connections().len());
    assert_eq!(of("token"), tokens);
    assert_eq!(told["processes"].as_array().unwrap().len(), session.manifest().processes.len());
    assert_eq!(told["counted"], tokens);
    // A slice that began and did not end has no length.
    assert!(slices.iter().all(|s| s["dur"].as_i64().is_some_and(|ns| ns >= 0)), "{told:#}");
    let first = slices.iter().find(|s| s["category"] == "exchange").unwrap();
    let summary = &traffic.summaries()[0];
    assert_eq!(first["dur"], summary.ended_ns - summary.started_ns);
}
