//! Finds many short byte strings at once.
//!
//! An automaton reads every byte, and each of its steps waits for the one before: too slow for
//! large data. So it reads several parts of a text side by side, and only where a quick look at
//! pairs of bytes says that a needle may begin.

use std::ops::Range;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::{Anchored, dfa, nfa::contiguous};

/// More needles than this are looked for by a slower and smaller automaton.
const NEEDLES_FAST_MAX: usize = 2000;
/// Parts of a text that are read side by side.
const LANES: usize = 6;
/// Shortest part, bytes.
const LANE_BYTES_MIN: usize = 128;
/// Bytes about which the quick look says one thing.
const BLOCK_BYTES: usize = 64;
/// Blocks looked at before it is known whether the quick look is of use for those that follow.
const BLOCKS_TRIED: usize = 64;
/// Blocks whose fate the tried ones decide, themselves included.
const BLOCKS_DECIDED: usize = 1024;
/// Blocks without a needle that cost less to read than to stop for.
const BLOCKS_SPANNED: usize = 2;

/// Strings to find.
#[derive(Debug)]
pub(super) struct Needles {
    automaton: Kind,
    /// The first two pairs of neighbouring bytes of each needle: one of them stands at an even
    /// place. A bit for each.
    pairs: Box<[u64; 1 << 10]>,
    bytes_max: usize,
}

#[derive(Debug)]
enum Kind {
    /// For few needles.
    Fast(dfa::DFA),
    /// For many.
    Small(contiguous::NFA),
}

impl Needles {
    /// Something that finds these, each of two bytes or more; none without any, or if there are
    /// too many.
    pub(super) fn new(needles: &[Vec<u8>]) -> Option<Needles> {
        // Start states are no special ones without a prefilter.
        let automaton = match needles.len() {
            0 => return None,
            1..=NEEDLES_FAST_MAX => {
                Kind::Fast(dfa::Builder::new().prefilter(false).build(needles).ok()?)
            }
            _ => Kind::Small(contiguous::Builder::new().prefilter(false).build(needles).ok()?),
        };
        let mut pairs = Box::new([0; 1 << 10]);
        let mut note = |pair: u16| pairs[usize::from(pair >> 6)] |= 1 << (pair & 63);
        for needle in needles {
            let all = needle.windows(2).filter_map(|w| w.first_chunk()).take(2);
            all.for_each(|pair| note(u16::from_le_bytes(*pair)));
            // A needle of two bytes at an odd place: its last one begins a pair.
            if let [_, last] = needle[..] {
                (0..=u8::MAX).for_each(|any| note(u16::from_le_bytes([last, any])));
            }
        }
        let bytes_max = needles.iter().map(Vec::len).max().unwrap_or(0);
        Some(Needles { automaton, pairs, bytes_max })
    }

    /// Calls `found` with the number and the start of each needle wherever it stands in `text`, in
    /// no certain order.
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(usize, usize)) {
        for blocks in self.runs(text) {
            // A needle that begins at the last byte of the block before is this block's.
            let from = (blocks.start * BLOCK_BYTES).saturating_sub(1);
            let last = blocks.end * BLOCK_BYTES - 1;
            let part = &text[from..text.len().min(last + self.bytes_max)];
            let found = |needle, at| {
                if from + at < last {
                    found(needle, from + at);
                }
            };
            match &self.automaton {
                Kind::Fast(automaton) => each(automaton, part, found),
                Kind::Small(automaton) => each(automaton, part, found),
            }
        }
    }

    /// Runs of blocks that needles may begin in, the last byte of each left to the next.
    fn runs<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let (blocks, rest) = text.as_chunks::<BLOCK_BYTES>();
        // The rest counts as one, and one more takes the last byte.
        let count = blocks.len() + usize::from(!rest.is_empty()) + 1;
        let (mut at, mut hits) = (0, 0);
        let mut may_begin = move || {
            let tried = at % BLOCKS_DECIDED;
            if tried == 0 {
                hits = 0;
            }
            let sure = tried >= BLOCKS_TRIED && hits > BLOCKS_TRIED / 2;
            let hit = sure || blocks.get(at).is_none_or(|block| self.is_hit(block));
            hits += usize::from(hit && tried < BLOCKS_TRIED);
            at += 1;
            hit
        };
        let mut next = 0;
        std::iter::from_fn(move || {
            while next < count {
                next += 1;
                if may_begin() {
                    let start = next - 1;
                    let mut end = next;
                    while next < count && next - end <= BLOCKS_SPANNED {
                        next += 1;
                        if may_begin() {
                            end = next;
                        }
                    }
                    return Some(start..end);
                }
            }
            None
        })
    }

    /// Whether one of the pairs stands at an even place.
    fn is_hit(&self, block: &[u8; BLOCK_BYTES]) -> bool {
        let (pairs, _) = block.as_chunks::<2>();
        // Without branches: all bits are looked up before one is looked at.
        let any = pairs.iter().fold(0, |any, pair| {
            let pair = u16::from_le_bytes(*pair);
            any | self.pairs[usize::from(pair >> 6)] >> (pair & 63)
        });
        any & 1 != 0
    }
}

fn each<A: Automaton>(automaton: &A, text: &[u8], mut found: impl FnMut(usize, usize)) {
    let Ok(start) = automaton.start_state(Anchored::No) else { return };
    let next = |state: StateID, byte: u8| automaton.next_state(Anchored::No, state, byte);
    let mut report = |state: StateID, end: usize| {
        if automaton.is_match(state) {
            for i in 0..automaton.match_len(state) {
                let needle = automaton.match_pattern(state, i);
                found(needle.as_usize(), end - automaton.pattern_len(needle));
            }
        }
    };
    let len = text.len() / LANES;
    let mut last = start;
    let mut done = 0;
    if len >= LANE_BYTES_MIN {
        let lanes: [&[u8]; LANES] = std::array::from_fn(|lane| &text[lane * len..][..len]);
        // A needle that ends in a lane may begin before it.
        let before = automaton.max_pattern_len() - 1;
        let mut states: [StateID; LANES] = std::array::from_fn(|lane| {
            let from = (lane * len).saturating_sub(before);
            text[from..lane * len].iter().fold(start, |state, byte| next(state, *byte))
        });
        for at in 0..len {
            let mut any = false;
            for (state, lane) in states.iter_mut().zip(lanes) {
                *state = next(*state, lane[at]);
                any |= automaton.is_special(*state);
            }
            if any {
                for (lane, state) in states.into_iter().enumerate() {
                    report(state, lane * len + at + 1);
                }
            }
        }
        last = states[LANES - 1];
        done = LANES * len;
    }
    for (at, byte) in text.iter().enumerate().skip(done) {
        last = next(last, *byte);
        if automaton.is_special(last) {
            report(last, at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both automata find what a plain search finds.
    fn check(needles: &[Vec<u8>], text: &[u8]) -> Result<(), TestCaseError> {
        let mut expected: Vec<(usize, usize)> = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            let all = text.windows(needle.len()).enumerate();
            expected.extend(all.filter(|(_, w)| *w == &needle[..]).map(|(at, _)| (number, at)));
        }
        expected.sort_unstable();
        let fast = Needles::new(needles).unwrap();
        let nfa = contiguous::Builder::new().prefilter(false).build(needles).unwrap();
        let small = Needles { automaton: Kind::Small(nfa), ..Needles::new(needles).unwrap() };
        for needles in [fast, small] {
            let mut found = Vec::new();
            needles.each(text, |number, at| found.push((number, at)));
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn each_needle_is_found_wherever_it_stands(
            mut needles in prop::collection::vec(prop::collection::vec(b'a'..b'd', 2..9), 1..20),
            common in prop::collection::vec(b'a'..b'd', 0..3000),
            places in prop::collection::vec((0..100_000usize, 0..20usize), 0..100),
            len in 0..100_000usize,
        ) {
            needles.sort();
            needles.dedup();
            check(&needles, &common)?;
            let mut rare = vec![b'-'; len];
            for (at, needle) in places {
                let needle = &needles[needle % needles.len()];
                if let Some(place) = rare.get_mut(at..at + needle.len()) {
                    place.copy_from_slice(needle);
                }
            }
            // Also behind a part in which everything is a hit.
            check(&needles, &rare)?;
            check(&needles, &[common.repeat(3), rare].concat())?;
        }
    }
}
