use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::player::sample;

fn canonical(body: &Value) -> Canonical {
    Canonical::new(&sample::post("/v1/chat/completions?page=2", body), &[]).unwrap()
}

fn rules(text: &str) -> Rules {
    Rules::parse(text, "test").unwrap()
}

#[test]
fn the_builtin_rules_leave_the_prompt_alone() {
    let rules = Rules::builtin().unwrap();
    let with = |user: &str, text: &str| {
        let mut c = canonical(&json!({"user": user, "messages": [{"content": text}]}));
        let names: Vec<_> = rules.apply(&mut c).into_iter().map(str::to_owned).collect();
        (c, names)
    };
    let (a, names) = with("u1", "id 123e4567-e89b-12d3-a456-426614174000 in /tmp/abc1/f.txt");
    let (b, _) = with("u2", "id 223e4567-e89b-12d3-a456-426614174000 in /tmp/xyz9/f.txt");
    assert_eq!(a, b);
    assert_eq!(names, ["openai-ids", "uuids", "temp-paths"]);
    let took = |ms: u32| with("u", &format!("done\nduration_ms: {ms}\nWall time: 0.{ms} seconds"));
    assert_eq!(
        (took(71).0, took(71).1),
        (took(135).0, vec!["openai-ids".into(), "durations".into()])
    );
    assert_ne!(with("u", "it took 71 ms").0, with("u", "it took 135 ms").0);
    assert_ne!(with("u", "it is 2026-11-23").0, with("u", "it is 2026-11-24").0);
}

#[test]
fn results_of_tools_may_come_in_any_order_if_each_is_its_call_s() {
    let rules = Rules::builtin().unwrap();
    let seen = |messages: Vec<Value>| {
        let mut c = canonical(&json!({ "messages": messages }));
        rules.apply(&mut c);
        c
    };
    let (x, y) = ("call_aaaaaaaa", "call_bbbbbbbb");
    let calls =
        |x: &str, y: &str| json!({"role": "assistant", "tool_calls": [{"id": x}, {"id": y}]});
    let tool = |id: &str, text: &str| json!({"role": "tool", "tool_call_id": id, "content": text});
    let user = json!({"role": "user", "content": "u"});
    let in_order = seen(vec![calls(x, y), tool(x, "1"), tool(y, "2")]);
    assert_eq!(in_order, seen(vec![calls(x, y), tool(y, "2"), tool(x, "1")]));
    // With other ids in each run.
    let (v, w) = ("call_zzzzzzzz", "call_cccccccc");
    assert_eq!(in_order, seen(vec![calls(v, w), tool(w, "2"), tool(v, "1")]));
    // Another call's result, and what is no result.
    assert_ne!(in_order, seen(vec![calls(x, y), tool(x, "2"), tool(y, "1")]));
    let between = seen(vec![calls(x, y), tool(x, "1"), user.clone(), tool(y, "2")]);
    assert_ne!(between, seen(vec![calls(x, y), tool(y, "2"), user, tool(x, "1")]));
    // Anthropic's blocks.
    let uses = json!({"role": "assistant", "content": [
        {"type": "tool_use", "id": "toolu_1"}, {"type": "tool_use", "id": "toolu_2"}]});
    let part = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": id});
    let of = |parts: [Value; 2]| vec![uses.clone(), json!({"role": "user", "content": parts})];
    let (one, two) = (part("toolu_1"), part("toolu_2"));
    assert_eq!(seen(of([one.clone(), two.clone()])), seen(of([two, one])));
}

#[test]
fn places_and_conditions_choose() {
    let rules = rules(
        "builtin = false\n[[rule]]\nwhen = {path='/v1/**', host='api.*'}\n\
         ignore = ['/messages/*/id', '/a~1b', 'query:page']\nunordered = ['/tools']\n\
         replace = [{regex='[0-9]+', with='N', at='/messages/0'}]",
    );
    let mut a = canonical(&json!({
        "messages": [{"id": 1, "content": "x1"}, {"id": 2, "content": "y2"}],
        "tools": ["b", "a"], "a/b": 1,
    }));
    let mut b = canonical(&json!({
        "messages": [{"id": 3, "content": "x77"}, {"id": 4, "content": "y2"}],
        "tools": ["a", "b"],
    }));
    b.query.clear();
    assert_eq!(rules.apply(&mut a), ["rule 1"]);
    rules.apply(&mut b);
    assert_eq!(a, b);
    let mut elsewhere = canonical(&json!({"tools": [1]}));
    elsewhere.path = "/other".into();
    assert!(rules.apply(&mut elsewhere).is_empty());
}

#[test]
fn mistakes_in_a_rules_file_are_named() {
    let message = |text: &str| Rules::parse(text, "r.toml").unwrap_err().to_string();
    assert!(message("[[rule]]\nignor = []").contains("ignor"));
    assert!(message("[[rule]]\nignore = ['messages']").contains("JSON pointer"));
    assert!(message("[[rule]]\nreplace = [{regex='(', with=''}]").contains("line 2"));
    assert!(message("rule = 1").contains("r.toml"));
}

#[test]
fn rules_can_be_written_and_read_again() {
    let text = "[[rule]]\nname = 'n'\nwhen = {path = '/v1/*'}\nignore = ['/a/*/b', 'query:q']\n\
                replace = [{regex = 'x+', with = 'y'}]";
    let first = rules(&format!("builtin = false\n{text}"));
    let written = Rules::render(&first.rules).unwrap();
    let again = rules(&format!("builtin = false\n{written}"));
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_more(text in "[a-z0-9/_-]{0,60}", n in 0..9u32) {
        let rules = Rules::builtin().unwrap();
        let mut once = canonical(&json!({"seed": n, "messages": [{"content": text}]}));
        rules.apply(&mut once);
        let mut twice = once.clone();
        rules.apply(&mut twice);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn pointers_survive_writing(tokens in prop::collection::vec("[a-z~/*]{1,4}", 1..4)) {
        let token = |t: &String| (t != "*").then(|| t.clone());
        let place = Place::Pointer(tokens.iter().map(token).collect());
        prop_assert_eq!(Place::try_from(String::from(place.clone())).unwrap(), place);
    }
}
