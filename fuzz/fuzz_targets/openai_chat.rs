//! Arbitrary bytes as an answer of OpenAI's chat completions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[
            ("/v1/chat/completions", "text/event-stream"),
            ("/v1/chat/completions", "application/json"),
            ("/v1/completions", "text/event-stream"),
        ],
        input,
    );
});
