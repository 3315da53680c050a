//! Which parts of two requests differ, what may have caused it, what would accept it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::narrow;
use crate::player::key::Canonical;
use crate::player::rules::{Glob, Pattern, Place, Replace, Rule, When};
use crate::player::sketch::CONVERSATIONS;
use crate::report::units::clip;

/// Most differences that are listed.
const LISTED_MAX: usize = 50;
/// Longest value shown, characters.
const VALUE_CHARS_MAX: usize = 60;

/// Points in time, as programs write them into prompts.
const TIME: &str = r"(?x)
    \d{4}-\d{2}-\d{2}([T\x20]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?
    | \b\d{1,2}:\d{2}(:\d{2})?(\x20?[AP]M)?\b
    | \b1[6-9]\d{8}(\d{3}|\d{6}|\d{9})?(\.\d+)?\b
    | \b((Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\x20)?
      ((Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\x20\d{1,2}
      |\d{1,2}\x20(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*)
      (,?\x20\d{4})?\b
    | \b(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b";

static TIME_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(TIME).ok());

/// One place at which two requests differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// JSON pointer into the canonical request.
    pub at: String,
    /// What was recorded there, if anything.
    pub recorded: Option<Value>,
    /// What was asked, if anything.
    pub asked: Option<Value>,
    /// Whether the same elements stand there in another order.
    pub reordered: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Value| clip(&value.to_string(), VALUE_CHARS_MAX);
        match (&self.recorded, &self.asked) {
            _ if self.reordered => write!(f, "{}: in another order", self.at),
            (Some(old), Some(new)) => write!(f, "{}: {} is now {}", self.at, show(old), show(new)),
            (Some(old), None) => write!(f, "{}: {} is gone", self.at, show(old)),
            (None, Some(new)) => write!(f, "{}: {} is new", self.at, show(new)),
            (None, None) => write!(f, "{}", self.at),
        }
    }
}

/// Why requests differ, as far as the differences tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause", content = "what")]
pub enum Cause {
    /// Messages stand in another order.
    ReorderedMessages,
    /// Tools stand in another order.
    ReorderedTools,
    /// A tool was added.
    NewTool(String),
    /// A tool was taken out.
    RemovedTool(String),
    /// A tool's description or parameters.
    ChangedTool(String),
    /// A point in time in a text.
    Timestamp(String),
    /// Another model.
    Model(String),
    /// The words of a prompt or message.
    Prompt(String),
    /// More or fewer messages.
    Conversation(String),
    /// A version header: another version of the library.
    LibraryVersion(String),
    /// Method, host or path.
    Endpoint(String),
    /// Something else.
    Field(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ReorderedMessages => write!(f, "reordered messages"),
            Cause::ReorderedTools => write!(f, "reordered tools"),
            Cause::NewTool(name) => write!(f, "new tool {name}"),
            Cause::RemovedTool(name) => write!(f, "tool {name} removed"),
            Cause::ChangedTool(at) => write!(f, "changed tool at {at}"),
            Cause::Timestamp(at) => write!(f, "timestamp in the text at {at}"),
            Cause::Model(what) => write!(f, "model name ({what})"),
            Cause::Prompt(at) => write!(f, "changed text at {at}"),
            Cause::Conversation(what) => write!(f, "{what}"),
            Cause::LibraryVersion(what) => write!(f, "library version ({what})"),
            Cause::Endpoint(what) => write!(f, "another {what}"),
            Cause::Field(at) => write!(f, "changed field {at}"),
        }
    }
}

/// Where two canonical requests, as JSON, differ.
pub(super) fn between(old: &Value, new: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    walk(old, new, String::new(), &mut out);
    out.truncate(LISTED_MAX);
    out
}

fn walk(old: &Value, new: &Value, at: String, out: &mut Vec<Difference>) {
    if old == new || out.len() >= LISTED_MAX {
        return;
    }
    let mut push = |at: String, recorded: Option<&Value>, asked: Option<&Value>, reordered| {
        let (recorded, asked) = (recorded.cloned(), asked.cloned());
        out.push(Difference { at, recorded, asked, reordered });
    };
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                match (a.get(name), b.get(name)) {
                    (Some(old), Some(new)) => walk(old, new, at, out),
                    (old, new) => {
                        out.push(Difference {
                            at,
                            recorded: old.cloned(),
                            asked: new.cloned(),
                            reordered: false,
                        });
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let texts = |items: &[Value]| {
                let mut texts: Vec<_> = items.iter().map(Value::to_string).collect();
                texts.sort_unstable();
                texts
            };
            if a.len() == b.len() && texts(a) == texts(b) {
                return push(at, Some(old), Some(new), true);
            }
            // Named elements (tools) are compared by name, others by place.
            if let (Some(old), Some(new)) = (named(a), named(b)) {
                for (i, (name, value)) in old.iter().enumerate() {
                    match new.iter().find(|(n, _)| n == name) {
                        Some((_, other)) => walk(value, other, format!("{at}/{i}"), out),
                        None => out.push(Difference {
                            at: format!("{at}/{i}"),
                            recorded: Some((*value).clone()),
                            asked: None,
                            reordered: false,
                        }),
                    }
                }
                for (i, (name, value)) in new.iter().enumerate() {
                    if !old.iter().any(|(n, _)| n == name) {
                        out.push(Difference {
                            at: format!("{at}/{i}"),
                            recorded: None,
                            asked: Some((*value).clone()),
                            reordered: false,
                        });
                    }
                }
                return;
            }
            for i in 0..a.len().max(b.len()) {
                let at = format!("{at}/{i}");
                match (a.get(i), b.get(i)) {
                    (Some(old), Some(new)) => walk(old, new, at, out),
                    (recorded, asked) => out.push(Difference {
                        at,
                        recorded: recorded.cloned(),
                        asked: asked.cloned(),
                        reordered: false,
                    }),
                }
            }
        }
        _ => push(at, Some(old), Some(new), false),
    }
}

/// Elements with their names, if all have one and no two the same.
fn named(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let all: Vec<_> = items.iter().map(|i| Some((name(i)?, i))).collect::<Option<_>>()?;
    let names: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    (names.len() == all.len()).then_some(all)
}

/// Name of a tool.
fn name(tool: &Value) -> Option<&str> {
    tool["function"]["name"].as_str().or_else(|| tool["name"].as_str())
}

/// Whether two texts are equal but for points in time.
fn only_times(old: &str, new: &str) -> bool {
    let Some(regex) = &*TIME_REGEX else { return false };
    regex.replace_all(old, "<time>") == regex.replace_all(new, "<time>")
}

/// The likely causes of these differences.
pub(super) fn causes(differences: &[Difference]) -> Vec<Cause> {
    let mut all = Vec::new();
    for difference in differences {
        let cause = cause(difference);
        if !all.contains(&cause) {
            all.push(cause);
        }
    }
    all
}

fn cause(difference: &Difference) -> Cause {
    let at = difference.at.as_str();
    let tokens: Vec<&str> = at.split('/').skip(1).collect();
    let texts = (
        difference.recorded.as_ref().and_then(Value::as_str),
        difference.asked.as_ref().and_then(Value::as_str),
    );
    match (tokens.as_slice(), texts) {
        ([what @ ("method" | "host" | "path")], _) => Cause::Endpoint((*what).to_owned()),
        (["headers", name, ..], (old, new)) if name.contains("version") => {
            let show = |v: Option<&str>| v.unwrap_or("none").to_owned();
            Cause::LibraryVersion(format!("{name} {} is now {}", show(old), show(new)))
        }
        (["body", "model"] | ["body", "modelId"], (old, new)) => {
            let show = |v: Option<&str>| v.unwrap_or("none").to_owned();
            Cause::Model(format!("{} is now {}", show(old), show(new)))
        }
        (["body", "tools", ..], _) if difference.reordered => Cause::ReorderedTools,
        (["body", "tools"] | ["body", "tools", _], _) => {
            let first = |value: &Option<Value>| {
                let value = value.as_ref()?;
                let tool = value.as_array().and_then(|tools| tools.first()).unwrap_or(value);
                name(tool).map(str::to_owned)
            };
            match (&difference.recorded, &difference.asked) {
                (None, asked) => Cause::NewTool(first(asked).unwrap_or_default()),
                (recorded, None) => Cause::RemovedTool(first(recorded).unwrap_or_default()),
                _ => Cause::ChangedTool(at.to_owned()),
            }
        }
        (["body", "tools", ..], _) => Cause::ChangedTool(at.to_owned()),
        (["body", list, ..], _) if difference.reordered && CONVERSATIONS.contains(list) => {
            Cause::ReorderedMessages
        }
        (_, (Some(old), Some(new))) if only_times(old, new) => Cause::Timestamp(at.to_owned()),
        (["body", list, number], _) if CONVERSATIONS.contains(list) => match difference.asked {
            Some(_) if difference.recorded.is_none() => {
                Cause::Conversation(format!("a message more, number {number}"))
            }
            None => Cause::Conversation(format!("a message less, number {number}")),
            Some(_) => Cause::Prompt(at.to_owned()),
        },
        (["body", list, ..], _) if CONVERSATIONS.contains(list) => Cause::Prompt(at.to_owned()),
        (["body", "system" | "instructions" | "prompt" | "systemInstruction", ..], _) => {
            Cause::Prompt(at.to_owned())
        }
        _ => Cause::Field(at.to_owned()),
    }
}

/// The rule under which the differences vanish; none if no rule can do that.
pub(super) fn suggest(differences: &[Difference], request: &Canonical) -> Option<Rule> {
    if differences.is_empty() {
        return None;
    }
    let path = Glob::try_from(request.path.clone()).ok()?;
    let when = When { method: Some(request.method.clone()), host: None, path: Some(path) };
    let mut rule = Rule { name: String::new(), when, ..Rule::default() };
    let mut names = Vec::new();
    for difference in differences {
        let cause = cause(difference);
        let place = place(&difference.at, &cause)?;
        names.push(match &cause {
            Cause::Timestamp(_) => "clock",
            Cause::ReorderedMessages | Cause::ReorderedTools => "order",
            Cause::NewTool(_) | Cause::RemovedTool(_) | Cause::ChangedTool(_) => "tools",
            Cause::Model(_) => "model",
            Cause::Prompt(_) | Cause::Conversation(_) => "prompt",
            Cause::LibraryVersion(_) => "version",
            Cause::Endpoint(_) => return None,
            Cause::Field(_) => "field",
        });
        match cause {
            Cause::Timestamp(_) => {
                let regex = Pattern(TIME_REGEX.clone()?);
                let replace = Replace { regex, with: "<time>".into(), at: Some(place) };
                if !rule.replace.iter().any(|r| r.at == replace.at) {
                    rule.replace.push(replace);
                }
            }
            Cause::ReorderedMessages | Cause::ReorderedTools => rule.unordered.push(place),
            Cause::Prompt(_) | Cause::Field(_) => match changed_words(difference, &place) {
                Some(words) => rule.replace.extend(words),
                None => ignored(&mut rule, place),
            },
            _ => ignored(&mut rule, place),
        }
    }
    names.dedup();
    rule.name = names.join("-");
    Some(rule)
}

fn ignored(rule: &mut Rule, place: Place) {
    if !rule.ignore.contains(&place) {
        rule.ignore.push(place);
    }
}

/// Replacements of the words that have changed in a text.
fn changed_words(difference: &Difference, place: &Place) -> Option<Vec<Replace>> {
    let text = |value: &Option<Value>| value.as_ref()?.as_str().map(str::to_owned);
    let (old, new) = (text(&difference.recorded)?, text(&difference.asked)?);
    narrow::replacements(&old, &new, place).filter(|_| matches!(place, Place::Pointer(_)))
}

/// Where a rule must look, for a difference in the canonical request.
fn place(at: &str, cause: &Cause) -> Option<Place> {
    if let Some(name) = at.strip_prefix("/query/") {
        return Some(Place::Query(name.to_owned()));
    }
    if let Some(name) = at.strip_prefix("/headers/") {
        return Some(Place::Header(name.to_owned()));
    }
    let pointer = at.strip_prefix("/body").filter(|pointer| !pointer.is_empty())?;
    // One tool more moves the others: the list as a whole.
    let whole = matches!(cause, Cause::NewTool(_) | Cause::RemovedTool(_));
    let pointer = if whole { "/tools" } else { pointer };
    // A message more or less can't be ignored by its place: null would stay there.
    if matches!(cause, Cause::Conversation(_)) {
        let list = pointer.rsplit_once('/')?.0;
        return Place::try_from(list.to_owned()).ok();
    }
    Place::try_from(pointer.to_owned()).ok()
}
