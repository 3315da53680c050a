//! The policy, as the host puts it into the arena and the shim enforces it.
//!
//! Rules of paths and names stand in [`PolicyHeader::rules`], one after the other, each ended by
//! NUL and begun by one of [`rule`]'s letters. Addresses stand in [`PolicyHeader::addresses`]: the
//! host writes those it knows at the start, the shim those that name servers tell the guest for
//! names in the rules.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::arena::Address;
use crate::tellings::Tellings;

/// What is restricted: bits of [`PolicyHeader::restricts`].
pub mod restricts {
    /// Only allowed addresses can be reached.
    pub const NET: u32 = 1;
    /// There are denied addresses.
    pub const NET_DENIES: u32 = 2;
    /// Only files beneath allowed directories can be written.
    pub const WRITE: u32 = 4;
    /// Only allowed programs can be executed.
    pub const EXEC: u32 = 8;
    /// There are denied programs.
    pub const EXEC_DENIES: u32 = 16;
    /// All that has to do with the network.
    pub const ANY_NET: u32 = NET | NET_DENIES;
    /// All that has to do with programs.
    pub const ANY_EXEC: u32 = EXEC | EXEC_DENIES;
}

/// First letters of rules.
pub mod rule {
    /// A directory (or file) beneath which files can be written.
    pub const WRITE: u8 = b'w';
    /// A program that can be executed: a path, or the last part of one.
    pub const EXEC: u8 = b'x';
    /// A program that can't.
    pub const EXEC_DENIED: u8 = b'X';
    /// A name that can be connected to: its port (0: any), a space, the name, which may begin
    /// with `*.`.
    pub const NAME: u8 = b'n';
    /// A name that can't.
    pub const NAME_DENIED: u8 = b'N';
}

/// Bytes of rules.
pub const RULES_BYTES: usize = 16 * 1024;
/// Addresses that are known to be allowed or denied.
pub const ADDRESSES: usize = 512;

/// What the host must tell the shim about the policy, and hears back.
#[repr(C)]
pub struct PolicyHeader {
    /// [`restricts`] bits; 0: there is no policy.
    pub restricts: AtomicU32,
    /// Used entries of `addresses`.
    pub addresses_used: AtomicU32,
    /// NUL-terminated rules; an empty one ends them.
    pub rules: [AtomicU8; RULES_BYTES],
    /// Addresses.
    pub addresses: [AddressRule; ADDRESSES],
    /// What was denied where nothing is recorded: the host reads it there.
    pub denials: Tellings,
}

/// Values of [`AddressRule::verdict`].
pub mod verdict {
    /// Not filled in yet.
    pub const NONE: u32 = 0;
    /// Can be reached.
    pub const ALLOWED: u32 = 1;
    /// Can't.
    pub const DENIED: u32 = 2;
}

/// An address, or a network, and what the policy says of it.
#[repr(C)]
pub struct AddressRule {
    /// One of [`verdict`]'s values; written last.
    pub verdict: AtomicU32,
    /// Leading bits of the address that count.
    pub prefix_bits: AtomicU32,
    /// The address; its port 0 stands for every port.
    pub address: Address,
}

const _: () = assert!(size_of::<AddressRule>() == 32);

impl AddressRule {
    /// Whether the rule is about this address (of version 4: its first four bytes) and port.
    pub fn covers(&self, version: u8, port: u16, ip: &[u8; 16]) -> bool {
        let (its_version, its_port, its_ip) = self.address.get();
        let bits = self.prefix_bits.load(Ordering::Relaxed);
        its_version == version
            && (its_port == 0 || its_port == port)
            && same_prefix(&its_ip, ip, bits.min(128))
    }
}

/// Whether the first `bits` bits are equal.
fn same_prefix(a: &[u8; 16], b: &[u8; 16], bits: u32) -> bool {
    let mask = !u128::MAX.checked_shr(bits).unwrap_or(0);
    (u128::from_be_bytes(*a) ^ u128::from_be_bytes(*b)) & mask == 0
}

impl PolicyHeader {
    /// What is said of an address; a denial is stronger than a permission.
    pub fn verdict(&self, version: u8, port: u16, ip: &[u8; 16]) -> u32 {
        let used = self.addresses_used.load(Ordering::Acquire) as usize;
        let about = |rule: &&AddressRule| rule.covers(version, port, ip);
        let rules = self.addresses.iter().take(used).filter(about);
        rules.map(|rule| rule.verdict.load(Ordering::Acquire)).max().unwrap_or(verdict::NONE)
    }

    /// Adds an address, unless it is there; false if there is no room.
    pub fn add(
        &self,
        verdict: u32,
        prefix_bits: u32,
        version: u8,
        port: u16,
        ip: [u8; 16],
    ) -> bool {
        let used = (self.addresses_used.load(Ordering::Acquire) as usize).min(ADDRESSES);
        let same = |rule: &AddressRule| {
            rule.verdict.load(Ordering::Acquire) == verdict
                && rule.prefix_bits.load(Ordering::Relaxed) == prefix_bits
                && rule.address.get() == (version, port, ip)
        };
        if self.addresses.iter().take(used).any(same) {
            return true;
        }
        let place = self.addresses_used.fetch_add(1, Ordering::AcqRel) as usize;
        let Some(rule) = self.addresses.get(place) else {
            self.addresses_used.store(ADDRESSES as u32, Ordering::Release);
            return false;
        };
        rule.prefix_bits.store(prefix_bits, Ordering::Relaxed);
        rule.address.set(version, port, ip);
        rule.verdict.store(verdict, Ordering::Release);
        true
    }
}

/// Whether `path` is `dir` or beneath it; both are absolute and free of `.`, `..` and links.
pub fn is_beneath(path: &[u8], dir: &[u8]) -> bool {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether a name is the one of a rule, which may be `*.` and the end of names.
pub fn is_named(name: &[u8], rule: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    match rule.strip_prefix(b"*") {
        Some(end) if end.starts_with(b".") => name.len() > end.len() && ends_with(name, end),
        _ => name.eq_ignore_ascii_case(rule),
    }
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    let start = name.len().saturating_sub(end.len());
    name.get(start..).is_some_and(|last| last.eq_ignore_ascii_case(end))
}

/// Files that can always be written: nothing is kept in them, or they are the process's own.
pub fn is_always_writable(path: &[u8]) -> bool {
    const DEVICES: [&[u8]; 7] = [
        b"/dev/null",
        b"/dev/zero",
        b"/dev/full",
        b"/dev/tty",
        b"/dev/ptmx",
        b"/dev/random",
        b"/dev/urandom",
    ];
    let own = path.strip_prefix(b"/proc/").is_some_and(|rest| {
        rest.starts_with(b"self/")
            || rest.starts_with(b"thread-self/")
            || rest.first().is_some_and(u8::is_ascii_digit)
    });
    // A pipe, a socket, a file in memory have no path.
    own || !path.starts_with(b"/")
        || path.starts_with(b"/memfd:")
        || path.starts_with(b"/dev/pts/")
        || DEVICES.contains(&path)
}
