//! Rules: which differences between a request and a recorded one do not matter.
//!
//! A rules file is TOML:
//!
//! ```toml
//! builtin = true                    # the rules of builtin.toml hold too (the default)
//! headers = ["x-tenant"]            # header fields compared besides the usual ones
//!
//! [[rule]]
//! name = "clock"
//! when = { host = "api.openai.com", path = "/v1/**", method = "POST" }
//! ignore = ["/metadata", "/messages/*/id", "query:page", "header:range"]
//! replace = [{ regex = '\d{4}-\d{2}-\d{2}', with = "<date>", at = "/messages/0" }]
//! unordered = ["/tools"]
//! ```
//!
//! Places in the body are JSON pointers (RFC 6901) whose `*` stands for every element.

mod results;

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;
use super::key::{Canonical, Content, Fingerprint, Hasher};
use super::resolution::{self, Resolution};
use super::turns;
use crate::error::{Error, Result};
use crate::redact::Blanks;
use crate::stream::{Message, Request};

/// The rules that hold unless they are switched off.
const BUILTIN: &str = include_str!("builtin.toml");

/// All rules of a player, ready to be applied.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    headers: Vec<String>,
    rules: Vec<Rule>,
    faults: Vec<Fault>,
    resolutions: Vec<Resolution>,
    blanks: Arc<Blanks>,
}

/// A rules file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    builtin: Option<bool>,
    headers: Vec<String>,
    rule: Vec<Rule>,
    fault: Vec<Fault>,
    resolution: Vec<Resolution>,
}

/// One rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Name, for statistics.
    pub name: String,
    /// Requests that it is about.
    #[serde(skip_serializing_if = "When::is_any")]
    pub when: When,
    /// What is left out of the comparison.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Place>,
    /// Text that is replaced before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<Replace>,
    /// Arrays whose order does not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unordered: Vec<Place>,
    /// Arrays in which neighbouring results of tools are brought into the order of their calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Place>,
}

/// Requests that a rule is about; what is absent holds for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Host, with `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Glob>,
    /// Path: `*` within a segment, `**` over several, `{a,b}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Glob>,
}

/// Replaces what a regular expression finds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// What is looked for.
    pub regex: Pattern,
    /// What stands there instead; `${1}` is the first group.
    pub with: String,
    /// Where in the body, and below; everywhere in body, path and query if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// In a JSON body, by the tokens of a pointer; none is `*`.
    Pointer(Vec<Option<String>>),
    /// A query parameter.
    Query(String),
    /// A header field, in lower case.
    Header(String),
}

/// A glob, compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String, Regex);

/// A regular expression, compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(pub Regex);

impl File {
    fn parse(text: &str, name: &str) -> Result<File> {
        let error = |e: toml::de::Error| Error::Rules {
            file: name.to_owned(),
            reason: e.to_string().trim_end().to_owned(),
        };
        let mut file: File = toml::from_str(text).map_err(error)?;
        for (i, rule) in file.rule.iter_mut().enumerate() {
            if rule.name.is_empty() {
                rule.name = format!("rule {}", i + 1);
            }
        }
        file.headers.iter_mut().for_each(|name| name.make_ascii_lowercase());
        Ok(file)
    }

    fn into_rules(self) -> Rules {
        Rules {
            headers: self.headers,
            rules: self.rule,
            faults: self.fault,
            resolutions: self.resolution,
            ..Rules::default()
        }
    }
}

impl Rules {
    /// Only the rules that come with rr-run.
    ///
    /// # Errors
    /// None in practice: a test reads them.
    pub fn builtin() -> Result<Rules> {
        File::parse(BUILTIN, "rr-run").map(File::into_rules)
    }

    /// The rules of these files, in order, and before them the built-in ones unless one of the
    /// files says otherwise.
    ///
    /// # Errors
    /// [`Error::Rules`], or the system's.
    pub fn read<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Rules> {
        let (mut all, mut builtin) = (Rules::default(), true);
        for path in paths {
            let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
            let file = File::parse(&text, &path.display().to_string())?;
            builtin &= file.builtin != Some(false);
            all.extend(file.into_rules());
        }
        if !builtin {
            return Ok(all);
        }
        let mut rules = Rules::builtin()?;
        rules.extend(all);
        Ok(rules)
    }

    /// The rules in `text`, and the built-in ones unless it says otherwise; `name` is for errors.
    ///
    /// # Errors
    /// [`Error::Rules`].
    pub fn parse(text: &str, name: &str) -> Result<Rules> {
        let file = File::parse(text, name)?;
        if file.builtin == Some(false) {
            return Ok(file.into_rules());
        }
        let mut rules = Rules::builtin()?;
        rules.extend(file.into_rules());
        Ok(rules)
    }

    /// Adds what another set has, after this one's.
    pub fn extend(&mut self, more: Rules) {
        self.headers.extend(more.headers);
        self.rules.extend(more.rules);
        self.faults.extend(more.faults);
        self.resolutions.extend(more.resolutions);
    }

    /// Leaves these blank in what is compared.
    #[must_use]
    pub fn with_blanks(self, blanks: Blanks) -> Rules {
        Rules { blanks: Arc::new(blanks), ..self }
    }

    /// The canonical form of a request, with the same text for all secrets: what a key is says
    /// nothing about the question.
    ///
    /// # Errors
    /// Its body can't be read.
    pub fn canonical(&self, request: &Request) -> Result<Canonical> {
        let mut canonical = Canonical::new(request, &self.headers)?;
        self.leave_blank(&mut canonical.path);
        let pairs = canonical.query.iter_mut().chain(&mut canonical.headers);
        pairs.for_each(|(_, value)| self.leave_blank(value));
        strings_of(&mut canonical.body, &mut |text| self.leave_blank(text));
        Ok(canonical)
    }

    /// A text with blanks for secrets.
    pub fn without_secrets<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.blanks.text(text)
    }

    /// The canonical form of a message on the WebSocket that `upgrade` opened.
    pub fn message(&self, upgrade: &Canonical, message: &Message) -> Canonical {
        let mut canonical = turns::canonical(upgrade, message);
        strings_of(&mut canonical.body, &mut |text| self.leave_blank(text));
        canonical
    }

    fn leave_blank(&self, text: &mut String) {
        if let Cow::Owned(with_blanks) = self.blanks.text(text) {
            *text = with_blanks;
        }
    }

    /// Whether there is any rule.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Faults to inject.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Adds a user's answer to one request.
    pub fn resolve(&mut self, resolution: Resolution) {
        self.resolutions.push(resolution);
    }

    /// The exchange that a user wants for a request, by its fingerprint under these rules.
    pub fn resolved(&self, request: Fingerprint) -> Option<u32> {
        let request = resolution::text(request);
        let mut last = self.resolutions.iter().rev();
        last.find(|resolution| resolution.request == request).map(|found| found.serve)
    }

    /// Applies all rules; the names of those that changed something.
    pub fn apply<'a>(&'a self, request: &mut Canonical) -> Vec<&'a str> {
        let concerned = self.rules.iter().filter(|rule| rule.when.matches(request));
        let concerned: Vec<&Rule> = concerned.collect();
        let changed = concerned.into_iter().filter(|rule| rule.apply(request));
        changed.map(|rule| rule.name.as_str()).collect()
    }

    /// The fingerprint of a request under all rules.
    pub fn fingerprint(&self, request: &Canonical) -> Fingerprint {
        let mut ruled = request.clone();
        self.apply(&mut ruled);
        ruled.fingerprint()
    }

    /// A rules file that holds these rules.
    ///
    /// # Errors
    /// [`Error::Rules`] if they can't be written as TOML.
    pub fn render(rules: &[Rule]) -> Result<String> {
        #[derive(Serialize)]
        struct Out<'a> {
            rule: &'a [Rule],
        }
        toml::to_string_pretty(&Out { rule: rules })
            .map_err(|e| Error::Rules { file: "new rules".into(), reason: e.to_string() })
    }
}

impl From<Vec<Rule>> for Rules {
    fn from(rules: Vec<Rule>) -> Rules {
        Rules { rules, ..Rules::default() }
    }
}

impl When {
    /// Whether it holds for this request.
    pub fn matches(&self, request: &Canonical) -> bool {
        self.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(&request.method))
            && self.host.as_ref().is_none_or(|glob| glob.matches(&request.host))
            && self.path.as_ref().is_none_or(|glob| glob.matches(&request.path))
    }

    /// Whether it holds for every request.
    pub fn is_any(&self) -> bool {
        *self == When::default()
    }
}

impl Rule {
    fn apply(&self, request: &mut Canonical) -> bool {
        let mut changed = false;
        for place in &self.ignore {
            changed |= match place {
                Place::Query(name) => remove(&mut request.query, name),
                Place::Header(name) => remove(&mut request.headers, name),
                Place::Pointer(tokens) => body(request).is_some_and(|b| ignore(b, tokens)),
            };
        }
        for replace in &self.replace {
            let mut edit = |text: &mut String| {
                if let std::borrow::Cow::Owned(new) =
                    replace.regex.0.replace_all(text, replace.with.as_str())
                {
                    *text = new;
                    changed = true;
                }
            };
            match &replace.at {
                None => {
                    edit(&mut request.path);
                    request.query.iter_mut().for_each(|(_, value)| edit(value));
                    strings_of(&mut request.body, &mut edit);
                }
                Some(Place::Pointer(tokens)) => {
                    if let Some(b) = body(request) {
                        at(b, tokens, &mut |value| strings(value, &mut edit));
                    }
                }
                Some(Place::Query(name)) => {
                    let found = request.query.iter_mut().filter(|(n, _)| n == name);
                    found.for_each(|(_, value)| edit(value));
                }
                Some(Place::Header(name)) => {
                    let found = request.headers.iter_mut().filter(|(n, _)| n == name);
                    found.for_each(|(_, value)| edit(value));
                }
            }
        }
        for place in &self.results {
            let Place::Pointer(tokens) = place else { continue };
            let Some(body) = body(request) else { continue };
            let places = results::places(body);
            at(body, tokens, &mut |value| {
                if let Value::Array(items) = value {
                    changed |= results::sort(items, &places);
                }
            });
        }
        for place in &self.unordered {
            let Place::Pointer(tokens) = place else { continue };
            let Some(body) = body(request) else { continue };
            at(body, tokens, &mut |value| {
                if let Value::Array(items) = value {
                    let before: Vec<_> = items.iter().map(hash).collect();
                    items.sort_by_cached_key(hash);
                    changed |= !before.is_sorted();
                }
            });
        }
        changed
    }
}

fn hash(value: &Value) -> Fingerprint {
    let mut hasher = Hasher::default();
    hasher.value(value);
    hasher.finish()
}

fn body(request: &mut Canonical) -> Option<&mut Value> {
    match &mut request.body {
        Content::Json(value) => Some(value),
        _ => None,
    }
}

fn remove(pairs: &mut Vec<(String, String)>, name: &str) -> bool {
    let before = pairs.len();
    pairs.retain(|(n, _)| n != name);
    pairs.len() != before
}

/// Takes the places out; an array's element becomes null, so that the others keep their places.
fn ignore(value: &mut Value, tokens: &[Option<String>]) -> bool {
    let Some((last, parents)) = tokens.split_last() else {
        return !std::mem::take(value).is_null();
    };
    let mut changed = false;
    at(value, parents, &mut |parent| match (parent, last) {
        (Value::Object(map), Some(name)) => changed |= map.remove(name).is_some(),
        (Value::Object(map), None) => {
            changed |= !map.is_empty();
            map.clear();
        }
        (Value::Array(items), Some(index)) => {
            let item = index.parse::<usize>().ok().and_then(|i| items.get_mut(i));
            changed |= item.is_some_and(|item| !std::mem::take(item).is_null());
        }
        (Value::Array(items), None) => {
            changed |= !items.is_empty();
            items.clear();
        }
        _ => {}
    });
    changed
}

/// Calls `each` with every value that the tokens lead to.
fn at(value: &mut Value, tokens: &[Option<String>], each: &mut dyn FnMut(&mut Value)) {
    let Some((first, rest)) = tokens.split_first() else { return each(value) };
    match (value, first) {
        (Value::Object(map), Some(name)) => {
            if let Some(member) = map.get_mut(name) {
                at(member, rest, each);
            }
        }
        (Value::Object(map), None) => map.values_mut().for_each(|v| at(v, rest, each)),
        (Value::Array(items), Some(index)) => {
            if let Some(item) = index.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
                at(item, rest, each);
            }
        }
        (Value::Array(items), None) => items.iter_mut().for_each(|v| at(v, rest, each)),
        _ => {}
    }
}

/// Calls `edit` with every string in the value.
fn strings(value: &mut Value, edit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => edit(text),
        Value::Array(items) => items.iter_mut().for_each(|v| strings(v, edit)),
        Value::Object(map) => map.values_mut().for_each(|v| strings(v, edit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn strings_of(content: &mut Content, edit: &mut dyn FnMut(&mut String)) {
    match content {
        Content::Json(value) => strings(value, edit),
        Content::Text(text) => edit(text),
        Content::Form(fields) => fields.iter_mut().for_each(|(_, value)| edit(value)),
        Content::Multipart(parts) => {
            parts.iter_mut().for_each(|part| strings_of(&mut part.content, edit));
        }
        Content::Empty | Content::Binary { .. } => {}
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        if let Some(name) = text.strip_prefix("query:") {
            return Ok(Place::Query(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("header:") {
            return Ok(Place::Header(name.to_ascii_lowercase()));
        }
        let Some(pointer) = text.strip_prefix('/') else {
            return Err(format!("'{text}' is not a JSON pointer, query:NAME or header:NAME"));
        };
        let token = |t: &str| (t != "*").then(|| t.replace("~1", "/").replace("~0", "~"));
        Ok(Place::Pointer(pointer.split('/').map(token).collect()))
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        match place {
            Place::Query(name) => format!("query:{name}"),
            Place::Header(name) => format!("header:{name}"),
            Place::Pointer(tokens) => tokens
                .iter()
                .map(|token| match token {
                    None => "/*".to_owned(),
                    Some(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                })
                .collect(),
        }
    }
}

impl Glob {
    /// Whether the whole text fits it.
    pub fn matches(&self, text: &str) -> bool {
        self.1.is_match(text)
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(glob: &str) -> Result<Glob, String> {
        Glob::try_from(glob.to_owned())
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.0 == other.0
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(glob: String) -> Result<Glob, String> {
        let mut regex = String::from("(?s)^");
        let (mut chars, mut depth) = (glob.chars().peekable(), 0);
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => regex.push_str("(?:.*)"),
                '*' => regex.push_str("[^/]*"),
                '{' => {
                    depth += 1;
                    regex.push_str("(?:");
                }
                '}' if depth > 0 => {
                    depth -= 1;
                    regex.push(')');
                }
                ',' if depth > 0 => regex.push('|'),
                c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push('$');
        let compiled = Regex::new(&regex);
        compiled.map(|r| Glob(glob.clone(), r)).map_err(|_| format!("'{glob}' is not a pattern"))
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        Regex::new(&text).map(Pattern).map_err(|e| e.to_string())
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
