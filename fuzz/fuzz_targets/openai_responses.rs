//! Arbitrary bytes as an answer of OpenAI's Responses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[("/v1/responses", "text/event-stream"), ("/v1/responses", "application/json")],
        input,
    );
});
