//! Interfaces that a player can stand for, whatever the path before their operations was.

use std::str::FromStr;

/// A known interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface(&'static str, &'static [&'static str]);

/// Names, and the beginnings of the operations' paths.
const KNOWN: [(&str, &[&str]); 5] = [
    (
        "openai",
        &[
            "chat/completions",
            "responses",
            "completions",
            "embeddings",
            "models",
            "moderations",
            "images/",
            "audio/",
            "files",
            "batches",
        ],
    ),
    ("anthropic", &["messages", "complete", "models"]),
    ("gemini", &["models"]),
    ("ollama", &["api/"]),
    ("bedrock", &["model/"]),
];

impl Interface {
    /// The operation that a path names, without what stands before it; none if it is not one of
    /// this interface.
    pub fn operation(self, path: &str) -> Option<String> {
        let starts = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
        let fits = |rest: &&str| {
            self.1.iter().any(|operation| {
                rest.strip_prefix(operation).is_some_and(|after| {
                    operation.ends_with('/') || after.is_empty() || after.starts_with('/')
                })
            })
        };
        starts.into_iter().find(fits).map(|rest| format!("/{rest}"))
    }
}

impl FromStr for Interface {
    type Err = String;

    fn from_str(name: &str) -> Result<Interface, String> {
        let found = KNOWN.iter().find(|(known, _)| *known == name);
        found.map(|(name, operations)| Interface(name, operations)).ok_or_else(|| {
            let names: Vec<_> = KNOWN.iter().map(|(known, _)| *known).collect();
            format!("the interfaces are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_lose_what_stands_before_them() {
        let operation = |name: &str, path: &str| name.parse::<Interface>().unwrap().operation(path);
        let chat = Some("/chat/completions".to_owned());
        assert_eq!(operation("openai", "/v1/chat/completions"), chat);
        assert_eq!(operation("openai", "/api/v1/chat/completions"), chat);
        assert_eq!(operation("anthropic", "/v1/chat/completions"), None);
        assert_eq!(operation("ollama", "/api/chat").as_deref(), Some("/api/chat"));
        assert_eq!(operation("openai", "/v1/modelsx"), None);
        assert!("bing".parse::<Interface>().is_err());
    }
}
