//! Asks a model why a request differs from what was recorded, and for a rule that accepts it.
//!
//! The endpoint is the user's choice and speaks OpenAI's chat completions. It gets the account of a
//! mismatch as it is kept, without secrets. What it proposes is checked here, and holds only if the
//! user says so.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::mismatch::Mismatch;
use super::resolution;
use super::rules::{Rule, Rules};
use super::serve::{send, tls};
use crate::error::{Error, Result};
use crate::stream::{Body, Header, Request};

/// How long a model may think.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most of a mismatch's account that is sent, bytes.
const ACCOUNT_BYTES_MAX: usize = 48 << 10;

const TASK: &str = "\
You help a developer whose program is replayed against recorded HTTP answers. A request of the \
program was not found in the recording. Say in at most five sentences what changed and what in \
the program most likely caused it. If the change does not alter what is asked (an id, a time, the \
order of a list, a path), also propose one rule in TOML that makes both requests equal:

[[rule]]
name = \"short-name\"
when = { path = \"**/chat/completions\" }   # globs: path, host, method
ignore = [\"/metadata\", \"/messages/*/id\", \"query:page\", \"header:range\"]   # JSON pointers
unordered = [\"/tools\"]
replace = [{ regex = '\\d{4}-\\d{2}-\\d{2}', with = \"<date>\", at = \"/messages/0/content\" }]

Leave out what is not needed. If the change alters what is asked, propose no rule. Answer with \
JSON only: {\"explanation\": \"...\", \"rule\": \"...\" or null}.";

/// The model to ask.
#[derive(Clone, Debug)]
pub struct Model {
    /// Base URL, with or without `/chat/completions`.
    pub url: String,
    /// Its name there.
    pub name: String,
    /// Key, sent as a bearer token.
    pub key: Option<String>,
}

/// What a model says of a mismatch.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What changed, and why.
    pub text: String,
    /// The rules it proposes.
    pub rules: Vec<Rule>,
    /// Why the rules are not to be had: they can't be read, or do not accept the request.
    pub unusable: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    explanation: String,
    rule: Option<String>,
}

impl Model {
    /// Asks about one mismatch, compared under `rules`.
    ///
    /// # Errors
    /// The endpoint can't be reached, or does not answer as it should.
    pub fn explain(&self, mismatch: &Mismatch, rules: &Rules) -> Result<Explanation> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start a client"))?;
        let answer = runtime
            .block_on(self.ask(mismatch))
            .map_err(|why| Error::Usage(format!("{} gave no explanation: {why}", self.url)))?;
        let said = read(&answer);
        let mut explanation =
            Explanation { text: said.explanation, rules: Vec::new(), unusable: None };
        match said.rule.filter(|rule| !rule.trim().is_empty()).map(|rule| resolution::rules(&rule))
        {
            None => {}
            Some(Err(why)) => explanation.unusable = Some(why),
            Some(Ok(proposed)) => {
                explanation.unusable = resolution::refuted(mismatch, rules, &proposed);
                explanation.rules = proposed;
            }
        }
        Ok(explanation)
    }

    async fn ask(&self, mismatch: &Mismatch) -> Result<String, String> {
        let account = mismatch.render();
        let end = account.floor_char_boundary(ACCOUNT_BYTES_MAX);
        let body = json!({
            "model": self.name,
            "messages": [
                {"role": "system", "content": TASK},
                {"role": "user", "content": account.get(..end).unwrap_or_default()},
            ],
        });
        let mut request = request(&self.url, &body)?;
        if let Some(key) = &self.key {
            request.headers.push(field("authorization", &format!("Bearer {key}")));
        }
        let tls = tls().map_err(|e| e.to_string())?;
        let answer = async {
            let response = send(&tls, &request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok::<_, String>((status, body.map_err(|e| e.to_string())?.to_bytes()))
        };
        let (status, body) =
            timeout(PATIENCE, answer).await.map_err(|_| "it took too long".to_owned())??;
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            let start = text.get(..text.floor_char_boundary(300)).unwrap_or_default();
            return Err(format!("{status}: {start}"));
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        let content = answer.pointer("/choices/0/message/content").and_then(Value::as_str);
        content.map(str::to_owned).ok_or_else(|| "its answer has no message".to_owned())
    }
}

fn field(name: &'static str, value: &str) -> Header {
    Header { name: name.into(), value: value.to_owned().into() }
}

fn request(url: &str, body: &Value) -> Result<Request, String> {
    let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
    if !matches!(scheme, "http" | "https") {
        return Err("only http and https can be asked".into());
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/').trim_end_matches("/chat/completions");
    let target = if path.is_empty() { String::new() } else { format!("/{path}") };
    Ok(Request {
        method: "POST".into(),
        scheme: scheme.into(),
        authority: authority.into(),
        target: format!("{target}/chat/completions"),
        headers: vec![field("content-type", "application/json")],
        body: Body::held(body.to_string(), Vec::new()),
        trailers: Vec::new(),
        started_ns: 0,
        ended_ns: 0,
        process: 0,
        step: 0,
    })
}

/// What was said: JSON, also in a code fence, or plain text.
fn read(answer: &str) -> Said {
    let json = answer.find('{').zip(answer.rfind('}'));
    let json = json.and_then(|(start, end)| answer.get(start..=end));
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_else(|| Said { explanation: answer.trim().to_owned(), rule: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_a_fence() {
        for answer in [
            r#"{"explanation": "a", "rule": null}"#,
            "Here:\n```json\n{\"explanation\": \"a\", \"rule\": null}\n```",
            "a",
        ] {
            assert_eq!(read(answer).explanation, "a", "{answer}");
        }
    }

    #[test]
    fn urls_are_base_urls_or_whole() {
        let to = |url: &str| {
            request(url, &Value::Null)
                .map(|r| format!("{}://{}{}", r.scheme, r.authority, r.target))
        };
        let whole = "https://a.example/v1/chat/completions".to_owned();
        for url in ["https://a.example/v1", "https://a.example/v1/", &whole] {
            assert_eq!(to(url).as_ref(), Ok(&whole));
        }
        assert_eq!(to("http://[::1]:8"), Ok("http://[::1]:8/chat/completions".into()));
        assert!(to("a.example").is_err() && to("ftp://a").is_err());
    }
}
