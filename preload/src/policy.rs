//! The policy: calls that it forbids are answered with an error, which is recorded as their
//! result, and a note says why. On replay the log answers; nothing is decided here.

pub mod exec;
mod names;
mod net;
mod paths;

use core::sync::atomic::Ordering;

use log_format::policy::{PolicyHeader, restricts};
use log_format::record::{Kind, note};
use log_format::table::{Effect, Row};

use crate::arena;
use crate::record;
use crate::thread::Thread;

const ACCESS: i64 = -(libc::EACCES as i64);
const REFUSED: i64 = -(libc::ECONNREFUSED as i64);
/// Room for what a note says.
const TEXT_BYTES: usize = 4096 + 64;

fn header() -> &'static PolicyHeader {
    &arena::header().policy
}

/// What is restricted: [`restricts`] bits.
#[inline(always)]
fn restricted() -> u32 {
    header().restricts.load(Ordering::Relaxed)
}

/// Before a call: if it is forbidden, it is logged with its result, which is returned.
#[inline(always)]
pub fn before(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<i64> {
    if restricted() == 0 || row.effect == Effect::None { None } else { check(t, row, args) }
}

#[inline(never)]
fn check(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<i64> {
    let files = restricted() & restricts::WRITE != 0;
    let net = restricted() & restricts::ANY_NET != 0;
    let mut why = Text::default();
    let ret = match row.effect {
        Effect::Opens(path) if files => paths::open(row, args, path, &mut why),
        Effect::Paths(acts) if files => paths::acts(row, args, acts, &mut why),
        Effect::ChangesFile if files => paths::descriptor(args[0], &mut why),
        Effect::Binds if files => paths::bind(args, &mut why),
        Effect::Connects if net => net::connect(args, &mut why),
        Effect::SendsTo(arg) if net => net::send_to(args, arg, &mut why),
        Effect::SendsMessages if net => net::send_messages(row, args, &mut why),
        // Programs are looked at where they are executed.
        _ => None,
    }?;
    deny(t, &why);
    record::log(t, Kind::Call, 0, row, args, ret, &[]);
    Some(ret)
}

/// After a call that may have brought a name server's answer.
#[inline(always)]
pub fn after(nr: u64, args: &[u64; 6], ret: i64) {
    if restricted() & restricts::ANY_NET != 0 && ret > 0 {
        names::received(nr, args, ret);
    }
}

/// Leaves word of a denial: in the log, or where nothing is logged, for the host.
fn deny(t: &mut Thread, why: &Text) {
    if t.process().logging {
        record::note(t, note::DENIED, why.get());
        return;
    }
    header().denials.tell(t.process().entry().key.load(Ordering::Relaxed), &[why.get()]);
    arena::ring();
}

/// What a note says.
type Text = crate::text::Text<TEXT_BYTES>;

/// Longest rule.
const RULE_BYTES: usize = 1100;

/// Calls `found` with each rule of a kind, until it gives true; whether it did.
fn any_rule(kind: u8, mut found: impl FnMut(&[u8]) -> bool) -> bool {
    let rules = &header().rules;
    let mut rule = [0u8; RULE_BYTES];
    let mut at = 0;
    loop {
        let mut len = 0;
        while let Some(byte) = rules.get(at + len).map(|b| b.load(Ordering::Relaxed)) {
            match rule.get_mut(len) {
                Some(to) if byte != 0 => *to = byte,
                _ => break,
            }
            len += 1;
        }
        match rule.get(..len).and_then(<[u8]>::split_first) {
            None => return false,
            Some((first, rest)) if *first == kind && found(rest) => return true,
            Some(_) => at += len + 1,
        }
    }
}
