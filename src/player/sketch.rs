//! Sketches: what is kept of each recorded request to find the nearest one, a few hashes.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::key::{Canonical, Content};

/// Members that hold a conversation, in the requests of the known interfaces.
pub(super) const CONVERSATIONS: [&str; 3] = ["messages", "input", "contents"];

/// Hashes of a request's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    conversation: Box<[u64]>,
    members: Box<[u64]>,
}

impl Sketch {
    /// The sketch of a request.
    pub fn new(request: &Canonical) -> Sketch {
        let Content::Json(Value::Object(map)) = &request.body else {
            let whole = xxh3_64(request.body.to_json().to_string().as_bytes());
            return Sketch { conversation: [].into(), members: [whole].into() };
        };
        let hash = |value: &Value| xxh3_64(value.to_string().as_bytes());
        let conversation = CONVERSATIONS.iter().find_map(|name| map.get(*name)?.as_array());
        let member = |(name, value): (&String, &Value)| {
            xxh3_64(name.as_bytes()).wrapping_mul(31).wrapping_add(hash(value))
        };
        let others = map.iter().filter(|(name, _)| !CONVERSATIONS.contains(&name.as_str()));
        let mut members: Vec<u64> = others.map(member).collect();
        members.sort_unstable();
        Sketch {
            conversation: conversation.into_iter().flatten().map(hash).collect(),
            members: members.into(),
        }
    }

    /// How much two requests have in common: messages at the beginning of the conversation,
    /// messages anywhere less those that only one has, members.
    pub fn likeness(&self, other: &Sketch) -> (usize, isize, usize) {
        let pairs = self.conversation.iter().zip(&other.conversation);
        let prefix = pairs.take_while(|(a, b)| a == b).count();
        let anywhere = self.conversation.iter().filter(|h| other.conversation.contains(h)).count();
        let lengths = self.conversation.len().abs_diff(other.conversation.len());
        let members = self.members.iter().filter(|h| other.members.binary_search(h).is_ok());
        (prefix, anywhere as isize - lengths as isize, members.count())
    }
}
