use serde_json::json;

use super::*;
use crate::player::sample;

fn canonical(body: &Value) -> Canonical {
    Canonical::new(&sample::post("/v1/chat/completions", body), &[]).unwrap()
}

/// The account of a request, and whether its rules accept it.
fn compare(old: &Value, new: &Value) -> (Mismatch, bool) {
    let (old, new) = (canonical(old), canonical(new));
    let mut rules = Rules::builtin().unwrap();
    let of = (1, Why::NotRecorded, Outcome::Refused);
    let mismatch = Mismatch::new(of, &new, Some((7, &old)), &rules);
    let text = Rules::render(&mismatch.rules).unwrap();
    rules.extend(Rules::parse(&format!("builtin = false\n{text}"), "suggested").unwrap());
    let (mut old, mut new) = (old, new);
    rules.apply(&mut old);
    rules.apply(&mut new);
    (mismatch, old.fingerprint() == new.fingerprint())
}

fn chat(system: &str, user: &str) -> Value {
    json!({"model": "m1", "messages": [
        {"role": "system", "content": system}, {"role": "user", "content": user},
    ], "tools": [{"type": "function", "function": {"name": "ls", "description": "lists"}}]})
}

#[test]
fn the_change_and_a_rule_are_named() {
    let old = chat("It is 2026-11-23 10:15:01. Be brief.", "what is here?");
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        edit(&mut new);
        let (mismatch, accepted) = compare(&old, &new);
        assert!(accepted, "{}", mismatch.render());
        (mismatch.causes[0].clone(), mismatch)
    };
    let (cause, mismatch) = change(&|new| new["messages"][1]["content"] = "what is there?".into());
    assert_eq!(cause, Cause::Prompt("/body/messages/1/content".into()));
    assert_eq!(mismatch.words, ["what is [-here?-]{+there?+}"]);
    assert!(mismatch.diff.contains("-        \"content\": \"what is here?\""), "{}", mismatch.diff);
    let (cause, mismatch) = change(&|new| {
        new["messages"][0]["content"] = "It is 2026-11-24 11:00:00. Be brief.".into();
    });
    assert_eq!(cause, Cause::Timestamp("/body/messages/0/content".into()));
    assert!(mismatch.headline().contains("timestamp"), "{}", mismatch.headline());
    let (cause, _) = change(&|new| {
        let tool = json!({"type": "function", "function": {"name": "cat"}});
        new["tools"].as_array_mut().unwrap().insert(0, tool);
    });
    assert_eq!(cause, Cause::NewTool("cat".into()));
    let (cause, _) = change(&|new| new["messages"].as_array_mut().unwrap().reverse());
    assert_eq!(cause, Cause::ReorderedMessages);
    let (cause, _) = change(&|new| new["model"] = "m2".into());
    assert_eq!(cause.to_string(), "model name (m1 is now m2)");
    let (cause, _) = change(&|new| {
        new["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "more"}));
    });
    assert_eq!(cause.to_string(), "a message more, number 2");
}

#[test]
fn without_anything_near_there_is_no_rule() {
    let request = canonical(&chat("a", "b"));
    let rules = Rules::builtin().unwrap();
    let nothing = Mismatch::new((1, Why::NotRecorded, Outcome::Refused), &request, None, &rules);
    assert!(nothing.rules.is_empty());
    assert!(nothing.headline().contains("nothing like it"));
    let near = Some((3, &request));
    let again = Mismatch::new((2, Why::Exhausted, Outcome::Served(3)), &request, near, &rules);
    assert!(again.render().contains("more often than recorded"));
}

#[test]
fn long_texts_are_cut() {
    let (mismatch, _) =
        compare(&chat(&"a b ".repeat(200_000), "x"), &chat(&"b c ".repeat(200_000), "x"));
    assert!(mismatch.render().len() < 64 << 10);
}
