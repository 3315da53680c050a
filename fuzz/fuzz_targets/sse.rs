//! Arbitrary bytes as server-sent events of no known interface.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run_fuzz::check_answer;

fuzz_target!(|input: &[u8]| {
    check_answer(&[("/elsewhere", "text/event-stream")], input);
});
