//! Arbitrary bytes as an answer of Bedrock.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[
            ("/model/m/converse-stream", "application/vnd.amazon.eventstream"),
            ("/model/m/invoke-with-response-stream", "application/vnd.amazon.eventstream"),
            ("/model/m/converse", "application/json"),
        ],
        input,
    );
});
