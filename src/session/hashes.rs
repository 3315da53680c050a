//! Content hashes of files, remembered by identity, so that libraries are hashed once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the cache in a store's directory.
const FILE: &str = ".hashes";
/// The cache is begun anew beyond this size, bytes.
const BYTES_MAX: u64 = 8 << 20;

/// A cache of blake3 hashes. One line each: identity, space, hash, in hex.
#[derive(Debug)]
pub struct Hashes {
    path: PathBuf,
    known: HashMap<u64, String>,
    fresh: String,
}

impl Hashes {
    /// The cache of the store in `store`; empty if there is none.
    pub fn load(store: &Path) -> Hashes {
        let path = store.join(FILE);
        let small = fs::metadata(&path).is_ok_and(|m| m.len() <= BYTES_MAX);
        let text =
            if small { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let known = text.lines().filter_map(parse).collect();
        Hashes { path, known, fresh: String::new() }
    }

    /// The hash of the file with this identity, read from `path` if not known; none if it can't
    /// be read.
    pub fn of(&mut self, identity: u64, path: &Path) -> Option<String> {
        if let Some(hash) = self.known.get(&identity) {
            return Some(hash.clone());
        }
        let hash = blake3_of(path).ok()?;
        self.known.insert(identity, hash.clone());
        self.fresh.push_str(&format!("{identity:016x} {hash}\n"));
        Some(hash)
    }

    /// Adds what is new to the file. Failure only costs time later.
    pub fn save(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let full = fs::metadata(&self.path).is_ok_and(|m| m.len() > BYTES_MAX);
        let mut options = File::options();
        options.create(true).append(!full).write(true).truncate(full);
        // One write, so that two hosts do not mix their lines.
        let _ = options.open(&self.path).and_then(|mut f| f.write_all(self.fresh.as_bytes()));
        self.fresh.clear();
    }
}

fn parse(line: &str) -> Option<(u64, String)> {
    let (identity, hash) = line.split_once(' ')?;
    let whole = hash.len() == 64 && identity.len() == 16;
    Some((u64::from_str_radix(identity, 16).ok()?, hash.to_owned())).filter(|_| whole)
}

/// blake3 of a file's content, in hex.
///
/// # Errors
/// The system's.
pub fn blake3_of(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_remembered_and_a_damaged_cache_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "content").unwrap();
        let mut hashes = Hashes::load(dir.path());
        let hash = hashes.of(7, &file).unwrap();
        hashes.save();
        fs::remove_file(&file).unwrap();
        assert_eq!(Hashes::load(dir.path()).of(7, &file), Some(hash));
        assert_eq!(Hashes::load(dir.path()).of(8, &file), None);
        fs::write(dir.path().join(FILE), "0000000000000007 short\nrubbish").unwrap();
        assert_eq!(Hashes::load(dir.path()).of(7, &file), None);
    }
}
