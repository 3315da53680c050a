//! Looks for given values in a session, in all their encodings.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::matcher::{Matcher, Secret};
use super::rules::Rules;
use crate::error::{Error, Result};
use crate::log::frames::Frames;
use crate::session::{Session, verify};
use crate::stream::http::content::content;
use crate::stream::llm_calls;

/// Bytes looked at together; the next ones begin this far before their end.
const PART_BYTES: usize = 1 << 20;

/// A place where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// Number of the value's line, from 1.
    pub line: usize,
    /// What holds it: a file of the session, or the log of a process.
    pub place: String,
    /// Where in it, bytes.
    pub offset: u64,
}

/// Looks for values, one a line of `text`, in everything that a session holds, decompressed, and in
/// what readers make of it.
///
/// # Errors
/// The system's, or [`Error::Damaged`].
pub fn search(session: &Session, text: &str) -> Result<Vec<Leak>> {
    let mut secrets = Vec::new();
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        lines.push(i + 1);
        secrets.push(Secret {
            value: line.into(),
            placeholder: line.into(),
            keep: 0,
            context: Vec::new(),
            rule: String::new(),
        });
    }
    let longest = secrets.iter().map(|s| s.value.len()).max().unwrap_or(0);
    let rules = Rules::default();
    let mut look = Look {
        matcher: Matcher::new(&secrets, &rules),
        rules,
        lines,
        // Three bytes for one in hex or percent encoding, and their neighbours.
        overlap: longest * 3 + 16,
        leaks: Vec::new(),
    };
    for key in verify::keys(session.dir())? {
        let mut frames = Frames::open(session.dir(), key, true)?;
        let place = format!("procs/{key:016x}");
        let (mut window, mut start) = (Vec::new(), 0);
        loop {
            let more = frames.read(&mut window)?.is_some();
            if window.len() >= PART_BYTES || !more {
                look.at(&window, &place, start);
                let passed = window.len().saturating_sub(look.overlap);
                window.drain(..passed);
                start += passed as u64;
            }
            if !more {
                break;
            }
        }
    }
    look.directory(session.dir(), session.dir())?;
    look.exchanges(session)?;
    look.leaks.sort_by(|a, b| (&a.place, a.offset, a.line).cmp(&(&b.place, b.offset, b.line)));
    look.leaks.dedup();
    Ok(look.leaks)
}

struct Look {
    matcher: Matcher,
    rules: Rules,
    /// Lines of the values.
    lines: Vec<usize>,
    overlap: usize,
    leaks: Vec<Leak>,
}

impl Look {
    fn at(&mut self, bytes: &[u8], place: &str, start: u64) {
        for (at, secret) in self.matcher.all(bytes, &self.rules) {
            let line = self.lines.get(secret).copied().unwrap_or(0);
            let offset = start + at as u64;
            self.leaks.push(Leak { line, place: place.to_owned(), offset });
        }
    }

    /// What readers put together: bodies without their codings, messages, texts of models.
    fn exchanges(&mut self, session: &Session) -> Result<()> {
        let traffic = session.traffic()?;
        for summary in traffic.summaries() {
            let exchange = traffic.exchange(summary.id)?;
            let place = |what: &str| format!("exchange {}, {what}", summary.id);
            let request = Some((&exchange.request.headers, &exchange.request.body));
            let response = exchange.response.as_ref().map(|r| (&r.headers, &r.body));
            for (what, message) in [("request", request), ("response", response)] {
                let Some((headers, body)) = message else { continue };
                for header in headers {
                    self.at(&header.value, &place(&format!("{what} header")), 0);
                }
                let content = content(headers, body)?.body;
                self.at(&content.bytes()?, &place(&format!("{what} body")), 0);
            }
            for message in &exchange.messages {
                self.at(&message.bytes, &place("message"), 0);
            }
            for call in llm_calls(&exchange)? {
                let text = serde_json::to_vec(&call).map_err(|e| Error::io("write JSON")(e.into()));
                self.at(&text?, &place("call of a model"), 0);
            }
        }
        Ok(())
    }

    /// All files below `dir`, as they are.
    fn directory(&mut self, dir: &Path, session: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).map_err(Error::file("list", dir))? {
            let path = entry.map_err(Error::file("list", dir))?.path();
            let kind = fs::symlink_metadata(&path).map_err(Error::file("read", &path))?.file_type();
            if kind.is_dir() {
                self.directory(&path, session)?;
            } else if kind.is_file() {
                let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
                let place = path.strip_prefix(session).unwrap_or(&path).display().to_string();
                self.at(&bytes, &place, 0);
            }
        }
        Ok(())
    }
}
