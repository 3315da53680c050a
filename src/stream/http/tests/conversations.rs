//! What both sides of a connection say, for tests.

use flate2::{Compress, Compression, FlushCompress};
use loona_hpack::Encoder;

use crate::stream::Direction;

/// Bytes that one side sends.
pub(super) type Said = (Direction, Vec<u8>);

/// Several conversations, one of each protocol.
pub(super) fn all() -> Vec<Vec<Said>> {
    let text = |direction, text: &str| (direction, text.as_bytes().to_vec());
    let (sent, received) = (Direction::Sent, Direction::Received);
    let h1 = vec![
        text(sent, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"),
        text(received, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        text(sent, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        text(
            received,
            "4\r\ndefg\r\n0\r\nT: v\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        ),
        text(sent, "GET /3 HTTP/1.0\r\n\r\n"),
        text(received, "HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ];
    vec![h1, h2(), socket(false), socket(true)]
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// One side of HTTP/2.
struct Speaker(Encoder<'static>);

impl Speaker {
    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        self.0.encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn ask(&mut self, stream: u32, method: &str, path: &str, last: bool) -> Vec<u8> {
        let block = self.block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
            ("x-long", "a value that goes into the table"),
        ]);
        frame(1, 4 | u8::from(last), stream, &block)
    }

    fn answer(&mut self, stream: u32, status: &str) -> Vec<u8> {
        let block = self.block(&[(":status", status), ("content-type", "text/plain")]);
        frame(1, 4, stream, &block)
    }
}

/// Streams that are interleaved, padded, continued, pushed, reset and cut.
pub(super) fn h2() -> Vec<Said> {
    let (mut client, mut server) = (Speaker(Encoder::new()), Speaker(Encoder::new()));
    let (sent, received) = (Direction::Sent, Direction::Received);
    let mut said = vec![
        (sent, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (sent, frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        (received, frame(4, 0, 0, &[])),
        (sent, client.ask(1, "GET", "/1", true)),
    ];
    // Padded, with priority, its block over two frames.
    let block = client.block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a")]);
    let mut first = vec![3, 0, 0, 0, 0, 9];
    first.extend(&block);
    first.extend([0; 3]);
    let mut asks = frame(1, 0x28, 3, &first);
    let rest = client.block(&[(":path", "/3"), ("x-other", "1")]);
    asks.extend(frame(9, 4, 3, &rest));
    said.push((sent, asks));
    said.push((sent, frame(0, 9, 3, b"\x02asked\0\0")));
    let hints = server.block(&[(":status", "103"), ("link", "</a>")]);
    said.push((received, frame(1, 4, 1, &hints)));
    let mut answers = server.answer(1, "200");
    answers.extend(server.answer(3, "201"));
    answers.extend(frame(0, 0, 1, b"first "));
    answers.extend(frame(0, 0, 3, b"thi"));
    said.push((received, answers));
    let promise = server.block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/pushed"),
    ]);
    let mut promised = 2u32.to_be_bytes().to_vec();
    promised.extend(promise);
    let mut more = frame(5, 4, 1, &promised);
    more.extend(frame(0, 1, 3, b"rd"));
    more.extend(server.answer(2, "200"));
    more.extend(frame(0, 1, 2, b"unasked"));
    more.extend(frame(0, 0, 1, b"and last"));
    let trailers = server.block(&[("x-end", "1")]);
    more.extend(frame(1, 5, 1, &trailers));
    said.push((received, more));
    said.push((sent, client.ask(5, "GET", "/5", true)));
    let mut fifth = server.answer(5, "200");
    fifth.extend(frame(0, 0, 5, b"gone"));
    said.push((received, fifth));
    said.push((sent, frame(3, 0, 5, &8u32.to_be_bytes())));
    said.push((sent, client.ask(7, "GET", "/7", true)));
    let mut seventh = server.answer(7, "200");
    seventh.extend(&frame(0, 1, 7, b"cut short")[..9 + 3]);
    said.push((received, seventh));
    said
}

/// The answer to the request that asked for HTTP/2.
pub(super) fn h2_answers_upgrade() -> Vec<Said> {
    let mut server = Speaker(Encoder::new());
    let mut answer = frame(4, 0, 0, &[]);
    answer.extend(server.answer(1, "200"));
    answer.extend(frame(0, 1, 1, b"upgraded"));
    vec![
        (Direction::Received, answer),
        (Direction::Sent, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (Direction::Sent, frame(4, 0, 0, &[])),
    ]
}

pub(super) fn ws_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ ..126 => out.push(masked | len as u8),
        len => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().zip(0..).map(|(b, i): (_, usize)| b ^ mask[i % 4]));
    out
}

/// A WebSocket with fragments, control frames between them, and compression.
pub(super) fn socket(deflate: bool) -> Vec<Said> {
    let (sent, received) = (Direction::Sent, Direction::Received);
    let extension = match deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
        false => "",
    };
    let request =
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         {extension}\r\n"
    );
    let mut compress = Compress::new(Compression::default(), false);
    let mut packed = |text: &str| {
        if !deflate {
            return text.as_bytes().to_vec();
        }
        let mut out = Vec::with_capacity(text.len() + 100);
        compress.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    };
    let rsv = if deflate { 0x40 } else { 0 };
    let text = "again and again ".repeat(40);
    let mask = Some([1, 2, 3, 0xff]);
    // The client's own compression begins anew with each message: here it says only one.
    let asked = packed(&text);
    let mut said = vec![(sent, request.as_bytes().to_vec())];
    said.push((sent, ws_frame(0x81 | rsv, &asked, mask)));
    let mut compress = Compress::new(Compression::default(), false);
    let mut answers = |text: &str| {
        if !deflate {
            return text.as_bytes().to_vec();
        }
        let mut out = Vec::with_capacity(text.len() + 100);
        compress.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    };
    let answer = answers(&text);
    let (head, tail) = answer.split_at(answer.len() / 2);
    let mut first = response.into_bytes();
    first.extend(ws_frame(0x01 | rsv, head, None));
    first.extend(ws_frame(0x89, b"ping", None));
    first.extend(ws_frame(0x80, tail, None));
    said.push((received, first));
    said.push((sent, ws_frame(0x8a, b"ping", mask)));
    said.push((received, ws_frame(0x82 | rsv, &answers(&text), None)));
    said.push((received, ws_frame(0x81, b"", None)));
    said.push((sent, ws_frame(0x88, b"\x03\xe8", mask)));
    said.push((received, ws_frame(0x88, b"\x03\xe8", None)));
    said
}
