//! Texts that are compared, with blanks for secrets.
//!
//! The requests of a session have placeholders where those of a program that runs today have its
//! own keys, and a report about both is no place for either. In a form with blanks they are equal.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::matcher::{Matcher, Secret, What};
use super::rules::Rules;
use super::{Options, Redactor, Work};
use crate::error::Result;
use crate::launch::environment::inherited;
use crate::session::manifest::{ByteText, Manifest};

/// What stands for a secret.
const BLANK: &str = "<secret>";

/// Finds what is to be blank.
#[derive(Debug, Default)]
pub struct Blanks {
    /// None: nothing is.
    found_by: Option<(Matcher, Arc<Rules>)>,
}

impl Blanks {
    /// Blanks for the secrets of this process's environment, for those of the recorded program's
    /// (its placeholders, or the values themselves if they were recorded), and for all that has the
    /// form of one.
    ///
    /// # Errors
    /// The user's rules can't be read or make no sense.
    pub fn new(options: &Options, recorded: &Manifest) -> Result<Blanks> {
        let env: Vec<Vec<u8>> = inherited().into_iter().map(|entry| entry.0).collect();
        let Some(mut work) = Redactor::new(options, &env, &[])?.work else {
            return Ok(Blanks::default());
        };
        let bytes = |all: &[ByteText]| all.iter().map(|text| text.0.clone()).collect::<Vec<_>>();
        let program = &recorded.program;
        work.learn_from_program(&bytes(&program.env), &bytes(&program.argv));
        Ok(Blanks::of(&work))
    }

    fn of(work: &Work) -> Blanks {
        let mut known = HashSet::new();
        let mut secrets = Vec::new();
        for secret in &work.secrets {
            // What was recorded of it, where its rule is the user's.
            for value in [&secret.value, &secret.placeholder] {
                if known.insert((&secret.context, value)) {
                    secrets.push(Secret { value: value.clone(), ..secret.clone() });
                }
            }
        }
        let rules = work.rules.clone();
        Blanks { found_by: Some((Matcher::new(&secrets, &rules), rules)) }
    }

    /// The text with its blanks.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some((matcher, rules)) = &self.found_by else { return Cow::Borrowed(text) };
        let seen = matcher.look(text.as_bytes(), true, rules);
        let mut out = String::new();
        let mut done = 0;
        for hit in seen.hits {
            let form = match hit.what {
                What::Form { secret, form } => matcher.form(secret, form),
                What::Token { .. } => None,
                What::Weak { .. } => continue,
            };
            // Characters at the edges that hold bits of the secret, where there are some.
            let (first, last) = (hit.range.start, hit.range.end);
            let edge = |at: Option<usize>| at.filter(|at| text.is_char_boundary(*at));
            let before = form.and_then(|form| form.before).and(edge(first.checked_sub(1)));
            let behind = form.and_then(|form| form.behind).and(edge(Some(last + 1)));
            let (start, end) = (before.unwrap_or(first).max(done), behind.unwrap_or(last));
            let (Some(before), Some(_)) = (text.get(done..start), text.get(end..)) else {
                continue;
            };
            out.push_str(before);
            out.push_str(BLANK);
            done = end;
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn blanks(env: &[&str], recorded: &[&str]) -> Blanks {
        let bytes = |all: &[&str]| all.iter().map(|e| e.as_bytes().to_vec()).collect::<Vec<_>>();
        let redactor = Redactor::new(&Options::default(), &bytes(env), &[]).unwrap();
        let mut work = redactor.work.unwrap();
        work.learn_from_program(&bytes(recorded), &[]);
        Blanks::of(&work)
    }

    #[test]
    fn a_live_text_and_the_recorded_one_are_equal() {
        let blanks = blanks(
            &["DB_PASSWORD=correct-horse-staple-9"],
            &["DB_PASSWORD=placeh-older-x-1", "PATH=/bin"],
        );
        for skipped in 0..3 {
            let both = ["correct-horse-staple-9", "placeh-older-x-1"].map(|value| {
                let encoded =
                    STANDARD.encode([&b"xy"[..skipped.min(2)], value.as_bytes()].concat());
                blanks.text(&format!("it is {value}, or {encoded}.")).into_owned()
            });
            assert!(both[0].starts_with("it is <secret>, or "), "{}", both[0]);
            assert!(both[0].contains(BLANK) && !both[1].contains("placeh"), "{}", both[1]);
        }
    }

    #[test]
    fn encoded_secrets_are_blank_at_the_ends_of_a_text_and_beside_others() {
        let value = "correct-horse-staple-9";
        let blanks = blanks(&[&format!("DB_PASSWORD={value}")], &[]);
        for skipped in 0..3 {
            let encoded = STANDARD.encode([&b"xy"[..skipped], value.as_bytes()].concat());
            // Without the characters that hold bits of the neighbours.
            let inside = &encoded[(skipped * 8).div_ceil(6)..(skipped + value.len()) * 8 / 6];
            for text in [inside.to_owned(), format!("é{inside}é"), inside.repeat(2)] {
                let shown = blanks.text(&text);
                assert!(shown.contains(BLANK) && !shown.contains(&inside[4..20]), "{shown}");
            }
        }
    }

    #[test]
    fn what_has_the_form_of_a_secret_is_blank() {
        let blanks = blanks(&[], &[]);
        let text = "use ghp_aaaaBBBBccccDDDD1234567890abcdEFGHij, ä";
        assert_eq!(blanks.text(text), "use <secret>, ä");
        assert_eq!(blanks.text("nothing"), "nothing");
        assert_eq!(Blanks::default().text(text), text);
    }
}
