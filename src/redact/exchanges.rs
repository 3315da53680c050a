//! What only the decoded view of a session shows: headers of HTTP/2, bodies that are compressed,
//! and values of which each chunk or event has a part.

use std::path::Path;

use super::assembled::Assembled;
use super::{Target, Work, relevant};
use crate::error::Result;
use crate::session::{Manifest, Session};
use crate::stream::exchange::header;
use crate::stream::http::content::content;
use crate::stream::{Direction, Exchange, Header, Message};

/// Larger sessions are not decoded for this.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// Largest body that is looked at.
const BODY_BYTES_MAX: u64 = 16 << 20;

impl Work {
    /// Learns from the exchanges of a session, replaces values in what their readers put together,
    /// and warns of compressed bodies that hold secrets: these can't be changed.
    pub(super) fn look_at_exchanges(&mut self, dir: &Path, manifest: &mut Manifest) -> Result<()> {
        let bytes = manifest.counts.bytes + manifest.tls.log.bytes;
        if manifest.tls.log.frames == 0 && manifest.counts.connections == 0 {
            return Ok(());
        }
        if bytes > LOG_BYTES_MAX {
            manifest.warnings.push(
                "the session is too large to look for secrets in what its exchanges put together"
                    .into(),
            );
            return Ok(());
        }
        self.refresh();
        let traffic = Session::unchecked(dir, manifest.clone()).traffic_of_now()?;
        let (mut compressed, mut messages_compressed) = (0, 0);
        for exchange in traffic.exchanges().flatten() {
            for header in headers(&exchange) {
                let name = header.name.to_ascii_lowercase();
                self.learn_tokens(&[&name[..], b": ", &header.value, b"\r\n"].concat());
            }
            let request = (&exchange.request.headers, &exchange.request.body, true);
            let response = exchange.response.as_ref().map(|r| (&r.headers, &r.body, false));
            let mut holds = false;
            for (headers, body, given) in [request].into_iter().chain(response) {
                if body.is_empty() || body.len() > BODY_BYTES_MAX {
                    continue;
                }
                match is_encoded(headers) {
                    // What can't be decoded can't be looked into.
                    true => {
                        let bytes = content(headers, body).and_then(|c| c.body.bytes());
                        holds |= bytes.is_ok_and(|bytes| self.holds_secret(&bytes));
                    }
                    false => self.replace_in_events(&Assembled::body(body)?, given),
                }
            }
            compressed += u64::from(holds);
            for direction in [Direction::Sent, Direction::Received] {
                let messages = exchange.messages.iter().filter(|m| m.direction == direction);
                let messages: Vec<&Message> = messages.collect();
                messages_compressed += self.replace_in_messages(&messages);
            }
        }
        if messages_compressed > 0 {
            let what = "compressed messages hold secrets, which are not replaced there";
            manifest.warnings.push(format!("{messages_compressed} {what}"));
        }
        if compressed > 0 {
            manifest.warnings.push(format!(
                "{compressed} compressed bodies hold secrets, which are not replaced there"
            ));
        }
        Ok(())
    }

    /// Replaces secrets in what one side of a WebSocket sent; how many messages hold some that
    /// can't be replaced, because they came compressed.
    fn replace_in_messages(&mut self, messages: &[&Message]) -> u64 {
        let mut compressed = 0;
        let mut lines = Assembled::default();
        for message in messages {
            if message.pieces.is_empty() && !message.bytes.is_empty() {
                compressed += u64::from(self.holds_secret(&message.bytes));
                continue;
            }
            lines.message(message);
            if lines.bytes.len() as u64 > BODY_BYTES_MAX {
                self.replace_in_events(&std::mem::take(&mut lines), is_given(message));
            }
        }
        if let Some(last) = messages.last() {
            self.replace_in_events(&lines, is_given(last));
        }
        compressed
    }

    /// Whether bytes hold a secret; what they hold is learnt.
    fn holds_secret(&mut self, bytes: &[u8]) -> bool {
        let hits = self.matcher.look(bytes, true, &self.rules).hits;
        self.learn_tokens(bytes);
        !relevant(hits, bytes, false).is_empty()
    }

    /// Replaces secrets that chunks, frames and events have parts of.
    fn replace_in_events(&mut self, whole: &Assembled, given: bool) {
        self.replace_apart(whole, given);
        let rules = self.rules.clone();
        for text in whole.of_events(|key| rules.is_exempt_key(key)) {
            self.replace_apart(&text, given);
        }
    }

    /// Replaces what stands apart of a text; the rest is found where it stands.
    fn replace_apart(&mut self, text: &Assembled, given: bool) {
        if !text.is_apart(&(0..text.bytes.len())) {
            return;
        }
        let hits = self.matcher.look(&text.bytes, true, &self.rules).hits;
        let hits = relevant(hits, &text.bytes, given);
        for hit in hits.iter().filter(|hit| text.is_apart(&hit.range)) {
            for (at, bytes) in self.replacements(hit, &text.bytes) {
                for part in text.within(at..at + bytes.len()) {
                    let Some(log) = part.log else { continue };
                    let mut target = Target { key: log, start: 0, raw: &mut [], written: true };
                    let from = part.start - at;
                    let bytes = bytes[from..from + part.len].iter().zip(part.mask.iter().cycle());
                    let bytes: Vec<u8> = bytes.map(|(byte, mask)| byte ^ mask).collect();
                    self.put(&[(part.len, part.at)], 0, &bytes, &mut target);
                }
            }
        }
    }
}

fn is_given(message: &Message) -> bool {
    message.direction == Direction::Sent
}

fn is_encoded(headers: &[Header]) -> bool {
    header(headers, "content-encoding").is_some_and(|coding| coding != b"identity")
}

fn headers(exchange: &Exchange) -> impl Iterator<Item = &Header> {
    let response = exchange.response.iter().flat_map(|r| &r.headers);
    exchange.request.headers.iter().chain(response)
}
