//! What is shown of exchanges made by hand.

use serde_json::json;

use super::page::page;
use super::table::{Row, render};
use crate::stream::calls::tests::{anthropic_stream, exchange};
use crate::stream::summary::CallSummary;
use crate::stream::traffic::Summary;
use crate::stream::{Direction, End, Exchange, llm_calls};

/// A call whose answer comes in two pieces, the second one not if it is cut.
fn call(cut: bool) -> Exchange {
    let stream = anthropic_stream();
    let at = stream.find("gr\u{fc}n").unwrap_or(0) - 2;
    let (first, rest) = stream.split_at(at);
    let request = json!({ "model": "claude", "stream": true, "system": "be brief",
        "tools": [{ "name": "get" }],
        "messages": [{ "role": "user", "content": "what\nnow\u{1b}[31m?" }] });
    let pieces = [(first, 200), (rest, 1300)];
    let pieces = if cut { &pieces[..1] } else { &pieces[..] };
    let mut exchange = exchange("/v1/messages?key=hidden", request, "text/event-stream", pieces);
    if cut {
        exchange.end = End::Closed(Direction::Received);
    }
    exchange
}

fn shown(exchange: &Exchange) -> String {
    let calls = llm_calls(exchange).unwrap();
    page("1.2", exchange, calls.first()).unwrap()
}

#[test]
fn a_page_has_the_request_and_the_merged_answer() {
    let expected = "\
exchange  7, POST http://localhost:8080/v1/messages
process   1.2, step 40
time      0.100 s, took 1.20 s
status    200 OK (HTTP/1.1)
model     claude-1 (asked for claude), anthropic chat
tokens    15 in (10 cached), 15 out
timing    first after 100 ms, 4 pieces, gaps p50 0 us p99 1.10 s max 1.10 s, 13 tokens/s, \
stalled 1 times for 1.10 s
tools     get

[system]
be brief

[user]
what
now\\u{1b}[31m?

[answer]
(reasoning) Let me
gr\u{fc}n
(calls get, toolu) {\"a\":1}
--- tool_use ---
";
    assert_eq!(shown(&call(false)), expected);
}

#[test]
fn a_page_says_where_an_answer_breaks_off() {
    let text = shown(&call(true));
    assert!(text.contains("200 OK, cut: the service closed the connection"), "{text}");
    assert!(text.contains("note      the last 49 bytes are no whole event"), "{text}");
    assert!(!text.contains("gr\u{fc}n"), "{text}");
}

#[test]
fn a_page_of_what_is_no_call_has_fields_and_bodies() {
    let exchange = exchange("/", json!({}), "text/plain", &[("hello\u{7}\n", 200)]);
    let text = shown(&exchange);
    assert!(text.ends_with("[response]\nContent-Type: text/plain\n\nhello\\u{7}\n"), "{text}");
}

#[test]
fn the_table_has_a_line_for_each_exchange() {
    let row = |exchange: &Exchange| Row {
        process: "1.2".into(),
        exchange: Summary::of(exchange, 0),
        call: llm_calls(exchange).unwrap().first().map(CallSummary::from),
    };
    let mut page = exchange("/page", json!({}), "text/html", &[("<html>", 300)]);
    page.request.method = "GET".into();
    let table = render(&[row(&call(false)), row(&call(true)), row(&page)]);
    let expected = "\
ID   TIME  PROCESS  ENDPOINT                          MODEL     IN  OUT    TTFT  TOK/S  STATUS
 7  0.100  1.2      POST localhost:8080/v1/messages  claude-1  15   15  100 ms     13  200
 7  0.100  1.2      POST localhost:8080/v1/messages  claude-1  15    1  100 ms      -  200 cut
 7  0.100  1.2      GET localhost:8080/page          -          -    -       -      -  200
";
    let spaces = |text: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(spaces(&table), spaces(expected));
    assert_eq!(render(&[]), "no exchanges\n");
}
