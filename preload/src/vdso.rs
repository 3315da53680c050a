//! Takes the vDSO's place.
//!
//! The kernel's vDSO and its data are moved aside, whole, and stay usable there. At the old
//! address a copy is put whose functions jump into the shim: callers that had resolved them
//! before, and those that look them up later, arrive here.
#![allow(unsafe_code, reason = "moves and patches mappings")]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::maps::Map;
use crate::process::Process;
use crate::symbols;
use crate::sys::sys;

/// Where the kernel's vDSO is moved to: below the arena.
const MOVED: u64 = log_format::arena::BASE - 0x100_0000;
/// Most bytes of data pages and code together.
const SPAN_MAX: u64 = 0x40_0000;

static CLOCK_GETTIME: AtomicU64 = AtomicU64::new(0);

/// The moved vDSO's clock_gettime.
#[inline(always)]
pub fn clock_gettime() -> Option<unsafe extern "C" fn(u64, *mut [u64; 2]) -> i32> {
    let at = CLOCK_GETTIME.load(Ordering::Relaxed);
    // SAFETY: the word is 0 or the address of the vDSO's function of this type.
    (at != 0).then(|| unsafe {
        core::mem::transmute::<u64, unsafe extern "C" fn(u64, *mut [u64; 2]) -> i32>(at)
    })
}

/// CLOCK_MONOTONIC, nanoseconds.
pub fn monotonic_ns(p: &Process) -> u64 {
    read_ns(p, libc::CLOCK_MONOTONIC as u64)
}

/// The real reading of a clock, nanoseconds.
pub fn read_ns(p: &Process, clock: u64) -> u64 {
    const NS: u64 = 1_000_000_000;
    let mut now = [0u64; 2];
    let to = &raw mut now;
    match clock_gettime() {
        // SAFETY: the vDSO's function writes two words to `to`.
        Some(read) if !p.trap_tsc => _ = unsafe { read(clock, to) },
        // SAFETY: the kernel writes two words to `to`.
        _ => _ = unsafe { sys!(libc::SYS_clock_gettime, clock, to) },
    }
    now[0] * NS + now[1]
}

/// True for addresses in the moved vDSO.
pub fn contains(addr: u64) -> bool {
    addr.wrapping_sub(MOVED) < SPAN_MAX
}

/// Moves the vDSO found in the process's maps and puts the shim's copy in its place.
pub fn replace(maps: &[Map]) {
    let Some(code) = maps.iter().find(|m| m.name == crate::maps::Name::Vdso) else { return };
    let start = maps
        .iter()
        .filter(|m| m.name == crate::maps::Name::Vvar && m.start < code.start)
        .map(|m| m.start)
        .min()
        .unwrap_or(code.start);
    if code.end - start > SPAN_MAX {
        return;
    }
    let kinds = [crate::maps::Name::Vvar, crate::maps::Name::Vdso];
    let mut moved = true;
    for map in maps.iter().filter(|m| kinds.contains(&m.name) && m.start >= start) {
        let (len, to) = (map.end - map.start, MOVED + (map.start - start));
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: nothing runs in the vDSO now; the target range is the shim's.
        moved &= unsafe { sys!(libc::SYS_mremap, map.start, len, len, flags, to) } as u64 == to;
    }
    let len = code.end - code.start;
    let original = if moved { MOVED + (code.start - start) } else { code.start };
    // SAFETY: the old place is free after the move (or is still the vDSO, which becomes a
    // private copy when written); the original stays readable.
    unsafe {
        let write = libc::PROT_READ | libc::PROT_WRITE;
        if moved {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            if sys!(libc::SYS_mmap, code.start, len, write, flags, -1, 0) as u64 != code.start {
                return;
            }
            core::ptr::copy_nonoverlapping(
                original as *const u8,
                code.start as *mut u8,
                len as usize,
            );
        } else if sys!(libc::SYS_mprotect, code.start, len, write) != 0 {
            return;
        }
        patch(code.start, if moved { Some(original) } else { None });
        sys!(libc::SYS_mprotect, code.start, len, libc::PROT_READ | libc::PROT_EXEC);
    }
}

/// What stands in for each of the vDSO's functions.
fn stand_in(name: &[u8]) -> Option<u64> {
    let name = name.strip_prefix(b"__vdso_").unwrap_or(name);
    Some(match name {
        b"clock_gettime" => symbols::rr_vdso_clock_gettime as *const () as u64,
        b"gettimeofday" => symbols::rr_vdso_gettimeofday as *const () as u64,
        b"time" => symbols::rr_vdso_time as *const () as u64,
        b"getcpu" => symbols::rr_vdso_getcpu as *const () as u64,
        b"clock_getres" => symbols::rr_vdso_clock_getres as *const () as u64,
        b"getrandom" => symbols::rr_vdso_getrandom as *const () as u64,
        _ => return None,
    })
}

/// Writes the jumps into the image at `base`; `original`: where the working functions are.
///
/// # Safety
/// `base` must be a writable, valid ELF image of a vDSO.
unsafe fn patch(base: u64, original: Option<u64>) {
    // SAFETY: offsets come from the image's own headers.
    unsafe {
        let read = |at: u64| (at as *const u64).read_unaligned();
        let (table, count) = (base + read(base + 32), ((base + 56) as *const u16).read_unaligned());
        let (mut symtab, mut strtab, mut hash, mut gnu_hash) = (0, 0, 0, 0);
        for i in 0..u64::from(count) {
            let header = table + i * 56;
            const PT_DYNAMIC: u32 = 2;
            if (header as *const u32).read_unaligned() != PT_DYNAMIC {
                continue;
            }
            let mut dynamic = base + read(header + 16);
            loop {
                match read(dynamic) {
                    0 => break,
                    4 => hash = base + read(dynamic + 8),
                    5 => strtab = base + read(dynamic + 8),
                    6 => symtab = base + read(dynamic + 8),
                    0x6fff_fef5 => gnu_hash = base + read(dynamic + 8),
                    _ => {}
                }
                dynamic += 16;
            }
        }
        if symtab == 0 || strtab == 0 {
            return;
        }
        // Without DT_HASH the symbols end where the strings begin.
        let symbols = if hash != 0 {
            u64::from(((hash + 4) as *const u32).read_unaligned())
        } else if gnu_hash != 0 && strtab > symtab {
            (strtab - symtab) / 24
        } else {
            return;
        };
        for i in 1..symbols.min(256) {
            let symbol = symtab + i * 24;
            let name = strtab + u64::from((symbol as *const u32).read_unaligned());
            let value = read(symbol + 8);
            let mut len = 0;
            while len < 32 && ((name + len) as *const u8).read() != 0 {
                len += 1;
            }
            let name = core::slice::from_raw_parts(name as *const u8, len as usize);
            let Some(to) = stand_in(name) else { continue };
            if let Some(original) = original
                && name.ends_with(b"clock_gettime")
            {
                CLOCK_GETTIME.store(original + value, Ordering::Relaxed);
            }
            // mov rax, imm64; jmp rax
            let at = (base + value) as *mut u8;
            at.cast::<[u8; 2]>().write([0x48, 0xb8]);
            at.add(2).cast::<u64>().write_unaligned(to);
            at.add(10).cast::<[u8; 2]>().write([0xff, 0xe0]);
        }
    }
}
