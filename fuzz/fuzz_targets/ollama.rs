//! Arbitrary bytes as an answer of Ollama.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(
        &[
            ("/api/chat", "application/x-ndjson"),
            ("/api/generate", "application/x-ndjson"),
            ("/api/chat", "application/json"),
        ],
        input,
    );
});
