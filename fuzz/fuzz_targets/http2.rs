//! Arbitrary bytes as an HTTP/2 connection, after the client's preface.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run::stream::Direction;
use rr_run_fuzz::{check_conversation, conversation};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((piece, mut said)) = conversation(input) else { return };
    said.insert(0, (Direction::Sent, PREFACE));
    check_conversation(&said, piece);
});
