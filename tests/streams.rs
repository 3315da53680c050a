//! What a session says of its connections, against what the server says it sent.

mod aimock;
mod curl;
mod live;
mod models;
mod moved;
mod python;
mod timing;

use std::fmt::Write as _;
use std::path::Path;

use rr_run::session::Session;
use rr_run::stream::{Exchange, Traffic};

/// The connections and exchanges of a recorded session.
fn traffic(session: &Path) -> Traffic {
    let session = Session::open(session).expect("the session opens");
    let traffic = session.traffic().expect("its streams are readable");
    assert!(traffic.damage().is_empty(), "{:?}", traffic.damage());
    traffic
}

/// All exchanges.
fn exchanges(traffic: &Traffic) -> Vec<Exchange> {
    traffic.exchanges().map(|e| e.expect("the exchange is readable")).collect()
}

/// A table of them, for messages of failed tests.
fn table(traffic: &Traffic) -> String {
    let mut out = String::new();
    for c in traffic.connections() {
        let _ = writeln!(out, "{c:?}");
    }
    for s in traffic.summaries() {
        let _ = writeln!(out, "{s:?}");
    }
    out
}
