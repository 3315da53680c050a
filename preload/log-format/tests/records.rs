//! Records: what is written is read again, and nothing that is read can panic.

use log_format::record::{
    Buf, Call, Dir, HEADER_BYTES, Header, Kind, Malformed, RECORD_BYTES_MAX, Record, SIGNAL_BYTES,
    buf_words, call_words,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A buffer: argument, direction, flags, address, content.
type Part = (u8, Dir, u16, u64, Vec<u8>);

fn push(out: &mut Vec<u8>, words: &[u64]) {
    out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

fn record(kind: Kind, flags: u8, thread: u16, body: &[u8]) -> Vec<u8> {
    let len = (HEADER_BYTES + body.len()).next_multiple_of(8) as u32;
    let mut out = Header { kind, flags, thread, len }.to_word().to_le_bytes().to_vec();
    out.extend(body);
    pad(&mut out);
    out
}

fn call(nr: u16, args: &[u64], ret: i64, parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    push(&mut body, &call_words(nr, args.len() as u8, parts.len() as u16, ret));
    push(&mut body, args);
    for (arg, dir, flags, addr, bytes) in parts {
        push(&mut body, &buf_words(bytes.len() as u32, *arg, *dir, *flags, *addr));
        body.extend(bytes);
        pad(&mut body);
    }
    body
}

fn any_part() -> impl Strategy<Value = Part> {
    let dir = prop_oneof![Just(Dir::In), Just(Dir::Out), Just(Dir::Extra)];
    (any::<u8>(), dir, any::<u16>(), any::<u64>(), vec(any::<u8>(), 0..40))
}

fn any_call() -> impl Strategy<Value = (u16, Vec<u64>, i64, Vec<Part>)> {
    (any::<u16>(), vec(any::<u64>(), 0..=6), any::<i64>(), vec(any_part(), 0..5))
}

/// Everything a reader may ask of a record.
fn read_all(record: &Record) {
    if let Ok(call) = record.call() {
        call.bufs().for_each(drop);
        call.buf(0, Dir::Out);
    }
    record.value();
    record.signal();
    record.note();
}

proptest! {
    #[test]
    fn a_call_is_read_as_written(
        (nr, args, ret, parts) in any_call(),
        flags: u8,
        thread: u16,
        kind in prop_oneof![Just(Kind::Call), Just(Kind::Yield), Just(Kind::Start)],
        behind in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = record(kind, flags, thread, &call(nr, &args, ret, &parts));
        let len = bytes.len();
        bytes.extend(behind);
        let record = Record::parse(&bytes).unwrap();
        prop_assert_eq!(record.header, Header { kind, flags, thread, len: len as u32 });
        let read: Call = record.call().unwrap();
        prop_assert_eq!((read.nr, read.ret), (nr, ret));
        prop_assert_eq!(&read.args[..usize::from(read.nargs)], &args[..]);
        let bufs: Result<Vec<Buf>, Malformed> = read.bufs().collect();
        let bufs = bufs.unwrap();
        prop_assert_eq!(bufs.len(), parts.len());
        for (buf, (arg, dir, flags, addr, bytes)) in bufs.iter().zip(&parts) {
            let expected =
                Buf { arg: *arg, dir: *dir, flags: *flags, addr: *addr, bytes: bytes.as_slice() };
            prop_assert_eq!(buf, &expected);
        }
        // Every proper prefix is incomplete, for a log may end anywhere.
        for end in 0..len {
            prop_assert_eq!(Record::parse(&bytes[..end]), Err(Malformed::Incomplete));
        }
    }

    #[test]
    fn a_header_is_read_as_written(
        kind in 0..Kind::ALL.len(),
        flags: u8,
        thread: u16,
        len in 1..RECORD_BYTES_MAX / 8,
    ) {
        let header = Header { kind: Kind::ALL[kind], flags, thread, len: len * 8 };
        prop_assert_eq!(Header::from_word(header.to_word()), Ok(header));
    }

    #[test]
    fn arbitrary_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(record) = Record::parse(&bytes) {
            read_all(&record);
        }
    }

    // Arbitrary bytes hardly ever pass the header; these do.
    #[test]
    fn arbitrary_bodies_are_a_record_or_an_error(
        kind in 0..Kind::ALL.len(),
        body in vec(any::<u8>(), 0..300),
    ) {
        let bytes = record(Kind::ALL[kind], 0, 0, &body);
        match Record::parse(&bytes) {
            Ok(record) => read_all(&record),
            Err(error) => prop_assert_eq!(error, Malformed::Body),
        }
    }

    // Damage to a good record must not make a reader look outside it.
    #[test]
    fn a_damaged_call_is_a_record_or_an_error(
        (nr, args, ret, parts) in any_call(),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let mut bytes = record(Kind::Call, 0, 0, &call(nr, &args, ret, &parts));
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(record) = Record::parse(&bytes) {
            read_all(&record);
        }
    }
}

#[test]
fn lengths_that_make_no_sense_are_refused() {
    let word = |len: u32| u64::from(Kind::Tsc as u8) | u64::from(len) << 32;
    for len in [0, 4, 7, 9, 12, RECORD_BYTES_MAX + 8, u32::MAX] {
        assert_eq!(Header::from_word(word(len)), Err(Malformed::Length(len)));
    }
    assert_eq!(Header::from_word(word(8) & !0xff), Err(Malformed::Kind(0)));
    assert_eq!(Header::from_word(word(8) | 0xff), Err(Malformed::Kind(255)));
}

#[test]
fn bodies_shorter_than_their_kind_asks_are_refused() {
    for (kind, body) in [
        (Kind::Clock, 0),
        (Kind::Tsc, 0),
        (Kind::Exit, 0),
        (Kind::Shared, 0),
        (Kind::Signal, SIGNAL_BYTES - 8),
        (Kind::Note, 0),
        (Kind::Call, 8),
        (Kind::Yield, 8),
        (Kind::Start, 0),
    ] {
        let bytes = record(kind, 0, 0, &vec![0; body]);
        assert_eq!(Record::parse(&bytes), Err(Malformed::Body), "{kind:?}");
    }
}

#[test]
fn counts_beyond_the_body_are_refused() {
    let seven_args = record(Kind::Call, 0, 0, &{
        let mut body = Vec::new();
        push(&mut body, &call_words(0, 7, 0, 0));
        push(&mut body, &[0; 7]);
        body
    });
    assert_eq!(Record::parse(&seven_args), Err(Malformed::Body));
    let missing_buf = record(Kind::Call, 0, 0, &{
        let mut body = Vec::new();
        push(&mut body, &call_words(0, 0, 1, 0));
        body
    });
    assert_eq!(Record::parse(&missing_buf), Err(Malformed::Body));
    let long_buf = record(Kind::Call, 0, 0, &{
        let mut body = Vec::new();
        push(&mut body, &call_words(0, 0, 1, 0));
        push(&mut body, &buf_words(u32::MAX, 0, Dir::Out, 0, 0));
        body
    });
    assert_eq!(Record::parse(&long_buf), Err(Malformed::Body));
    let note = record(Kind::Note, 0, 0, &[1, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(Record::parse(&note), Err(Malformed::Body));
}
