//! What is remembered of each flow of bytes between two looks at it.

use std::collections::HashMap;
use std::ops::Range;

use super::parse::{Flow, Parser};

/// Most bytes that are kept to be looked at again.
pub(super) const TAIL_BYTES_MAX: usize = 32 << 10;

/// One log while it is looked at.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Where in the frames the guests' bytes stand.
    pub parser: Parser,
    /// Ends of flows.
    pub flows: HashMap<Flow, Tail>,
    /// Bytes of the log so far.
    pub offset: u64,
}

/// The end of a flow: what may be the start of a secret.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Its bytes as the guest had them.
    pub bytes: Vec<u8>,
    /// Where they stand in the log: lengths and places.
    pub spans: Vec<(usize, u64)>,
    /// Bytes at their start in which what was found has been dealt with.
    pub done: usize,
    /// Records of TLS, if the flow has them.
    pub tls: Tls,
}

/// What is known of TLS records in a flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tls {
    begun: bool,
    /// Header of the record, as far as it has come.
    header: [u8; HEADER],
    have: usize,
    /// Bytes left of the record.
    left: usize,
}

const HEADER: usize = 5;
/// Types of records.
const CHANGE_CIPHER_SPEC: u8 = 0x14;
const HANDSHAKE: u8 = 0x16;
const APPLICATION_DATA: u8 = 0x17;
/// Largest record, with what encryption adds.
const RECORD_BYTES_MAX: usize = (1 << 14) + 2048;

impl Tls {
    /// The payloads of application data in the next bytes of the flow, of which only `moved` went
    /// out; none if the flow has no TLS.
    pub(super) fn application_data(
        &mut self,
        bytes: &[u8],
        moved: usize,
    ) -> Option<Vec<Range<usize>>> {
        if !self.begun {
            self.begun = begins_tls(bytes);
        }
        if !self.begun {
            return None;
        }
        let mut found = Vec::new();
        let is_tls = self.pass(bytes.get(..moved)?, 0, &mut found);
        // The rest comes again.
        let mut ahead = *self;
        if !is_tls || !ahead.pass(bytes.get(moved..)?, moved, &mut found) {
            *self = Tls::default();
            return None;
        }
        Some(found)
    }

    fn pass(&mut self, bytes: &[u8], start: usize, found: &mut Vec<Range<usize>>) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let len = self.left.min(bytes.len() - at);
                if self.header[0] == APPLICATION_DATA {
                    found.push(start + at..start + at + len);
                }
                self.left -= len;
                at += len;
                continue;
            }
            self.header[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have == HEADER {
                let Some(len) = payload_of(&self.header) else { return false };
                (self.have, self.left) = (0, len);
            }
        }
        true
    }
}

/// Length of the record with this header.
fn payload_of(header: &[u8; HEADER]) -> Option<usize> {
    let len = usize::from(header[3]) << 8 | usize::from(header[4]);
    let known = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&header[0])
        && header[1] == 3
        && header[2] <= 4;
    (known && len <= RECORD_BYTES_MAX).then_some(len)
}

/// Whether bytes are the start of a connection, or of records of one that began elsewhere.
fn begins_tls(bytes: &[u8]) -> bool {
    let Some(len) = bytes.first_chunk().and_then(payload_of) else { return false };
    match bytes.first() {
        // A message of a handshake: ClientHello, ServerHello, or a later one.
        Some(&HANDSHAKE) => bytes.get(HEADER).is_some_and(|message| *message <= 24),
        Some(&APPLICATION_DATA) => len > 16,
        _ => false,
    }
}

impl Tail {
    /// Remembers `text`, which was looked at, from `from` on and up to `end`.
    pub(super) fn keep(&mut self, text: &[u8], spans: &[(usize, u64)], from: usize, end: usize) {
        let from = from.min(end).max(end.saturating_sub(TAIL_BYTES_MAX));
        self.bytes.clear();
        self.bytes.extend_from_slice(text.get(from..end).unwrap_or_default());
        self.spans.clear();
        let mut at = 0;
        for (len, place) in spans {
            let (first, last) = (from.max(at), end.min(at + len));
            if first < last {
                self.spans.push((last - first, place + (first - at) as u64));
            }
            at += len;
        }
        self.done = self.done.saturating_sub(from).min(self.bytes.len());
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Tail::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_data_is_found_wherever_it_is_cut() {
        let mut stream = vec![0x16, 3, 1, 0, 4, 1, 0, 0, 0];
        stream.extend([0x17, 3, 3, 0, 20]);
        stream.extend([9; 20]);
        stream.extend([0x15, 3, 3, 0, 2, 1, 0]);
        for cut in 6..stream.len() {
            let (a, b) = stream.split_at(cut);
            let mut tls = Tls::default();
            let mut all = tls.application_data(a, a.len()).unwrap();
            let rest = tls.application_data(b, b.len()).unwrap();
            all.extend(rest.into_iter().map(|r| r.start + cut..r.end + cut));
            assert_eq!(all.iter().map(|r| r.len()).sum::<usize>(), 20, "{cut}");
            assert!(all.iter().all(|r| stream[r.clone()].iter().all(|b| *b == 9)));
        }
        // What did not go out comes again.
        let mut tls = Tls::default();
        let only = |range: std::ops::Range<usize>| Some(vec![range]);
        assert_eq!(tls.application_data(&stream, 12), only(14..34));
        let rest = &stream[12..];
        assert_eq!(tls.application_data(rest, rest.len()), only(2..22));
        assert_eq!(Tls::default().application_data(b"GET / HTTP/1.1\r\n", 16), None);
    }

    #[test]
    fn a_tail_knows_where_its_bytes_stand() {
        let mut tail = Tail::default();
        tail.keep(b"abcdefghij", &[(4, 100), (6, 200)], 2, 9);
        assert_eq!(
            (&tail.bytes[..], &tail.spans[..]),
            (&b"cdefghi"[..], &[(2, 102), (5, 200)][..])
        );
    }
}
