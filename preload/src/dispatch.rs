//! Where every call of the guest arrives, whichever way it came.

use log_format::arena::Mode;
use log_format::record::{Kind, note};
use log_format::table::{self, Class, Row};

use crate::thread::Thread;
use crate::{calls, lending, masks, patch, record, replay, signals, token, trap};

/// Numbers above the kernel's: events that are not syscalls but come the same way.
pub mod pseudo {
    /// A clock read that the fast path did not take: rdi is the clock, rsi the result's address.
    pub const CLOCK: u64 = 0x1_0004;
    /// gettimeofday: rdi is the result's address.
    pub const TIMEOFDAY: u64 = 0x1_0104;
    /// time: rdi is the result's address or 0.
    pub const TIME: u64 = 0x1_0204;
    /// A trapped rdtsc or rdtscp.
    pub const TSC: u64 = 0x1_0005;
}

const ENOSYS: i64 = -38;

/// How a call's own code leaves the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result goes to rax.
    Returns(i64),
    /// All registers were set (sigreturn).
    RegistersSet,
}

/// Handles the call whose registers stand in the thread's block.
pub extern "C" fn rr_dispatch(t: &mut Thread) {
    t.resume = 0;
    lending::settle(t);
    patch::trapped(t, t.regs.rax);
    let r = &t.regs;
    let nr = r.rax;
    let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
    let outcome = match table::row(nr) {
        Some(row) => route(t, row, &args),
        None if nr > 0xffff => calls::time::pseudo(t, nr, &args),
        None => {
            // Numbers past the table do not exist here; tell, and let the guest cope.
            if t.process().mode == Mode::Record {
                let mut text = *b"syscall 00000000000000000000";
                digits(nr, &mut text[8..]);
                record::note(t, note::UNKNOWN, &text);
            } else {
                replay::skip_notes(t);
            }
            Outcome::Returns(ENOSYS)
        }
    };
    match outcome {
        Outcome::Returns(trap::RESTART) => {
            trap::rewind(t, nr);
            t.resume = 1;
        }
        Outcome::Returns(ret) => t.regs.rax = ret as u64,
        Outcome::RegistersSet => t.resume = 1,
    }
    token::share_if_asked(t);
    signals::boundary(t);
    masks::after(t);
}

fn route(t: &mut Thread, row: &'static Row, args: &[u64; 6]) -> Outcome {
    if let Some(ret) = record::plain::read(t, row, args) {
        return Outcome::Returns(ret);
    }
    let replays = t.process().mode == Mode::Replay;
    match row.class_of(args) {
        Class::Own => calls::own(t, row, args),
        Class::Refused => {
            if replays {
                return Outcome::Returns(replay::call(t, row, args));
            }
            record::note(t, note::REFUSED, row.name.as_bytes());
            record::log(t, Kind::Call, 0, row, args, ENOSYS, &[]);
            Outcome::Returns(ENOSYS)
        }
        Class::Local if replays => Outcome::Returns(calls::memory::replay_local(t, row, args)),
        Class::Recorded | Class::Blocking if replays => {
            masks::before(t, row.nr.into(), &mut args.clone(), &mut [0; 3]);
            Outcome::Returns(replay::call(t, row, args))
        }
        Class::Local | Class::Recorded | Class::Blocking => {
            let written =
                calls::vm::write(t, row, args).or_else(|| calls::mapped::change(t, row, args));
            Outcome::Returns(written.unwrap_or_else(|| record::call(t, row, args)))
        }
    }
}

/// Writes a number in decimal, with leading zeros, to all of `to`.
fn digits(mut number: u64, to: &mut [u8]) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
