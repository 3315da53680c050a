//! Texts that guests leave for the host where nothing is logged: a ring of the last ones.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Texts that wait for the host.
pub const TELLINGS: usize = 32;
/// Bytes of a text, with the NUL behind it; what is longer is cut.
pub const TELLING_BYTES: usize = 256;

/// The ring.
#[repr(C)]
pub struct Tellings {
    /// Texts so far; the last [`TELLINGS`] stand in `texts`.
    told: AtomicU64,
    texts: [Telling; TELLINGS],
}

#[repr(C)]
struct Telling {
    /// Number of this text from 1, written last; 0: being written.
    number: AtomicU64,
    /// Key of the process.
    process: AtomicU64,
    /// NUL-terminated.
    text: [AtomicU8; TELLING_BYTES],
}

const _: () = assert!(size_of::<Telling>() == 16 + TELLING_BYTES);

impl Tellings {
    /// Leaves a text, as a process with this key.
    pub fn tell(&self, process: u64, parts: &[&[u8]]) {
        let number = self.told.fetch_add(1, Ordering::AcqRel);
        let Some(place) = self.texts.get(number as usize % TELLINGS) else { return };
        place.number.store(0, Ordering::Release);
        place.process.store(process, Ordering::Relaxed);
        let bytes = parts.iter().copied().flatten().take(TELLING_BYTES - 1).chain(&[0]);
        for (to, byte) in place.text.iter().zip(bytes) {
            to.store(*byte, Ordering::Relaxed);
        }
        place.number.store(number + 1, Ordering::Release);
    }

    /// Hands the texts to `each` that were left since the last time, with their processes' keys;
    /// `taken` counts those that have passed. How many of them were overwritten.
    pub fn take(&self, taken: &mut u64, mut each: impl FnMut(u64, &[u8])) -> u64 {
        let told = self.told.load(Ordering::Acquire);
        let from = (*taken).max(told.saturating_sub(TELLINGS as u64));
        let lost = from - *taken;
        *taken = from;
        for place in (from..told).map_while(|n| self.texts.get(n as usize % TELLINGS)) {
            if place.number.load(Ordering::Acquire) < *taken + 1 {
                break;
            }
            let mut text = [0; TELLING_BYTES];
            for (to, from) in text.iter_mut().zip(&place.text) {
                *to = from.load(Ordering::Relaxed);
            }
            let len = text.iter().position(|b| *b == 0).unwrap_or(TELLING_BYTES);
            each(place.process.load(Ordering::Relaxed), text.get(..len).unwrap_or(&text));
            *taken += 1;
        }
        lost
    }
}
