//! Arbitrary bytes as the frames of a WebSocket; compressed, if the size of the pieces is odd.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rr_run::stream::Direction;
use rr_run_fuzz::{check_conversation, conversation};

const UPGRADE: &[u8] =
    b"GET /v1/responses HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const COMPRESSED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((piece, mut said)) = conversation(input) else { return };
    let accepted = if piece % 2 == 0 { ACCEPTED } else { COMPRESSED };
    said.splice(0..0, [(Direction::Sent, UPGRADE), (Direction::Received, accepted)]);
    check_conversation(&said, piece);
});
