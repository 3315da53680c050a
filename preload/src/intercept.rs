//! TLS connections pass to the host: at the ClientHello, the guest's socket is swapped for one
//! whose other end is the host, which talks to the server over the guest's own connection.
//!
//! While recording only, and not logged: on replay the guest's calls are answered all the same.
//! A connection that can't be passed on stays as it is, and a note says why.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use core::sync::atomic::{AtomicU32, Ordering};

use log_format::arena::stand_in;
use log_format::handover::{
    HELLO_BYTES_MAX, REPLY_BYTES, REQUEST_BYTES, Request, is_client_hello, reply,
};
use log_format::record::note;
use log_format::table::Memory;

use crate::fds::What;
use crate::holders::Holders;
use crate::sys::{Guest, sys};
use crate::thread::Thread;
use crate::{arena, loader, record};

/// How long the host may take to answer, seconds.
const PATIENCE_S: i64 = 5;
/// Bytes of a control message with one descriptor.
const CONTROL_BYTES: usize = 24;

/// Before a call that may send a ClientHello: hands its connection to the host.
pub fn before(t: &mut Thread, nr: u64, args: &[u64; 6]) {
    let path = &arena::header().tls.socket_path;
    if path[0].load(Ordering::Relaxed) == 0 || !t.process().logging {
        return;
    }
    let Some((at, len)) = first_bytes(nr, args) else { return };
    let mut head = [0u8; 6];
    if len < head.len() as u64
        || matches!(t.process().fds.get(args[0]), What::File | What::Stdout | What::Stderr)
        || !Guest.read(at, &mut head)
        || !is_client_hello(head)
    {
        return;
    }
    if let Err(why) = hand_over(t, args[0], at, len)
        && !why.is_empty()
    {
        record::note(t, note::TLS_OPAQUE, why);
    }
}

/// Where a file is opened to be read that the host has a stand-in for (a bundle of certificates):
/// opens that one.
pub fn stand_in(nr: u64, args: &[u64; 6], real: &mut [u64; 6]) {
    const OTHER_FLAGS: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_DIRECTORY | libc::O_PATH;
    let (path, flags) = match nr as i64 {
        libc::SYS_open => (0, args[1]),
        libc::SYS_openat => (1, args[2]),
        _ => return,
    };
    let all = &arena::header().tls.stand_ins;
    if flags as i32 & OTHER_FLAGS != libc::O_RDONLY || all[0].ending[0].load(Ordering::Relaxed) == 0
    {
        return;
    }
    let Some(at) = real.get_mut(path) else { return };
    let len = u64::from(Guest.string_len(*at, 4096).unwrap_or(0));
    for one in all {
        let (mut ending, mut name) = ([0u8; 256], [0u8; 256]);
        let used = arena::string(&one.ending, &mut ending);
        let (Some(ending), Some(name)) = (ending.get(..used), name.get_mut(..used)) else { return };
        if used == 0 {
            return;
        }
        let from = len.checked_sub(used as u64).map(|start| *at + start);
        if from.is_some_and(|from| Guest.read(from, name)) && name == ending {
            // A program that copies the file, not one that trusts it, gets the file itself.
            if !loader::imports(b"getaddrinfo") || !is_ready(&one.state) {
                return;
            }
            // The arena is mapped in the guest: the name can be read where it stands.
            *at = one.file.as_ptr() as u64;
            return;
        }
    }
}

/// Whether a stand-in can be opened, once the host has made it.
fn is_ready(state: &AtomicU32) -> bool {
    const WAIT_MS: u64 = 100;
    let _ = state.compare_exchange(
        stand_in::LATE,
        stand_in::WANTED,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    for _ in 0..PATIENCE_S as u64 * 1000 / WAIT_MS {
        let bell = arena::header().host_bell.load(Ordering::Acquire);
        if state.load(Ordering::Acquire) != stand_in::WANTED || !arena::host_lives() {
            break;
        }
        arena::ring();
        arena::wait_for_host(bell, WAIT_MS);
    }
    state.load(Ordering::Acquire) == stand_in::READY
}

/// Address and length of what a call writes first.
#[inline(always)]
fn first_bytes(nr: u64, args: &[u64; 6]) -> Option<(u64, u64)> {
    const MSG_IOV: u64 = 16;
    let iov = match nr as i64 {
        libc::SYS_write | libc::SYS_sendto => return Some((args[1], args[2])),
        libc::SYS_writev => args[1],
        libc::SYS_sendmsg => Guest.u64(args[1] + MSG_IOV)?,
        _ => return None,
    };
    Some((Guest.u64(iov)?, Guest.u64(iov + 8)?))
}

/// Passes the connection on; why not, or nothing if it is none that could be.
fn hand_over(t: &mut Thread, fd: u64, hello_at: u64, hello_len: u64) -> Result<(), &'static [u8]> {
    let Some(used) = is_fresh_tcp(fd)? else { return Ok(()) };
    let process = t.process();
    let request = Request {
        process: process.entry().key.load(Ordering::Relaxed),
        step: process.steps.load(Ordering::Relaxed),
        fd: fd as i32,
        hello_len: hello_len.min(HELLO_BYTES_MAX as u64) as u32,
        used,
    };
    // First what can fail without a trace.
    let holders = Holders::of(fd)?;
    let host = connect()?;
    // The host shares the old socket's flags from here on, and sets its own.
    // SAFETY: fcntl of a descriptor, without pointers.
    let flags = unsafe { sys!(libc::SYS_fcntl, fd, libc::F_GETFL) };
    let new = exchange(host, &request, fd, hello_at);
    close(host);
    let Some(new) = new? else { return Ok(()) };
    copy_options(fd, new);
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_fcntl, new, libc::F_SETFL, flags) };
    holders.replace(new);
    close(new);
    Ok(())
}

fn close(fd: u64) {
    // SAFETY: a descriptor of the shim's own.
    unsafe { sys!(libc::SYS_close, fd) };
}

/// An option of a socket, as a number.
pub fn option(fd: u64, level: i32, name: i32) -> Option<i32> {
    let (mut value, mut len) = (0i32, 4u32);
    // SAFETY: own buffers.
    let ret = unsafe { sys!(libc::SYS_getsockopt, fd, level, name, &raw mut value, &raw mut len) };
    (ret == 0).then_some(value)
}

/// For an internet stream that is connected, and not to the host: whether the server has sent
/// something on it.
///
/// # Errors
/// Why a TCP connection can't be passed on.
fn is_fresh_tcp(fd: u64) -> Result<Option<bool>, &'static [u8]> {
    const ESTABLISHED: u8 = 1;
    /// Where `struct tcp_info` has tcpi_bytes_received, and its end.
    const RECEIVED_AT: usize = 128;
    const INFO_BYTES: usize = RECEIVED_AT + 8;
    let family = option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN);
    if option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) != Some(libc::IPPROTO_TCP)
        || !matches!(family, Some(libc::AF_INET | libc::AF_INET6))
    {
        return Ok(None);
    }
    let (mut info, mut len) = ([0u8; INFO_BYTES], INFO_BYTES as u32);
    let mut waiting = 0i32;
    // SAFETY: own buffers.
    unsafe {
        let (to, len) = (info.as_mut_ptr(), &raw mut len);
        sys!(libc::SYS_getsockopt, fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, len);
        sys!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut waiting);
    }
    if info[0] != ESTABLISHED || crate::sockets::entry_of(fd).is_some() {
        // Not connected yet (the guest tries again), or passed on already (a second hello).
        return Ok(None);
    }
    if waiting != 0 {
        return Err(b"the server had sent something before the TLS handshake began");
    }
    let received = info.get(RECEIVED_AT..).unwrap_or(&[]);
    Ok(Some(received.iter().any(|byte| *byte != 0)))
}

/// A connection to the host's socket.
fn connect() -> Result<u64, &'static [u8]> {
    let mut address = [0u8; 2 + 112];
    address[0] = libc::AF_UNIX as u8;
    let len = arena::string(&arena::header().tls.socket_path, &mut address[2..]);
    let timeout = [PATIENCE_S, 0];
    // SAFETY: own buffers.
    unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        let host = sys!(libc::SYS_socket, libc::AF_UNIX, kind, 0);
        if host < 0 {
            return Err(b"the program may not open another socket");
        }
        for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            sys!(libc::SYS_setsockopt, host, libc::SOL_SOCKET, name, timeout.as_ptr(), 16);
        }
        if sys!(libc::SYS_connect, host, address.as_ptr(), 2 + len + 1) != 0 {
            close(host as u64);
            return Err(b"rr-run could not be reached");
        }
        Ok(host as u64)
    }
}

/// The kernel's `struct msghdr`.
#[repr(C)]
struct Message {
    name: u64,
    name_len: u64,
    iov: *const [u64; 2],
    iov_len: u64,
    control: *mut u64,
    control_len: u64,
    flags: u64,
}

/// Sends the request, with the guest's socket; the socket that takes its place, if any.
fn exchange(
    host: u64,
    request: &Request,
    fd: u64,
    hello_at: u64,
) -> Result<Option<u64>, &'static [u8]> {
    const RIGHTS_BYTES: u64 = 20;
    let words = request.to_words();
    let rights = libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32;
    let mut control = [RIGHTS_BYTES, rights, u64::from(fd as u32)];
    let iov = [[words.as_ptr() as u64, REQUEST_BYTES as u64], [hello_at, request.hello_len.into()]];
    let mut message = Message {
        name: 0,
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 2,
        control: control.as_mut_ptr(),
        control_len: CONTROL_BYTES as u64,
        flags: 0,
    };
    // SAFETY: own buffers, and the guest's, which the kernel checks.
    let sent = unsafe { sys!(libc::SYS_sendmsg, host, &raw const message, libc::MSG_NOSIGNAL) };
    if sent < (REQUEST_BYTES + request.hello_len as usize) as i64 {
        return Err(b"rr-run could not be asked");
    }
    let mut answer = 0u64;
    let iov = [[&raw mut answer as u64, REPLY_BYTES as u64]];
    control = [0; 3];
    (message.iov, message.iov_len, message.control_len) = (iov.as_ptr(), 1, CONTROL_BYTES as u64);
    message.control = control.as_mut_ptr();
    let got = loop {
        // SAFETY: own buffers.
        let got =
            unsafe { sys!(libc::SYS_recvmsg, host, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if got != -i64::from(libc::EINTR) {
            break got;
        }
    };
    // SAFETY: the kernel has written the control message there.
    let control = unsafe { (&raw const control).read_volatile() };
    let new = (control[0] >= RIGHTS_BYTES && control[1] == rights).then_some(control[2]);
    // SAFETY: as above.
    match unsafe { (&raw const answer).read_volatile() } {
        reply::SWAP if got == REPLY_BYTES as i64 && new.is_some() => {
            Ok(new.map(|fd| u64::from(fd as u32)))
        }
        // The host knows why, and has logged it.
        reply::LEAVE => Ok(None),
        _ => Err(b"rr-run did not answer"),
    }
}

/// Gives the new socket what the guest had set on the old one. TCP_NODELAY is left on: the way
/// to the host must not delay what the guest writes.
fn copy_options(old: u64, new: u64) {
    let numbers = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::SOL_SOCKET, libc::SO_OOBINLINE),
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
        (libc::SOL_SOCKET, libc::SO_LINGER),
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    ];
    for (level, name) in numbers {
        let (mut value, mut len) = ([0u64; 2], 16u32);
        // SAFETY: own buffers.
        unsafe {
            let at = value.as_mut_ptr();
            if sys!(libc::SYS_getsockopt, old, level, name, at, &raw mut len) == 0 {
                sys!(libc::SYS_setsockopt, new, level, name, at, len);
            }
        }
    }
}
