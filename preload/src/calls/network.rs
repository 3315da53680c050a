//! Network replay: connections and name lookups go to the host's player, whatever their
//! destination, and the guest goes on seeing the addresses that it asked for.
//!
//! A connection is announced before it is made: the guest's socket is bound to a loopback port,
//! which is noted with the destination in the arena's table of sockets. The host, accepting,
//! finds it there by the port; so does the shim when the guest asks for an address ([`sockets`]).
#![allow(unsafe_code, reason = "the guest's calls are performed with other addresses")]

use core::sync::atomic::{AtomicU32, Ordering};

use log_format::arena::{Address, Socket, socket_state};
use log_format::table::Memory;
use log_format::{DNS_PORT, RESOLVERS};

use crate::arena;
use crate::fds::What;
use crate::intercept::option;
use crate::sockets;
use crate::sys::{Guest, sys, write_guest};
use crate::thread::Thread;

const REFUSED: i64 = -(libc::ECONNREFUSED as i64);
/// Nothing listens here (tcpmux): who sends there is told so at once.
const CLOSED: u16 = 1;
/// Bytes of `struct msghdr`, and of `struct mmsghdr`, which begins with one.
const MSGHDR_BYTES: usize = 56;
pub const MMSGHDR_BYTES: u64 = 64;
/// Most messages that the kernel sends at once (`UIO_MAXIOV`).
pub const MESSAGES_MAX: u32 = 1024;
/// Bytes of the largest address, `sockaddr_in6`.
const ADDR_BYTES: usize = 28;

/// An internet address as the kernel's `sockaddr` has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Inet {
    /// 4 or 6.
    pub version: u8,
    /// Port.
    pub port: u16,
    /// Network order; of version 4 the first four bytes.
    pub ip: [u8; 16],
}

impl Inet {
    const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

    /// 127.0.0.1 or ::1.
    fn loopback(version: u8, port: u16) -> Inet {
        let mut ip = Inet::LOOPBACK6;
        if version == 4 {
            ip = [0; 16];
            ip[..4].copy_from_slice(&[127, 0, 0, 1]);
        }
        Inet { version, port, ip }
    }

    /// Reads the guest's `sockaddr`; None if it is of another family.
    pub fn read(addr: u64, len: u64) -> Option<Inet> {
        let mut raw = [0u8; ADDR_BYTES];
        let len = (len as u32 as usize).min(ADDR_BYTES);
        if addr == 0 || len < 2 || !Guest.read(addr, raw.get_mut(..len)?) {
            return None;
        }
        let family = i32::from(u16::from_le_bytes([raw[0], raw[1]]));
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        let mut ip = [0; 16];
        match family {
            libc::AF_INET if len >= 16 => {
                ip[..4].copy_from_slice(&raw[4..8]);
                Some(Inet { version: 4, port, ip })
            }
            libc::AF_INET6 if len >= 24 => {
                ip.copy_from_slice(&raw[8..24]);
                Some(Inet { version: 6, port, ip })
            }
            _ => None,
        }
    }

    /// The `sockaddr`'s bytes and their number.
    fn raw(&self) -> ([u8; ADDR_BYTES], usize) {
        let mut raw = [0u8; ADDR_BYTES];
        raw[2..4].copy_from_slice(&self.port.to_be_bytes());
        if self.version == 4 {
            raw[0] = libc::AF_INET as u8;
            raw[4..8].copy_from_slice(&self.ip[..4]);
            return (raw, 16);
        }
        raw[0] = libc::AF_INET6 as u8;
        raw[8..24].copy_from_slice(&self.ip);
        (raw, ADDR_BYTES)
    }

    fn from_arena(address: &Address) -> Inet {
        let (version, port, ip) = address.get();
        Inet { version, port, ip }
    }

    fn store(&self, to: &Address) {
        to.set(self.version, self.port, self.ip);
    }

    /// An IPv4 address inside an IPv6 one as what it is.
    pub fn unmapped(self) -> Inet {
        if self.version == 6 && self.ip[..12] == Inet::MAPPED {
            let mut ip = [0; 16];
            ip[..4].copy_from_slice(&self.ip[12..]);
            return Inet { version: 4, port: self.port, ip };
        }
        self
    }

    fn is_loopback(self) -> bool {
        let plain = self.unmapped();
        match plain.version {
            4 => plain.ip[0] == 127 || plain.ip[..4] == [0; 4],
            _ => plain.ip == Inet::LOOPBACK6 || plain.ip == [0; 16],
        }
    }

    /// True for the name server that network replay has in place of all others.
    pub fn is_player_s(self) -> bool {
        let net = &arena::header().net;
        self.is_loopback() && net.dns.iter().any(|p| p.load(Ordering::Relaxed) == self.port.into())
    }

    fn is_multicast(self) -> bool {
        let plain = self.unmapped();
        if plain.version == 4 { plain.ip[0] >= 224 } else { plain.ip[0] == 0xff }
    }
}

/// Where a destination's traffic goes.
enum Verdict {
    /// As the guest wants.
    Live,
    /// To this port of the host on loopback.
    Host(u16),
    Refused,
}

fn stream_verdict(to: Inet) -> Verdict {
    let net = &arena::header().net;
    let six = usize::from(to.unmapped().version == 6);
    let port =
        |ports: &[AtomicU32; 2]| match ports.get(six).map_or(0, |p| p.load(Ordering::Relaxed)) {
            0 => Verdict::Refused,
            port => Verdict::Host(port as u16),
        };
    let plain = to.unmapped();
    let is_in = |list: &[Address], count: &AtomicU32| {
        let count = count.load(Ordering::Acquire) as usize;
        list.iter().take(count).any(|address| Inet::from_arena(address) == plain)
    };
    if to.is_loopback() {
        let served = is_in(&net.served, &net.served_count);
        return if served { port(&net.player) } else { Verdict::Live };
    }
    if to.port == DNS_PORT {
        return port(&net.dns);
    }
    if is_in(&net.failed, &net.failed_count) {
        return Verdict::Refused;
    }
    if net.others.load(Ordering::Relaxed) != 0 { port(&net.player) } else { Verdict::Refused }
}

fn datagram_verdict(to: Inet) -> Verdict {
    let net = &arena::header().net;
    if to.port == DNS_PORT {
        // Resolvers on loopback (a stub of the system's) would ask the outside.
        let six = usize::from(to.unmapped().version == 6);
        let port = net.dns.get(six).map_or(0, |p| p.load(Ordering::Relaxed));
        return if port == 0 { Verdict::Refused } else { Verdict::Host(port as u16) };
    }
    if to.is_loopback() { Verdict::Live } else { Verdict::Host(CLOSED) }
}

/// A call that network replay answers or performs in another way; None: it goes its usual way.
pub fn call(t: &mut Thread, nr: u64, args: &mut [u64; 6]) -> Option<i64> {
    match nr as i64 {
        libc::SYS_connect => connect(t, args),
        libc::SYS_sendto if args[4] != 0 => {
            let to = Inet::read(args[4], args[5])?;
            let sent = |raw: &[u8], len: usize| {
                // SAFETY: the guest's call, with another address.
                unsafe {
                    sys!(libc::SYS_sendto, args[0], args[1], args[2], args[3], raw.as_ptr(), len)
                }
            };
            send(t, args[0], to, sent)
        }
        libc::SYS_sendmsg => send_message(t, args[0], args[1], args[2]),
        libc::SYS_sendmmsg => send_messages(t, args),
        // Packets and the host of a virtual machine are of the world, too.
        libc::SYS_socket if !KNOWN_FAMILIES.contains(&(args[0] as i32)) => {
            Some(-i64::from(libc::EAFNOSUPPORT))
        }
        _ => None,
    }
}

/// Families of sockets that stay on this machine, or that are answered here.
const KNOWN_FAMILIES: [i32; 5] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_ALG];

/// The destination of the `struct msghdr` (name, namelen, iov, iovlen, control, controllen, flags)
/// at `at`, if it names one of the internet.
fn destination_of(at: u64) -> Option<Inet> {
    Inet::read(Guest.u64(at)?, Guest.u32(at.wrapping_add(8))?.into())
}

/// sendmsg to an address; None: it goes its usual way.
fn send_message(t: &mut Thread, fd: u64, at: u64, flags: u64) -> Option<i64> {
    let to = destination_of(at)?;
    let mut message = [0u8; MSGHDR_BYTES];
    if !Guest.read(at, &mut message) {
        return None;
    }
    let sent = |raw: &[u8], len: usize| {
        let mut other = message;
        other[..8].copy_from_slice(&(raw.as_ptr() as u64).to_le_bytes());
        other[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        // SAFETY: the guest's call, with another address.
        unsafe { sys!(libc::SYS_sendmsg, fd, other.as_ptr(), flags) }
    };
    send(t, fd, to, sent)
}

/// sendmmsg if a message has an address: one after the other, up to the first that fails.
fn send_messages(t: &mut Thread, args: &[u64; 6]) -> Option<i64> {
    let [fd, messages, count, flags, ..] = *args;
    let count = (count as u32).min(MESSAGES_MAX);
    let at = |i: u32| messages.wrapping_add(u64::from(i) * MMSGHDR_BYTES);
    if !(0..count).any(|i| destination_of(at(i)).is_some()) {
        return None;
    }
    for i in 0..count {
        let ret = send_message(t, fd, at(i), flags).unwrap_or_else(|| {
            // SAFETY: the guest's call, for one of its messages.
            unsafe { sys!(libc::SYS_sendmsg, fd, at(i), flags) }
        });
        if ret < 0 {
            return Some(if i == 0 { ret } else { i.into() });
        }
        write_guest(at(i).wrapping_add(MSGHDR_BYTES as u64), &(ret as u32).to_le_bytes());
    }
    Some(count.into())
}

/// After a call: datagrams of the player's name server come from the one that was asked.
pub fn after(t: &mut Thread, nr: u64, args: &[u64; 6], ret: i64) {
    if ret < 0 {
        return;
    }
    match nr as i64 {
        libc::SYS_recvfrom if args[4] != 0 => {
            let server = t.process().name_server;
            show(args[4], args[5], |from| from.is_player_s().then_some(server));
        }
        libc::SYS_recvmsg => show_sender(t, args[1]),
        libc::SYS_recvmmsg => {
            for i in 0..ret as u64 {
                show_sender(t, args[1].wrapping_add(i * MMSGHDR_BYTES));
            }
        }
        _ => {}
    }
}

/// As `show`, of the message at `at`.
fn show_sender(t: &mut Thread, at: u64) {
    let server = t.process().name_server;
    if let Some(name) = Guest.u64(at) {
        show(name, at.wrapping_add(8), |from| from.is_player_s().then_some(server));
    }
}

/// Replaces an address that the kernel has written for the guest, if there is another.
fn show(addr: u64, len_at: u64, other: impl FnOnce(Inet) -> Option<Inet>) {
    let Some(len) = Guest.u32(len_at) else { return };
    let Some(found) = Inet::read(addr, len.into()) else { return };
    let Some(shown) = other(found) else { return };
    let (raw, size) = shown.raw();
    let room = size.min(len as usize);
    write_guest(addr, raw.get(..room).unwrap_or(&raw));
}

/// The socket's own address.
fn local_of(fd: u64) -> Option<Inet> {
    let mut raw = [0u8; ADDR_BYTES];
    let mut len = ADDR_BYTES as u32;
    // SAFETY: own buffers.
    let ret = unsafe { sys!(libc::SYS_getsockname, fd, raw.as_mut_ptr(), &raw mut len) };
    if ret < 0 { None } else { Inet::read(raw.as_ptr() as u64, len.into()) }
}

fn connect(t: &mut Thread, args: &[u64; 6]) -> Option<i64> {
    let fd = args[0];
    let Some(to) = Inet::read(args[1], args[2]) else {
        return is_resolver(args[1], args[2]).then_some(-i64::from(libc::ENOENT));
    };
    let datagram = option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? == libc::SOCK_DGRAM;
    let verdict = if datagram { datagram_verdict(to) } else { stream_verdict(to) };
    match verdict {
        Verdict::Live => {
            if !datagram {
                tell(t, fd, to, socket_state::LIVE);
            }
            None
        }
        Verdict::Refused => {
            tell(t, fd, to, socket_state::REFUSED);
            Some(REFUSED)
        }
        Verdict::Host(port) if datagram => {
            if port != CLOSED {
                t.process().name_server = to;
            }
            Some(perform(fd, destination(to, port)))
        }
        Verdict::Host(port) => Some(connect_host(t, fd, to, port)),
    }
}

/// The host's address for a socket of the destination's version.
fn destination(to: Inet, port: u16) -> Inet {
    let mut host = Inet::loopback(to.unmapped().version, port);
    if to.version == 6 && host.version == 4 {
        // An IPv6 socket that speaks IPv4.
        let mut ip = [0; 16];
        ip[..12].copy_from_slice(&Inet::MAPPED);
        ip[12..].copy_from_slice(&[127, 0, 0, 1]);
        host = Inet { version: 6, port, ip };
    }
    host
}

fn perform(fd: u64, to: Inet) -> i64 {
    let (raw, len) = to.raw();
    // SAFETY: own buffer.
    unsafe { sys!(libc::SYS_connect, fd, raw.as_ptr(), len) }
}

fn connect_host(t: &mut Thread, fd: u64, to: Inet, port: u16) -> i64 {
    let host = destination(to, port);
    if sockets::entry_of(fd).is_some() {
        // A second connect on the same socket: the kernel says how the first went.
        return perform(fd, host);
    }
    let Some(socket) = arena::reserve_socket() else { return REFUSED };
    let mut bound = local_of(fd);
    if bound.is_none_or(|own| own.port == 0) {
        let own = Inet { port: 0, ..host };
        let (raw, len) = own.raw();
        // SAFETY: own buffer.
        unsafe { sys!(libc::SYS_bind, fd, raw.as_ptr(), len) };
        bound = local_of(fd);
    }
    let Some(own) = bound.filter(|own| own.port != 0) else {
        socket.state.store(socket_state::FREE, Ordering::Release);
        return REFUSED;
    };
    announce(t, socket, fd, to);
    Inet { port: own.port, ..Inet::loopback(host.unmapped().version, 0) }.store(&socket.local);
    socket.local.other_port.store(host.port.into(), Ordering::Relaxed);
    socket.state.store(socket_state::OPEN, Ordering::Release);
    let ret = perform(fd, host);
    if ret < 0 && ret != -i64::from(libc::EINPROGRESS) && ret != -i64::from(libc::EINTR) {
        socket.state.store(socket_state::FREE, Ordering::Release);
    } else {
        t.process().fds.set(fd, What::Answered);
    }
    ret
}

fn announce(t: &Thread, socket: &Socket, fd: u64, to: Inet) {
    let p = t.process();
    socket.fd.store(fd as i32, Ordering::Relaxed);
    socket.process.store(p.entry().key.load(Ordering::Relaxed), Ordering::Relaxed);
    socket.step.store(p.steps.load(Ordering::Relaxed), Ordering::Relaxed);
    socket.regs_at.store(&raw const t.regs as u64, Ordering::Relaxed);
    socket.tid.store(t.tid, Ordering::Relaxed);
    socket.answered.store(0, Ordering::Relaxed);
    socket.shown.set(0, 0, [0; 16]);
    to.store(&socket.peer);
}

/// Leaves word for the host's report.
fn tell(t: &Thread, fd: u64, to: Inet, what: u32) {
    if let Some(socket) = arena::reserve_socket() {
        announce(t, socket, fd, to);
        socket.state.store(what, Ordering::Release);
        arena::ring();
    }
}

/// A send to an address: datagrams, and data with a connect (TCP fast open), which is refused so
/// that the guest connects first.
fn send(t: &mut Thread, fd: u64, to: Inet, sent: impl FnOnce(&[u8], usize) -> i64) -> Option<i64> {
    if option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_DGRAM {
        return Some(-i64::from(libc::EOPNOTSUPP));
    }
    match datagram_verdict(to) {
        Verdict::Live => None,
        Verdict::Host(port) if port != CLOSED => {
            t.process().name_server = to;
            let (raw, len) = destination(to, port).raw();
            Some(sent(&raw, len))
        }
        _ if to.is_multicast() => Some(-i64::from(libc::ENETUNREACH)),
        _ => {
            tell(t, fd, to, socket_state::REFUSED);
            Some(REFUSED)
        }
    }
}

/// The system's resolvers that are asked through a Unix socket.
pub fn is_resolver(addr: u64, len: u64) -> bool {
    let mut raw = [0u8; 110];
    let len = (len as u32 as usize).min(raw.len());
    let Some(to) = raw.get_mut(..len) else { return false };
    if !Guest.read(addr, to) || i32::from(u16::from_le_bytes([raw[0], raw[1]])) != libc::AF_UNIX {
        return false;
    }
    let path = raw.get(2..).unwrap_or(&[]);
    RESOLVERS.iter().any(|resolver| path.starts_with(resolver.as_bytes()))
}

impl Inet {
    /// No address yet.
    pub const NONE: Inet = Inet { version: 0, port: 0, ip: [0; 16] };
}
