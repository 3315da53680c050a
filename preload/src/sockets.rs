//! Addresses of sockets whose other end is the host: the guest goes on seeing those it knows.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use core::sync::atomic::Ordering;

use log_format::arena::{Address, Socket, socket_state};
use log_format::table::Memory;

use crate::arena;
use crate::sys::{Guest, sys, write_guest, write_guest_u32};

/// An address as the kernel gives it: family and port lead in both versions.
type Raw = [u8; 28];

/// Family, port and, of a loopback address, true.
fn own_end(raw: &Raw) -> Option<(u8, u16)> {
    let port = u16::from_be_bytes([raw[2], raw[3]]);
    match i32::from(u16::from_le_bytes([raw[0], raw[1]])) {
        libc::AF_INET if raw[4] == 127 => Some((4, port)),
        libc::AF_INET6 if raw[8..23] == [0; 15] && raw[23] == 1 => Some((6, port)),
        // A socket of version 6 that speaks version 4.
        libc::AF_INET6 if raw[8..18] == [0; 10] && raw[18..21] == [0xff, 0xff, 127] => {
            Some((4, port))
        }
        _ => None,
    }
}

fn name(nr: i64, fd: u64) -> Option<Raw> {
    let (mut raw, mut len) = ([0u8; 28], 28u32);
    // SAFETY: own buffers.
    let ret = unsafe { sys!(nr, fd, raw.as_mut_ptr(), &raw mut len) };
    (ret == 0).then_some(raw)
}

/// The entry of a socket whose other end is the host.
pub fn entry_of(fd: u64) -> Option<&'static Socket> {
    let (version, port) = own_end(&name(libc::SYS_getsockname, fd)?)?;
    let with = |state: u32| {
        arena::sockets().iter().find(|socket| {
            socket.state.load(Ordering::Acquire) == state && {
                let (v, p, _) = socket.local.get();
                (v, p) == (version, port)
            }
        })
    };
    let socket = with(socket_state::OPEN).or_else(|| with(socket_state::ENDED))?;
    // Another connection on loopback may have the same port at this end. The peer of one that
    // has ended is not known any more.
    let other = socket.local.other_port.load(Ordering::Relaxed);
    let same = |raw: Raw| u32::from(u16::from_be_bytes([raw[2], raw[3]])) == other;
    (other == 0 || name(libc::SYS_getpeername, fd).is_none_or(same)).then_some(socket)
}

/// After getsockname or getpeername of such a socket: writes the address that the guest knows.
/// `room`: what stood in the length before the call.
pub fn show(nr: u64, args: &[u64; 6], room: u32, ret: i64) {
    if ret != 0 {
        return;
    }
    let Some(socket) = entry_of(args[0]) else { return };
    let peer = nr == libc::SYS_getpeername as u64;
    let address = if peer { &socket.peer } else { &socket.shown };
    let mut raw: Raw = [0; 28];
    // The family is the socket's own: version 4 may have come to a socket of version 6.
    let family = crate::intercept::option(args[0], libc::SOL_SOCKET, libc::SO_DOMAIN);
    let Some(len) = to_raw(address, family == Some(libc::AF_INET6), &mut raw) else { return };
    let part = raw.get(..len.min(room as usize)).unwrap_or(&[]);
    write_guest(args[1], part);
    write_guest_u32(args[2], len as u32);
}

/// Room for an address in the call's third argument.
pub fn room(nr: u64, args: &[u64; 6]) -> Option<u32> {
    let named = [libc::SYS_getsockname, libc::SYS_getpeername].contains(&(nr as i64));
    if named { Guest.u32(args[2]) } else { None }
}

/// Writes an address as the kernel would; its length.
fn to_raw(address: &Address, six: bool, raw: &mut Raw) -> Option<usize> {
    let (version, port, ip) = address.get();
    raw[2..4].copy_from_slice(&port.to_be_bytes());
    match (version, six) {
        (4, false) => {
            raw[..2].copy_from_slice(&(libc::AF_INET as u16).to_le_bytes());
            raw[4..8].copy_from_slice(&ip[..4]);
            Some(16)
        }
        (4 | 6, true) => {
            raw[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_le_bytes());
            if version == 6 {
                raw[8..24].copy_from_slice(&ip);
            } else {
                raw[18..20].fill(0xff);
                raw[20..24].copy_from_slice(&ip[..4]);
            }
            Some(28)
        }
        _ => None,
    }
}
