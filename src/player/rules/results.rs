//! Results of tools in the order of their calls.

use std::collections::HashMap;

use serde_json::Value;

/// The id of the call whose result an item is: Anthropic's content blocks, OpenAI's chat messages
/// and Responses items.
fn call_of(item: &Value) -> Option<&str> {
    let member = |name: &str| item.get(name).and_then(Value::as_str);
    match (member("type"), member("role")) {
        (Some("tool_result"), _) => member("tool_use_id"),
        (Some("function_call_output"), _) => member("call_id"),
        (_, Some("tool")) => member("tool_call_id"),
        _ => None,
    }
}

/// Places of ids in a body: where each stands first.
pub(super) fn places(body: &Value) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    collect(body, &mut places);
    places
}

fn collect(value: &Value, places: &mut HashMap<String, usize>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, places)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(id) if matches!(name.as_str(), "id" | "call_id") => {
                        let next = places.len();
                        places.entry(id.clone()).or_insert(next);
                    }
                    _ => collect(value, places),
                }
            }
        }
        _ => {}
    }
}

/// Sorts neighbouring results by their calls' places; whether that changed anything. Results of
/// calls that are not there stay where they are.
pub(super) fn sort(items: &mut [Value], places: &HashMap<String, usize>) -> bool {
    let place = |item: &Value| call_of(item).and_then(|id| places.get(id)).copied();
    let mut changed = false;
    for run in items.chunk_by_mut(|a, b| place(a).is_some() && place(b).is_some()) {
        changed |= !run.is_sorted_by_key(place);
        run.sort_by_key(place);
    }
    changed
}
