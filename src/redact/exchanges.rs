//! What only the decoded view of a session shows: headers of HTTP/2, and bodies that are
//! compressed.

use std::path::Path;

use super::{Work, relevant};
use crate::error::Result;
use crate::session::{Manifest, Session};
use crate::stream::http::content::content;
use crate::stream::{Exchange, Header};

/// Larger logs of plaintext are not decoded for this.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// Largest compressed body that is looked at.
const BODY_BYTES_MAX: u64 = 4 << 20;

impl Work {
    /// Learns from the exchanges of TLS connections that the host took over, and warns of
    /// compressed bodies that hold secrets: these can't be changed.
    pub(super) fn learn_from_exchanges(
        &mut self,
        dir: &Path,
        manifest: &mut Manifest,
    ) -> Result<()> {
        let log = &manifest.tls.log;
        if log.frames == 0 || log.bytes > LOG_BYTES_MAX {
            return Ok(());
        }
        self.refresh();
        let traffic = Session::unchecked(dir, manifest.clone()).traffic_of_now()?;
        let mut compressed = 0;
        for exchange in traffic.exchanges().flatten() {
            for header in headers(&exchange) {
                let line = [&header.name[..], b": ", &header.value, b"\r\n"].concat();
                self.learn_tokens(&line);
            }
            compressed += u64::from(self.holds_compressed_secret(&exchange));
        }
        if compressed > 0 {
            manifest.warnings.push(format!(
                "{compressed} compressed bodies hold secrets, which are not replaced there"
            ));
        }
        Ok(())
    }

    fn holds_compressed_secret(&mut self, exchange: &Exchange) -> bool {
        let request = (&exchange.request.headers, &exchange.request.body);
        let response = exchange.response.as_ref().map(|r| (&r.headers, &r.body));
        let mut found = false;
        for (headers, body) in [request].into_iter().chain(response) {
            let is_encoded = headers.iter().any(|h| {
                h.name.eq_ignore_ascii_case(b"content-encoding") && &h.value[..] != b"identity"
            });
            if !is_encoded || body.len() > BODY_BYTES_MAX {
                continue;
            }
            let Ok(bytes) = content(headers, body).and_then(|c| c.body.bytes()) else { continue };
            let hits = self.matcher.look(&bytes, true, &self.rules).hits;
            found |= !relevant(hits, &bytes, false).is_empty();
            self.learn_tokens(&bytes);
        }
        found
    }
}

fn headers(exchange: &Exchange) -> impl Iterator<Item = &Header> {
    let response = exchange.response.iter().flat_map(|r| &r.headers);
    exchange.request.headers.iter().chain(response)
}
