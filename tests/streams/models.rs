//! Calls of models by real programs, against the log of the server that answered.

use std::path::Path;

use rr_run::session::Session;
use rr_run::stream::{CallEnd, LlmCall, TokenKind};
use serde_json::Value;

use crate::harness::{Case, ROOT, Recording};

/// Farthest that a token's time may be from the server's, nanoseconds, on a machine that does
/// nothing else (`RR_TEST_QUIET=1`). A guest that has to wait for a processor reads later than
/// the server writes, and that is what is recorded.
const QUIET_NS_MAX: u64 = 5_000_000;
/// Farthest that half of the tokens may be on any machine: times of another clock are farther.
const MEDIAN_NS_MAX: u64 = 1_000_000_000;

/// What the server says it sent.
fn sent(dir: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(dir.join("llm.log")).expect("the server's log is readable");
    log.lines().map(|line| serde_json::from_str(line).expect("the log is JSON")).collect()
}

fn calls(session: &Session) -> Vec<LlmCall> {
    let mut calls = Vec::new();
    session.each_llm_call(|call| calls.push(call)).expect("the calls are readable");
    calls
}

fn kind(token: &Value) -> TokenKind {
    serde_json::from_value(token["kind"].clone()).expect("a kind of token")
}

/// The answer as the server has it: its pieces if it streamed, else the whole.
fn expected(line: &Value) -> (String, String, String) {
    let tokens = line["tokens"].as_array().expect("tokens");
    if !tokens.is_empty() || line["end"] != "complete" {
        let of = |wanted| {
            let tokens = tokens.iter().filter(|t| kind(t) == wanted);
            tokens.filter_map(|t| t["text"].as_str()).collect::<String>()
        };
        return (of(TokenKind::Reasoning), of(TokenKind::Text), of(TokenKind::ToolCall));
    }
    let text = line["text"].as_str().unwrap_or_default().to_owned();
    let reasoning = line["reasoning"].as_str().unwrap_or_default().to_owned();
    match line["tool"].as_str() {
        // Interfaces that send arguments as an object do so without spaces.
        Some(_) => (reasoning, String::new(), text),
        None => (reasoning, text, String::new()),
    }
}

fn found(call: &LlmCall) -> (String, String, String) {
    let arguments = call.tool_calls().map(|call| call.arguments.as_str()).collect();
    (call.reasoning(), call.text(), arguments)
}

/// Compares all calls with the server's log; the distances of the tokens' times, ascending.
fn compare(recording: &Recording) -> Vec<u64> {
    let session = Session::open(&recording.session).expect("the session opens");
    let base_ns = session.manifest().started_mono_ns;
    let mut calls = calls(&session);
    let mut apart_ns = Vec::new();
    for line in sent(recording.dir.path()) {
        let path = line["path"].as_str().unwrap_or_default();
        let expected = expected(&line);
        let at = calls.iter().position(|call| call.path == path && found(call) == expected);
        let call = at.map(|at| calls.remove(at));
        let Some(call) = call else { panic!("not found: {line:#}\namong {calls:#?}") };
        let model = line["model"].as_str();
        assert!(call.path.starts_with("/model") || call.request.model.as_deref() == model);
        let end = match line["end"].as_str() {
            Some("error") => call.end == CallEnd::Failed && call.error.is_some(),
            Some("cut") => matches!(call.end, CallEnd::Cut(_)),
            _ => call.end == CallEnd::Complete && call.error.is_none(),
        };
        assert!(end, "{call:#?}\n{line:#}");
        let asks = line["request"]["stream_options"]["include_usage"] == true;
        let chat_stream = path.ends_with("/chat/completions") && call.streamed;
        if line["end"] == "complete" && (asks || !chat_stream) {
            let usage = [call.usage.input_tokens, call.usage.output_tokens];
            assert_eq!(serde_json::json!(usage), line["usage"], "{call:#?}");
        }
        let tokens = line["tokens"].as_array().expect("tokens");
        if tokens.is_empty() {
            continue;
        }
        let texts: Vec<_> = call.tokens.iter().map(|t| (t.kind, t.text.as_str())).collect();
        let sent: Vec<_> =
            tokens.iter().map(|t| (kind(t), t["text"].as_str().unwrap_or_default())).collect();
        assert_eq!(texts, sent);
        for (token, sent) in call.tokens.iter().zip(tokens) {
            let came_ns = base_ns + call.started_ns + token.arrival_ns;
            let sent_ns = sent["time_ns"].as_u64().unwrap_or_default();
            apart_ns.push(came_ns.abs_diff(sent_ns));
        }
    }
    assert!(calls.is_empty(), "the server knows nothing of {calls:#?}");
    apart_ns.sort_unstable();
    apart_ns
}

/// Records and compares everything.
fn check(case: &Case) {
    let recording = case.record().unwrap_or_else(|e| panic!("{e}"));
    let apart_ns = compare(&recording);
    let at = |percent: usize| apart_ns[((apart_ns.len() - 1) * percent) / 100];
    println!("{} tokens; {} {} ns", apart_ns.len(), at(50), at(100));
    assert!(at(50) <= MEDIAN_NS_MAX, "half of the tokens came {} ns after they were sent", at(50));
    if std::env::var_os("RR_TEST_QUIET").is_some() {
        assert!(at(100) <= QUIET_NS_MAX, "a token came {} ns after it was sent", at(100));
    }
}

/// A script with a request to every interface.
const CURL: &str = r#"
    ask() { curl -sSN "${@:3}" "$base/$1" -H 'content-type: application/json' -d "$2" || true; }
    every() {
        local rest="\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"input\":\"hello\"$2"
        local body="{\"model\":\"$1\",\"stream\":true,$rest}"
        for path in v1/chat/completions v1/responses v1/messages api/chat \
            "v1beta/models/$1:streamGenerateContent?alt=sse" \
            "v1beta/models/$1:streamGenerateContent" "model/$1/converse-stream"; do
            ask "$path" "$body" "${@:3}"
        done
        body="{\"model\":\"$1\",\"stream\":false,$rest}"
        for path in v1/chat/completions v1/responses v1/messages api/chat \
            "v1beta/models/$1:generateContent" "model/$1/converse"; do
            ask "$path" "$body" "${@:3}"
        done
    }
    tool='{"name":"t","function":{"name":"t"},"functionDeclarations":[{"name":"t"}]}'
    tools="\"tools\":[$tool],\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"t\"}}]}"
    every m "" $1 && every m-reason ",$tools" $1
    for coding in gzip brotli zstd; do every m-$coding "" --compressed $1; done
    every m-error "" $1 && every m-cut "" $1
    if [[ $base = http:* ]]; then every m "" --http2-prior-knowledge; fi
    echo done
"#;

/// Where the server is, and what `trusts` it.
fn server(tls: bool, case: Case) -> Case {
    let case = case.server().says("done").limit_s(180).env("PYTHONDONTWRITEBYTECODE", "1");
    if tls { case.env("SSL_CERT_FILE", "{ca}") } else { case }
}

const PLAIN: &str = "http://localhost:{http}";
const TLS: &str = "https://localhost:{https}";

#[test]
fn curl_to_every_interface() {
    let script = format!("base={PLAIN}\n{CURL}");
    check(&server(false, Case::bash(&script).args(["bash", "--http1.1"])));
}

#[test]
fn curl_over_tls_with_http1() {
    let script = format!("base={TLS}\n{CURL}");
    check(&server(true, Case::bash(&script).args(["bash", "--http1.1"])));
}

#[test]
fn curl_over_tls_with_http2() {
    let script = format!("base={TLS}\n{CURL}");
    check(&server(true, Case::bash(&script).args(["bash", "--http2"])));
}

#[test]
fn python_openai_and_anthropic() {
    check(&server(false, Case::python("llm_calls.py").args([PLAIN])));
}

#[test]
fn python_over_tls_with_http1() {
    check(&server(true, Case::python("llm_calls.py").args([TLS])));
}

#[test]
fn python_over_tls_with_http2() {
    check(&server(true, Case::python("llm_calls.py").args([TLS, "http2"])));
}

#[test]
fn node_openai_and_fetch() {
    check(&server(false, Case::node("llm_calls.cjs").args([PLAIN])));
}

#[test]
fn node_over_tls() {
    check(&server(true, Case::node("llm_calls.cjs").args([TLS])));
}

/// reqwest with the trust that the environment names.
fn reqwest(backend: &str) -> Case {
    let client = format!("{ROOT}/tests/programs/reqwest-client/target/debug/reqwest-client");
    Case::new(client).args([backend, TLS, "-", "models"])
}

#[test]
fn reqwest_over_tls_with_rustls() {
    check(&server(true, reqwest("rustls")));
}

#[test]
fn reqwest_over_tls_with_native_tls() {
    check(&server(true, reqwest("native-tls")));
}
