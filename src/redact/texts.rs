//! Secrets in the program's environment and arguments, and in texts about a session.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use serde_json::Value;

use super::matcher::{Hit, Secret, What};
use super::value::is_findable;
use super::{Options, Redactor, Work};
use crate::error::Result;
use crate::launch::environment::inherited;
use crate::session::manifest::unhex;

/// Values that are no secrets, whatever their variable's name says.
const PLAIN: [&str; 14] = [
    "true", "false", "yes", "no", "on", "off", "none", "null", "auto", "always", "never",
    "default", "enabled", "disabled",
];
/// Shortest text inside of a JSON value that is a secret with it.
const LEAF_BYTES_MIN: usize = 16;

impl Redactor {
    /// A text without secrets.
    pub fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let Some(work) = &mut self.work else { return Cow::Borrowed(text) };
        work.refresh();
        let mut bytes = text.as_bytes().to_vec();
        work.bytes(&mut bytes);
        match bytes == text.as_bytes() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Takes secrets out of all texts of a JSON value.
    pub fn json(&mut self, value: &mut Value) {
        if let Some(work) = &mut self.work {
            work.refresh();
            work.json(value);
        }
    }
}

impl Redactor {
    /// One for texts that this process writes about what it sees: with the secrets of its own
    /// environment.
    ///
    /// # Errors
    /// As [`Redactor::new`].
    pub fn of_environment(options: &Options) -> Result<Redactor> {
        let env: Vec<Vec<u8>> = inherited().into_iter().map(|entry| entry.0).collect();
        Redactor::new(options, &env, &[])
    }
}

impl Work {
    /// Learns what is secret in `NAME=value` strings and in arguments.
    pub(super) fn learn_from_program(&mut self, env: &[Vec<u8>], argv: &[Vec<u8>]) {
        for entry in env {
            let Some(at) = entry.iter().position(|b| *b == b'=') else { continue };
            let (name, value) = (&entry[..at], &entry[at + 1..]);
            let name = String::from_utf8_lossy(name);
            match self.rules.is_secret_name(&name) {
                true => self.learn_variable(&name, value),
                false => self.learn_tokens(entry),
            }
        }
        let mut flag: Option<String> = None;
        for argument in argv {
            let text = String::from_utf8_lossy(argument).into_owned();
            if let Some(name) = flag.take() {
                self.learn_value(argument, &format!("argument:--{name}"));
            } else if let Some(option) = text.strip_prefix("--") {
                let (name, value) = option.split_once('=').unwrap_or((option, ""));
                if self.rules.is_secret_name(&format!("X_{}", name.replace('-', "_"))) {
                    match value.is_empty() {
                        true => flag = Some(name.to_owned()),
                        false => {
                            self.learn_value(value.as_bytes(), &format!("argument:--{name}"));
                        }
                    }
                }
            }
            self.learn_tokens(argument);
        }
    }

    /// Learns what is secret in a variable that a guest gives to a program which it starts.
    pub(super) fn learn_from_child(&mut self, entry: &[u8]) {
        let entry = entry.strip_suffix(b"\0").unwrap_or(entry);
        let mut hasher = DefaultHasher::new();
        hasher.write(entry);
        let Some(at) = entry.iter().position(|b| *b == b'=') else { return };
        let name = String::from_utf8_lossy(&entry[..at]);
        if self.variables.insert(hasher.finish()) && self.rules.is_secret_name(&name) {
            self.learn_variable(&name, &entry[at + 1..]);
            self.refresh();
        }
    }

    /// The value of a variable that is secret by its name.
    fn learn_variable(&mut self, name: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let lower = text.to_ascii_lowercase();
        let number = value.len() < 6 && value.iter().all(u8::is_ascii_digit);
        let is_path = text.starts_with('/') && std::path::Path::new(&*text).exists();
        if value.len() < 4 || PLAIN.contains(&lower.as_str()) || number || is_path {
            return;
        }
        let rule = format!("environment:{name}");
        if !is_findable(value) && !value.contains(&b'\n') && !self.rules.is_exempt(value) {
            // Too common to be looked for alone.
            let context = format!("{name}=").into_bytes();
            let placeholder = self.placeholder(value, 0);
            self.add(Secret { value: value.to_vec(), placeholder, keep: 0, context, rule });
            return;
        }
        self.learn_value(value, &rule);
    }

    /// A value that is secret, or its parts: lines, and texts in JSON.
    fn learn_value(&mut self, value: &[u8], rule: &str) {
        if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(value) {
            self.learn_leaves(&json, rule);
            self.learn_tokens(value);
            return;
        }
        for line in value.split(|b| *b == b'\n' || *b == b'\r') {
            if !line.starts_with(b"-----") {
                let keep = self.shared_start(line);
                self.learn(line, keep, rule);
            }
        }
        self.learn_tokens(value);
    }

    fn learn_leaves(&mut self, json: &Value, rule: &str) {
        match json {
            Value::String(text) if text.len() >= LEAF_BYTES_MIN && !text.contains("://") => {
                for line in text.lines().filter(|line| !line.starts_with("-----")) {
                    self.learn(line.as_bytes(), 0, rule);
                }
            }
            Value::Array(all) => all.iter().for_each(|v| self.learn_leaves(v, rule)),
            Value::Object(all) => all.values().for_each(|v| self.learn_leaves(v, rule)),
            _ => {}
        }
    }

    /// Bytes at the start of a value that all of its kind have.
    fn shared_start(&mut self, value: &[u8]) -> usize {
        self.tokens(value)
            .into_iter()
            .find(|(range, ..)| *range == (0..value.len()))
            .map_or(0, |(_, keep, _)| keep)
    }

    /// What rules find in a text that stands by itself.
    pub(super) fn learn_tokens(&mut self, text: &[u8]) {
        for (range, keep, rule) in self.tokens(text) {
            self.learn(&text[range], keep, &rule);
        }
    }

    fn tokens(&mut self, text: &[u8]) -> Vec<(std::ops::Range<usize>, usize, String)> {
        let seen = self.matcher.look(text, true, &self.rules);
        let tokens = seen.hits.into_iter().filter_map(|hit| match hit.what {
            What::Token { rule, keep } => {
                Some((hit.range, keep, self.rules.rules.get(rule)?.id.clone()))
            }
            What::Form { .. } | What::Weak { .. } => None,
        });
        tokens.collect()
    }

    /// Takes secrets out of bytes that stand by themselves.
    pub(super) fn bytes(&mut self, bytes: &mut [u8]) {
        let seen = self.matcher.look(bytes, true, &self.rules);
        self.replace(bytes, &seen.hits);
    }

    fn replace(&mut self, bytes: &mut [u8], hits: &[Hit]) {
        if hits.is_empty() {
            return;
        }
        let text = bytes.to_vec();
        for hit in hits {
            for (at, new) in self.replacements(hit, &text) {
                if let Some(here) = bytes.get_mut(at..at + new.len()) {
                    here.copy_from_slice(&new);
                }
            }
        }
    }

    pub(super) fn json(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.bytes(&mut bytes);
                *text = match String::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
                };
            }
            Value::Array(all) => all.iter_mut().for_each(|v| self.json(v)),
            Value::Object(all) => {
                if let (1, Some(Value::String(hex))) = (all.len(), all.get_mut("hex"))
                    && let Some(mut bytes) = unhex(hex)
                {
                    self.bytes(&mut bytes);
                    *hex = bytes.iter().map(|b| format!("{b:02x}")).collect();
                    return;
                }
                all.values_mut().for_each(|v| self.json(v));
            }
            _ => {}
        }
    }
}
