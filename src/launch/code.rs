//! What is known of the code in programs and libraries, kept from one run to the next.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use log_format::code::{COUNT, Table};

/// Name of the file in a store's directory. One line each: key, space, facts, in hex.
const FILE: &str = ".code";
/// The file is begun anew beyond this size, bytes.
const BYTES_MAX: u64 = 1 << 20;
/// Most entries given to a run, so that there is room for its own.
const GIVEN_MAX: usize = COUNT / 2;

/// What earlier runs of a store have found.
#[derive(Debug)]
pub struct Known {
    path: PathBuf,
    keys: HashSet<u64>,
}

impl Known {
    /// Reads it, and fills a new run's table with it.
    pub fn load(store: &Path, table: &Table) -> Known {
        let path = store.join(FILE);
        let small = fs::metadata(&path).is_ok_and(|m| m.len() <= BYTES_MAX);
        let text =
            if small { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let known: Vec<_> = text.lines().filter_map(parse).collect();
        // What was found last is likeliest to be of use.
        for (key, facts) in known.iter().rev().take(GIVEN_MAX) {
            table.insert(*key, *facts);
        }
        Known { path, keys: known.into_iter().map(|(key, _)| key).collect() }
    }

    /// Adds what this run has found. Failure only costs time later.
    pub fn save(&self, table: &Table) {
        let fresh = table.all().filter(|(key, _)| !self.keys.contains(key));
        let fresh: String = fresh.map(|(key, facts)| format!("{key:016x} {facts:x}\n")).collect();
        if fresh.is_empty() {
            return;
        }
        let full = fs::metadata(&self.path).is_ok_and(|m| m.len() > BYTES_MAX);
        let mut options = File::options();
        options.create(true).append(!full).write(true).truncate(full);
        // One write, so that two hosts do not mix their lines.
        let _ = options.open(&self.path).and_then(|mut f| f.write_all(fresh.as_bytes()));
    }
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let (key, facts) = line.split_once(' ')?;
    Some((u64::from_str_radix(key, 16).ok()?, u64::from_str_radix(facts, 16).ok()?))
}
