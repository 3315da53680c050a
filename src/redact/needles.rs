//! Finds many short byte strings at once.
//!
//! Data is large and hits are rare, so that most of it must be passed over quickly: a look at
//! pairs of bytes says in one or two processor cycles a byte where a needle may begin, a look at
//! three bytes says whether one is likely to, and only then are needles compared.

/// Longest needle, bytes: a word holds it.
pub(super) const NEEDLE_BYTES: usize = 8;
/// Bytes that are looked at without a branch.
const BLOCK_BYTES: usize = 64;
/// Bits of a hash of three bytes by which needles are put in order.
const BUCKET_BITS: u32 = 10;

/// A set of numbers below 2^16.
type Bits = Box<[u64; 1 << 10]>;

fn has(bits: &Bits, number: u16) -> bool {
    bits[usize::from(number >> 6)] >> (number & 63) & 1 != 0
}

fn put(bits: &mut Bits, number: u16) {
    bits[usize::from(number >> 6)] |= 1 << (number & 63);
}

/// Strings to find.
#[derive(Debug)]
pub(super) struct Needles {
    /// The two pairs of neighbouring bytes at the beginning of each needle's rarest part: one of
    /// them stands at an even place.
    pairs: Bits,
    /// Hashes of those three bytes.
    hashes: Bits,
    /// Where in `needles` those begin whose hash has the same first bits, and where the last end.
    buckets: Box<[u32; (1 << BUCKET_BITS) + 1]>,
    /// By their hash.
    needles: Vec<Needle>,
}

/// A needle, or one of two bytes with one of the bytes that may follow it.
#[derive(Clone, Copy, Debug)]
struct Needle {
    hash: u16,
    number: u32,
    len: u32,
    /// Where its rarest part begins.
    part: u32,
    /// Its bytes.
    word: u64,
    /// All bits of a word that are its own.
    mask: u64,
}

/// A hash of the first three bytes of a word.
fn hash(word: u64) -> u16 {
    ((word as u32 & 0xff_ffff).wrapping_mul(0x9e37_79b1) >> 16) as u16
}

/// How often bytes stand together in what programs read and write, roughly: text, names, code.
fn how_common(bytes: &[u8; 3]) -> u32 {
    let common = |byte: &u8| match byte.to_ascii_lowercase() {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | 0 => 5,
        b'l' | b'd' | b'c' | b'u' | b'm' | b'p' | b'f' | b'_' | b' ' => 4,
        b'g' | b'h' | b'y' | b'b' | b'w' | b'v' | b'"' | b'.' | b'/' | b'0'..=b'9' => 3,
        b'k' | b'x' | b'-' | b'=' => 2,
        _ => 1,
    };
    let factor = |byte: &u8| common(byte) - u32::from(byte.is_ascii_uppercase());
    bytes.iter().map(factor).product()
}

/// The bytes of `text` from `at` on, as a word; zeros behind the end.
fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; NEEDLE_BYTES];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

impl Needles {
    /// Something that finds these, each of two to [`NEEDLE_BYTES`] bytes; none without any.
    pub(super) fn new(needles: &[Vec<u8>]) -> Option<Needles> {
        let (mut pairs, mut hashes) = (Bits::new([0; 1 << 10]), Bits::new([0; 1 << 10]));
        let mut all = Vec::with_capacity(needles.len());
        for (number, needle) in needles.iter().enumerate() {
            let word = word_at(needle, 0);
            let mask = u64::MAX >> (u64::BITS as usize - 8 * needle.len().min(NEEDLE_BYTES));
            let mut add = |part: usize, bytes: [u8; 3]| {
                put(&mut pairs, u16::from_le_bytes([bytes[0], bytes[1]]));
                put(&mut pairs, u16::from_le_bytes([bytes[1], bytes[2]]));
                let hash = hash(word_at(&bytes, 0));
                let (number, len, part) = (number as u32, needle.len() as u32, part as u32);
                all.push(Needle { hash, number, len, part, word, mask });
            };
            let parts = needle.array_windows().enumerate();
            match parts.min_by_key(|(_, part)| how_common(part)) {
                Some((at, part)) => add(at, *part),
                // Whatever follows.
                None => (0..=u8::MAX).for_each(|any| add(0, [needle[0], needle[1], any])),
            }
        }
        all.sort_unstable_by_key(|needle| needle.hash);
        all.iter().for_each(|needle| put(&mut hashes, needle.hash));
        let bucket = |needle: &Needle| u32::from(needle.hash) >> (16 - BUCKET_BITS);
        let start = |i: usize| all.partition_point(|needle| bucket(needle) < i as u32) as u32;
        let buckets = Box::new(std::array::from_fn(start));
        (!all.is_empty()).then_some(Needles { pairs, hashes, buckets, needles: all })
    }

    /// Calls `found` with the number and the start of each needle wherever it stands in `text`, in
    /// no certain order.
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(usize, usize)) {
        let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
        for (block, start) in blocks.iter().zip((0..).step_by(BLOCK_BYTES)) {
            if !self.is_hit(block) {
                continue;
            }
            let mut hits = self.hits(block);
            while hits != 0 {
                let at = start + 2 * hits.trailing_zeros() as usize;
                hits &= hits - 1;
                if let Some(before) = at.checked_sub(1) {
                    self.look(text, before, &mut found);
                }
                self.look(text, at, &mut found);
            }
        }
        // A part that begins at the last byte of a block has its even pair behind it.
        let rest = (blocks.len() * BLOCK_BYTES).saturating_sub(1);
        for at in rest..text.len().saturating_sub(1) {
            self.look(text, at, &mut found);
        }
    }

    /// Whether some of a block's pairs are the parts'.
    fn is_hit(&self, block: &[u8; BLOCK_BYTES]) -> bool {
        let (pairs, _) = block.as_chunks::<2>();
        // All are looked up before one bit is looked at.
        let any = pairs.iter().fold(0, |any, pair| {
            let pair = u16::from_le_bytes(*pair);
            any | self.pairs[usize::from(pair >> 6)] >> (pair & 63)
        });
        any & 1 != 0
    }

    /// Which of a block's pairs are some of the parts': a bit for each.
    fn hits(&self, block: &[u8; BLOCK_BYTES]) -> u64 {
        let (pairs, _) = block.as_chunks::<2>();
        let bit = |pair: &[u8; 2]| u64::from(has(&self.pairs, u16::from_le_bytes(*pair)));
        pairs.iter().enumerate().fold(0, |hits, (i, pair)| hits | bit(pair) << i)
    }

    /// Tells the needles whose rarest part is at `at`.
    #[inline]
    fn look(&self, text: &[u8], at: usize, found: &mut impl FnMut(usize, usize)) {
        let hash = hash(word_at(text, at));
        if !has(&self.hashes, hash) {
            return;
        }
        let bucket = usize::from(hash >> (16 - BUCKET_BITS));
        let (start, end) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        for needle in self.needles.get(start..end).unwrap_or_default() {
            if needle.hash == hash
                && let Some(start) = at.checked_sub(needle.part as usize)
                && word_at(text, start) & needle.mask == needle.word
                && start + needle.len as usize <= text.len()
            {
                found(needle.number as usize, start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few of them, common and rare ones.
    fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, b'a', b'-', b'Z']), len)
    }

    /// What a plain search finds is found, and nothing else.
    fn check(needles: &[Vec<u8>], text: &[u8]) -> Result<(), TestCaseError> {
        let mut expected: Vec<(usize, usize)> = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            let all = text.windows(needle.len()).enumerate();
            expected.extend(all.filter(|(_, w)| *w == &needle[..]).map(|(at, _)| (number, at)));
        }
        expected.sort_unstable();
        let mut found = Vec::new();
        Needles::new(needles).unwrap().each(text, |number, at| found.push((number, at)));
        found.sort_unstable();
        prop_assert_eq!(&found, &expected);
        Ok(())
    }

    proptest! {
        #[test]
        fn each_needle_is_found_wherever_it_stands(
            mut needles in prop::collection::vec(bytes(2..9), 1..20),
            common in bytes(0..3000),
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
            check(&needles, &rare)?;
            check(&needles, &[common, rare].concat())?;
        }
    }

    #[test]
    fn no_needles_find_nothing() {
        assert!(Needles::new(&[]).is_none());
    }
}
