//! Follows what the descriptors are that rr-run must know.

use crate::calls::vm;
use crate::fds::{What, is_random};
use crate::record;
use crate::sys::Guest;
use crate::thread::Thread;
use log_format::record::note;
use log_format::table::Memory;

/// After a call that has succeeded: what its descriptors are now.
pub fn after(t: &mut Thread, nr: u64, args: &[u64; 6], ret: i64) {
    if ret < 0 {
        return;
    }
    let new = ret as u64;
    let fds = &mut t.process().fds;
    match nr as i64 {
        libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 => {
            let what = fds.get(args[0]);
            follow(t, new, what);
        }
        libc::SYS_fcntl if matches!(args[1] as i32, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => {
            let what = fds.get(args[0]);
            follow(t, new, what);
        }
        libc::SYS_close => follow(t, args[0], What::Other),
        libc::SYS_close_range => {
            const CLOSE_RANGE_CLOEXEC: u64 = 4;
            if args[2] & CLOSE_RANGE_CLOEXEC == 0 {
                fds.close_range(args[0] & 0xffff_ffff, args[1] & 0xffff_ffff);
            }
        }
        libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 => {
            let path = if nr == libc::SYS_open as u64 { args[0] } else { args[1] };
            let what = standard(path).map(|fd| fds.get(fd));
            let standard = what.filter(|what| matches!(what, What::Stdout | What::Stderr));
            let random = named_random(path) && is_random(new);
            let other = if random {
                What::Random
            } else if vm::process_of(path, new).is_some() {
                What::Memory
            } else if is(path, UUID) {
                What::Uuid
            } else {
                What::File
            };
            follow(t, new, standard.unwrap_or(other));
        }
        libc::SYS_socket
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_epoll_create1
        | libc::SYS_eventfd2
        | libc::SYS_memfd_create => follow(t, new, What::Other),
        libc::SYS_pipe | libc::SYS_pipe2 | libc::SYS_socketpair => {
            let at = if nr == libc::SYS_socketpair as u64 { args[3] } else { args[0] };
            for i in 0..2 {
                if let Some(fd) = Guest.u32(at + i * 4) {
                    follow(t, fd.into(), What::Other);
                }
            }
        }
        _ => {}
    }
}

/// Notes what a descriptor is now; the log says where that can't be followed and matters.
fn follow(t: &mut Thread, fd: u64, what: What) {
    if !t.process().fds.set(fd, what) && what != What::File {
        record::note(t, note::UNSUPPORTED, b"a descriptor of a number that is not followed");
    }
}

/// Quick, for every open passes here.
fn named_random(path: u64) -> bool {
    const PATH_MAX: u32 = 4096;
    const NAME: &[u8] = b"random";
    let len = u64::from(Guest.string_len(path, PATH_MAX).unwrap_or(0));
    let mut end = [0; NAME.len()];
    len.checked_sub(NAME.len() as u64).is_some_and(|at| Guest.read(path + at, &mut end))
        && end == NAME
}

/// The descriptor that a name stands for: what is written to it goes to the session's output.
fn standard(path: u64) -> Option<u64> {
    let out: [&[u8]; 3] = [b"/dev/stdout\0", b"/dev/fd/1\0", b"/proc/self/fd/1\0"];
    let err: [&[u8]; 3] = [b"/dev/stderr\0", b"/dev/fd/2\0", b"/proc/self/fd/2\0"];
    if out.iter().any(|name| is(path, name)) {
        Some(1)
    } else {
        err.iter().any(|name| is(path, name)).then_some(2)
    }
}

const UUID: &[u8] = b"/proc/sys/kernel/random/uuid\0";

fn is(path: u64, want: &[u8]) -> bool {
    let mut name = [0u8; UUID.len()];
    let Some(part) = name.get_mut(..want.len()) else { return false };
    Guest.read(path, part) && part == want
}
