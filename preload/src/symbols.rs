//! The libc functions that the shim takes over: the fast way in for hot calls.
//!
//! Only functions whose work is one syscall are here. Whatever else libc does arrives by trap.
#![allow(unsafe_code, reason = "exported functions replace libc's")]

use core::arch::naked_asm;

use crate::calls::time::rr_fast_clock;
use crate::dispatch::pseudo;

/// `name(args...)` is the syscall with this number, `$entry` its way in.
macro_rules! syscalls {
    ($entry:literal: $($name:ident = $nr:expr;)*) => {$(
        /// Replaces libc's function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "mov eax, {nr}",
                "mov r10, rcx",
                concat!("jmp ", $entry),
                nr = const $nr,
            )
        }
    )*};
}

syscalls! {
    "rr_cancel_entry":
    read = libc::SYS_read;
    write = libc::SYS_write;
    readv = libc::SYS_readv;
    writev = libc::SYS_writev;
    pread64 = libc::SYS_pread64;
    pwrite64 = libc::SYS_pwrite64;
    pread = libc::SYS_pread64;
    pwrite = libc::SYS_pwrite64;
    recvfrom = libc::SYS_recvfrom;
    recvmsg = libc::SYS_recvmsg;
    sendto = libc::SYS_sendto;
    sendmsg = libc::SYS_sendmsg;
    connect = libc::SYS_connect;
    poll = libc::SYS_poll;
    epoll_wait = libc::SYS_epoll_wait;
}

syscalls! {
    "rr_symbol_entry":
    epoll_ctl = libc::SYS_epoll_ctl;
    getrandom = libc::SYS_getrandom;
    sched_yield = libc::SYS_sched_yield;
    getpid = libc::SYS_getpid;
    gettid = libc::SYS_gettid;
    lseek = libc::SYS_lseek;
    lseek64 = libc::SYS_lseek;
}

/// Replaces libc's function: sendto without an address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn send() {
    naked_asm!(
        "mov eax, {nr}",
        "mov r10, rcx",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "jmp rr_cancel_entry",
        nr = const libc::SYS_sendto,
    )
}

/// Replaces libc's function: recvfrom without an address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn recv() {
    naked_asm!(
        "mov eax, {nr}",
        "mov r10, rcx",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "jmp rr_cancel_entry",
        nr = const libc::SYS_recvfrom,
    )
}

/// Replaces libc's function: the kernel's mask has eight bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn epoll_pwait() {
    naked_asm!(
        "mov eax, {nr}",
        "mov r10, rcx",
        "mov r9d, 8",
        "jmp rr_cancel_entry",
        nr = const libc::SYS_epoll_pwait,
    )
}

/// A clock function: the fast way on the guest's stack, else the long way by `$entry`.
macro_rules! clock {
    ($(#[$doc:meta])* $name:ident, $entry:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "mov edi, edi",
                "cmp dword ptr [rip + rr_ready], 0",
                "je 3f",
                "push rdi",
                "push rsi",
                "sub rsp, 8",
                "call {fast}",
                "add rsp, 8",
                "pop rsi",
                "pop rdi",
                "test al, al",
                "je 2f",
                "xor eax, eax",
                "ret",
                "2: mov eax, {slow}",
                concat!("jmp ", $entry),
                "3: mov eax, {nr}",
                concat!("jmp ", $entry),
                fast = sym rr_fast_clock,
                slow = const pseudo::CLOCK,
                nr = const libc::SYS_clock_gettime,
            )
        }
    };
}

clock!(
    /// Replaces libc's function.
    #[unsafe(no_mangle)]
    clock_gettime,
    "rr_symbol_entry"
);
clock!(
    /// Stands in for the vDSO's function.
    rr_vdso_clock_gettime,
    "rr_raw_entry"
);

/// A function that is a pseudo call, or a syscall before the shim is ready.
macro_rules! pseudo {
    ($(#[$doc:meta])* $name:ident, $pseudo:expr, $nr:expr, $entry:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "mov eax, {pseudo}",
                "mov r10d, {nr}",
                "cmp dword ptr [rip + rr_ready], 0",
                "cmove eax, r10d",
                concat!("jmp ", $entry),
                pseudo = const $pseudo,
                nr = const $nr,
            )
        }
    };
}

pseudo!(
    /// Replaces libc's function.
    #[unsafe(no_mangle)]
    gettimeofday, pseudo::TIMEOFDAY, libc::SYS_gettimeofday, "rr_symbol_entry"
);
pseudo!(
    /// Replaces libc's function.
    #[unsafe(no_mangle)]
    time, pseudo::TIME, libc::SYS_time, "rr_symbol_entry"
);
pseudo!(
    /// Stands in for the vDSO's function.
    rr_vdso_gettimeofday, pseudo::TIMEOFDAY, libc::SYS_gettimeofday, "rr_raw_entry"
);
pseudo!(
    /// Stands in for the vDSO's function.
    rr_vdso_time, pseudo::TIME, libc::SYS_time, "rr_raw_entry"
);

/// Stands in for the vDSO's function.
#[unsafe(naked)]
pub unsafe extern "C" fn rr_vdso_getcpu() {
    naked_asm!("mov eax, {nr}", "jmp rr_raw_entry", nr = const libc::SYS_getcpu)
}

/// Stands in for the vDSO's function.
#[unsafe(naked)]
pub unsafe extern "C" fn rr_vdso_clock_getres() {
    naked_asm!("mov eax, {nr}", "jmp rr_raw_entry", nr = const libc::SYS_clock_getres)
}

/// Stands in for the vDSO's getrandom: the question for its state's size is answered with
/// ENOSYS, so that callers go without the vDSO.
#[unsafe(naked)]
pub unsafe extern "C" fn rr_vdso_getrandom() {
    naked_asm!(
        "cmp r8, -1",
        "je 2f",
        "mov eax, {nr}",
        "jmp rr_raw_entry",
        "2: mov rax, -38",
        "ret",
        nr = const libc::SYS_getrandom,
    )
}
