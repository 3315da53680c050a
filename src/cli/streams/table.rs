//! The table of exchanges.

use std::collections::HashMap;

use serde::Serialize;

use crate::report::table::table;
use crate::report::units::{self, clip, count};
use crate::session::Session;
use crate::stream::traffic::{Summary, Traffic};
use crate::stream::{CallEnd, Connection, End, Tls, summary::CallSummary};

/// Longest endpoint and model that are shown whole, characters.
const ENDPOINT_CHARS: usize = 48;
const MODEL_CHARS: usize = 28;

/// One line: an exchange, and the call it is, if it is one.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Id of the process, or its key if the manifest does not have it yet.
    pub(super) process: String,
    pub(super) exchange: Summary,
    pub(super) call: Option<CallSummary>,
}

/// The lines of a session, by the times of their requests.
pub(super) fn rows(
    session: &Session,
    traffic: &Traffic,
    calls: Vec<CallSummary>,
    llm: bool,
) -> Vec<Row> {
    let processes = &session.manifest().processes;
    let ids: HashMap<u64, &str> = processes.iter().map(|p| (p.key, p.id.as_str())).collect();
    let mut calls = calls.into_iter().peekable();
    let mut rows = Vec::new();
    for exchange in traffic.summaries() {
        let known = ids.get(&exchange.process).map(|id| (*id).to_owned());
        let process = known.unwrap_or_else(|| format!("{:x}", exchange.process));
        let before = rows.len();
        while let Some(call) = calls.next_if(|call| call.id.exchange == exchange.id) {
            let (process, exchange) = (process.clone(), exchange.clone());
            rows.push(Row { process, exchange, call: Some(call) });
        }
        if rows.len() == before && !llm {
            rows.push(Row { process, exchange: exchange.clone(), call: None });
        }
    }
    rows
}

/// The table, for the eye.
pub(super) fn render(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no exchanges\n".into();
    }
    let header =
        ["ID", "TIME", "PROCESS", "ENDPOINT", "MODEL", "IN", "OUT", "TTFT", "TOK/S", "STATUS"];
    let lines = rows.iter().map(line);
    table(&header, lines, &[0, 1, 5, 6, 7, 8]) + "\n"
}

fn line(row: &Row) -> Vec<String> {
    let (exchange, call) = (&row.exchange, row.call.as_ref());
    let path = exchange.target.split('?').next().unwrap_or_default();
    let endpoint = format!("{} {}{path}", exchange.method, exchange.authority);
    let dash = || "-".to_owned();
    let (id, started_ns) = match call {
        Some(call) => (call.id.to_string(), call.started_ns),
        None => (exchange.id.to_string(), exchange.started_ns),
    };
    let number = |n: Option<u64>| n.map_or_else(dash, count);
    let model = call.and_then(|c| c.model.as_deref());
    // Of a service that tells no count, or had not told the last one: the pieces, which are
    // about as many.
    let output = call.and_then(|call| match call.output_tokens {
        Some(n) if call.end == CallEnd::Complete || n >= call.tokens => Some(count(n)),
        _ => (call.tokens > 0).then(|| format!("~{}", count(call.tokens))),
    });
    vec![
        id,
        format!("{:.3}", started_ns as f64 / 1e9),
        row.process.clone(),
        clip(&endpoint, ENDPOINT_CHARS),
        model.map_or_else(dash, |model| clip(model, MODEL_CHARS)),
        number(call.and_then(|c| c.input_tokens)),
        output.unwrap_or_else(dash),
        call.and_then(|c| c.time_to_first_token_ns).map_or_else(dash, units::duration),
        call.and_then(|c| c.tokens_per_second).map_or_else(dash, |rate| format!("{rate:.0}")),
        status(exchange, call),
    ]
}

/// Status code and how it ended.
fn status(exchange: &Summary, call: Option<&CallSummary>) -> String {
    let code = exchange.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let more = match (call.map(|call| (&call.end, &call.error)), &exchange.end) {
        (Some((_, Some(error))), _) if *error == code => None,
        (Some((_, Some(error))), _) => Some(error.as_str()),
        (Some((CallEnd::Complete, _)), _) | (None, End::Complete) => None,
        (Some((CallEnd::Open, _)), _) | (None, End::Open) => Some("open"),
        (Some((CallEnd::Cut(_), _)), _) => Some("cut"),
        (Some((CallEnd::Failed, _)), _) => Some("failed"),
        (None, End::Closed(_)) => Some("closed"),
        (None, End::Reset { .. }) => Some("reset"),
        (None, End::Malformed(_)) => Some("malformed"),
    };
    match more {
        Some(more) => clip(&format!("{code} {more}"), ENDPOINT_CHARS),
        None => code,
    }
}

/// What connections can't be read, and why.
pub(super) fn opaque(connections: &[Connection]) -> String {
    let mut text = String::new();
    for connection in connections {
        let Tls::Opaque { sni, reason } = &connection.tls else { continue };
        let name = sni.as_deref().or(connection.host.as_deref()).unwrap_or("an unnamed host");
        let (sent, received) =
            (units::bytes(connection.sent_bytes), units::bytes(connection.received_bytes));
        text += &format!("not read: TLS to {name} ({sent} sent, {received} received): {reason}\n");
    }
    text
}
