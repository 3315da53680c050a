//! Conversations of both sides, cut in every way.

mod conversations;

use std::io::Write;

use proptest::prelude::*;

use super::ws::Extensions;
use super::{Setting, decode};
use crate::stream::{Direction, End, Exchange, Protocol, Segment};
use conversations::{Said, all, h2, socket};

fn setting() -> Setting {
    Setting {
        connection: 1,
        requests: Direction::Sent,
        scheme: "http",
        authority: "peer:80".into(),
        hold: true,
    }
}

/// Decodes what was said, each part cut into pieces of `size` bytes. Parts are a microsecond
/// apart.
fn cut(said: &[Said], size: usize, end: &End) -> Vec<Exchange> {
    let segments = said.iter().zip(1..).flat_map(|((direction, bytes), n)| {
        let offsets = (0..).map(move |i: u64| (n << 32) + i * size as u64);
        bytes.chunks(size).zip(offsets).map(move |(bytes, offset)| Segment {
            direction: *direction,
            time_ns: n * 1000,
            process: 1,
            step: n,
            log: 1,
            offset,
            bytes,
        })
    });
    decode(setting(), segments, end)
}

/// Decodes what was said, as it was said, and checks that every cut gives the same.
fn decoded(said: &[Said]) -> Vec<Exchange> {
    let end = End::Closed(Direction::Received);
    let whole = cut(said, usize::MAX, &end);
    for size in (1..40).chain([63, 64, 65, 127, 1000]) {
        assert_eq!(cut(said, size, &end), whole, "in pieces of {size} bytes");
    }
    whole
}

fn sent(text: &str) -> Said {
    (Direction::Sent, text.as_bytes().to_vec())
}

fn received(text: &str) -> Said {
    (Direction::Received, text.as_bytes().to_vec())
}

fn body(exchange: &Exchange) -> String {
    let bytes = exchange.response.as_ref().unwrap().body.bytes().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn pipelined_requests_get_their_answers_in_order() {
    let all = decoded(&[
        sent("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        sent("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /4 HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"),
        received("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 Fine\r\n\r\nto the"),
        received(" end"),
    ]);
    let targets: Vec<_> = all.iter().map(|e| e.request.target.as_str()).collect();
    assert_eq!(targets, ["/1", "/2", "/3", "/4"]);
    assert_eq!(all.iter().map(body).collect::<Vec<_>>(), ["ab", "", "", "to the end"]);
    assert_eq!(all[2].request.body.bytes().unwrap(), "abc");
    assert_eq!(all[3].request.authority, "peer:80");
    assert!(all.iter().all(|e| e.end == End::Complete), "{all:?}");
    let last = all[3].response.as_ref().unwrap();
    assert_eq!((last.reason.as_str(), last.body.chunks.len()), ("Fine", 2));
}

#[test]
fn chunks_trailers_and_interim_answers() {
    let all = decoded(&[
        sent("PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
        received("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        sent("3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nDigest: 1\r\nOther: 2\r\n\r\n"),
        received(
            "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        ),
        received("hello\r\n1"),
        received("0\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\n"),
    ]);
    let [exchange] = &all[..] else { panic!("{all:?}") };
    assert_eq!(exchange.request.body.bytes().unwrap(), "abcde");
    assert_eq!(exchange.request.body.chunks.len(), 2, "one for each transfer chunk");
    assert_eq!(exchange.request.trailers.len(), 2);
    let answer = exchange.response.as_ref().unwrap();
    let interim: Vec<_> = answer.interim.iter().map(|(status, h)| (*status, h.len())).collect();
    assert_eq!(interim, [(103, 1), (100, 0)]);
    let values: Vec<_> = answer.headers[..2].iter().map(|h| (&h.name[..], &h.value[..])).collect();
    assert_eq!(values, [(&b"X-A"[..], &b"1"[..]), (b"x-a", b"2")]);
    assert_eq!(body(exchange), "hello0123456789abcdef");
    let ends: Vec<_> = answer.body.chunks.iter().map(|c| (c.end, c.time_ns)).collect();
    assert_eq!(ends, [(5, 5000), (21, 6000)]);
    assert_eq!((&answer.trailers[0].value[..], &exchange.end), (&b"v"[..], &End::Complete));
}

#[test]
fn a_cut_answer_says_what_came_and_how_it_ended() {
    let said = [
        sent("GET / HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        received("half"),
    ];
    let all = decoded(&said);
    assert_eq!((body(&all[0]).as_str(), &all[0].end), ("half", &End::Closed(Direction::Received)));
    assert_eq!(cut(&said, 3, &End::Open)[0].end, End::Open);
    let all = decoded(&[sent("GET / HTTP/1.1\r\n\r\n"), received("HTTP/1.1 two hundred\r\n\r\n")]);
    assert!(matches!(&all[0].end, End::Malformed(why) if why.contains("head")), "{all:?}");
    let all = decoded(&[sent("GET / HTTP/1.1\r\n\r\n")]);
    assert_eq!((&all[0].response, &all[0].end), (&None, &End::Closed(Direction::Received)));
}

#[test]
fn an_answer_logged_before_its_request() {
    let all = decoded(&[
        sent("GET /1 HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
        sent("GET /2 HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(all.iter().map(body).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn early_answers_are_taken_before_the_next_request() {
    let all = decoded(&[
        sent("GET /1 HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 204 No Content\r\n\r\nHTTP two\r\n\r\n"),
        sent("GET /2 HTTP/1.1\r\n\r\n\"no\" request\r\n\r\n"),
    ]);
    assert!(matches!(&all[1].end, End::Malformed(why) if why.contains("response")), "{all:?}");
}

#[test]
fn nothing_follows_a_close_of_a_websocket() {
    let mut said = socket(false);
    let more = conversations::ws_frame(0x81, b"more", None);
    let last = said.iter_mut().rfind(|(direction, _)| *direction == Direction::Received);
    last.unwrap().1.extend(more);
    assert_eq!(decoded(&said)[0].messages.len(), 8);
}

#[test]
fn other_protocols_have_no_exchanges() {
    for text in ["EHLO me\r\n", "*1\r\n$4\r\nPING\r\n", "GET key\r\n", "\x16\x03", "SSH-2.0-x\r\n"]
    {
        assert_eq!(decoded(&[received("220 hello\r\n"), sent(text)]), []);
    }
}

#[test]
fn a_tunnel_is_looked_into() {
    let all = decoded(&[
        sent("CONNECT b:80 HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 200 Connected\r\n\r\n"),
        sent("GET /in HTTP/1.1\r\nHost: b\r\n\r\n"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nin"),
    ]);
    assert_eq!(
        (all[0].request.method.as_str(), all[0].request.authority.as_str()),
        ("CONNECT", "b:80")
    );
    assert_eq!((body(&all[1]).as_str(), &all[1].end), ("in", &End::Complete));
}

#[test]
fn an_upgrade_that_is_refused_changes_nothing() {
    let all = decoded(&[
        sent("GET /1 HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"),
        received("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    assert_eq!(all.iter().map(body).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn interleaved_streams_of_http2() {
    let all = decoded(&h2());
    let short: Vec<_> = all
        .iter()
        .map(|e| (e.stream.unwrap(), e.request.target.as_str(), body(e), e.end.clone()))
        .collect();
    let reset = End::Reset { code: 8, by: Direction::Sent };
    let open = End::Closed(Direction::Received);
    let expected = [
        (1, "/1", "first and last".into(), End::Complete),
        (3, "/3", "third".into(), End::Complete),
        (2, "/pushed", "unasked".into(), End::Complete),
        (5, "/5", "gone".into(), reset),
        (7, "/7", "cut".into(), open),
    ];
    assert_eq!(short, expected);
    let first = all[0].response.as_ref().unwrap();
    assert_eq!((first.interim[0].0, first.trailers.len(), first.body.chunks.len()), (103, 1, 2));
    assert_eq!(all[1].request.body.bytes().unwrap(), "asked");
    assert!(all.iter().all(|e| e.protocol == Protocol::Http2 && e.request.authority == "a"));
}

#[test]
fn an_upgrade_to_http2_goes_on_with_the_same_exchange() {
    let upgrade = "GET /0 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n";
    let mut said =
        vec![sent(upgrade), received("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")];
    said.extend(conversations::h2_answers_upgrade());
    let all = decoded(&said);
    assert_eq!((all[0].stream, all[0].request.target.as_str()), (Some(1), "/0"));
    assert_eq!((body(&all[0]).as_str(), &all[0].end), ("upgraded", &End::Complete));
}

#[test]
fn messages_of_a_websocket() {
    for deflate in [false, true] {
        let all = decoded(&socket(deflate));
        let [exchange] = &all[..] else { panic!("{all:?}") };
        assert_eq!((exchange.protocol, &exchange.end), (Protocol::WebSocket, &End::Complete));
        let short: Vec<_> = exchange
            .messages
            .iter()
            .map(|m| (m.direction, m.opcode, String::from_utf8_lossy(&m.bytes).into_owned()))
            .collect();
        let (sent, received) = (Direction::Sent, Direction::Received);
        let long = "again and again ".repeat(40);
        let expected = [
            (sent, 1, long.clone()),
            (received, 9, "ping".into()),
            (received, 1, long.clone()),
            (sent, 10, "ping".into()),
            (received, 2, long),
            (received, 1, String::new()),
            (sent, 8, "\x03".to_owned() + "\u{fffd}"),
            (received, 8, "\x03".to_owned() + "\u{fffd}"),
        ];
        assert_eq!(short, expected);
    }
}

/// A message that inflates to much more than its size.
#[test]
fn a_message_longer_than_the_room_first_given() {
    let text = (0..60_000u32).map(|n| char::from(b'a' + (n / 977 % 26) as u8)).collect::<String>();
    let mut compress = flate2::Compress::new(flate2::Compression::default(), false);
    let mut said = socket(true);
    said.truncate(2);
    let mut answer = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        .to_vec();
    for _ in 0..3 {
        let mut packed = Vec::with_capacity(text.len() + 100);
        let flush = flate2::FlushCompress::Sync;
        compress.compress_vec(text.as_bytes(), &mut packed, flush).unwrap();
        packed.truncate(packed.len() - 4);
        answer.extend(conversations::ws_frame(0xc1, &packed, None));
    }
    said.push((Direction::Received, answer));
    let all = decoded(&said);
    let found: Vec<_> = all[0].messages.iter().skip(1).map(|m| &m.bytes[..]).collect();
    assert_eq!(found, [text.as_bytes(); 3]);
}

#[test]
fn extensions_are_read() {
    let all = Extensions::parse(
        b"permessage-deflate; client_no_context_takeover; server_max_window_bits=12, x",
    );
    assert!(all.deflate && all.client_no_context && !all.server_no_context);
    assert_eq!(Extensions::parse(b"x; permessage-deflate"), Extensions::default());
}

#[test]
fn content_codings_are_removed_as_the_bytes_come() {
    use crate::stream::{Body, Chunk, Header};
    let texts = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];
    let gzip = |out: &mut Vec<u8>| {
        let mut coder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        coders(&mut coder, &texts)
    };
    let zlib = |out: &mut Vec<u8>| {
        let mut coder = flate2::write::ZlibEncoder::new(out, flate2::Compression::default());
        coders(&mut coder, &texts)
    };
    let raw = |out: &mut Vec<u8>| {
        let mut coder = flate2::write::DeflateEncoder::new(out, flate2::Compression::default());
        coders(&mut coder, &texts)
    };
    let zstd = |out: &mut Vec<u8>| {
        let mut coder = zstd::stream::write::Encoder::new(out, 3).unwrap().auto_finish();
        coders(&mut coder, &texts)
    };
    let brotli = |out: &mut Vec<u8>| {
        let mut coder = brotli::CompressorWriter::new(out, 4096, 5, 20);
        coders(&mut coder, &texts)
    };
    type Encode<'a> = &'a dyn Fn(&mut Vec<u8>);
    let all: [(&str, Encode<'_>); 5] =
        [("gzip", &gzip), ("deflate", &zlib), ("deflate", &raw), ("zstd", &zstd), ("br", &brotli)];
    for (name, encode) in all {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        let headers =
            [Header { name: "Content-Encoding".into(), value: name.as_bytes().to_vec().into() }];
        let chunks = (1..=bytes.len() as u64).map(|end| Chunk { end, time_ns: end, step: end });
        let body = Body::held(bytes.clone(), chunks.collect());
        let found = super::content::content(&headers, &body).unwrap();
        assert_eq!(found.problem, None, "{name}");
        assert_eq!(found.body.bytes().unwrap(), texts.concat(), "{name}");
        // Each text is there before the next was compressed.
        let whole = found.body.chunks.iter().find(|c| c.end >= texts[0].len() as u64).unwrap();
        assert!(whole.time_ns < bytes.len() as u64 * 3 / 4, "{name}: {whole:?}");
        bytes.truncate(bytes.len() / 2);
        let half = Chunk { end: bytes.len() as u64, time_ns: 1, step: 1 };
        let found = super::content::content(&headers, &Body::held(bytes, vec![half])).unwrap();
        assert!(texts.concat().as_bytes().starts_with(&found.body.bytes().unwrap()), "{name}");
    }
}

fn coders(coder: &mut dyn Write, texts: &[&str]) {
    for text in texts {
        coder.write_all(text.as_bytes()).unwrap();
        coder.flush().unwrap();
    }
}

/// Exchanges that had ended before a conversation was cut stay as they are.
#[test]
fn a_cut_loses_only_what_it_cuts() {
    for said in all() {
        let end = End::Open;
        let whole = cut(&said, usize::MAX, &end);
        for parts in 0..said.len() {
            for part in [1, 5, usize::MAX] {
                let mut said = said[..=parts].to_vec();
                let bytes = &mut said[parts].1;
                bytes.truncate(bytes.len().saturating_sub(part));
                for exchange in cut(&said, usize::MAX, &end) {
                    let same = whole.iter().find(|e| {
                        e.request.step == exchange.request.step
                            && e.request.target == exchange.request.target
                    });
                    let same = same.expect("no exchange that is not in the whole");
                    if exchange.end == End::Complete && exchange.messages.is_empty() {
                        assert_eq!(exchange.response, same.response);
                    } else if let Some(response) = &exchange.response {
                        let whole = same.response.as_ref().unwrap().body.bytes().unwrap();
                        assert!(whole.starts_with(&response.body.bytes().unwrap()));
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is damaged, decoding ends, in the same way however the bytes are cut.
    #[test]
    fn damage_is_decoded_the_same_in_all_cuts(
        which in 0..all().len(),
        damage in prop::collection::vec((any::<u16>(), any::<u8>(), 0..4u8), 1..6),
        size in 1..100usize,
    ) {
        let mut said = all().swap_remove(which);
        let len = said.len();
        for (at, byte, how) in damage {
            let bytes = &mut said[usize::from(at) % len].1;
            let at = usize::from(at / 7) % bytes.len().max(1);
            match how {
                0 if at < bytes.len() => bytes[at] ^= byte | 1,
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        let end = End::Closed(Direction::Sent);
        prop_assert_eq!(cut(&said, size, &end), cut(&said, usize::MAX, &end));
    }
}
