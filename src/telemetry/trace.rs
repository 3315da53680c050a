//! Trace and span ids (W3C Trace Context).

use crate::session::Manifest;
use crate::stream::{Exchange, exchange::header};

/// A place in a trace: what a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace, not 0.
    pub trace_id: u128,
    /// Span, not 0.
    pub span_id: u64,
}

impl TraceContext {
    /// Reads a `traceparent`, by version 00 of the specification, as later versions ask.
    ///
    /// ```
    /// use rr_run::telemetry::trace::TraceContext;
    /// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// let context = TraceContext::parse(text).unwrap();
    /// assert_eq!(context.span_id, 0xb7ad_6b71_6920_3331);
    /// assert_eq!(TraceContext::parse("00-0-0-01"), None);
    /// ```
    pub fn parse(text: &str) -> Option<TraceContext> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, len: usize| {
            let digits = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            digits && part.len() == len
        };
        let more = parts.next().is_some();
        let known = hex(version, 2) && version != "ff" && (version != "00" || !more);
        if !(known && hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(TraceContext { trace_id, span_id })
    }
}

/// Ids of a session's own span, and of what it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTrace {
    /// The session's trace, and its span.
    pub own: TraceContext,
    /// The span that the program was started in.
    pub parent: Option<u64>,
}

impl SessionTrace {
    /// Those of a session: the trace that `TRACEPARENT` in the program's environment named, else
    /// one made from the session, so that each export of it has the same.
    pub fn of(manifest: &Manifest) -> SessionTrace {
        let set = |entry: &[u8]| entry.strip_prefix(b"TRACEPARENT=").map(<[u8]>::to_vec);
        let value = manifest.program.env.iter().find_map(|entry| set(&entry.0));
        let given = value.and_then(|v| TraceContext::parse(std::str::from_utf8(&v).ok()?));
        let hash = hash(&[&manifest.name, &manifest.started_ns.to_string()]);
        SessionTrace {
            own: TraceContext {
                trace_id: given.map_or(hash | 1, |context| context.trace_id),
                span_id: hash as u64 | 1,
            },
            parent: given.map(|context| context.span_id),
        }
    }

    /// Ids of an exchange or call of it: in the trace of the request's own `traceparent`, else
    /// in the session's. The span, and its parent.
    pub fn of_exchange(&self, exchange: &Exchange, turn: u32) -> (TraceContext, u64) {
        let request = &exchange.request;
        let given = header(&request.headers, "traceparent")
            .and_then(|value| TraceContext::parse(std::str::from_utf8(value).ok()?));
        let parent = given.unwrap_or(self.own);
        // What stays the same while a recording goes on: not the exchange's number.
        let hash = hash(&[
            &format!("{:x}", self.own.span_id),
            &format!("{:x} {} {}", request.process, request.step, request.started_ns),
            &format!("{} {turn}", exchange.stream.unwrap_or(0)),
        ]);
        let own = TraceContext { trace_id: parent.trace_id, span_id: hash as u64 | 1 };
        (own, parent.span_id)
    }
}

fn hash(parts: &[&str]) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key("rr-run trace ids");
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().as_bytes().first_chunk().map_or(1, |bytes| u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::manifest::ByteText;

    #[test]
    fn a_traceparent_has_to_be_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(TraceContext::parse(good).is_some());
        assert!(TraceContext::parse(&good.replacen("00", "cc", 1)).is_some());
        assert!(TraceContext::parse(&format!("{}-more", good.replacen("00", "01", 1))).is_some());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_environment_s_trace_is_gone_on_with() {
        let mut manifest = Manifest { name: "s".into(), ..Manifest::default() };
        let alone = SessionTrace::of(&manifest);
        assert_eq!((alone.parent, alone), (None, SessionTrace::of(&manifest)));
        let value = b"TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        manifest.program.env.push(ByteText(value.to_vec()));
        let part = SessionTrace::of(&manifest);
        assert_eq!(part.own.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(
            (part.parent, part.own.span_id),
            (Some(0xb7ad_6b71_6920_3331), alone.own.span_id)
        );
    }
}
