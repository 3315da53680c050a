//! Connections and datagrams.

use core::sync::atomic::Ordering;

use log_format::DNS_PORT;
use log_format::policy::{restricts, rule, verdict};
use log_format::table::{Memory, Row};

use super::{REFUSED, Text, any_rule, header, paths, restricted};
use crate::calls::network::{Inet, MESSAGES_MAX, MMSGHDR_BYTES, is_resolver};
use crate::intercept::option;
use crate::sys::Guest;

/// Where `struct sockaddr_un` has its path.
const PATH_AT: u64 = 2;

/// connect.
pub fn connect(args: &[u64; 6], why: &mut Text) -> Option<i64> {
    if is_resolver(args[1], args[2]) && paths::is_there(args[1] + PATH_AT) {
        // Its answers would not be seen; without it, name servers are asked.
        why.set(&[b"ask the system's resolver, whose answers can't be seen"]);
        return Some(-i64::from(libc::ENOENT));
    }
    let datagram = option(args[0], libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_DGRAM);
    address(b"connect to ", args[1], args[2], datagram, why)
}

/// sendto.
pub fn send_to(args: &[u64; 6], arg: u8, why: &mut Text) -> Option<i64> {
    let at = args.get(usize::from(arg)).copied().unwrap_or(0);
    let len = args.get(usize::from(arg) + 1).copied().unwrap_or(0);
    if at == 0 { None } else { address(b"send to ", at, len, false, why) }
}

/// sendmsg and sendmmsg; of several messages each must be allowed.
pub fn send_messages(row: &Row, args: &[u64; 6], why: &mut Text) -> Option<i64> {
    let several = i64::from(row.nr) == libc::SYS_sendmmsg;
    let count = if several { args[2].min(MESSAGES_MAX.into()) } else { 1 };
    (0..count).find_map(|i| {
        let message = args[1].wrapping_add(i * MMSGHDR_BYTES);
        let (name, len) = (Guest.u64(message)?, Guest.u32(message.wrapping_add(8))?);
        if name == 0 { None } else { address(b"send to ", name, len.into(), false, why) }
    })
}

/// ECONNREFUSED, unless the policy lets the address be reached. `probe`: a connect that sends
/// nothing, to a port 0, as resolvers make to learn about routes.
fn address(what: &[u8], at: u64, len: u64, probe: bool, why: &mut Text) -> Option<i64> {
    let family = Guest.u32(at).map_or(0, |word| i32::from(word as u16));
    match family {
        libc::AF_UNSPEC | libc::AF_UNIX | libc::AF_NETLINK => return None,
        libc::AF_INET | libc::AF_INET6 => {}
        _ => {
            why.set(&[what, b"an address that is not of the internet"]);
            return Some(REFUSED);
        }
    }
    let to = Inet::read(at, len)?.unmapped();
    if probe && to.port == 0 {
        return None;
    }
    let header = header();
    match header.verdict(to.version, to.port, &to.ip) {
        verdict::ALLOWED => return None,
        verdict::NONE if restricted() & restricts::NET == 0 => return None,
        // Names that are allowed have to be looked up.
        verdict::NONE if to.port == DNS_PORT && any_rule(rule::NAME, |_| true) => return None,
        _ => {}
    }
    why.set(&[what]);
    show(&to, why);
    Some(REFUSED)
}

/// Writes an address.
fn show(to: &Inet, why: &mut Text) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if to.version == 4 {
        for (i, byte) in to.ip.iter().take(4).enumerate() {
            why.push(if i > 0 { b"." } else { b"" });
            why.number((*byte).into());
        }
    } else {
        why.push(b"[");
        for (i, pair) in to.ip.chunks_exact(2).enumerate() {
            why.push(if i > 0 { b":" } else { b"" });
            let value = pair.iter().fold(0u16, |all, byte| all << 8 | u16::from(*byte));
            let mut started = false;
            for shift in [12, 8, 4, 0] {
                let digit = value >> shift & 15;
                started |= digit != 0 || shift == 0;
                if started && let Some(digit) = DIGITS.get(usize::from(digit)) {
                    why.push(&[*digit]);
                }
            }
        }
        why.push(b"]");
    }
    why.push(b":");
    why.number(to.port.into());
}

/// True while names are among the rules and their addresses have room.
pub fn learns() -> bool {
    let used = header().addresses_used.load(Ordering::Relaxed) as usize;
    used < log_format::policy::ADDRESSES
        && (any_rule(rule::NAME, |_| true) || any_rule(rule::NAME_DENIED, |_| true))
}
