//! What is known of the code in files that guests have mapped: guests look it up before they
//! search a file themselves, and the host keeps it from one run to the next.

use core::sync::atomic::{AtomicU64, Ordering};

/// Files that fit into the table.
pub const COUNT: usize = 1024;
/// Places in which a key may stand.
const PROBES: usize = 16;
/// An odd number whose product has well mixed upper bits.
const MIXES: u64 = 0x9e37_79b9_7f4a_7c15;
/// Changes with what is searched for.
const SEARCH: u64 = 2;

/// The code reads the whole time stamp counter.
pub const READS_COUNTER: u64 = 1;
/// It has instructions that give random numbers.
pub const HAS_RANDOM: u64 = 2;
/// The file knows the variable OPENSSL_ia32cap, which keeps it from using those.
pub const CAN_BE_MASKED: u64 = 4;
/// Set in every entry that is filled in.
const KNOWN: u64 = 1 << 63;

/// One file's code.
#[repr(C)]
pub struct Entry {
    key: AtomicU64,
    facts: AtomicU64,
}

/// The table.
#[repr(C)]
pub struct Table {
    entries: [Entry; COUNT],
}

/// Key of `len` mapped bytes of code of the file with this identity; never 0.
pub fn key(identity: u64, len: u64) -> u64 {
    identity.rotate_left(17).wrapping_add(len.wrapping_mul(MIXES)) ^ SEARCH | 1
}

impl Table {
    fn places(&self, key: u64) -> impl Iterator<Item = &Entry> {
        let first = (key.wrapping_mul(MIXES) >> 32) as usize % COUNT;
        (first..first + PROBES).filter_map(|i| self.entries.get(i % COUNT))
    }

    /// What is known of this code.
    pub fn get(&self, key: u64) -> Option<u64> {
        let entry = self.places(key).find(|e| e.key.load(Ordering::Acquire) == key)?;
        let facts = entry.facts.load(Ordering::Acquire);
        (facts & KNOWN != 0).then_some(facts & !KNOWN)
    }

    /// Adds what is known of this code, if there is room.
    pub fn insert(&self, key: u64, facts: u64) {
        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
        let mut places = self.places(key);
        let place = places.find(|e| match e.key.compare_exchange(0, key, order, failed) {
            Ok(_) => true,
            Err(there) => there == key,
        });
        if let Some(entry) = place {
            entry.facts.store(facts | KNOWN, Ordering::Release);
        }
    }

    /// All that is known: keys and facts.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().filter_map(|entry| {
            let facts = entry.facts.load(Ordering::Acquire);
            (facts & KNOWN != 0).then(|| (entry.key.load(Ordering::Acquire), facts & !KNOWN))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_again_until_the_table_is_full() {
        let empty = |_| Entry { key: 0.into(), facts: 0.into() };
        let table = Table { entries: core::array::from_fn(empty) };
        assert_eq!(table.get(key(7, 1)), None);
        for identity in 0..4 * COUNT as u64 {
            table.insert(key(identity, 4096), identity & 7);
        }
        assert_eq!(table.get(key(3, 4096)), Some(3));
        assert_eq!(table.get(key(3, 8192)), None);
        let known = table.all().count();
        assert!((COUNT / 2..=COUNT).contains(&known), "{known}");
        assert!(table.all().all(|(key, facts)| table.get(key) == Some(facts)));
    }
}
