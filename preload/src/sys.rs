//! The only assembly besides [`crate::trap`]: raw syscalls, and the memory functions that
//! compiled code expects to find.
#![allow(unsafe_code, reason = "raw syscalls")]

use core::arch::{asm, global_asm};

/// A raw syscall from inside the shim's text, which syscall user dispatch lets through.
///
/// # Safety
/// The arguments must satisfy the kernel's contract for `nr`; pointers must stay valid for it.
#[inline(always)]
pub unsafe fn syscall(nr: u64, args: [u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the caller vouches for the arguments; rcx and r11 are declared clobbered.
    unsafe {
        asm!("syscall", inlateout("rax") nr as i64 => ret,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

/// [`syscall`] with up to six arguments of any integer or pointer type.
macro_rules! sys {
    ($nr:expr $(, $arg:expr)* $(,)?) => {{
        let mut args = [0u64; 6];
        let given = [$($arg as i64 as u64),*];
        args[..given.len()].copy_from_slice(&given);
        $crate::sys::syscall($nr as u64, args)
    }};
}
pub(crate) use sys;

// memcpy and friends, hidden: exporting them would replace the guest's own.
global_asm!(
    ".globl memcpy, memmove, memset, memcmp, bcmp",
    ".hidden memcpy, memmove, memset, memcmp, bcmp",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "cmp rdx, 256",
    "jae 3f",
    "2: cmp rcx, 8",
    "jb 4f",
    "mov r8, [rsi]",
    "mov [rdi], r8",
    "add rsi, 8",
    "add rdi, 8",
    "sub rcx, 8",
    "jmp 2b",
    "4: test rcx, rcx",
    "je 5f",
    "mov r8b, [rsi]",
    "mov [rdi], r8b",
    "inc rsi",
    "inc rdi",
    "dec rcx",
    "jmp 4b",
    "3: rep movsb",
    "5: ret",
    "memmove:",
    "mov rax, rdi",
    "sub rax, rsi",
    "cmp rax, rdx",
    "jae memcpy",
    "mov rax, rdi",
    "mov rcx, rdx",
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    "memset:",
    "mov r9, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r9",
    "ret",
    "bcmp:",
    "memcmp:",
    "xor ecx, ecx",
    "2: cmp rcx, rdx",
    "jae 3f",
    "movzx eax, byte ptr [rdi + rcx]",
    "movzx r8d, byte ptr [rsi + rcx]",
    "inc rcx",
    "sub eax, r8d",
    "je 2b",
    "ret",
    "3: xor eax, eax",
    "ret",
);

// Named by core's unwind tables, and never called: a panic ends the process.
global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality: ud2",
);

// Copies that bear a fault: the SIGSEGV handler continues at `rr_copy_fault` when it finds the
// instruction pointer inside, and the count that is left is returned.
global_asm!(
    ".globl rr_copy, rr_copy_end, rr_copy_fault",
    ".hidden rr_copy, rr_copy_end, rr_copy_fault",
    "rr_copy:",
    "mov rcx, rdx",
    "cmp rdx, 256",
    "jae 3f",
    "2: cmp rcx, 8",
    "jb 4f",
    "mov r8, [rsi]",
    "mov [rdi], r8",
    "add rsi, 8",
    "add rdi, 8",
    "sub rcx, 8",
    "jmp 2b",
    "4: test rcx, rcx",
    "je 5f",
    "mov r8b, [rsi]",
    "mov [rdi], r8b",
    "inc rsi",
    "inc rdi",
    "dec rcx",
    "jmp 4b",
    "3: rep movsb",
    "5:",
    "rr_copy_end:",
    "rr_copy_fault:",
    "mov rax, rcx",
    "ret",
);

unsafe extern "C" {
    fn rr_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    static rr_copy_end: u8;
    static rr_copy_fault: u8;
}

/// Copies `len` bytes between memory that may be the guest's; true if all could be copied.
///
/// # Safety
/// Of the two ranges, that which is the shim's must be valid; a fault in the other is caught.
pub unsafe fn copy_checked(to: *mut u8, from: *const u8, len: usize) -> bool {
    // SAFETY: faults inside rr_copy are turned into a short count by the SIGSEGV handler.
    unsafe { rr_copy(to, from, len) == 0 }
}

/// Where to continue if `rip` faulted inside the checked copy.
pub fn copy_fault(rip: u64) -> Option<u64> {
    let start = rr_copy as *const () as u64;
    let (end, fault) = (&raw const rr_copy_end as u64, &raw const rr_copy_fault as u64);
    (start..end).contains(&rip).then_some(fault)
}

/// The guest's memory, for [`log_format::table::buffers`].
pub struct Guest;

impl log_format::table::Memory for Guest {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        // SAFETY: `into` is ours and valid; a fault at `addr` is caught.
        unsafe { copy_checked(into.as_mut_ptr(), addr as *const u8, into.len()) }
    }
}

/// Writes to the guest's memory; false if it is not writable.
pub fn write_guest(addr: u64, bytes: &[u8]) -> bool {
    // SAFETY: `bytes` is valid; a fault at `addr` is caught.
    unsafe { copy_checked(addr as *mut u8, bytes.as_ptr(), bytes.len()) }
}

/// Writes a u32 to the guest's memory.
pub fn write_guest_u32(addr: u64, value: u32) -> bool {
    write_guest(addr, &value.to_le_bytes())
}

/// Maps a file of the host's, whose NUL-terminated path is given, read-only at an address of the
/// shim's own; its length, if it has bytes and at most `max`.
pub fn map_file(path: &[u8], at: u64, max: u64) -> Option<usize> {
    // SAFETY: a NUL-terminated path; the mapping replaces at most an older one of this function's.
    unsafe {
        let fd = sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return None;
        }
        let len = sys!(libc::SYS_lseek, fd, 0, libc::SEEK_END);
        let mut mapped = 0;
        if len > 0 && (len as u64) < max {
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            mapped = sys!(libc::SYS_mmap, at, len, libc::PROT_READ, flags, fd, 0) as u64;
        }
        sys!(libc::SYS_close, fd);
        (mapped == at).then_some(len as usize)
    }
}

/// Waits while `*word == value`, at most `timeout_ms`; returns the kernel's result.
///
/// `shared`: the word lies in a mapping that other processes wait on too.
pub fn futex_wait(
    word: &core::sync::atomic::AtomicU32,
    value: u32,
    timeout_ms: u64,
    shared: bool,
) -> i64 {
    let timeout = [timeout_ms / 1000, timeout_ms % 1000 * 1_000_000];
    let op = libc::FUTEX_WAIT | if shared { 0 } else { libc::FUTEX_PRIVATE_FLAG };
    // SAFETY: word and timeout are valid for the call.
    unsafe { sys!(libc::SYS_futex, word.as_ptr(), op, value, timeout.as_ptr()) }
}

/// Wakes up to `count` waiters of `word`.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32, count: u32, shared: bool) {
    let op = libc::FUTEX_WAKE | if shared { 0 } else { libc::FUTEX_PRIVATE_FLAG };
    // SAFETY: word is valid for the call.
    unsafe { sys!(libc::SYS_futex, word.as_ptr(), op, count) };
}

/// Writes a line of the shim's own to stderr: only for failures that no other way can tell.
pub fn complain(parts: &[&[u8]]) {
    for part in parts {
        // SAFETY: the slice is valid.
        unsafe { sys!(libc::SYS_write, 2, part.as_ptr(), part.len()) };
    }
}

/// Ends the process at once.
pub fn die(status: u32) -> ! {
    loop {
        // SAFETY: exit_group takes no pointer.
        unsafe { sys!(libc::SYS_exit_group, status) };
    }
}
