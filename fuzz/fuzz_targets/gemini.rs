//! Arbitrary bytes as an answer of Gemini.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[
            ("/v1beta/models/m:streamGenerateContent", "text/event-stream"),
            ("/v1beta/models/m:streamGenerateContent", "application/json"),
            ("/v1beta/models/m:generateContent", "application/json"),
        ],
        input,
    );
});
