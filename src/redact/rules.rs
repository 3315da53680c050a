//! Rules: what is a secret, as data.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::value::BYTES_MIN;
use crate::error::{Error, Result};

/// The rules that everyone has.
const BUILT_IN: &str = include_str!("rules.toml");
/// Bytes behind a keyword in which a match must end.
const TOKEN_SPAN: usize = 4200;
const BLOCK_SPAN: usize = 16 << 10;
/// Bytes that are waited for behind a keyword, before it is said that nothing matches there.
const WAIT_BYTES: usize = 300;
/// How far before a match the JSON key of its string is looked for.
const KEY_BYTES_MAX: usize = 16 << 10;

/// A rules file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    environment: Environment,
    headers: Headers,
    exempt: Exempt,
    rule: Vec<RuleText>,
    value: Vec<ValueText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Environment {
    names: Vec<String>,
    exempt: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Headers {
    names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Exempt {
    rules: HashSet<String>,
    keys: Vec<String>,
    values: HashSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    keywords: Vec<String>,
    regex: String,
    #[serde(default)]
    inside_word: bool,
    #[serde(default)]
    lines: bool,
    #[serde(default)]
    digits: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueText {
    id: String,
    value: String,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A text of a form of its own.
    Token,
    /// Lines of base64 between two marks.
    Lines,
    /// A header whose value is secret, whole or behind the name of a scheme.
    Header,
    /// A header of `name=value` pairs.
    Cookies,
    /// The first pair of a header.
    SetCookie,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its name in counts.
    pub id: String,
    /// What a match begins with.
    pub keywords: Vec<Vec<u8>>,
    kind: Kind,
    pattern: String,
    regex: OnceLock<Option<Regex>>,
    inside_word: bool,
    /// A secret has a digit: texts that speak of secrets name variables instead.
    digits: bool,
}

/// A secret that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Where it stands.
    pub range: Range<usize>,
    /// Bytes of it that are no secret.
    pub keep: usize,
}

/// What a rule says of a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// It depends on what follows.
    Unclear,
    /// Secrets.
    Tokens(Vec<Token>),
}

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Rules of content.
    pub rules: Vec<Rule>,
    /// Secrets that a rules file holds: rule and value.
    pub values: Vec<(String, Vec<u8>)>,
    names: Vec<String>,
    exempt_names: Vec<String>,
    exempt_keys: Vec<String>,
    exempt_values: HashSet<String>,
}

impl Rules {
    /// The built-in rules, and those of the user's file, as text.
    ///
    /// # Errors
    /// [`Error::Usage`] if a rule makes no sense; `path` names the user's file.
    pub(super) fn new(user: Option<(&Path, &str)>) -> Result<Rules> {
        let built_in = toml::from_str(BUILT_IN)
            .map_err(|e| Error::Usage(format!("the built-in rules: {}", e.message())))?;
        let mut files: Vec<File> = vec![built_in];
        if let Some((path, text)) = user {
            let wrong = |what: &str| {
                let what = what.replace('\n', " ");
                Error::Usage(format!("{} is no file of rules: {what}", path.display()))
            };
            let file: File = toml::from_str(text).map_err(|e| wrong(e.message()))?;
            for rule in &file.rule {
                compile(&rule.regex).map_err(|e| wrong(&format!("rule '{}': {e}", rule.id)))?;
                if rule.keywords.is_empty() || rule.keywords.iter().any(|k| k.len() < 2) {
                    let what = "it needs keywords of two characters or more";
                    return Err(wrong(&format!("rule '{}': {what}", rule.id)));
                }
            }
            if let Some(value) = file.value.iter().find(|v| v.value.len() < BYTES_MIN) {
                let id = &value.id;
                return Err(wrong(&format!("value '{id}' has fewer than {BYTES_MIN} bytes")));
            }
            files.push(file);
        }
        let off: HashSet<String> = files.iter().flat_map(|f| f.exempt.rules.clone()).collect();
        let mut all = Rules::default();
        for file in files {
            all.names.extend(file.environment.names);
            all.exempt_names.extend(file.environment.exempt);
            all.exempt_keys.extend(file.exempt.keys);
            all.exempt_values.extend(file.exempt.values);
            all.rules.extend(file.headers.names.iter().map(|name| header(name)));
            all.rules.extend(file.rule.into_iter().map(Rule::new));
            all.values.extend(file.value.into_iter().map(|v| (v.id, v.value.into_bytes())));
        }
        all.rules.retain(|rule| !off.contains(&rule.id));
        if off.contains("environment") {
            all.names.clear();
        }
        Ok(all)
    }

    /// Whether a variable of this name holds a secret.
    pub(super) fn is_secret_name(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        self.names.iter().any(|p| glob(p.as_bytes(), name.as_bytes()))
            && !self.exempt_names.iter().any(|p| glob(p.as_bytes(), name.as_bytes()))
    }

    /// Whether the user says that this is no secret.
    pub(super) fn is_exempt(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_ok_and(|v| self.exempt_values.contains(v))
    }

    /// Looks at a place in `text` where a keyword of a rule begins, given by their numbers.
    /// Nothing follows `text` if it is `whole`.
    pub(super) fn look(
        &self,
        (rule, keyword): (usize, usize),
        text: &[u8],
        at: usize,
        whole: bool,
    ) -> Found {
        let Some(rule) = self.rules.get(rule) else { return Found::Nothing };
        let Some(keyword) = rule.keywords.get(keyword) else { return Found::Nothing };
        let here = text.get(at..).unwrap_or_default();
        if !here.starts_with(keyword) {
            let open = !whole && keyword.starts_with(here);
            return if open { Found::Unclear } else { Found::Nothing };
        }
        let found = rule.look(text, at, whole);
        match found {
            Found::Tokens(_) if self.is_exempt_place(text, at) => Found::Nothing,
            _ => found,
        }
    }

    /// Whether `at` is inside of a JSON string whose key is exempt.
    fn is_exempt_place(&self, text: &[u8], at: usize) -> bool {
        let before = text.get(at.saturating_sub(KEY_BYTES_MAX)..at).unwrap_or_default();
        let in_string = |b: &u8| b.is_ascii_alphanumeric() || b"+/=_-|:.".contains(b);
        let Some(open) = before.iter().rposition(|b| !in_string(b)) else { return false };
        let Some(key) = before[..open + 1].strip_suffix(b"\"") else { return false };
        let key = key.strip_suffix(b"\\").unwrap_or(key);
        let Some(key) = key.trim_ascii_end().strip_suffix(b":") else { return false };
        let Some(key) = key.trim_ascii_end().strip_suffix(b"\"") else { return false };
        let key = key.strip_suffix(b"\\").unwrap_or(key);
        self.exempt_keys
            .iter()
            .any(|k| key.strip_suffix(k.as_bytes()).is_some_and(|rest| rest.ends_with(b"\"")))
    }

    /// Whether strings with this JSON key are left alone by rules.
    pub(super) fn is_exempt_key(&self, key: &[u8]) -> bool {
        self.exempt_keys.iter().any(|exempt| exempt.as_bytes() == key)
    }
}

fn compile(pattern: &str) -> std::result::Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})")).unicode(false).build()
}

/// Whether `name` is what `pattern` says, in which `*` stands for anything.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| glob(rest, &name[at..])),
        Some((byte, rest)) => name.split_first().is_some_and(|(b, n)| b == byte && glob(rest, n)),
    }
}

/// The rule for a header.
fn header(name: &str) -> Rule {
    let lower = name.to_ascii_lowercase();
    let mut title = String::new();
    for part in lower.split_inclusive('-') {
        let mut chars = part.chars();
        title.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        title.push_str(chars.as_str());
    }
    let kind = match lower.as_str() {
        "cookie" => Kind::Cookies,
        "set-cookie" => Kind::SetCookie,
        _ => Kind::Header,
    };
    // As lines of HTTP and arguments of programs have them. Programs' own text speaks of headers
    // too (`'api-key': this.key`), and must not be changed.
    let value = match kind {
        Kind::Header => {
            r"(?:[A-Za-z][A-Za-z0-9-]{1,20}[ ]{1,4})?(?<token>[!-~]{6,}(?:,[ ]?[!-~]+)*)"
        }
        _ => r"(?<token>[^\x00-\x1f]{1,})",
    };
    let pattern = format!(r"[A-Za-z-]+[ ]{{0,4}}:[ ]{{0,4}}{value}[ ]{{0,4}}(?:\r\n|\x00|\z)");
    // As documents write them: `X-API-Key`.
    let spelt = [("Api", "API"), ("Csrf", "CSRF"), ("Amz", "AMZ")];
    let spelt = spelt.iter().fold(title.clone(), |name, (from, to)| name.replace(from, to));
    let mut keywords = vec![lower.clone(), title, spelt, lower.to_ascii_uppercase()];
    keywords.dedup();
    let keywords = keywords.into_iter().map(String::into_bytes).collect();
    let id = format!("header:{lower}");
    Rule { id, keywords, kind, pattern, regex: OnceLock::new(), inside_word: false, digits: false }
}

impl Rule {
    fn new(text: RuleText) -> Rule {
        Rule {
            id: text.id,
            keywords: text.keywords.into_iter().map(String::into_bytes).collect(),
            kind: if text.lines { Kind::Lines } else { Kind::Token },
            pattern: text.regex,
            regex: OnceLock::new(),
            inside_word: text.inside_word,
            digits: text.digits,
        }
    }

    /// Shortest secret that is looked for elsewhere too.
    pub(super) fn learns_from(&self) -> usize {
        match self.kind {
            Kind::Token | Kind::Header => BYTES_MIN,
            Kind::Cookies | Kind::SetCookie => 12,
            Kind::Lines => 32,
        }
    }

    fn look(&self, text: &[u8], at: usize, whole: bool) -> Found {
        if !self.inside_word && !begins_word(text, at) {
            return Found::Nothing;
        }
        let is_header = !matches!(self.kind, Kind::Token | Kind::Lines);
        if is_header && !begins_header(text, at) {
            return Found::Nothing;
        }
        let Some(regex) = self.regex.get_or_init(|| compile(&self.pattern).ok()) else {
            return Found::Nothing;
        };
        let span = if self.kind == Kind::Token { TOKEN_SPAN } else { BLOCK_SPAN };
        let end = text.len().min(at + span);
        let part = text.get(at..end).unwrap_or_default();
        let open = !whole && end == text.len() && part.len() < span;
        let Some(groups) = regex.captures(part) else {
            return if open && self.may_match(part) { Found::Unclear } else { Found::Nothing };
        };
        let match_end = groups.get(0).map_or(0, |m| m.end());
        if open && match_end == part.len() {
            return Found::Unclear;
        }
        let token = groups.name("token").or(groups.get(0));
        let Some(token) = token.map(|m| m.range()) else { return Found::Nothing };
        let keep = groups.name("secret").map_or(0, |m| m.start().saturating_sub(token.start));
        let inside = &part[token.clone()];
        let tokens: Vec<Token> = match self.kind {
            Kind::Token if self.digits && !inside.iter().any(u8::is_ascii_digit) => Vec::new(),
            Kind::Token => vec![Token { range: token.clone(), keep }],
            Kind::Header => pieces(inside, b", ")
                .map(|range| after_name(inside, range))
                .filter(|range| range.len() >= 6 && is_literal(&inside[range.clone()]))
                .map(|range| shifted(range, token.start))
                .collect(),
            Kind::Cookies | Kind::SetCookie => {
                let first = if self.kind == Kind::SetCookie { 1 } else { usize::MAX };
                pieces(inside, b"; ")
                    .take(first)
                    .map(|range| after_equals(inside, range))
                    .filter(|range| range.len() >= 4 && is_literal(&inside[range.clone()]))
                    .map(|range| shifted(range, token.start))
                    .collect()
            }
            Kind::Lines => lines(inside).map(|range| shifted(range, token.start)).collect(),
        };
        let moved = tokens
            .into_iter()
            .map(|t| Token { range: t.range.start + at..t.range.end + at, keep: t.keep });
        Found::Tokens(moved.collect())
    }

    /// Whether more bytes behind `part` could make it match.
    fn may_match(&self, part: &[u8]) -> bool {
        match self.kind {
            Kind::Lines => part.len() < 64 || memchr::memmem::find(part, b"PRIVATE KEY").is_some(),
            Kind::Cookies | Kind::SetCookie | Kind::Header => {
                part.len() < WAIT_BYTES && !part.contains(&b'\n')
            }
            Kind::Token => part.len() < WAIT_BYTES && !part.contains(&b'\n'),
        }
    }
}

/// Whether a header's value is one: neither the name of a scheme, whose credentials are put there
/// later, nor that of a variable.
fn is_literal(value: &[u8]) -> bool {
    let schemes: [&[u8]; 4] = [b"Bearer", b"Digest", b"Negotiate", b"AWS4-HMAC-SHA256"];
    let is_scheme = schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case(value));
    !is_scheme && !value.starts_with(b"$") && !value.starts_with(b"%")
}

fn shifted(range: Range<usize>, by: usize) -> Token {
    Token { range: range.start + by..range.end + by, keep: 0 }
}

/// Whether no word goes on at `at`. An escape (`\n`, `%20`) before it is none.
fn begins_word(text: &[u8], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| text.get(i)).copied();
    let Some(byte) = before(1) else { return true };
    if !byte.is_ascii_alphanumeric() && byte != b'_' {
        return true;
    }
    let escape = b"nrt".contains(&byte) && before(2) == Some(b'\\');
    let percent = byte.is_ascii_hexdigit()
        && before(2).is_some_and(|b| b.is_ascii_hexdigit())
        && before(3) == Some(b'%');
    escape || percent
}

/// Whether a header may begin at `at`: at the start of a line (which curl marks) or an argument.
fn begins_header(text: &[u8], at: usize) -> bool {
    let before = &text[at.saturating_sub(2)..at];
    before.is_empty()
        || before.ends_with(b"\n")
        || before.ends_with(b"=")
        || matches!(before, b"> " | b"< " | b"-H")
}

/// The parts of `text` between any of `separators`.
fn pieces<'a>(
    text: &'a [u8],
    separators: &'static [u8],
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.iter().position(|b| !separators.contains(b))?;
        let len = text[start..].iter().position(|b| separators.contains(b));
        let end = len.map_or(text.len(), |len| start + len);
        at = end;
        Some(start..end)
    })
}

/// What stands behind `name=`, where that is a parameter and not the end of base64.
fn after_name(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    match part.iter().position(|b| *b == b'=') {
        Some(at) if at <= 20 && part[at..].iter().any(|b| *b != b'=') => {
            range.start + at + 1..range.end
        }
        _ => range,
    }
}

fn after_equals(text: &[u8], range: Range<usize>) -> Range<usize> {
    let at = text[range.clone()].iter().position(|b| *b == b'=');
    at.map_or(range.end..range.end, |at| range.start + at + 1..range.end)
}

/// The lines of base64 in a key, be its line ends bytes or escapes.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let all = pieces(text, b"\r\n\t \\-:,");
    all.map(|range| {
        // `\n` leaves its letter.
        let escaped = range.start > 0 && text[range.start - 1] == b'\\';
        let letter = text.get(range.start).is_some_and(|b| b"nr".contains(b));
        if escaped && letter { range.start + 1..range.end } else { range }
    })
    .filter(|range| range.len() >= 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Vec<(String, String)> {
        let rules = Rules::new(None).unwrap();
        let mut all = Vec::new();
        for (i, rule) in rules.rules.iter().enumerate() {
            for (k, keyword) in rule.keywords.iter().enumerate() {
                for at in memchr::memmem::find_iter(text.as_bytes(), keyword) {
                    if let Found::Tokens(tokens) = rules.look((i, k), text.as_bytes(), at, true) {
                        let text = |t: Token| text[t.range.start + t.keep..t.range.end].to_owned();
                        all.extend(tokens.into_iter().map(|t| (rule.id.clone(), text(t))));
                    }
                }
            }
        }
        all
    }

    fn values(text: &str) -> Vec<String> {
        secrets(text).into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn headers_give_their_values() {
        assert_eq!(values("\r\nAuthorization: Bearer abc.DEF-123\r\n"), ["abc.DEF-123"]);
        assert_eq!(values("authorization: abcdef123\r\n"), ["abcdef123"]);
        assert_eq!(values("x-api-key: K-1!x#9\r\n"), ["K-1!x#9"]);
        assert_eq!(values("Cookie: theme=dark; sid=0123456789abc\r\n"), ["dark", "0123456789abc"]);
        let set = "\r\nSet-Cookie: sid=xyzxyz; Path=/; Expires=Wed, 1 Jan 2031\r\n";
        assert_eq!(values(set), ["xyzxyz"]);
        let aws =
            "Authorization: AWS4-HMAC-SHA256 Credential=AKID/2026/us/s3, Signature=0badcafe\r\n";
        assert_eq!(values(aws), ["AKID/2026/us/s3", "0badcafe"]);
        let dumped = "{'Authorization': 'Bearer tok-1234567890abcdef'}";
        assert_eq!(values(dumped), ["tok-1234567890abcdef"]);
        assert_eq!(values("Authorization: Bearer abcdef\0"), ["abcdef"]);
        assert!(values("\n  'api-key': this.apiKey,\r\n").is_empty());
        assert!(values("h = {\"Authorization\": \"Bearer \" + token}\n").is_empty());
        assert!(values("the authorization: none\n").is_empty());
    }

    #[test]
    fn tokens_have_their_forms() {
        let key = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        assert_eq!(secrets(&format!("x={key} ")), [("github-token".into(), key[4..].into())]);
        assert!(values("task-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa disk-x sk-learn ").is_empty());
        assert_eq!(values("\\nsk-abcdefghijklmnopqrst0123 "), ["abcdefghijklmnopqrst0123"]);
        assert_eq!(values("postgres://me:hunter2!@host/db "), ["hunter2!"]);
        assert!(values("http://example.org:8080/a@b ").is_empty());
        assert_eq!(values(r#"{"access_token": "abc-DEF-123"}"#), ["abc-DEF-123"]);
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{0}\\n{0}\\n-----END", "Ab1+".repeat(16));
        assert_eq!(values(&pem), ["Ab1+".repeat(16), "Ab1+".repeat(16)]);
    }

    /// Samples are put together here: a text with a whole token in it is taken for a leak.
    #[test]
    fn each_known_form_is_found() {
        let rules = Rules::new(None).unwrap();
        let hex = "0123456789abcdef".repeat(8);
        let letters = "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0".repeat(4);
        let fill = |kind: char, len: usize| match kind {
            'x' => hex[..len].to_owned(),
            'a' => letters[..len].to_lowercase(),
            'A' => letters[..len].to_uppercase(),
            'z' => letters.replace(char::is_numeric, "")[..len].to_owned(),
            _ => letters[..len].to_owned(),
        };
        // Rule, what stands before, kind of its characters, how many.
        for (rule, before, kind, len) in [
            ("anthropic-key", "sk-ant-api03-", 'l', 90),
            ("openai-key", "sk-proj-", 'l', 100),
            ("groq-key", "gsk_", 'l', 52),
            ("huggingface-token", "hf_", 'z', 34),
            ("databricks-token", "dapi", 'x', 32),
            ("linear-key", "lin_api_", 'l', 40),
            ("notion-token", "ntn_", 'l', 46),
            ("figma-token", "figd_", 'l', 40),
            ("shopify-token", "shpat_", 'x', 32),
            ("square-token", "sq0atp-", 'l', 22),
            ("netlify-token", "nfp_", 'l', 40),
            ("supabase-token", "sbp_", 'x', 40),
            ("doppler-token", "dp.pt.", 'l', 43),
            ("grafana-token", "glsa_", 'l', 41),
            ("new-relic-key", "NRAK-", 'A', 27),
            ("sentry-token", "sntrys_", 'l', 60),
            ("atlassian-token", "ATATT3", 'l', 100),
            ("planetscale-token", "pscale_tkn_", 'l', 43),
            ("terraform-token", ".atlasv1.", 'l', 67),
            ("age-key", "AGE-SECRET-KEY-1", 'A', 58),
            ("pinecone-key", "pcsk_", 'l', 70),
            ("tavily-key", "tvly-dev-", 'l', 32),
            ("e2b-key", "e2b_", 'x', 40),
            ("nvidia-key", "nvapi-", 'l', 64),
            ("cerebras-key", "csk-", 'a', 48),
            ("fireworks-key", "fw_", 'l', 24),
            ("mailgun-key", "key-", 'x', 32),
            ("docker-token", "dckr_pat_", 'l', 27),
            ("rubygems-key", "rubygems_", 'x', 48),
            ("google-client-secret", "GOCSPX-", 'l', 28),
            ("google-refresh-token", "1//0", 'l', 60),
            ("one-password-token", "ops_eyJ", 'l', 110),
            ("contentful-token", "CFPAT-", 'l', 43),
            ("readme-key", "rdme_", 'a', 70),
            ("buildkite-token", "bkua_", 'x', 40),
            ("prefect-key", "pnu_", 'l', 36),
            ("azure-account-key", "AccountKey=", 'l', 86),
            ("azure-sas", "?sig=", 'l', 44),
            ("aws-credentials-file", "aws_secret_access_key = ", 'l', 40),
        ] {
            let secret = fill(kind, len);
            let found = secrets(&format!("a={before}{secret};"));
            let whole = |(id, value): &(String, String)| *id == rule && secret.ends_with(value);
            assert!(found.iter().any(whole), "{rule}: {found:?} in {before}{secret}");
        }
        for rule in &rules.rules {
            assert!(compile(&rule.pattern).is_ok(), "{}", rule.id);
        }
    }

    #[test]
    fn protocol_values_are_exempt() {
        let key = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        assert!(values(&format!(r#"{{"signature": "Eq+{key}"}}"#)).is_empty());
        assert!(values(&format!(r#"{{"call_id":"{key}"}}"#)).is_empty());
        assert_eq!(values(&format!(r#"{{"text":"{key}"}}"#)).len(), 1);
    }

    #[test]
    fn names_of_variables() {
        let rules = Rules::new(None).unwrap();
        for name in ["OPENAI_API_KEY", "GITHUB_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY"] {
            assert!(rules.is_secret_name(name), "{name}");
        }
        for name in ["PATH", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "HOME", "PWD", "KEYMAP"] {
            assert!(!rules.is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_user_s_file_adds_and_takes_away() {
        let text = "[exempt]\nrules = ['jwt']\n[[value]]\nid = 'mine'\nvalue = 'abcdefgh1'\n\
                    [[rule]]\nid = 'corp'\nkeywords = ['corp-']\nregex = 'corp-[0-9]{6}'\n";
        let rules = Rules::new(Some((Path::new("r"), text))).unwrap();
        assert!(rules.rules.iter().all(|r| r.id != "jwt"));
        assert!(rules.rules.iter().any(|r| r.id == "corp"));
        assert_eq!(rules.values.len(), 1);
        for bad in ["[[rule]]\nid = 'x'", "x = 1", "[[value]]\nid = 'a'\nvalue = 'short'"] {
            assert!(Rules::new(Some((Path::new("r"), bad))).is_err(), "{bad}");
        }
        let bad = "[[rule]]\nid = 'x'\nkeywords = ['ab']\nregex = '('";
        assert!(Rules::new(Some((Path::new("r"), bad))).is_err());
    }
}
