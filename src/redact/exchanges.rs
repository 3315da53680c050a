//! What only the decoded view of a session shows: headers of HTTP/2, bodies that are compressed,
//! and values of which each chunk or event has a part.

use std::path::Path;

use super::assembled::Assembled;
use super::{Target, Work, relevant};
use crate::error::Result;
use crate::session::{Manifest, Session};
use crate::stream::exchange::header;
use crate::stream::http::content::content;
use crate::stream::{Body, Exchange, Header};

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
        let mut compressed = 0;
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
                    true => holds |= self.holds_secret(headers, body),
                    false => self.replace_in_body(body, given)?,
                }
            }
            compressed += u64::from(holds);
        }
        if compressed > 0 {
            manifest.warnings.push(format!(
                "{compressed} compressed bodies hold secrets, which are not replaced there"
            ));
        }
        Ok(())
    }

    /// Whether an encoded body holds a secret; what it holds is learnt.
    fn holds_secret(&mut self, headers: &[Header], body: &Body) -> bool {
        let Ok(bytes) = content(headers, body).and_then(|c| c.body.bytes()) else { return false };
        let hits = self.matcher.look(&bytes, true, &self.rules).hits;
        self.learn_tokens(&bytes);
        !relevant(hits, &bytes, false).is_empty()
    }

    /// Replaces secrets that chunks, frames and events have parts of.
    fn replace_in_body(&mut self, body: &Body, given: bool) -> Result<()> {
        let whole = Assembled::body(body)?;
        if whole.parts.len() > 1 {
            self.replace_apart(&whole, given);
        }
        let rules = self.rules.clone();
        for text in whole.of_events(|key| rules.is_exempt_key(key)) {
            self.replace_apart(&text, given);
        }
        Ok(())
    }

    /// Replaces what stands apart of a text; the rest is found where it stands.
    fn replace_apart(&mut self, text: &Assembled, given: bool) {
        let hits = self.matcher.look(&text.bytes, true, &self.rules).hits;
        let hits = relevant(hits, &text.bytes, given);
        for hit in hits.iter().filter(|hit| text.is_apart(&hit.range)) {
            for (at, bytes) in self.replacements(hit, &text.bytes) {
                for part in text.within(at..at + bytes.len()) {
                    let Some(log) = part.log else { continue };
                    let mut target = Target { key: log, start: 0, raw: &mut [], written: true };
                    let from = part.start - at;
                    let bytes = &bytes[from..from + part.len];
                    self.put(&[(part.len, part.at)], 0, bytes, &mut target);
                }
            }
        }
    }
}

fn is_encoded(headers: &[Header]) -> bool {
    header(headers, "content-encoding").is_some_and(|coding| coding != b"identity")
}

fn headers(exchange: &Exchange) -> impl Iterator<Item = &Header> {
    let response = exchange.response.iter().flat_map(|r| &r.headers);
    exchange.request.headers.iter().chain(response)
}
