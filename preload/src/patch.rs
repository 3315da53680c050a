//! Turns syscall sites that have trapped into jumps.
//!
//! A site is `mov $number, %eax; syscall`. That it is one, and not bytes that look so, is proven
//! by its trap: the instruction pointer stood behind it and the number was in eax. The five
//! bytes of the mov become a jump to a stub, which does the mov and enters the shim; the syscall
//! instruction stays, for whoever jumps straight to it or is sent back to it.
//!
//! Only the holder of the run token executes guest code, so nobody can be inside the five bytes
//! while they are written. Everything else goes on by trap.
#![allow(unsafe_code, reason = "writes code")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sys::{copy_checked, sys};
use crate::thread::{Thread, entry};
use crate::trap;

/// Where the stubs are: in reach of a 32-bit jump from the libraries of a process without
/// address space randomisation, and far below where the kernel maps.
const STUBS: u64 = 0x7fff_a000_0000;
const STUBS_BYTES: u64 = 128 * 1024;
const STUB_BYTES: u64 = 32;
/// `mov imm32, %eax` and `syscall`.
const MOV_BYTES: u64 = 5;
const SITE_BYTES: u64 = 7;
/// Traps of one site before it is worth two mprotect calls.
const TRAPS_MIN: u32 = 3;
const PAGE: u64 = 4096;

/// Stubs written so far; u32::MAX: none can be.
static USED: AtomicU32 = AtomicU32::new(0);

/// Sites seen lately and how often: address and count in one word.
static SEEN: [AtomicU64; 512] = [const { AtomicU64::new(0) }; 512];

/// Maps the memory for stubs.
pub fn prepare() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let prot = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: MAP_FIXED_NOREPLACE refuses to replace anything.
    let at = unsafe { sys!(libc::SYS_mmap, STUBS, STUBS_BYTES, prot, flags, -1, 0) };
    if at as u64 != STUBS {
        USED.store(u32::MAX, Ordering::Relaxed);
    }
}

/// True for addresses in the stubs.
pub fn contains(addr: u64) -> bool {
    addr.wrapping_sub(STUBS) < STUBS_BYTES
}

/// Called for each call that came by trap: after a few, its site becomes a jump.
pub fn trapped(t: &Thread, nr: u64) {
    let site = t.regs.rip;
    if t.entry != entry::TRAP || nr > 0xffff || crate::arena::is_filtered() {
        return;
    }
    let Some(seen) = SEEN.get((site ^ site >> 9) as usize % SEEN.len()) else { return };
    let old = seen.load(Ordering::Relaxed);
    let (address, count) = (old >> 8, (old & 0xff) as u32);
    if address != site {
        seen.store(site << 8 | 1, Ordering::Relaxed);
    } else if count < TRAPS_MIN {
        seen.store(site << 8 | u64::from(count + 1), Ordering::Relaxed);
    } else if count == TRAPS_MIN {
        seen.store(site << 8 | 0xff, Ordering::Relaxed);
        patch(site, nr as u32);
    }
}

/// `site` is the address behind the syscall instruction.
fn patch(site: u64, nr: u32) -> Option<()> {
    let start = site - SITE_BYTES;
    let index = USED.load(Ordering::Relaxed);
    if u64::from(index) >= STUBS_BYTES / STUB_BYTES {
        return None;
    }
    let stub = STUBS + u64::from(index) * STUB_BYTES;
    let distance = i32::try_from(stub.wrapping_sub(start + MOV_BYTES) as i64).ok()?;
    let mut now = [0u8; SITE_BYTES as usize];
    let mut expected = [0xb8, 0, 0, 0, 0, 0x0f, 0x05];
    expected[1..5].copy_from_slice(&nr.to_le_bytes());
    // SAFETY: `now` is ours; a fault in the guest's code is caught.
    if !unsafe { copy_checked(now.as_mut_ptr(), start as *const u8, now.len()) } || now != expected
    {
        return None;
    }
    // mov $nr, %eax; movabs $site, %rcx; movabs $entry, %r11; jmp *%r11
    let mut code = [0u8; STUB_BYTES as usize];
    code[..5].copy_from_slice(&expected[..5]);
    code[5..7].copy_from_slice(&[0x48, 0xb9]);
    code[7..15].copy_from_slice(&site.to_le_bytes());
    code[15..17].copy_from_slice(&[0x49, 0xbb]);
    code[17..25].copy_from_slice(&trap::site_entry().to_le_bytes());
    code[25..28].copy_from_slice(&[0x41, 0xff, 0xe3]);
    let mut jump = [0xe9, 0, 0, 0, 0];
    jump[1..].copy_from_slice(&distance.to_le_bytes());
    if !write_code(stub, &code) {
        USED.store(u32::MAX, Ordering::Relaxed);
        return None;
    }
    USED.store(index + 1, Ordering::Relaxed);
    write_code(start, &jump);
    Some(())
}

/// Overwrites code and makes it executable again.
fn write_code(at: u64, code: &[u8]) -> bool {
    let first = at & !(PAGE - 1);
    let len = (at + code.len() as u64 - first).next_multiple_of(PAGE);
    // SAFETY: the pages hold private code that nobody executes while the token is held here.
    unsafe {
        let write = libc::PROT_READ | libc::PROT_WRITE;
        if sys!(libc::SYS_mprotect, first, len, write) != 0 {
            return false;
        }
        let written = copy_checked(at as *mut u8, code.as_ptr(), code.len());
        let run = libc::PROT_READ | libc::PROT_EXEC;
        sys!(libc::SYS_mprotect, first, len, run) == 0 && written
    }
}
