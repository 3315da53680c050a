//! Redaction: secrets do not stay in a session.
//!
//! One secret, followed:
//!
//! 1. [`Redactor::new`] finds values in the guest's environment and arguments, by the names and
//!    forms that `rules` describe. Each gets a `value::placeholder` of the same length.
//! 2. The drain hands every frame to [`Redactor::frame`]; nothing but the [`Redacted`] bytes that
//!    come back can be written to a log. `parse` finds the guests' bytes in the frame, `flow`
//!    puts together what was read or written in pieces, `matcher` finds values in all their
//!    encodings (`forms`) and whatever the rules describe. A value that a rule finds is looked for
//!    everywhere from then on.
//! 3. What was written before (the first half of a value, a value that nobody knew yet) is
//!    replaced at the end of the recording ([`Redactor::finish`]), before the session is complete;
//!    kept files are looked at there too.
//! 4. `marks` are where the placeholders are: a replay accepts other bytes of its guest there.
//!
//! Until the end, the values stand beside the arena, which holds them anyway (`stash`), so that a
//! session whose host was killed can be completed without them.

mod assembled;
mod blanks;
mod exchanges;
mod finish;
mod flow;
mod forms;
mod huffman;
pub mod marks;
mod matcher;
mod needles;
mod parse;
mod rules;
mod search;
mod stash;
mod texts;
mod value;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use blanks::Blanks;
pub use search::{Leak, search};
pub(crate) use stash::path as stash_of;

use crate::error::{Error, Result};
use flow::Stream;
use marks::Marks;
use matcher::{Hit, Matcher, Secret, What};
use parse::{Flow, Piece};
use rules::Rules;
use stash::Stash;
use value::{Key, is_findable, placeholder};

/// Most values that are learnt while recording.
const LEARNT_MAX: usize = 5000;

/// Bytes that may be written into a session. Only a [`Redactor`] makes them.
#[derive(Clone, Copy, Debug)]
pub struct Redacted<'a>(&'a [u8]);

impl<'a> Redacted<'a> {
    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Bytes of a test's own making.
    #[cfg(test)]
    pub(crate) fn of_test(bytes: &'a [u8]) -> Redacted<'a> {
        Redacted(bytes)
    }
}

/// Whether and by what rules to redact.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leave everything as it is.
    pub off: bool,
    /// A file of further rules.
    pub rules: Option<PathBuf>,
}

/// Finds secrets of one recording and replaces them.
#[derive(Debug, Default)]
pub struct Redactor {
    /// None: everything stays as it is.
    work: Option<Box<Work>>,
}

/// What a redactor knows.
#[derive(Debug)]
struct Work {
    /// Made when it is first needed.
    key: Option<Key>,
    rules: Arc<Rules>,
    /// The user's rules, as their file has them.
    user_rules: Option<String>,
    secrets: Vec<Secret>,
    /// Values of `secrets` that stand by themselves.
    known: HashSet<Vec<u8>>,
    /// All placeholders, which are no secrets themselves.
    placeholders: HashSet<Vec<u8>>,
    /// Hashes of the variables of children that were looked at: most are their parents'.
    variables: HashSet<u64>,
    matcher: Arc<Matcher>,
    /// The matcher does not know all secrets yet.
    stale: bool,
    /// Something was learnt since everything was looked at.
    learnt: bool,
    streams: HashMap<u64, Stream>,
    marks: Marks,
    /// What is to be changed in frames that were written.
    late: BTreeMap<u64, Vec<(u64, Vec<u8>)>>,
    counts: BTreeMap<String, u64>,
    /// Where secrets are kept while recording.
    stash_path: Option<PathBuf>,
    stash: Option<Stash>,
    pieces: Vec<Piece>,
    window: Vec<u8>,
}

impl Redactor {
    /// One that changes nothing.
    pub fn off() -> Redactor {
        Redactor::default()
    }

    /// A redactor that knows the secrets of a program's environment and arguments.
    ///
    /// # Errors
    /// The user's rules can't be read or make no sense.
    pub fn new(options: &Options, env: &[Vec<u8>], argv: &[Vec<u8>]) -> Result<Redactor> {
        if options.off {
            return Ok(Redactor::off());
        }
        let user = options.rules.as_ref().map(|path| {
            std::fs::read_to_string(path).map_err(Error::file("read", path)).map(|t| (path, t))
        });
        let user = user.transpose()?;
        let rules = Rules::new(user.as_ref().map(|(path, text)| (path.as_path(), text.as_str())))?;
        let mut work = Work::new(None, rules);
        work.user_rules = user.map(|(_, text)| text);
        work.learn_from_program(env, argv);
        work.refresh();
        work.learnt = false;
        Ok(Redactor { work: Some(Box::new(work)) })
    }

    /// Whether anything is redacted.
    pub fn is_on(&self) -> bool {
        self.work.is_some()
    }

    /// The next frame of the log with this key, without secrets.
    pub fn frame<'a>(&mut self, key: u64, raw: &'a mut [u8]) -> Redacted<'a> {
        if let Some(work) = &mut self.work {
            work.refresh();
            work.frame(key, raw);
        }
        Redacted(raw)
    }

    /// Takes the secrets that can be known so far out of a slot that a running recording has not
    /// written yet. `first` is where its first record begins; each slot after the first one of its
    /// process goes on where the one before has ended.
    pub(crate) fn unwritten(&mut self, log: &mut Unwritten, raw: &mut [u8], first: usize) {
        let Some(work) = &mut self.work else { return };
        work.refresh();
        let begun = std::mem::replace(&mut log.begun, true);
        let (rest, records) = raw.split_at_mut(if begun { 0 } else { first.min(raw.len()) });
        // Of a record that has begun in what is written.
        work.bytes(rest);
        let key = log.stream.offset;
        work.streams.insert(key, std::mem::take(&mut log.stream));
        work.frame(key, records);
        log.stream = work.streams.remove(&key).unwrap_or_default();
    }

    /// Looks at a frame that was written by a host which was killed.
    pub fn written(&mut self, key: u64, raw: &[u8]) {
        if let Some(work) = &mut self.work {
            work.refresh();
            work.again(key, &mut raw.to_vec());
        }
    }
}

/// What is known of the slots of one process that a running recording has not written yet.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    begun: bool,
    stream: Stream,
}

/// A frame while it is changed.
struct Target<'a> {
    key: u64,
    /// Where it starts in its log.
    start: u64,
    raw: &'a mut [u8],
    /// It is written already: changes are for later.
    written: bool,
}

impl Work {
    fn new(key: Option<Key>, rules: Rules) -> Work {
        let rules = Arc::new(rules);
        let mut work = Work {
            key,
            matcher: Arc::new(Matcher::new(&[], &rules)),
            rules: rules.clone(),
            user_rules: None,
            secrets: Vec::new(),
            known: HashSet::new(),
            placeholders: HashSet::new(),
            variables: HashSet::new(),
            stale: false,
            learnt: false,
            streams: HashMap::new(),
            marks: Marks::default(),
            late: BTreeMap::new(),
            counts: BTreeMap::new(),
            stash_path: None,
            stash: None,
            pieces: Vec::new(),
            window: Vec::new(),
        };
        for (rule, value) in &rules.values {
            work.learn(value, 0, rule);
        }
        work
    }

    /// Has the matcher know all secrets.
    fn refresh(&mut self) {
        if self.stale {
            self.matcher = Arc::new(Matcher::new(&self.secrets, &self.rules));
            self.stale = false;
        }
    }

    /// From now on looks for a value wherever it may stand.
    fn learn(&mut self, value: &[u8], keep: usize, rule: &str) {
        if !is_findable(value) || self.known.contains(value) || self.rules.is_exempt(value) {
            return;
        }
        if self.placeholders.contains(value) || self.secrets.len() >= LEARNT_MAX {
            return;
        }
        let placeholder = self.placeholder(value, keep);
        self.add(Secret {
            value: value.to_vec(),
            placeholder,
            keep,
            context: Vec::new(),
            rule: rule.to_owned(),
        });
    }

    fn add(&mut self, secret: Secret) {
        if secret.context.is_empty() {
            self.known.insert(secret.value.clone());
        }
        self.placeholders.insert(secret.placeholder.clone());
        self.stash(&secret);
        self.secrets.push(secret);
        self.stale = true;
        self.learnt = true;
    }

    fn placeholder(&mut self, value: &[u8], keep: usize) -> Vec<u8> {
        placeholder(self.key.get_or_insert_with(value::key), value, keep)
    }

    /// Keeps a secret beside the arena. A failure costs the replacement of what was drained before
    /// a kill.
    fn stash(&mut self, secret: &Secret) {
        let Some(path) = &self.stash_path else { return };
        if self.stash.is_none() {
            let key = self.key.get_or_insert_with(value::key).0;
            let head = stash::Line::Head { key, rules: self.user_rules.clone() };
            self.stash = Stash::create(path, &head).ok();
        }
        if let Some(stash) = &mut self.stash {
            stash.add(secret);
        }
    }

    /// Redacts the next frame of a log.
    fn frame(&mut self, key: u64, raw: &mut [u8]) {
        self.pass(key, raw, false);
    }

    /// As `frame`, but of a frame that is written: what must change is noted.
    fn again(&mut self, key: u64, raw: &mut [u8]) {
        self.pass(key, raw, true);
    }

    fn pass(&mut self, key: u64, raw: &mut [u8], written: bool) {
        let mut stream = self.streams.remove(&key).unwrap_or_default();
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        stream.parser.pieces(raw, &mut pieces);
        let start = stream.offset;
        stream.offset += raw.len() as u64;
        let mut target = Target { key, start, raw, written };
        for piece in &pieces {
            self.piece(&mut stream, &mut target, piece);
        }
        self.pieces = pieces;
        self.streams.insert(key, stream);
    }

    fn piece(&mut self, stream: &mut Stream, target: &mut Target<'_>, piece: &Piece) {
        let range = piece.at..piece.at + piece.len;
        let at = target.start + piece.at as u64;
        // Most buffers are small structures that nothing is remembered of.
        if piece.flow == Flow::Single && piece.end && !stream.flows.contains_key(&Flow::Single) {
            let Some(bytes) = target.raw.get(range) else { return };
            if piece.variable {
                self.learn_from_child(bytes);
            }
            let seen = self.matcher.look(bytes, true, &self.rules);
            if !seen.hits.is_empty() {
                let text = bytes.to_vec();
                let hits = relevant(seen.hits, &text, piece.given);
                self.apply(&hits, &text, &[(piece.len, at)], target, 0);
            }
            return;
        }
        let tail = stream.flows.entry(piece.flow).or_default();
        let bytes = target.raw.get(range).unwrap_or_default();
        if let Flow::Written(_) = piece.flow
            && let Some(found) = tail.tls.application_data(bytes, piece.moved)
        {
            for part in found {
                let zeros = vec![0; part.len()];
                self.put(&[(part.len(), at + part.start as u64)], 0, &zeros, target);
            }
            return;
        }
        // Mostly there is nothing to be put together.
        let mut window = std::mem::take(&mut self.window);
        let text: &[u8] = match tail.bytes.is_empty() {
            true => bytes,
            false => {
                window.clear();
                window.extend_from_slice(&tail.bytes);
                window.extend_from_slice(bytes);
                &window
            }
        };
        let mut spans = tail.spans.clone();
        spans.push((piece.len, at));
        let moved = tail.bytes.len() + piece.moved;
        if piece.variable && piece.end {
            self.learn_from_child(text);
        }
        let mut seen = self.matcher.look(text, piece.end, &self.rules);
        seen.hits = relevant(seen.hits, text, piece.given);
        let done = tail.done;
        if piece.end {
            tail.clear();
            if piece.flow == Flow::Single {
                stream.flows.remove(&Flow::Single);
            }
        } else {
            tail.done = seen.hits.last().map_or(done, |hit| hit.range.end.max(done));
            tail.keep(text, &spans, seen.unclear_from, moved);
        }
        if !seen.hits.is_empty() {
            let text = text.to_vec();
            self.apply(&seen.hits, &text, &spans, target, done);
        }
        self.window = window;
    }

    /// Looks at what the flows of a log end with: nothing follows.
    fn end_flows(&mut self, key: u64) {
        let Some(mut stream) = self.streams.remove(&key) else { return };
        let mut target = Target { key, start: stream.offset, raw: &mut [], written: true };
        for (flow, tail) in stream.flows.drain() {
            let seen = self.matcher.look(&tail.bytes, true, &self.rules);
            let given = matches!(flow, Flow::Written(_));
            let hits = relevant(seen.hits, &tail.bytes, given);
            self.apply(&hits, &tail.bytes, &tail.spans, &mut target, tail.done);
        }
    }

    /// Replaces what was found in `text`, but for what ends before `done`.
    fn apply(
        &mut self,
        hits: &[Hit],
        text: &[u8],
        spans: &[(usize, u64)],
        target: &mut Target<'_>,
        done: usize,
    ) {
        for hit in hits.iter().filter(|hit| hit.range.end > done) {
            for (range, bytes) in self.replacements(hit, text) {
                self.put(spans, range, &bytes, target);
            }
        }
    }

    /// What to put where for a find in `text`.
    fn replacements(&mut self, hit: &Hit, text: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let (start, end) = (hit.range.start, hit.range.end);
        match hit.what {
            What::Form { secret, form } | What::Weak { secret, form } => {
                let matcher = self.matcher.clone();
                let Some(form) = matcher.form(secret, form) else { return Vec::new() };
                let here = text.get(start..end).unwrap_or_default();
                let mut all = vec![(start, form.instead_of(here))];
                let edges = [(start.checked_sub(1), form.before), (Some(end), form.behind)];
                for (place, edge) in edges {
                    if let Some((at, edge)) = place.zip(edge)
                        && let Some(byte) = text.get(at).and_then(|byte| edge.replace(*byte))
                    {
                        all.push((at, vec![byte]));
                    }
                }
                if let Some(secret) = self.secrets.get(secret)
                    && form.replacement != form.pattern
                {
                    *self.counts.entry(secret.rule.clone()).or_default() += 1;
                }
                all
            }
            What::Token { rule, keep } => {
                let Some(value) = text.get(start..end) else { return Vec::new() };
                if self.has_placeholder(value) || self.rules.is_exempt(value) {
                    return Vec::new();
                }
                let rules = self.rules.clone();
                let Some(rule) = rules.rules.get(rule) else { return Vec::new() };
                *self.counts.entry(rule.id.clone()).or_default() += 1;
                if let Some(new) =
                    self.basic(value, text.get(..start).unwrap_or_default(), &rule.id)
                {
                    return vec![(start, new)];
                }
                let new = self.placeholder(value, keep);
                if value.len() >= rule.learns_from() {
                    self.learn(value, keep, &rule.id);
                }
                self.placeholders.insert(new.clone());
                vec![(start, new)]
            }
        }
    }

    /// Whether a placeholder stands in what looks like a secret.
    fn has_placeholder(&self, value: &[u8]) -> bool {
        let inside = |p: &&Vec<u8>| p.len() >= 4 && memchr::memmem::find(value, p).is_some();
        self.placeholders.contains(value) || self.placeholders.iter().any(|p| inside(&p))
    }

    /// The placeholder of the credentials of HTTP's basic authentication, of which only the
    /// password is secret.
    fn basic(&mut self, value: &[u8], before: &[u8], rule: &str) -> Option<Vec<u8>> {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let scheme = before.trim_ascii_end();
        let at = scheme.len().checked_sub(5)?;
        if !scheme[at..].eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = engine.decode(value).ok()?;
        let colon = pair.iter().position(|b| *b == b':')?;
        let password = &pair[colon + 1..];
        self.learn(password, 0, rule);
        let other = [&pair[..=colon], &self.placeholder(password, 0)].concat();
        let new = engine.encode(other).into_bytes();
        self.placeholders.insert(new.clone());
        (new.len() == value.len()).then_some(new)
    }

    /// Puts bytes at a place of a flow: now in the frame at hand, later in those before it.
    fn put(&mut self, spans: &[(usize, u64)], at: usize, bytes: &[u8], target: &mut Target<'_>) {
        let (mut from, mut left) = (at, bytes);
        for (len, place) in spans {
            if left.is_empty() {
                break;
            }
            if from >= *len {
                from -= len;
                continue;
            }
            let part = left.len().min(len - from);
            let (now, rest) = left.split_at(part);
            let place = place + from as u64;
            self.marks.add(target.key, place, part);
            let here = place.checked_sub(target.start).map(|at| at as usize);
            let here = here.and_then(|at| target.raw.get_mut(at..at + part));
            let changes = here.as_ref().is_none_or(|here| **here != *now);
            match here {
                Some(here) if !target.written => here.copy_from_slice(now),
                _ if changes => {
                    self.late.entry(target.key).or_default().push((place, now.to_vec()));
                }
                _ => {}
            }
            (from, left) = (0, rest);
        }
    }
}

/// Hits that count in bytes which the guest has `given`, or not: values that are too common stand
/// by themselves there, not as parts of words.
fn relevant(mut hits: Vec<Hit>, text: &[u8], given: bool) -> Vec<Hit> {
    let word = |at: Option<usize>| {
        at.and_then(|at| text.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    hits.retain(|hit| match hit.what {
        What::Weak { .. } => {
            given && !word(hit.range.start.checked_sub(1)) && !word(Some(hit.range.end))
        }
        What::Form { .. } | What::Token { .. } => true,
    });
    hits
}

#[cfg(test)]
mod tests;
