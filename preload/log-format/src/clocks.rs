//! Recorded clock readings of one program image, as a network replay's shim maps them.
//!
//! ```text
//! words of 64 bits: | MAGIC | sources n | answers m | (source, count, first word) * n |
//!                   | (exchange, readings before its answer's end, by source) * m, by exchange |
//!                   | readings ... |
//! ```
//!
//! A source is a clock id, or one of [`crate::record::clock`]'s values; readings are nanoseconds.

/// First word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RRCLOCKS");
/// Most sources of one file.
pub const SOURCES_MAX: usize = 16;
/// Most readings of a source between two reads of the same answer's end.
pub const BETWEEN: u64 = 8;
/// Length of a file's name: 16 hex digits of the process key, `-`, 8 of the image's number.
pub const NAME_BYTES: usize = 25;

/// Writes a file's name to the start of `to`.
pub fn name(key: u64, generation: u32, to: &mut [u8]) {
    let digits = (0..16)
        .rev()
        .map(|i| key >> (i * 4))
        .chain([u64::MAX])
        .chain((0..8).rev().map(|i| u64::from(generation) >> (i * 4)));
    for (i, (to, digit)) in to.iter_mut().zip(digits).enumerate() {
        let digit = (digit & 15) as u8;
        *to = match digit {
            _ if i == 16 => b'-',
            0..=9 => b'0' + digit,
            _ => b'a' + digit - 10,
        };
    }
}

/// The readings of a source: its place in the table, and them all. None if the file has none, or
/// is not whole.
pub fn find(words: &[u64], source: u8) -> Option<(usize, &[u64])> {
    let (count, _, table) = head(words)?;
    let rows = table.get(..count * 3)?.chunks_exact(3);
    rows.enumerate().find_map(|(place, row)| match row {
        [id, len, first] if *id == u64::from(source) => {
            let first = usize::try_from(*first).ok()?;
            let end = first.checked_add(usize::try_from(*len).ok()?)?;
            Some((place, words.get(first..end)?))
        }
        _ => None,
    })
}

/// How many readings there were of each source, by its place, when the answer of this exchange had
/// been read; None if it was not read by this image.
pub fn at_answer(words: &[u64], exchange: u32) -> Option<&[u64]> {
    let (sources, answers, table) = head(words)?;
    let width = sources + 1;
    let rows = table.get(sources * 3..)?.get(..answers.checked_mul(width)?)?;
    let exchange = u64::from(exchange);
    let (mut from, mut to) = (0, answers);
    while from < to {
        let middle = from + (to - from) / 2;
        let row = rows.get(middle * width..(middle + 1) * width)?;
        match row.split_first()? {
            (id, counts) if *id == exchange => return Some(counts),
            (id, _) if *id < exchange => from = middle + 1,
            _ => to = middle,
        }
    }
    None
}

/// Whether a call reads an answer: read, readv, recvfrom or recvmsg.
pub fn is_read(nr: u16) -> bool {
    matches!(nr, 0 | 19 | 45 | 47)
}

/// Sources, answers, and the words behind.
fn head(words: &[u64]) -> Option<(usize, usize, &[u64])> {
    let [MAGIC, sources, answers, table @ ..] = words else { return None };
    let sources = usize::try_from(*sources).ok().filter(|n| *n <= SOURCES_MAX)?;
    Some((sources, usize::try_from(*answers).ok()?, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_holds_key_and_image() {
        let mut to = [0; NAME_BYTES];
        name(0x12_3456_789a_bcde, 3, &mut to);
        assert_eq!(&to, b"00123456789abcde-00000003");
    }

    #[test]
    fn readings_are_found_by_their_source_and_damage_is_no_reading() {
        let file = [MAGIC, 2, 2, 0, 2, 15, 1, 1, 17, 3, 0, 1, 5, 2, 1, 7, 8, 9];
        assert_eq!(find(&file, 0), Some((0, &[7, 8][..])));
        assert_eq!(find(&file, 1), Some((1, &[9][..])));
        assert_eq!(find(&file, 4), None);
        assert_eq!(at_answer(&file, 3), Some(&[0, 1][..]));
        assert_eq!(at_answer(&file, 5), Some(&[2, 1][..]));
        assert_eq!([2, 4, 6].map(|id| at_answer(&file, id)), [None; 3]);
        for end in 0..17 {
            assert_eq!(find(&file[..end], 1), None);
            assert_eq!(at_answer(&file[..end.min(14)], 5), None);
        }
    }
}
