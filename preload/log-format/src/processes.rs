//! The recorded processes, as the shim of a network replay knows them, and which of them a live
//! process stands for.
//!
//! The host writes a file, which the shim maps:
//!
//! ```text
//! words of 64 bits: | MAGIC | count n | Recorded * n, by key |
//! ```

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arena::child_key;

/// First word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RRPROCS\0");
/// The file's name, with a NUL.
pub const FILE: &[u8] = b"/processes\0";
/// Words of a row.
pub const ROW: usize = 6;

/// A recorded process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its key.
    pub key: u64,
    /// Its pid; 0: pids are live ones.
    pub pid: i32,
    /// Key of its parent.
    pub parent: u64,
    /// Which child of its parent it was.
    pub ordinal: u32,
    /// The program that it executed first.
    pub executed: Executed,
}

impl Recorded {
    /// As it stands in the file.
    pub fn to_words(self) -> [u64; ROW] {
        let Recorded { key, pid, parent, ordinal, executed } = self;
        [key, pid as u64, parent, ordinal.into(), executed.exact, executed.alike]
    }

    fn from_words([key, pid, parent, ordinal, exact, alike]: [u64; ROW]) -> Recorded {
        let executed = Executed { exact, alike };
        Recorded { key, pid: pid as i32, parent, ordinal: ordinal as u32, executed }
    }
}

/// Hashes of a program's arguments; zeros: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Of all bytes.
    pub exact: u64,
    /// But for what is made anew for each child: words with digits, and names in /tmp.
    pub alike: u64,
}

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u64);

impl Hash {
    const START: Hash = Hash(0xcbf2_9ce4_8422_2325);

    const fn with(self, byte: u8) -> Hash {
        Hash((self.0 ^ byte as u64).wrapping_mul(0x100_0000_01b3))
    }
}

/// Hashes a program's arguments.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    exact: Hash,
    alike: Hash,
    /// `alike` before the word that goes on, and whether that has a digit.
    word: Option<(Hash, bool)>,
    /// The last bytes, to find /tmp/.
    last: u64,
    in_tmp: bool,
}

impl Default for Arguments {
    fn default() -> Arguments {
        let (exact, alike) = (Hash::START, Hash::START);
        Arguments { exact, alike, word: None, last: 0, in_tmp: false }
    }
}

impl Arguments {
    /// Adds the next bytes: those of each argument and its NUL.
    pub fn add(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    fn byte(&mut self, byte: u8) {
        const TMP: u64 = u64::from_be_bytes(*b"\0\0\0/tmp/");
        self.exact = self.exact.with(byte);
        self.last = self.last << 8 | u64::from(byte);
        self.in_tmp &= byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
        if self.in_tmp {
            return;
        }
        if byte.is_ascii_alphanumeric() {
            let (before, digit) = self.word.unwrap_or((self.alike, false));
            self.word = Some((before, digit || byte.is_ascii_digit()));
        } else {
            self.end_word();
        }
        self.alike = self.alike.with(byte);
        self.in_tmp = self.last & 0xff_ffff_ffff == TMP;
    }

    fn end_word(&mut self) {
        if let Some((before, true)) = self.word.take() {
            self.alike = before.with(b'#');
        }
    }

    /// The hashes, which are not 0.
    pub fn hashes(mut self) -> Executed {
        self.end_word();
        Executed { exact: self.exact.0.max(1), alike: self.alike.0.max(1) }
    }
}

/// Which argument of a call holds those of the program that it executes: execve's, execveat's.
pub fn arguments_at(nr: u16) -> Option<u8> {
    match nr {
        59 => Some(1),
        322 => Some(2),
        _ => None,
    }
}

fn rows(words: &[u64]) -> &[[u64; ROW]] {
    match words {
        [MAGIC, count, rows @ ..] => {
            let (rows, _) = rows.as_chunks::<ROW>();
            rows.get(..*count as usize).unwrap_or_default()
        }
        _ => &[],
    }
}

fn place(rows: &[[u64; ROW]], key: u64) -> Option<(usize, Recorded)> {
    let at = rows.binary_search_by_key(&key, |row| row[0]).ok()?;
    Some((at, Recorded::from_words(*rows.get(at)?)))
}

/// The pid that the process with this key had; None if it was not recorded, pids are live ones, or
/// the file is not whole.
pub fn pid(words: &[u64], key: u64) -> Option<i32> {
    place(rows(words), key).map(|(_, row)| row.pid).filter(|pid| *pid != 0)
}

/// Whether a process of the recording had this pid.
pub fn has_pid(words: &[u64], pid: i32) -> bool {
    rows(words).iter().any(|row| Recorded::from_words(*row).pid == pid)
}

/// Rows that can be claimed.
const CLAIMS: usize = 1 << 14;

/// Which rows have a live process that stands for them, by what it executed.
#[repr(C)]
pub struct Claims([AtomicU64; CLAIMS / 64]);

impl Claims {
    fn bit(&self, row: usize) -> Option<(&AtomicU64, u64)> {
        self.0.get(row / 64).map(|word| (word, 1 << (row % 64)))
    }

    /// Claims a row; false if another process has it.
    fn take(&self, row: usize) -> bool {
        let old = self.bit(row).map(|(word, bit)| word.fetch_or(bit, Ordering::AcqRel) & bit);
        old == Some(0)
    }

    fn is_taken(&self, row: usize) -> bool {
        self.bit(row).is_none_or(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// A process no longer stands for the one with this key.
    pub fn release(&self, words: &[u64], key: u64) {
        if let Some((word, bit)) = place(rows(words), key).and_then(|(row, _)| self.bit(row)) {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// The key of the recorded process that a child stands for which is about to execute a program
/// with these arguments, its first: children that run at the same time are created in any
/// order. `key`, `parent` and `ordinal` are what it has by the order of its creation.
///
/// One that executed the same is claimed, or else one that executed the like, that with the same
/// ordinal first. If there is none, it is the one with the same ordinal, whose arguments have
/// changed; if another has claimed that, it is none of the recording's.
pub fn stands_for(
    words: &[u64],
    claims: &Claims,
    (key, parent, ordinal): (u64, u64, u32),
    executed: Executed,
) -> u64 {
    let rows = rows(words);
    let own = place(rows, key);
    let same = |row: &Recorded| row.executed.exact == executed.exact;
    let like = |row: &Recorded| row.executed.alike == executed.alike;
    let ways: [&dyn Fn(&Recorded) -> bool; 2] = [&same, &like];
    for fits in ways {
        let fits = |row: &Recorded| row.parent == parent && fits(row);
        if own.is_some_and(|(at, row)| fits(&row) && claims.take(at)) {
            return key;
        }
        loop {
            let all = rows.iter().map(|row| Recorded::from_words(*row)).enumerate();
            let free = all.filter(|(at, row)| fits(row) && !claims.is_taken(*at));
            match free.min_by_key(|(_, row)| row.ordinal) {
                Some((at, row)) if claims.take(at) => return row.key,
                Some(_) => {}
                None => break,
            }
        }
    }
    /// Above the ordinals of children that are counted.
    const OTHERS: u32 = 1 << 31;
    match own {
        Some((at, _)) if claims.is_taken(at) => child_key(parent, ordinal | OTHERS),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: u64 = 7;

    fn executed(exact: u64) -> Executed {
        Executed { exact, alike: exact / 10 }
    }

    /// Three children that executed 10, 20 and 10.
    fn file() -> [u64; 2 + 3 * ROW] {
        let mut words = [0; 2 + 3 * ROW];
        words[..2].copy_from_slice(&[MAGIC, 3]);
        for (at, arguments) in [10, 20, 10].into_iter().enumerate() {
            let ordinal = at as u32 + 1;
            let (key, pid) = (10 * u64::from(ordinal), 100 + ordinal as i32);
            let executed = executed(arguments);
            let row = Recorded { key, pid, parent: PARENT, ordinal, executed };
            words[2 + at * ROW..][..ROW].copy_from_slice(&row.to_words());
        }
        words
    }

    fn claims() -> Claims {
        Claims([const { AtomicU64::new(0) }; CLAIMS / 64])
    }

    #[test]
    fn a_process_is_found_by_its_key_and_damage_is_no_process() {
        let file = file();
        assert_eq!((pid(&file, 10), pid(&file, 30), pid(&file, 11)), (Some(101), Some(103), None));
        assert!(has_pid(&file, 102) && !has_pid(&file, 10));
        for end in 0..file.len() {
            assert_eq!(pid(&file[..end], 30), None);
        }
    }

    #[test]
    fn children_in_another_order_stand_for_those_that_executed_the_same() {
        let (file, claims) = (file(), claims());
        let child = |ordinal: u32, arguments| {
            let key = 10 * u64::from(ordinal);
            stands_for(&file, &claims, (key, PARENT, ordinal), executed(arguments))
        };
        assert_eq!([child(1, 20), child(2, 10), child(3, 10)], [20, 10, 30]);
        // A fourth one was not recorded, nor was this one's key.
        assert_eq!(child(4, 10), 40);
        // Another program in the place of the first, which is taken, and then is not.
        assert_eq!(child(1, 90), child_key(PARENT, 1 << 31 | 1));
        claims.release(&file, 10);
        assert_eq!([child(1, 90), child(2, 10)], [10, 10]);
        // The like of the second.
        claims.release(&file, 20);
        assert_eq!(child(1, 21), 20);
    }

    #[test]
    fn what_is_made_anew_for_each_child_makes_no_other_program() {
        let hashes = |text: &str| {
            let mut arguments = Arguments::default();
            text.split_inclusive(' ').for_each(|part| arguments.add(part.as_bytes()));
            arguments.hashes()
        };
        let [a, b] =
            ["bash 1d > /tmp/claude-beef-cwd x", "bash 77 > /tmp/other/b22c x"].map(hashes);
        assert!(a.exact != b.exact && a.alike == b.alike);
        for other in ["bash 1d > /tmp/claude-beef-cwd y", "bash d > /tmp/a x", "dash 1 > /tmp/a x"]
        {
            assert_ne!(hashes(other).alike, a.alike, "{other}");
        }
    }
}
