//! Rules that accept changed words, and nothing else.

use regex::Regex;
use similar::{DiffTag, TextDiff};

use super::text::{COMPARED_BYTES_MAX, TIMEOUT};
use crate::player::rules::{Pattern, Place, Replace};

/// Most changes of one text that are named; more are another text.
const CHANGES_MAX: usize = 4;
/// Longest change, bytes.
const CHANGE_BYTES_MAX: usize = 200;
/// Text around a change by which it is found, characters.
const CONTEXT: usize = 24;
/// What stands for changed words.
const CHANGED: &str = "<changed>";

/// Replacements under which two texts at `place` are the same; none if too much has changed.
pub(super) fn replacements(old: &str, new: &str, place: &Place) -> Option<Vec<Replace>> {
    if old.len().max(new.len()) > COMPARED_BYTES_MAX {
        return None;
    }
    let all: Vec<_> = changes(old, new)?
        .iter()
        .map(|change| {
            let regex = Pattern(Regex::new(&change.regex()).ok()?);
            Some(Replace { regex, with: format!("${{1}}{CHANGED}${{2}}"), at: Some(place.clone()) })
        })
        .collect::<Option<_>>()?;
    let replaced = |text: &str| {
        all.iter().fold(text.to_owned(), |text, Replace { regex, with, .. }| {
            regex.0.replace_all(&text, with.as_str()).into_owned()
        })
    };
    (replaced(old) == replaced(new)).then_some(all)
}

/// One change: what stands before, what stood and stands there, and what follows.
#[derive(Debug, Default)]
struct Change {
    before: String,
    old: String,
    new: String,
    after: String,
}

impl Change {
    fn regex(&self) -> String {
        let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        let what = if is_number(&self.old) && is_number(&self.new) {
            r"-?\d+(?:\.\d+)?".to_owned()
        } else {
            format!("{}|{}", regex::escape(&self.old), regex::escape(&self.new))
        };
        let or = |edge: &str, text: &str| match text {
            "" => edge.to_owned(),
            text => regex::escape(text),
        };
        format!("({})(?:{what})({})", or(r"\A", &self.before), or(r"\z", &self.after))
    }
}

fn changes(old: &str, new: &str) -> Option<Vec<Change>> {
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_words(old, new);
    let mut all: Vec<Change> = Vec::new();
    let mut same = String::new();
    for op in diff.ops() {
        let (tag, from, to) = op.as_tag_tuple();
        let was: String = from.filter_map(|i| diff.old_slice(i)).collect();
        let is: String = to.filter_map(|i| diff.new_slice(i)).collect();
        if tag == DiffTag::Equal {
            same = was;
            continue;
        }
        match all.last_mut().filter(|_| same.trim().is_empty()) {
            // Words that follow each other are one change.
            Some(last) => {
                last.old.push_str(&same);
                last.new.push_str(&same);
                last.old.push_str(&was);
                last.new.push_str(&is);
            }
            None => {
                if let Some(last) = all.last_mut() {
                    last.after = same.chars().take(CONTEXT).collect();
                }
                let skipped = same.chars().count().saturating_sub(CONTEXT);
                let before = same.chars().skip(skipped).collect();
                all.push(Change { before, old: was, new: is, after: String::new() });
            }
        }
        same.clear();
    }
    if let Some(last) = all.last_mut() {
        last.after = same.chars().take(CONTEXT).collect();
    }
    let short = |change: &Change| change.old.len().max(change.new.len()) <= CHANGE_BYTES_MAX;
    (all.len() <= CHANGES_MAX && all.iter().all(short)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changed_words_are_accepted_and_no_others() {
        let place = Place::try_from("/prompt".to_owned()).unwrap();
        let accepted = |old: &str, new: &str, other: &str| {
            let all = replacements(old, new, &place)?;
            let replaced = |text: &str| {
                all.iter().fold(text.to_owned(), |text, one| {
                    one.regex.0.replace_all(&text, one.with.as_str()).into_owned()
                })
            };
            Some(replaced(old) == replaced(other))
        };
        for (old, new, other, fits) in [
            ("what is here?", "what is there?", "what is everywhere?", false),
            ("took 71 ms.", "took 135 ms.", "took 9.5 ms.", true),
            ("took 71 ms.", "took 135 ms.", "took 9.5 s.", false),
            ("be brief", "please be brief", "do not be brief", false),
            ("a (b) c d e", "x (b) c y e", "a (b) c y e", true),
            ("a b", "", "a c", false),
            ("", "a b", "a", false),
        ] {
            assert_eq!(accepted(old, new, other), Some(fits), "{old} / {new} / {other}");
            assert_eq!(accepted(old, new, new), Some(true), "{old} / {new}");
        }
        let long = "word ".repeat(100);
        assert_eq!(accepted("a", &long, ""), None);
    }
}
