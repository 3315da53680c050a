//! Names of the rules: their addresses are those that name servers give the guest.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use log_format::DNS_PORT;
use log_format::policy::{is_named, rule, verdict};
use log_format::table::Memory;

use super::{any_rule, header, net};
use crate::calls::network::Inet;
use crate::intercept::option;
use crate::sys::{Guest, sys};

/// Longest answer that is read.
const ANSWER_BYTES: usize = 4096;
/// Longest name, with dots.
const NAME_BYTES: usize = 256;
const HEAD_BYTES: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;

/// After a call that may have received an answer.
pub fn received(nr: u64, args: &[u64; 6], ret: i64) {
    const MSG_IOV: u64 = 16;
    const MMSGHDR_BYTES: u64 = 64;
    const MSG_LEN: u64 = 56;
    let fd = args[0];
    match nr as i64 {
        libc::SYS_read | libc::SYS_recvfrom => look(fd, args[1], ret as u64),
        libc::SYS_recvmsg => {
            if let Some(base) = Guest.u64(args[1] + MSG_IOV).and_then(|iov| Guest.u64(iov)) {
                look(fd, base, ret as u64);
            }
        }
        libc::SYS_recvmmsg => {
            for i in 0..ret as u64 {
                let message = args[1] + i * MMSGHDR_BYTES;
                let base = Guest.u64(message + MSG_IOV).and_then(|iov| Guest.u64(iov));
                if let (Some(base), Some(len)) = (base, Guest.u32(message + MSG_LEN)) {
                    look(fd, base, len.into());
                }
            }
        }
        _ => {}
    }
}

/// Learns from bytes at `addr` if they are a name server's answer.
fn look(fd: u64, addr: u64, len: u64) {
    let mut head = [0u8; HEAD_BYTES + 2];
    if len < head.len() as u64 || !Guest.read(addr, &mut head) {
        return;
    }
    // Over TCP the answer's length may stand before it.
    let [high, low, ..] = head;
    let prefixed = u64::from(u16::from_be_bytes([high, low])) + 2 == len;
    let skip = if prefixed { 2 } else { 0 };
    let [.., flags, _, _, questions] = match head.get(skip..skip + 6) {
        Some([_, _, flags, a, b, questions]) => [0, 0, *flags, *a, *b, *questions],
        _ => return,
    };
    const RESPONSE: u8 = 0x80;
    if flags & RESPONSE == 0 || questions != 1 || !net::learns() || !from_name_server(fd) {
        return;
    }
    let mut answer = [0u8; ANSWER_BYTES];
    let len = (len as usize - skip).min(ANSWER_BYTES);
    let Some(answer) = answer.get_mut(..len) else { return };
    if Guest.read(addr + skip as u64, answer) {
        learn(answer);
    }
}

fn from_name_server(fd: u64) -> bool {
    let (mut raw, mut len) = ([0u8; 28], 28u32);
    // SAFETY: own buffers.
    let ret = unsafe { sys!(libc::SYS_getpeername, fd, raw.as_mut_ptr(), &raw mut len) };
    if ret != 0 {
        // Not connected: whom it is from stands elsewhere.
        return option(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_DGRAM);
    }
    let peer = Inet::read(raw.as_ptr() as u64, len.into());
    peer.is_some_and(|peer| peer.port == DNS_PORT || peer.is_player_s())
}

/// Reads an answer's addresses, for whatever rules name its question.
fn learn(answer: &[u8]) {
    let mut name = [0u8; NAME_BYTES];
    let Some((len, after)) = read_name(answer, HEAD_BYTES, &mut name) else { return };
    let name = name.get(..len).unwrap_or(&[]);
    for (kind, verdict) in [(rule::NAME, verdict::ALLOWED), (rule::NAME_DENIED, verdict::DENIED)] {
        any_rule(kind, |rule| {
            let Some((port, wanted)) = split(rule) else { return false };
            if is_named(name, wanted) {
                addresses(answer, after + 4, |version, ip| {
                    let bits = if version == 4 { 32 } else { 128 };
                    header().add(verdict, bits, version, port, ip);
                });
            }
            false
        });
    }
}

/// Port and name of a rule.
fn split(rule: &[u8]) -> Option<(u16, &[u8])> {
    let space = rule.iter().position(|b| *b == b' ')?;
    let digits = rule.get(..space)?;
    let port = digits
        .iter()
        .fold(0u16, |n, d| n.wrapping_mul(10).wrapping_add(u16::from(d.wrapping_sub(b'0'))));
    Some((port, rule.get(space + 1..)?))
}

/// Reads the labels at `at` (of a question: no pointers); the name's length, and what follows it.
fn read_name(answer: &[u8], mut at: usize, to: &mut [u8; NAME_BYTES]) -> Option<(usize, usize)> {
    let mut len = 0;
    loop {
        let size = usize::from(*answer.get(at)?);
        let label = answer.get(at + 1..at + 1 + size)?;
        at += 1 + size;
        if size == 0 {
            return Some((len, at));
        }
        if size > 63 {
            return None;
        }
        if len > 0 {
            *to.get_mut(len)? = b'.';
            len += 1;
        }
        to.get_mut(len..len + size)?.copy_from_slice(label);
        len += size;
    }
}

/// Calls `each` with the addresses of the records from `at` on.
fn addresses(answer: &[u8], mut at: usize, mut each: impl FnMut(u8, [u8; 16])) -> Option<()> {
    let half = |at: usize| Some(u16::from_be_bytes(*answer.get(at..at + 2)?.first_chunk()?));
    for _ in 0..half(6)? {
        loop {
            // A name: labels, ended by an empty one or by a pointer.
            const POINTER: u8 = 0xc0;
            let size = *answer.get(at)?;
            at += 1 + if size & POINTER == 0 { usize::from(size) } else { 1 };
            if size == 0 || size & POINTER != 0 {
                break;
            }
        }
        // Type, class, time to live, length, data.
        let (kind, len) = (half(at)?, usize::from(half(at + 8)?));
        let data = answer.get(at + 10..at + 10 + len)?;
        let mut ip = [0; 16];
        match (kind, len) {
            (A, 4) | (AAAA, 16) => {
                ip.get_mut(..len)?.copy_from_slice(data);
                each(if len == 4 { 4 } else { 6 }, ip);
            }
            _ => {}
        }
        at += 10 + len;
    }
    Some(())
}
