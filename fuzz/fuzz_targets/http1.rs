//! Arbitrary bytes as an HTTP/1 connection, with whatever it is upgraded to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::{check_conversation, conversation};

fuzz_target!(|input: &[u8]| {
    let Some((piece, said)) = conversation(input) else { return };
    check_conversation(&said, piece);
});
