//! The redactor as a whole, over logs made by hand.

use log_format::record::Dir;
use proptest::prelude::*;

use super::*;
use crate::session::sample::call;

const SECRET: &str = "Zq8-secret/Value \"x\" 77";

fn redactor(values: &[&str]) -> Redactor {
    let env: Vec<Vec<u8>> =
        values.iter().enumerate().map(|(i, v)| format!("V{i}_SECRET={v}").into_bytes()).collect();
    let mut redactor = Redactor::new(&Options::default(), &env, &[]).unwrap();
    if let Some(work) = &mut redactor.work {
        work.key = Some(Key([3; 32]));
        // Anew, under a key that does not depend on the machine.
        (work.secrets, work.known) = (Vec::new(), HashSet::new());
        work.placeholders.clear();
        for value in values {
            work.learn(value.as_bytes(), 0, "test");
        }
        work.learnt = false;
    }
    redactor
}

/// Reads of one descriptor, as records.
fn reads(parts: &[&[u8]]) -> Vec<u8> {
    let read =
        |part: &&[u8]| call(0, &[3, 0x7000, 4096], part.len() as i64, &[(1, Dir::Out, part)]);
    parts.iter().flat_map(read).collect()
}

/// A log after redaction: frames cut at `frame` bytes, late changes applied.
fn redacted(redactor: &mut Redactor, log: &[u8], frame: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in log.chunks(frame) {
        let mut raw = part.to_vec();
        out.extend_from_slice(redactor.frame(1, &mut raw).bytes());
    }
    let work = redactor.work.as_mut().unwrap();
    work.end_flows(1);
    if std::mem::take(&mut work.learnt) {
        work.refresh();
        work.again(1, &mut out.clone());
        work.end_flows(1);
    }
    for (at, bytes) in work.late.remove(&1).unwrap_or_default() {
        let at = at as usize;
        out[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    out
}

/// The bytes of all reads of a log.
fn content(log: &[u8]) -> Vec<u8> {
    let mut parser = parse::Parser::default();
    let mut pieces = Vec::new();
    parser.pieces(log, &mut pieces);
    let of_reads = pieces.iter().filter(|p| matches!(p.flow, Flow::Read(_)));
    of_reads.flat_map(|p| log[p.at..p.at + p.len].to_vec()).collect()
}

#[test]
fn a_value_is_found_split_anywhere_between_reads_and_frames() {
    let text = format!("before {SECRET} behind");
    let bytes = text.as_bytes();
    for cut in 0..=bytes.len() {
        for frame in [64, 128, 1 << 20] {
            let log = reads(&[&bytes[..cut], &bytes[cut..]]);
            let mut redactor = redactor(&[SECRET]);
            let out = redacted(&mut redactor, &log, frame);
            let found = content(&out);
            assert_eq!(found.len(), bytes.len());
            assert!(found.starts_with(b"before ") && found.ends_with(b" behind"));
            assert!(memchr::memmem::find(&found, SECRET.as_bytes()).is_none(), "{cut} {frame}");
            // Nothing but the value has changed, and where is known.
            let work = redactor.work.as_mut().unwrap();
            work.marks.settle();
            let marked: Vec<_> = work.marks.within(1, 0, log.len()).collect();
            for (i, (a, b)) in log.iter().zip(&out).enumerate() {
                let inside = marked.iter().any(|(at, len)| (*at..at + len).contains(&(i as u32)));
                assert!(a == b || inside, "byte {i}");
            }
        }
    }
}

#[test]
fn a_value_that_is_read_byte_by_byte_is_found() {
    let parts: Vec<&[u8]> = SECRET.as_bytes().chunks(1).collect();
    let out = redacted(&mut redactor(&[SECRET]), &reads(&parts), 256);
    assert_ne!(content(&out), SECRET.as_bytes());
}

#[test]
fn what_is_learnt_late_is_replaced_before() {
    let token = "Late-token-0123456789";
    let header = format!("\r\nAuthorization: Bearer {token}\r\n");
    let log = reads(&[token.as_bytes(), b" and then", header.as_bytes()]);
    let out = redacted(&mut redactor(&[]), &log, 64);
    assert!(memchr::memmem::find(&out, token.as_bytes()).is_none());
    let found = content(&out);
    let placeholder = &found[..token.len()];
    assert_eq!(memchr::memmem::find_iter(&found, placeholder).count(), 2);
}

#[test]
fn application_data_becomes_zeros_and_handshakes_stay() {
    let hello: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];
    let data = [&[0x17, 3, 3, 0, 20][..], &[0xee; 20]].concat();
    let write = |bytes: &[u8]| {
        call(1, &[5, 0x7000, bytes.len() as u64], bytes.len() as i64, &[(1, Dir::In, bytes)])
    };
    let log = [write(hello), write(&data[..9]), write(&data[9..])].concat();
    let out = redacted(&mut redactor(&[]), &log, 1 << 20);
    assert!(memchr::memmem::find(&out, hello).is_some());
    assert!(!out.contains(&0xee));
    assert_eq!(out.len(), log.len());
}

proptest! {
    #[test]
    fn values_are_gone_in_whatever_pieces_they_come(
        value in "[A-Za-z0-9!#$%&*+./:=?@_~-]{9,60}",
        cuts in prop::collection::vec(1usize..40, 0..12),
        frame in 8usize..60,
        other in "[a-z ]{0,40}",
    ) {
        prop_assume!(is_findable(value.as_bytes()));
        let text = format!("{other}{value}{other}{value}");
        let mut rest = text.as_bytes();
        let mut parts = Vec::new();
        for cut in cuts {
            let (part, tail) = rest.split_at(cut.min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        parts.push(rest);
        let out = redacted(&mut redactor(&[&value]), &reads(&parts), frame * 8);
        let found = content(&out);
        prop_assert_eq!(found.len(), text.len());
        prop_assert!(memchr::memmem::find(&found, value.as_bytes()).is_none());
    }

    #[test]
    fn nonsense_changes_nothing_and_ends(log in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut redactor = redactor(&[SECRET]);
        let out = redacted(&mut redactor, &log, 64);
        prop_assert_eq!(out.len(), log.len());
    }
}
