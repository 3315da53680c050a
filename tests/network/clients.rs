//! The programs that people use, TLS included: each prints what it printed while it was recorded.

use super::replay;
use crate::harness::{Case, ROOT};

const SECURE: &str = "https://localhost:{https}";
const PLAIN: &str = "http://localhost:{http}";

/// Records, stops the server, replays: every request has its exact match, and what is printed is
/// the same in the form that `as_seen` gives it.
fn check_as(case: Case, as_seen: impl Fn(&str) -> Vec<String>) {
    let case = case.env("SSL_CERT_FILE", "{ca}").server();
    let recording = case.record().expect("a recording");
    let loops: u32 = std::env::var("RR_TEST_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for number in 1..=loops {
        let output = replay(&recording, &[]);
        assert_eq!(output.code, Some(0), "loop {number}: {output}");
        assert!(output.err().contains(" 0 by rule, 0 out of sequence, 0 refused"), "{output}");
        let recorded = String::from_utf8_lossy(&recording.output.stdout).into_owned();
        assert_eq!(as_seen(&output.out()), as_seen(&recorded), "loop {number}: {output}");
    }
}

fn check(case: Case) {
    check_as(case, |printed| vec![printed.to_owned()]);
}

/// For programs that print pids and durations, and whose threads take turns as it happens: the
/// words that were received, and the random ids of pieces.
fn check_words(case: Case) {
    let pattern = regex::Regex::new(r"\b([0-9a-f]{8}|\p{L}{4,40})\b").expect("a pattern");
    let times = regex::Regex::new(r"\d+\.\d+").expect("a pattern");
    check_as(case, |printed| {
        let printed = times.replace_all(printed, "");
        // "alone" and "ThreadId" stand before each read, which may bring several pieces.
        let words = pattern.find_iter(&printed).map(|word| word.as_str().to_owned());
        let mut words: Vec<_> = words.filter(|w| w != "alone" && w != "ThreadId").collect();
        words.sort_unstable();
        words
    });
}

fn curl(args: &[&str]) {
    // With its framing: the sizes of the pieces show in what it prints.
    check(Case::new("curl").args(["-sSN", "--raw"]).args(args.iter().copied()));
}

#[test]
fn curl_http() {
    curl(&["http://localhost:{http}/stream?n=20&ms=2"]);
}

#[test]
fn curl_https() {
    curl(&["--http1.1", "https://localhost:{https}/stream?n=20&ms=2"]);
}

#[test]
fn curl_http2() {
    curl(&["--http2", "https://localhost:{https}/stream?n=20&ms=2"]);
    curl(&["--http2-prior-knowledge", "http://localhost:{http}/stream?n=20&ms=2"]);
}

#[test]
fn curl_that_names_its_authority() {
    curl(&["--cacert", "{ca}", "https://localhost:{https}/stream?n=3&ms=2"]);
}

#[test]
fn curl_uploads() {
    let case = Case::new("curl").args(["-sS", "--data-binary", "@sent"]);
    check(case.arg(format!("{SECURE}/upload")).file("sent", "0123456789".repeat(30_000)));
}

#[test]
fn wget() {
    check(Case::new("wget").args(["-qO-", &format!("{SECURE}/stream?n=5&ms=2")]));
}

fn python(name: &str) {
    let case = Case::python(name).args([SECURE, PLAIN]).env("REQUESTS_CA_BUNDLE", "{ca}");
    check_words(case.says("done").limit_s(120));
}

#[test]
fn python_requests() {
    python("requesting.py");
}

#[test]
fn python_httpx_sync_and_async() {
    python("with_httpx.py");
}

#[test]
fn python_asyncio() {
    python("looping.py");
}

#[test]
fn python_threads() {
    python("threaded.py");
}

#[test]
fn python_openai_and_anthropic() {
    python("models.py");
}

fn node(name: &str) {
    check_words(Case::node(name).args([SECURE, PLAIN]).says("done").limit_s(120));
}

#[test]
fn node_fetch() {
    node("fetching.mjs");
}

#[test]
fn node_openai_and_anthropic() {
    node("openai.cjs");
}

fn reqwest(tls: &str) {
    let client = format!("{ROOT}/tests/programs/reqwest-client/target/debug/reqwest-client");
    check_words(Case::new(client).args([tls, SECURE, "{ca}"]).says("done"));
}

#[test]
fn reqwest_with_rustls() {
    reqwest("rustls");
}

#[test]
fn reqwest_with_native_tls() {
    reqwest("native-tls");
}

#[test]
fn git() {
    let script = "rm -rf clone; git clone -q https://localhost:{https}/git/project.git clone &&
                  git -C clone log --format=%H && cat clone/file*";
    check(Case::bash(script).env("GIT_SSL_CAINFO", "{ca}"));
}

#[test]
fn java() {
    let get = "public class Get { public static void main(String[] a) throws Exception {
        try (var in = new java.net.URI(a[0]).toURL().openStream()) {
            System.out.print(new String(in.readAllBytes())); } } }";
    let url = format!("{SECURE}/stream?n=3&ms=2");
    check(Case::new("java").args(["Get.java", &url]).file("Get.java", get).limit_s(180));
}
