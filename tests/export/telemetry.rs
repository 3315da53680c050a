//! Events, checked by the JSON Schema in the documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rr_run::session::Session;
use serde_json::Value;

use super::{ASKING, exported, recording, tool};
use crate::harness::{Case, ROOT, RR_RUN, Recording, clean_environment, replay_command, run};

/// The events of a file, each of which the schema accepts.
fn events(path: &Path) -> Vec<Value> {
    let schema = Path::new(ROOT).join("docs/telemetry.schema.json");
    let told = tool("schema_check.py", &[&schema, path]);
    let text = fs::read_to_string(path).expect("the events are readable");
    assert_eq!(told.trim(), format!("{} valid", text.lines().count()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn counts(events: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event["event"].as_str().unwrap_or_default()).or_default() += 1;
    }
    counts
}

/// Compares the events of calls with what the session says of them.
fn check_calls(recording: &Recording, events: &[Value]) {
    let session = Session::open(&recording.session).expect("the session opens");
    let mut calls = Vec::new();
    session.each_llm_call(|call| calls.push(call)).expect("the calls are readable");
    assert!(calls.len() >= 6);
    for (index, call) in (1..).zip(&calls) {
        let of: Vec<&Value> = events.iter().filter(|e| e["call_index"] == index).collect();
        let named = |name: &str| of.iter().filter(|e| e["event"] == name).collect::<Vec<_>>();
        let (start, finish) = (named("LLM_CALL_START"), named("LLM_CALL_FINISH"));
        assert_eq!((start.len(), finish.len()), (1, 1), "{of:#?}");
        assert_eq!(start[0]["time_ns"], call.started_ns);
        assert_eq!(start[0]["model"].as_str(), call.request.model.as_deref());
        assert_eq!(finish[0]["output_tokens"].as_u64(), call.usage.output_tokens);
        let chunks = named("LLM_CALL_CHUNK");
        assert_eq!(chunks.len(), call.tokens.len());
        for (chunk, token) in chunks.iter().zip(&call.tokens) {
            assert_eq!(chunk["time_ns"], call.started_ns + token.arrival_ns);
            assert_eq!(chunk["step"], token.step);
            assert_eq!(chunk["span_id"], start[0]["span_id"]);
        }
    }
}

#[test]
fn an_export_tells_everything_in_order() {
    let recording = recording();
    let events = events(&exported(&recording, "jsonl"));
    check_calls(&recording, &events);
    let counts = counts(&events);
    for name in ["RECORDING_START", "RECORDING_STOP", "DETERMINISM_SEED"] {
        assert_eq!(counts.get(name), Some(&1), "{counts:?}");
    }
    for name in ["IO_READ", "IO_WRITE", "IO_NETWORK", "DETERMINISM_TIME", "DETERMINISM_RANDOM"] {
        assert!(counts.get(name).is_some_and(|n| *n > 3), "{name}: {counts:?}");
    }
    assert_eq!(events[0]["event"], "RECORDING_START");
    assert_eq!(events.last().unwrap()["event"], "RECORDING_STOP");
    let session = Session::open(&recording.session).unwrap();
    let traffic = session.traffic().unwrap();
    let sum = |operation: &str| {
        let of = events.iter().filter(|e| e["operation"] == operation && e["tls"] != "opaque");
        of.filter_map(|e| e["bytes"].as_u64()).sum::<u64>()
    };
    let sent: u64 = traffic.connections().iter().map(|c| c.sent_bytes).sum();
    let received: u64 = traffic.connections().iter().map(|c| c.received_bytes).sum();
    assert_eq!((sum("send"), sum("receive")), (sent, received));
    // Nothing of what was said, and no queries: they may hold keys.
    assert!(events[1..].iter().all(|e| !e.to_string().contains("in-query")));
    assert!(events.iter().all(|e| e["text"].is_null() && e["messages"].is_null()));
}

#[test]
fn a_recording_tells_while_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    // Tells its own number of events while it runs: what it writes is written by the host.
    let script = format!(
        "base=http://localhost:{{http}}; f={}; {}",
        file.display(),
        r#"
        curl -sS $base/v1/chat/completions -H 'content-type: application/json' -d '{"model":"m",
            "stream":true,"messages":[{"role":"user","content":"hello"}]}' >/dev/null
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            grep -q LLM_CALL_FINISH $f && grep -q RECORDING_CHECKPOINT $f && echo told && break
            sleep 0.5
        done
        env true && echo done"#
    );
    let case = Case::bash(&script).record_with(["--telemetry", &file.display().to_string()]);
    let recording = case.server().says("told").says("done").limit_s(60).record();
    let recording = recording.unwrap_or_else(|e| panic!("{e}"));
    let live = events(&file);
    let counts = counts(&live);
    assert_eq!((counts["LLM_CALL_START"], counts["LLM_CALL_FINISH"]), (1, 1), "{counts:?}");
    assert_eq!((counts["RECORDING_START"], counts["RECORDING_STOP"]), (1, 1), "{counts:?}");
    // In the end it is what an export tells, in another order perhaps.
    let key = |e: &Value| {
        let name = e["event"].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| e[field].as_u64();
        let text = |field: &str| e[field].as_str().map(str::to_owned);
        (name, text("process"), number("step"), number("time_ns"), text("operation"))
    };
    let of = |events: &[Value]| {
        let chosen = events.iter().filter(|e| {
            let name = e["event"].as_str().unwrap_or_default();
            name.starts_with("LLM") || name.starts_with("IO") || name == "DETERMINISM_RANDOM"
        });
        let mut keys: Vec<_> = chosen.map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(of(&live), of(&events(&exported(&recording, "jsonl"))));
}

#[test]
fn replays_tell_what_was_replayed_and_what_differs() {
    let case = Case::bash(ASKING).env("SSL_CERT_FILE", "{ca}").server().says("done").limit_s(60);
    let recording = case.record().unwrap_or_else(|e| panic!("{e}"));
    let file = recording.dir.path().join("replay.jsonl");
    let mut command = replay_command(&recording.session);
    command.arg("--telemetry").arg(&file).arg("--telemetry-content");
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(0), "{output}");
    let told = events(&file);
    assert_eq!(told[0]["event"], "REPLAY_START");
    assert_eq!(told.last().unwrap()["event"], "REPLAY_STOP");
    assert!(told.iter().all(|e| e["replay_mode"] == "process"));
    check_calls(&recording, &told);
    let text = |e: &Value| e["text"].as_str().is_some_and(|text| !text.is_empty());
    assert!(told.iter().any(|e| e["event"] == "LLM_CALL_FINISH" && text(e)));

    let file = recording.dir.path().join("network.jsonl");
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path());
    command.args(["--replay", "--network", "--telemetry"]).arg(&file).arg(&recording.session);
    let session = Session::open(&recording.session).unwrap();
    let authority = session.traffic().unwrap().summaries()[0].authority.clone();
    command.args(["--", "curl", "-sS", &format!("http://{authority}/never-asked")]);
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(119), "{output}");
    let told = events(&file);
    assert!(told.iter().all(|e| e["replay_mode"] == "network"));
    let mismatch = told.iter().find(|e| e["event"] == "REPLAY_MISMATCH").unwrap();
    assert!(mismatch["mismatch"].as_str().unwrap().contains("/never-asked"), "{mismatch}");
    assert_eq!(told.last().unwrap()["exit_code"], 119);
}

#[test]
fn without_it_no_thread_is_started() {
    let threads = |options: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        command.current_dir(&dir).arg("--record").arg("-o").arg(dir.path().join("store"));
        command.args(["--tls", "passive"]).args(options);
        // Its parent is the host.
        command.args(["bash", "-c", "sleep 1; cat /proc/$PPID/task/*/comm"]);
        let started = Instant::now();
        let output = run(&mut command, b"", Duration::from_secs(60));
        assert_eq!(output.code, Some(0), "{output} after {:?}", started.elapsed());
        output.out().lines().filter(|name| *name == "telemetry").count()
    };
    assert_eq!((threads(&[]), threads(&["--telemetry", "events"])), (0, 1));
}
