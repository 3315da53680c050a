//! Seeded randomness: ChaCha20 keyed by the session's seed, the process and the thread.

use core::sync::atomic::Ordering;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::arena;
use crate::process::Process;

/// A thread's stream of random bytes.
pub type Rng = Option<ChaCha20Rng>;

/// The stream of the `thread`-th thread of a process and image.
///
/// The seed keys the cipher. Process key and (image, thread) are mixed into it, since the
/// stream number alone has only 64 bits.
pub fn stream(process: &Process, thread: u32) -> Rng {
    let mut seed = [0u8; 32];
    for (to, from) in seed.iter_mut().zip(&arena::header().seed) {
        *to = from.load(Ordering::Relaxed);
    }
    let entry = process.entry();
    let key = entry.key.load(Ordering::Relaxed).to_le_bytes();
    for (to, from) in seed.iter_mut().zip(key) {
        *to ^= from;
    }
    let mut rng = ChaCha20Rng::from_seed(seed);
    let generation = entry.generation.load(Ordering::Relaxed);
    rng.set_stream(u64::from(generation) << 32 | u64::from(thread));
    Some(rng)
}

/// Fills `into` from a thread's stream.
pub fn fill(rng: &mut Rng, into: &mut [u8]) {
    if let Some(rng) = rng {
        rng.fill_bytes(into);
    }
}

/// Writes `len` random bytes to the guest's memory; false if it is not writable.
pub fn fill_guest(rng: &mut Rng, addr: u64, len: u64) -> bool {
    let mut done = 0;
    let mut block = [0u8; 256];
    while done < len {
        let n = (len - done).min(block.len() as u64) as usize;
        let Some(part) = block.get_mut(..n) else { return false };
        fill(rng, part);
        if !crate::sys::write_guest(addr + done, part) {
            return false;
        }
        done += n as u64;
    }
    true
}
