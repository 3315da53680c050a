//! The secrets of a running recording, beside its arena: what completes the session of a host
//! that was killed. Removed with the arena.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::matcher::Secret;
use crate::session::manifest::ByteText;

/// What the name of an arena gets.
pub(super) const ENDING: &str = ".secrets";

/// An open stash.
#[derive(Debug)]
pub(super) struct Stash {
    file: File,
}

/// One line of a stash.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// The first: what else a redactor needs.
    Head {
        /// Key of the placeholders.
        key: [u8; 32],
        /// The user's rules.
        rules: Option<String>,
    },
    /// A value.
    Secret {
        /// The value.
        value: ByteText,
        /// First bytes of it that are no secret.
        keep: usize,
        /// What must stand before it.
        context: ByteText,
        /// Who found it.
        rule: String,
    },
}

/// Its path for an arena.
pub(crate) fn path(arena: &Path) -> PathBuf {
    let mut path = arena.as_os_str().to_owned();
    path.push(ENDING);
    path.into()
}

impl Stash {
    /// A new stash, readable by its owner only.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn create(path: &Path, head: &Line) -> std::io::Result<Stash> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let mut stash = Stash { file };
        stash.line(head)?;
        Ok(stash)
    }

    /// Adds a value.
    pub(super) fn add(&mut self, secret: &Secret) {
        let _ = self.line(&Line::Secret {
            value: ByteText(secret.value.clone()),
            keep: secret.keep,
            context: ByteText(secret.context.clone()),
            rule: secret.rule.clone(),
        });
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

/// Reads a stash, as far as it was written.
///
/// # Errors
/// The system's.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    let text = std::fs::read(path)?;
    let lines = text.split(|b| *b == b'\n').map_while(|line| serde_json::from_slice(line).ok());
    Ok(lines.collect())
}
