//! Calls answered by aimock, a server that is not from here: every interface, three questions.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rr_run::session::Session;
use rr_run::stream::{Api, CallEnd, LlmCall};

use crate::harness::{Case, ROOT};

/// aimock on a port of its own; killed on drop.
struct Mock {
    child: Child,
    url: String,
}

impl Mock {
    fn start() -> Mock {
        let mut child = Command::new("node")
            .arg(format!("{ROOT}/tests/node_modules/@copilotkit/aimock/dist/cli.js"))
            .args(["-p", "0", "-f", &format!("{ROOT}/tests/fixtures/aimock.json")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let url = lines
            .filter_map(|line| line.split_once("http://").map(|(_, at)| format!("http://{at}")))
            .next()
            .expect("aimock says where it listens");
        Mock { child, url: url.trim().to_owned() }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record(case: &Case) -> Vec<LlmCall> {
    let recording = case.record().unwrap_or_else(|e| panic!("{e}"));
    let session = Session::open(&recording.session).expect("the session opens");
    let mut calls = Vec::new();
    session.each_llm_call(|call| calls.push(call)).expect("the calls are readable");
    calls
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

#[test]
fn every_interface() {
    let mock = Mock::start();
    let script = r#"
        ask() {
            curl -sSN "$base/$1" -H 'content-type: application/json' -H 'x-api-key: x' \
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
    let calls = record(&Case::bash(script).env("base", &mock.url).says("done"));
    assert_eq!(calls.len(), 21);
    calls.iter().for_each(check);
}

#[test]
fn responses_over_a_websocket() {
    let mock = Mock::start();
    let program = format!("{ROOT}/tests/programs/websocket.mjs");
    let case = Case::new("node")
        .args(["--experimental-websocket", &program, &mock.url, "hello", "think", "weather"])
        .says("done");
    let calls = record(&case);
    let ids: Vec<_> = calls.iter().map(|call| call.id.turn).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(calls.iter().all(|call| call.api == Api::OpenaiResponses));
    calls.iter().for_each(check);
}
