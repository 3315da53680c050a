//! Network replay: programs that the shim can't enter have no network.
//!
//! Nothing would answer their connections but the world. A seccomp filter, which the program and
//! all that it starts keep, lets them make no socket that could reach it; Unix and netlink sockets
//! are theirs.
#![allow(unsafe_code, reason = "a filter is installed for this thread")]

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
};

use crate::sys::sys;

/// Values of `struct seccomp_data`'s `arch`: `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
/// Calls of the x32 ABI have this bit.
const X32: u32 = 0x4000_0000;
/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARG: u32 = 16;
/// Calls of 32-bit programs, and the subcall of `socketcall` that makes a socket.
const I386_SOCKETCALL: u32 = 102;
const I386_SOCKET: u32 = 359;
const SYS_SOCKET: u32 = 1;

const fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

/// Goes on `jt` instructions further if the loaded word is `k`, else `jf`.
const fn is(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt, jf, k }
}

const fn at_least(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JGE | BPF_K) as u16, jt, jf, k }
}

const fn give(k: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k }
}

const fn fail(errno: i32) -> sock_filter {
    give(SECCOMP_RET_ERRNO | errno as u32)
}

static FILTER: [sock_filter; 19] = [
    load(ARCH),
    is(I386, 5, 0),
    is(X86_64, 0, 14),
    load(NR),
    at_least(X32, 12, 0),
    is(libc::SYS_io_uring_setup as u32, 11, 0),
    is(libc::SYS_socket as u32, 6, 9),
    // 32 bits.
    load(NR),
    is(libc::SYS_io_uring_setup as u32, 8, 0),
    is(I386_SOCKET, 3, 0),
    is(I386_SOCKETCALL, 0, 5),
    load(FIRST_ARG),
    is(SYS_SOCKET, 5, 3),
    // The family of a new socket.
    load(FIRST_ARG),
    is(libc::AF_UNIX as u32, 1, 0),
    is(libc::AF_NETLINK as u32, 0, 2),
    give(SECCOMP_RET_ALLOW),
    fail(libc::ENOSYS),
    // What socket(2) fails with where the kind of socket is not permitted.
    fail(libc::EACCES),
];

/// Takes this thread, and what it becomes and starts, off the network; whether that worked.
pub fn go() -> bool {
    let program = sock_fprog { len: FILTER.len() as u16, filter: FILTER.as_ptr().cast_mut() };
    // SAFETY: the program is a static one, which the kernel copies and does not change; without
    // new privileges none is needed to install it.
    unsafe {
        sys!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && sys!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
    }
}
