//! Mismatches: what a request asked that was not recorded, why, and which rule would accept it.

mod differences;
mod narrow;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::Canonical;
use super::rules::{Rule, Rules};
pub use differences::{Cause, Difference};

/// Why a request was not answered by its recorded exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was not recorded.
    NotRecorded,
    /// It was recorded, but asked more often than that.
    Exhausted,
}

/// What was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The client got an error.
    Refused,
    /// It was served the next exchange of the endpoint, of this number.
    Served(u32),
    /// The real server answered.
    Upstream,
    /// The user had the exchange of this number served.
    Resolved(u32),
}

/// One request that did not match.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mismatch {
    /// Number in the run, from 1.
    pub id: u32,
    /// Why.
    pub why: Why,
    /// What was done.
    pub outcome: Outcome,
    /// The request, as it was compared.
    pub request: Value,
    /// The process that asked, and its command, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Where in the program, innermost first, if that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// Whether it decides nothing, because of its host.
    #[serde(default)]
    pub optional: bool,
    /// The exchange that is nearest.
    pub nearest: Option<u32>,
    /// That exchange's request.
    pub recorded: Option<Value>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Likely causes, the plainest first.
    pub causes: Vec<Cause>,
    /// Both requests as indented JSON, as a unified diff.
    pub diff: String,
    /// Texts that changed, word by word: `[-was-]{+is+}`.
    pub words: Vec<String>,
    /// Rules that would accept the request as the nearest exchange's.
    pub rules: Vec<Rule>,
}

impl Mismatch {
    /// The account of a request, compared with the nearest exchange's under `rules`.
    pub fn new(
        (id, why, outcome): (u32, Why, Outcome),
        request: &Canonical,
        nearest: Option<(u32, &Canonical)>,
        rules: &Rules,
    ) -> Mismatch {
        let mut mismatch = Mismatch {
            id,
            why,
            outcome,
            request: request.to_json(),
            program: None,
            stack: Vec::new(),
            optional: false,
            nearest: nearest.map(|(exchange, _)| exchange),
            recorded: nearest.map(|(_, canonical)| canonical.to_json()),
            differences: Vec::new(),
            causes: Vec::new(),
            diff: String::new(),
            words: Vec::new(),
            rules: Vec::new(),
        };
        let Some((_, recorded)) = nearest.filter(|_| why == Why::NotRecorded) else {
            return mismatch;
        };
        // What the rules in force accept is not worth a word.
        let (mut old, mut new) = (recorded.clone(), request.clone());
        rules.apply(&mut old);
        rules.apply(&mut new);
        let (old_json, new_json) = (old.to_json(), new.to_json());
        mismatch.differences = differences::between(&old_json, &new_json);
        mismatch.diff = text::unified(&old_json, &new_json);
        mismatch.words = mismatch.differences.iter().filter_map(text::words).collect();
        mismatch.causes = differences::causes(&mismatch.differences);
        let suggested = differences::suggest(&mismatch.differences, request);
        mismatch.rules = suggested.into_iter().collect();
        mismatch
    }

    /// Whether under these rules the request is the nearest exchange's; false also if that can't be
    /// told from the account (bodies of several parts, and forms).
    pub fn is_accepted_by(&self, rules: &Rules) -> bool {
        let read = |json: &Value| Some(rules.fingerprint(&Canonical::from_json(json)?));
        let asked = read(&self.request);
        asked.is_some() && asked == self.recorded.as_ref().and_then(read)
    }

    /// Its first line: what was asked and the likely causes.
    pub fn headline(&self) -> String {
        let field = |name: &str| self.request[name].as_str().unwrap_or_default();
        let what = match (self.why, self.nearest) {
            (Why::Exhausted, _) => "was asked more often than recorded".to_owned(),
            (Why::NotRecorded, None) => "was not recorded, and nothing like it".to_owned(),
            (Why::NotRecorded, Some(nearest)) => {
                let causes: Vec<_> = self.causes.iter().map(Cause::to_string).collect();
                format!("was not recorded; nearest is exchange {nearest}: {}", causes.join(", "))
            }
        };
        format!("{} {}{} {what}", field("method"), field("host"), field("path"))
    }

    /// The account, for people.
    pub fn render(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Refused => "it was refused".to_owned(),
            Outcome::Served(exchange) => format!("exchange {exchange} was served in its place"),
            Outcome::Resolved(exchange) => format!("exchange {exchange} was chosen to answer it"),
            Outcome::Upstream => "the real server answered, and was recorded".to_owned(),
        };
        let mut out = format!("mismatch {}: {}\n  {outcome}\n", self.id, self.headline());
        if let Some(program) = &self.program {
            out.push_str(&format!("  asked by {program}\n"));
        }
        for (number, frame) in self.stack.iter().enumerate() {
            out.push_str(&format!("    #{number} {frame}\n"));
        }
        for difference in &self.differences {
            out.push_str(&format!("  {difference}\n"));
        }
        for words in &self.words {
            out.push_str(&format!("  words: {words}\n"));
        }
        if !self.diff.is_empty() {
            out.push_str(&self.diff);
        }
        if let Some(text) = Some(&self.rules).filter(|r| !r.is_empty()) {
            let text = Rules::render(text).unwrap_or_default();
            out.push_str("a rule that accepts it:\n");
            text.lines().for_each(|line| out.push_str(&format!("    {line}\n")));
        }
        out
    }
}

#[cfg(test)]
mod tests;
