//! What the guest's code holds that must not run unseen: reads of the time stamp counter, which
//! can be trapped, and instructions that give random numbers, which can't.
//!
//! Each file is searched once: what was found stands in the arena's table, which the host keeps.
#![allow(unsafe_code, reason = "reads mapped code; raw syscalls with own buffers")]

use log_format::code::{CAN_BE_MASKED, HAS_RANDOM, READS_COUNTER, key};
use log_format::record::note;

use crate::calls::time;
use crate::files::{self, PATH_BYTES};
use crate::sys::sys;
use crate::thread::Thread;
use crate::{arena, record};

/// How far behind an instruction its use is looked for, bytes.
const REACH: u64 = 24;
/// How far behind rdrand or rdseed the use of its carry flag is, bytes.
const CARRY_REACH: usize = 11;

/// What is to be done about mapped code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The counter is to be trapped.
    pub trap_counter: bool,
    /// It may take random numbers from the processor.
    pub random: bool,
}

/// Judges the code of the file at `path` that is mapped from `start` to `end`. `masked`: the
/// environment tells OPENSSL_ia32cap.
pub fn judge(path: &[u8], start: u64, end: u64, masked: bool) -> Verdict {
    let system = files::of_the_system(path);
    if system && is_libc(path) {
        return Verdict::default();
    }
    let facts = facts(path, start, end);
    let can_be_masked = facts & CAN_BE_MASKED != 0;
    Verdict {
        // The system's OpenSSL, and what has it built in, reads the counter for nothing that
        // depends on it; see docs/decisions/009-counter.md.
        trap_counter: facts & READS_COUNTER != 0 && !(system && can_be_masked),
        random: facts & HAS_RANDOM != 0 && !(can_be_masked && masked),
    }
}

/// After code was mapped by an mmap with these arguments, at `start`, from a file of `size` bytes:
/// traps the counter from here on if it is read, and notes what can't be trapped.
pub fn watch(t: &mut Thread, path: &[u8], size: u64, start: u64, args: &[u64; 6]) {
    let [_, len, _, _, _, offset] = *args;
    // Pages behind the file's end can't be touched; the loader maps them before others replace
    // them.
    let len = len.min(size.next_multiple_of(4096).saturating_sub(offset));
    let verdict = judge(path, start, start + len, t.process().masked);
    if verdict.trap_counter && !t.process().trap_tsc {
        t.process().trap_tsc = true;
        time::trap_tsc();
    }
    if verdict.random && t.process().logging {
        record::note(t, note::RANDOM, path);
    }
}

/// True for the C library and its loader: they read the counter only for statistics and before
/// the shim is there.
fn is_libc(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    [&b"ld-linux"[..], b"ld-musl", b"libc.so", b"libc-"].iter().any(|n| name.starts_with(n))
}

fn facts(path: &[u8], start: u64, end: u64) -> u64 {
    let table = &arena::header().code;
    let mut name = [0u8; PATH_BYTES];
    let fits = path.len() < name.len();
    let len = path.len().min(name.len() - 1);
    name[..len].copy_from_slice(&path[..len]);
    // A file that was removed, or replaced, has no name by which it could be known.
    let identity = if fits { files::named(&name) } else { None };
    let key = identity.map(|identity| key(identity, end - start));
    if let Some(known) = key.and_then(|key| table.get(key)) {
        return known;
    }
    let mut facts = search(start, end);
    if facts != 0 && says_ia32cap(&name) {
        facts |= CAN_BE_MASKED;
    }
    if let Some(key) = key {
        table.insert(key, facts);
    }
    facts
}

/// Searches readable code from `start` to `end`.
///
/// A read of the counter that matters is rdtsc or rdtscp and, within a few instructions, a shift
/// of a register by 32 (the counter's upper half), or at once a use of the lower half alone, as a
/// loop with a time limit has it (OpenBLAS); a random number is rdrand or rdseed and a use
/// of the carry flag, which tells whether there was one. The opcodes alone would be found by
/// chance in any large program.
fn search(start: u64, end: u64) -> u64 {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    const ALL: u64 = READS_COUNTER | HAS_RANDOM;
    let mut facts = 0;
    let mut at = start;
    while at + 16 + REACH < end && facts != ALL {
        // SAFETY: SSE2 is part of x86-64; the mapping is readable code from start to end.
        let mut hits = unsafe {
            let block = _mm_loadu_si128(at as *const __m128i);
            let next = _mm_loadu_si128((at + 1) as *const __m128i);
            let second = |byte: u8| _mm_cmpeq_epi8(next, _mm_set1_epi8(byte as i8));
            let counter = _mm_or_si128(second(0x31), second(0x01));
            let either = _mm_or_si128(counter, second(0xc7));
            let first = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x0f));
            _mm_movemask_epi8(_mm_and_si128(first, either))
        };
        while hits != 0 {
            let found = at + u64::from(hits.trailing_zeros());
            hits &= hits - 1;
            // SAFETY: below `end`, as the loop's condition leaves REACH bytes.
            let code = unsafe { core::slice::from_raw_parts(found as *const u8, REACH as usize) };
            // SAFETY: `found` lies above `start`, where the first byte is.
            let before = if found > start { unsafe { *(found as *const u8).sub(1) } } else { 0 };
            facts |= instruction(code, before);
        }
        at += 16;
    }
    facts
}

/// What an instruction that begins with 0x0f is; `before` is the byte before it.
fn instruction(code: &[u8], before: u8) -> u64 {
    /// The prefix that makes rdpid of rdseed.
    const REPEAT: u8 = 0xf3;
    // shl $32, %r64
    let shift = |w: &[u8]| matches!(w, [0x48 | 0x49, 0xc1, 0xe0..=0xe7, 0x20]);
    // mov %eax, %r32; sub %r32, %eax; sub (...), %eax
    let lower = |w: &[u8]| match w {
        [0x41, 0x89, modrm, ..] | [0x89, modrm, ..] => modrm & 0xf8 == 0xc0,
        [0x44, 0x29, modrm, ..] | [0x29, modrm, ..] => modrm & 0xc7 == 0xc0,
        [0x41 | 0x44, 0x2b, modrm, ..] | [0x2b, modrm, ..] => modrm & 0x38 == 0,
        _ => false,
    };
    // setc, setnc, jc, jnc, cmovc, cmovnc
    let carry = |w: &[u8]| matches!(w, [0x0f, 0x92 | 0x93 | 0x82 | 0x83 | 0x42 | 0x43]);
    match code {
        [0x0f, 0x31, rest @ ..] | [0x0f, 0x01, 0xf9, rest @ ..]
            if lower(rest) || rest.windows(4).any(shift) =>
        {
            READS_COUNTER
        }
        [0x0f, 0xc7, 0xf0..=0xff, rest @ ..] if before != REPEAT => {
            let short_jump = rest.iter().take(3).any(|byte| matches!(byte, 0x72 | 0x73));
            let near = rest.get(..CARRY_REACH).unwrap_or(rest);
            if short_jump || near.windows(2).any(carry) { HAS_RANDOM } else { 0 }
        }
        _ => 0,
    }
}

/// True if the file with this NUL-terminated name has the name of OpenSSL's variable in it.
fn says_ia32cap(name: &[u8; PATH_BYTES]) -> bool {
    const WANTED: &[u8] = b"OPENSSL_ia32cap";
    let mut block = [0u8; 8192];
    // What the last block ended with stands at its beginning.
    let mut kept = 0;
    // SAFETY: own buffer; the descriptor is closed.
    unsafe {
        let fd = sys!(libc::SYS_open, name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let mut found = false;
        loop {
            let to = block.as_mut_ptr().add(kept);
            let n = sys!(libc::SYS_read, fd, to, block.len() - kept);
            if n <= 0 {
                break;
            }
            let len = kept + n as usize;
            let text = block.get(..len).unwrap_or(&[]);
            found = text.windows(WANTED.len()).any(|w| w == WANTED);
            if found {
                break;
            }
            kept = len.min(WANTED.len() - 1);
            block.copy_within(len - kept..len, 0);
        }
        sys!(libc::SYS_close, fd);
        found
    }
}
