//! Differences as text.

use std::time::Duration;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::Difference;

/// Longest that a diff may take; a coarser one is shown then.
pub(super) const TIMEOUT: Duration = Duration::from_millis(500);
/// Most of a text that is compared, bytes.
pub(super) const COMPARED_BYTES_MAX: usize = 1 << 20;
/// Most of a diff that is shown, bytes.
const SHOWN_BYTES_MAX: usize = 16 << 10;

/// Two values as indented JSON, as a unified diff; long strings are broken at their newlines.
pub(super) fn unified(old: &Value, new: &Value) -> String {
    let text = |value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        cut(&text, COMPARED_BYTES_MAX).replace("\\n", "\\n\n") + "\n"
    };
    let (old, new) = (text(old), text(new));
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_lines(&old, &new);
    let shown = diff.unified_diff().context_radius(2).header("recorded", "asked").to_string();
    cut(&shown, SHOWN_BYTES_MAX).to_owned()
}

/// A changed text, word by word, with a few words around each change; nothing for other changes.
pub(super) fn words(difference: &Difference) -> Option<String> {
    let old = difference.recorded.as_ref()?.as_str()?;
    let new = difference.asked.as_ref()?.as_str()?;
    if !old.contains(' ') && !new.contains(' ') {
        return None;
    }
    let (old, new) = (cut(old, COMPARED_BYTES_MAX), cut(new, COMPARED_BYTES_MAX));
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_words(old, new);
    let mut out = String::new();
    for group in diff.grouped_ops(6) {
        if !out.is_empty() {
            out.push_str(" ... ");
        }
        for op in &group {
            for change in diff.iter_changes(op) {
                match change.tag() {
                    ChangeTag::Equal => out.push_str(change.value()),
                    ChangeTag::Delete => out.push_str(&format!("[-{}-]", change.value())),
                    ChangeTag::Insert => out.push_str(&format!("{{+{}+}}", change.value())),
                }
            }
        }
    }
    // Words that follow each other are one change.
    let out = out.replace("-][-", "").replace("+}{+", "");
    Some(cut(&out, SHOWN_BYTES_MAX).to_owned())
}

/// The beginning of a text, at most `bytes` long.
fn cut(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes.min(text.len()));
    &text[..end]
}
