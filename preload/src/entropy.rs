//! Seeded randomness: ChaCha20 keyed by the session's seed, the process and the thread.

use core::sync::atomic::Ordering;

use log_format::table::Memory;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::arena;
use crate::process::Process;
use crate::sys::Guest;
use crate::text::Text;

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

/// Writes the first `len` bytes of the image's next random UUID (RFC 9562, version 4) and a newline
/// to the guest's memory.
pub fn write_uuid(p: &mut Process, addr: u64, len: u64) {
    // Streams that no thread has.
    const FIRST: u32 = 1 << 31;
    let mut rng = stream(p, FIRST + p.uuids);
    p.uuids += 1;
    let mut random = [0u8; 16];
    fill(&mut rng, &mut random);
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = Text::<37>::default();
    for (i, byte) in random.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push(b"-");
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(&[b"0123456789abcdef"[usize::from(digit)]]);
        }
    }
    text.push(b"\n");
    let given = text.get().get(..len as usize).unwrap_or(text.get());
    crate::sys::write_guest(addr, given);
}

/// What a call gets that the seed answers, in both modes: getrandom, and reads of random devices.
/// Its result.
pub fn answer(rng: &mut Rng, nr: u64, args: &[u64; 6]) -> i64 {
    // The kernel gives at most this much at once.
    const RANDOM_MAX: u64 = 33_554_431;
    const IOV_MAX: u64 = 1024;
    let mut left = RANDOM_MAX;
    let (mut done, mut fault) = (0, false);
    let mut part = |at: Option<u64>, len: Option<u64>| {
        let (Some(at), Some(len)) = (at, len) else { return false };
        let wanted = len.min(left);
        let given = fill_guest(rng, at, wanted);
        left -= given;
        done += given;
        given == wanted
    };
    match nr as i64 {
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => {
            if args[2] > IOV_MAX {
                return -i64::from(libc::EINVAL);
            }
            for i in 0..args[2] {
                let at = args[1].wrapping_add(i * 16);
                if !part(Guest.u64(at), Guest.u64(at.wrapping_add(8))) {
                    fault = true;
                    break;
                }
            }
        }
        libc::SYS_getrandom => fault = !part(Some(args[0]), Some(args[1])),
        _ => fault = !part(Some(args[1]), Some(args[2])),
    }
    if fault && done == 0 { -i64::from(libc::EFAULT) } else { done as i64 }
}

/// Writes `len` random bytes to the guest's memory; how many could be written.
fn fill_guest(rng: &mut Rng, addr: u64, len: u64) -> u64 {
    let mut done = 0;
    let mut block = [0u8; 256];
    while done < len {
        let n = (len - done).min(block.len() as u64) as usize;
        let Some(part) = block.get_mut(..n) else { break };
        fill(rng, part);
        if !crate::sys::write_guest(addr + done, part) {
            break;
        }
        done += n as u64;
    }
    done
}
