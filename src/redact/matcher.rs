//! Finds secrets in bytes: values in all their forms, and what rules describe.
//!
//! A few bytes of each form of each value are looked for, and the keywords of the rules; only where
//! one of these stands is anything compared or parsed.

use std::collections::HashMap;
use std::ops::Range;

use super::forms::{Compared, Form, forms};
use super::needles::{NEEDLE_BYTES, Needles};
use super::rules::{Found, Rules};

/// Bytes before something that decide whether it is a secret, or share bits with it.
const CONTEXT_BYTES: usize = 4;

/// A value and what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    /// The value.
    pub value: Vec<u8>,
    /// Its placeholder.
    pub placeholder: Vec<u8>,
    /// First bytes that both share.
    pub keep: usize,
    /// Text before the value that both need to be found by, for a value that is too common alone.
    pub context: Vec<u8>,
    /// The rule that it was found by.
    pub rule: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A form of a secret.
    Form {
        /// Number of the secret.
        secret: usize,
        /// Number of the form.
        form: usize,
    },
    /// A secret that is too common alone, in a form of its own: what a guest writes there depends
    /// on its environment, which has the placeholder on replay.
    Weak {
        /// Number of the secret.
        secret: usize,
        /// Number of the form.
        form: usize,
    },
    /// Something that a rule describes.
    Token {
        /// Number of the rule.
        rule: usize,
        /// Bytes at its start that are no secret.
        keep: usize,
    },
}

/// A find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// Where.
    pub range: Range<usize>,
    /// What.
    pub what: What,
}

/// What a look at bytes gave.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Finds, by place.
    pub hits: Vec<Hit>,
    /// From here on the bytes must be looked at again with those that follow.
    pub unclear_from: usize,
}

#[derive(Clone, Copy, Debug)]
enum Candidate {
    /// A form of a secret, whose needle begins this far in it.
    Form { secret: u32, form: u32, at: u32 },
    /// A rule, whose keyword begins with the needle.
    Rule { rule: u32, keyword: u32 },
}

/// Finds secrets.
#[derive(Debug)]
pub(super) struct Matcher {
    needles: Option<Needles>,
    candidates: Vec<Vec<Candidate>>,
    forms: Vec<Vec<Form>>,
    /// Bytes at the end of what was looked at that may be the start of something.
    overlap: usize,
}

impl Matcher {
    /// A matcher of these secrets and rules.
    pub(super) fn new(secrets: &[Secret], rules: &Rules) -> Matcher {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut candidates: Vec<Vec<Candidate>> = Vec::new();
        let mut overlap = 1;
        let mut add = |needle: &[u8], at: usize, candidate| {
            overlap = overlap.max(at + needle.len());
            let number = *numbers.entry(needle.to_vec()).or_insert_with(|| {
                needles.push(needle.to_vec());
                candidates.push(Vec::new());
                needles.len() - 1
            });
            if let Some(all) = candidates.get_mut(number) {
                all.push(candidate);
            }
        };
        let mut all_forms = Vec::with_capacity(secrets.len());
        for (s, secret) in secrets.iter().enumerate() {
            let found = match secret.context.is_empty() {
                true => forms(&secret.value, &secret.placeholder),
                false => {
                    let text = |value: &[u8]| [&secret.context[..], value].concat();
                    let named = Form::plain(text(&secret.value), text(&secret.placeholder));
                    [named].into_iter().chain(Form::weak(&secret.value)).collect()
                }
            };
            for (f, form) in found.iter().enumerate() {
                // Behind the part that all values of this kind begin with.
                let shared = if secret.context.is_empty() { secret.keep } else { 0 };
                let last = form.pattern.len().saturating_sub(NEEDLE_BYTES);
                let at = shared.min(last);
                let end = form.pattern.len().min(at + NEEDLE_BYTES);
                let (secret, form_number) = (s as u32, f as u32);
                let candidate = Candidate::Form { secret, form: form_number, at: at as u32 };
                add(&form.pattern[at..end], at, candidate);
            }
            all_forms.push(found);
        }
        for (r, rule) in rules.rules.iter().enumerate() {
            for (k, keyword) in rule.keywords.iter().enumerate() {
                let needle = &keyword[..keyword.len().min(NEEDLE_BYTES)];
                add(needle, 0, Candidate::Rule { rule: r as u32, keyword: k as u32 });
            }
        }
        Matcher { needles: Needles::new(&needles), candidates, forms: all_forms, overlap }
    }

    /// The form of a [`What::Form`].
    pub(super) fn form(&self, secret: usize, form: usize) -> Option<&Form> {
        self.forms.get(secret)?.get(form)
    }

    /// Looks at `text`, behind which more may come unless it is `whole`.
    pub(super) fn look(&self, text: &[u8], whole: bool, rules: &Rules) -> Seen {
        let mut seen = Seen { hits: Vec::new(), unclear_from: text.len() };
        if !whole {
            // What stands before it decides too.
            seen.unclear_from = text.len().saturating_sub(self.overlap + CONTEXT_BYTES);
        }
        let Some(needles) = &self.needles else { return seen };
        needles.each(text, |needle, at| {
            for candidate in self.candidates.get(needle).into_iter().flatten() {
                self.check(*candidate, at, text, whole, rules, &mut seen);
            }
        });
        let is_weak = |hit: &Hit| matches!(hit.what, What::Weak { .. });
        seen.hits.sort_by_key(|hit| (hit.range.start, usize::MAX - hit.range.end, is_weak(hit)));
        only_one_each(&mut seen.hits);
        seen
    }

    /// Places of all forms of all secrets, with the secrets' numbers.
    pub(super) fn all(&self, text: &[u8], rules: &Rules) -> Vec<(usize, usize)> {
        let hits = self.look(text, true, rules).hits.into_iter();
        let all = hits.filter_map(|hit| match hit.what {
            What::Form { secret, .. } => Some((hit.range.start, secret)),
            What::Weak { .. } | What::Token { .. } => None,
        });
        all.collect()
    }

    fn check(
        &self,
        candidate: Candidate,
        at: usize,
        text: &[u8],
        whole: bool,
        rules: &Rules,
        seen: &mut Seen,
    ) {
        match candidate {
            Candidate::Form { secret, form, at: inside } => {
                let (secret, form) = (secret as usize, form as usize);
                let Some(start) = at.checked_sub(inside as usize) else { return };
                let Some(found) = self.form(secret, form) else { return };
                match found.compare(text.get(start..).unwrap_or_default()) {
                    Compared::Whole(len) => {
                        let range = start..start + len;
                        let what = match found.weak {
                            true => What::Weak { secret, form },
                            false => What::Form { secret, form },
                        };
                        seen.hits.push(Hit { range, what });
                    }
                    Compared::Beginning if !whole => {
                        seen.unclear_from = seen.unclear_from.min(start.saturating_sub(1));
                    }
                    Compared::Beginning | Compared::Other => {}
                }
            }
            Candidate::Rule { rule, keyword } => {
                match rules.look((rule as usize, keyword as usize), text, at, whole) {
                    Found::Nothing => {}
                    // What stands before it decides too.
                    Found::Unclear => {
                        seen.unclear_from = seen.unclear_from.min(at.saturating_sub(CONTEXT_BYTES))
                    }
                    Found::Tokens(tokens) => {
                        for token in tokens {
                            let what = What::Token { rule: rule as usize, keep: token.keep };
                            seen.hits.push(Hit { range: token.range, what });
                        }
                    }
                }
            }
        }
    }
}

/// Leaves of hits that overlap the first and longest; values go before what only has their form.
fn only_one_each(hits: &mut Vec<Hit>) {
    let is_form = |hit: &Hit| matches!(hit.what, What::Form { .. });
    let forms: Vec<Range<usize>> =
        hits.iter().filter(|h| is_form(h)).map(|h| h.range.clone()).collect();
    if !forms.is_empty() {
        hits.retain(|hit| {
            let at = forms.partition_point(|f| f.start < hit.range.end);
            let over = forms[..at].iter().rev().take(8).any(|f| f.end > hit.range.start);
            is_form(hit) || !over
        });
    }
    let mut end = 0;
    hits.retain(|hit| {
        let free = hit.range.start >= end;
        if free {
            end = hit.range.end;
        }
        free
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::value::{Key, placeholder};

    fn secret(value: &str, keep: usize) -> Secret {
        Secret {
            value: value.into(),
            placeholder: placeholder(&Key([1; 32]), value.as_bytes(), keep),
            keep,
            context: Vec::new(),
            rule: "r".into(),
        }
    }

    #[test]
    fn a_value_is_found_at_every_place_and_its_start_is_unclear() {
        let value = "sk-proj-Abc123Def456";
        let rules = Rules::default();
        let matcher = Matcher::new(&[secret(value, 8), secret("sk-proj-Zzz999Zzz999", 8)], &rules);
        for before in 0..20 {
            let text = format!("{}{value} end", "x".repeat(before));
            let seen = matcher.look(text.as_bytes(), false, &rules);
            assert_eq!(seen.hits.len(), 1);
            assert_eq!(seen.hits[0].range, before..before + value.len());
            for cut in before + 1..before + value.len() {
                let seen = matcher.look(&text.as_bytes()[..cut], false, &rules);
                assert!(seen.hits.is_empty() && seen.unclear_from <= before, "{before} {cut}");
                let seen = matcher.look(&text.as_bytes()[..cut], true, &rules);
                assert!(seen.hits.is_empty() && seen.unclear_from == cut);
            }
        }
    }

    #[test]
    fn a_short_value_needs_its_name() {
        let context = b"PASSWORD=".to_vec();
        let rules = Rules::default();
        let matcher = Matcher::new(&[Secret { context, ..secret("abc", 0) }], &rules);
        let first = |text: &str| matcher.look(text.as_bytes(), true, &rules).hits.remove(0).what;
        assert_eq!(first("abc"), What::Weak { secret: 0, form: 1 });
        assert_eq!(first("PASSWORD=abc"), What::Form { secret: 0, form: 0 });
    }
}
