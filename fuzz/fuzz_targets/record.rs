//! Arbitrary bytes as a log: every record that parses can be shown, as text and as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use log_format::record::Record;
use rr_run::decode::{self, Options};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(record) = Record::parse(rest) {
        let line = decode::record(&record, &Options::default());
        assert!(!line.contains('\n'), "one line: {line:?}");
        decode::record(&record, &Options::FULL);
        decode::json(&record);
        rest = rest.get(record.header.len as usize..).unwrap_or(&[]);
    }
});
