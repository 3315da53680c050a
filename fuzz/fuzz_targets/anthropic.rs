//! Arbitrary bytes as an answer of Anthropic's Messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[("/v1/messages", "text/event-stream"), ("/v1/messages", "application/json")],
        input,
    );
});
