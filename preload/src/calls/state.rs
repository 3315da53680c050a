//! Calls on a thread's own kernel state that the shim keeps itself.
#![allow(unsafe_code, reason = "raw syscalls")]

use log_format::arena::{Mode, option, proc_trait};
use log_format::record::{Kind, flag, note};
use log_format::table::{Memory, Row};

use crate::process::SigAction;
use crate::sys::{Guest, sys, write_guest};
use crate::thread::Thread;
use crate::{arena, entropy, record, replay, signals};

const EFAULT: i64 = -14;
const EINVAL: i64 = -22;

/// rt_sigaction: the kernel knows only the shim's handlers.
pub fn rt_sigaction(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let [sig, new, old, size, ..] = *args;
    let replays = t.process().mode == Mode::Replay;
    let mut ret = 0;
    let valid = (1..=64).contains(&sig) && size == 8;
    let fixed = matches!(sig as i32, libc::SIGKILL | libc::SIGSTOP);
    let before = t.process().actions.get(sig as usize).copied().unwrap_or_default();
    let mut action = None;
    if !valid || fixed && new != 0 {
        ret = EINVAL;
    } else if new != 0 {
        let word = |i: u64| Guest.u64(new + i * 8);
        match (word(0), word(1), word(2), word(3)) {
            (Some(handler), Some(flags), Some(restorer), Some(mask)) => {
                action = Some(SigAction { handler, flags, restorer, mask });
            }
            _ => ret = EFAULT,
        }
    }
    if ret == 0 && old != 0 && !replays {
        let words = [before.handler, before.flags, before.restorer, before.mask];
        for (i, word) in words.into_iter().enumerate() {
            if !write_guest(old + i as u64 * 8, &word.to_le_bytes()) {
                ret = EFAULT;
            }
        }
    }
    if let Some(action) = action {
        signals::set_action(t, sig as i32, action);
    }
    if replays {
        return replay::call(t, row, args);
    }
    record::log(t, Kind::Call, flag::LOCAL, row, args, ret, &[]);
    ret
}

/// setrlimit and prlimit64: the limit of the stack holds on replay too, because the loader and the
/// C library of a program to be executed place stacks by it.
pub fn set_limit(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let (of, which, new) = match i64::from(row.nr) {
        libc::SYS_setrlimit => (0, args[0], args[1]),
        _ => (args[0], args[1], args[2]),
    };
    let ret = super::generic(t, row, args);
    let p = t.process();
    let own = of == 0 || of as i32 == p.pid;
    if p.mode == Mode::Replay && ret == 0 && own && which as u32 == libc::RLIMIT_STACK && new != 0 {
        // SAFETY: the guest's own call; the kernel checks the address.
        unsafe { sys!(libc::SYS_prlimit64, 0, which, new, 0) };
    }
    ret
}

/// setuid and its kin: what the new user executes must be able to open the arena.
pub fn become_user(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    const UNCHANGED: u32 = u32::MAX;
    let effective = if i64::from(row.nr) == libc::SYS_setuid { args[0] } else { args[1] } as u32;
    if t.process().mode != Mode::Replay && effective != 0 && effective != UNCHANGED {
        let path = arena::header().arena_path.as_ptr();
        // SAFETY: a NUL-terminated path. Only root can, and root's access does not end by it.
        unsafe { sys!(libc::SYS_chown, path, effective, UNCHANGED) };
    }
    super::generic(t, row, args)
}

/// rt_sigprocmask: the guest's mask is kept in the thread's block.
pub fn rt_sigprocmask(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let [how, new, old, size, ..] = *args;
    let before = t.sigmask;
    let mut after = before;
    let mut ret = if size == 8 { 0 } else { EINVAL };
    if ret == 0 && new != 0 {
        match (Guest.u64(new), how as i32) {
            (Some(set), libc::SIG_BLOCK) => after |= set,
            (Some(set), libc::SIG_UNBLOCK) => after &= !set,
            (Some(set), libc::SIG_SETMASK) => after = set,
            (Some(_), _) => ret = EINVAL,
            (None, _) => ret = EFAULT,
        }
    }
    if ret == 0 {
        t.sigmask = after & !crate::masks::KILL_STOP;
        if old != 0 && !write_guest(old, &before.to_le_bytes()) {
            ret = EFAULT;
        }
    }
    if t.process().mode == Mode::Replay {
        return replay::call(t, row, args);
    }
    record::log(t, Kind::Call, flag::LOCAL, row, args, ret, &[]);
    if t.sigmask != before {
        signals::apply_mask(t);
    }
    ret
}

/// sigaltstack: the kernel's is the shim's own.
pub fn sigaltstack(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let [new, old, ..] = *args;
    let before = t.altstack;
    let on = signals::on_altstack(t, t.regs.rsp);
    let mut ret = 0;
    if new != 0 {
        match (Guest.u64(new), Guest.u32(new + 8), Guest.u64(new + 16)) {
            (Some(at), Some(flags), Some(size)) => {
                let disable = flags & libc::SS_DISABLE as u32 != 0;
                if on {
                    ret = -i64::from(libc::EPERM);
                } else if disable {
                    t.altstack = [0, libc::SS_DISABLE as u64, 0];
                } else if size < 2048 {
                    ret = -i64::from(libc::ENOMEM);
                } else {
                    t.altstack = [at, u64::from(flags) & !(libc::SS_ONSTACK as u64), size];
                }
            }
            _ => ret = EFAULT,
        }
    }
    if ret == 0 && old != 0 {
        let flags = before[1] | if on { libc::SS_ONSTACK as u64 } else { 0 };
        for (i, word) in [before[0], flags, before[2]].into_iter().enumerate() {
            write_guest(old + i as u64 * 8, &word.to_le_bytes());
        }
    }
    if t.process().mode == Mode::Replay {
        return replay::call(t, row, args);
    }
    record::log(t, Kind::Call, flag::LOCAL, row, args, ret, &[]);
    ret
}

/// set_tid_address: the shim clears the word itself, while it holds the token.
pub fn set_tid_address(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    t.clear_tid = args[0];
    let tid = i64::from(t.tid);
    super::simple(t, row, args, |_| tid)
}

/// arch_prctl: `%fs` is the guest's, `%gs` the shim's.
pub fn arch_prctl(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_GET_GS: u64 = 0x1004;
    let replays = t.process().mode == Mode::Replay;
    match args[0] {
        ARCH_SET_GS | ARCH_GET_GS => {
            if !replays {
                record::note(t, note::UNSUPPORTED, b"the guest uses the gs segment");
            }
            super::simple(t, row, args, |_| EINVAL)
        }
        ARCH_SET_FS => {
            // SAFETY: sets the guest's own segment base, as it asked.
            unsafe { sys!(libc::SYS_arch_prctl, args[0], args[1]) };
            super::simple(t, row, args, |_| 0)
        }
        _ => super::generic(t, row, args),
    }
}

const PR_SET_SECCOMP: u64 = libc::PR_SET_SECCOMP as u64;

/// seccomp: from the first filter on, the shim makes only calls that the guest makes, as far as
/// that is possible.
pub fn seccomp(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    // Strict mode and filters.
    const MODES: core::ops::RangeInclusive<u64> = 0..=1;
    let ret = super::generic(t, row, args);
    if MODES.contains(&args[0]) {
        filtered(t, ret);
    }
    ret
}

/// After the guest asked for a seccomp filter.
fn filtered(t: &mut Thread, ret: i64) {
    if t.process().mode == Mode::Record && ret == 0 && !arena::is_filtered() {
        arena::add_traits(t.process().entry(), proc_trait::FILTERED);
        record::note(
            t,
            note::SECCOMP,
            b"rr-run itself needs rt_sigreturn, and around signals timers",
        );
    }
}

/// unshare and setns: where pids mean something else, children must be known by the host's.
pub fn enter_namespace(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    const PIDS: u64 = libc::CLONE_NEWPID as u64;
    let ret = super::generic(t, row, args);
    let kinds = if i64::from(row.nr) == libc::SYS_unshare { args[0] } else { args[1] };
    // setns may leave it to the descriptor.
    let any = kinds == 0 && i64::from(row.nr) == libc::SYS_setns;
    if t.process().mode == Mode::Record && ret == 0 && (any || kinds & PIDS != 0) {
        arena::add_traits(t.process().entry(), proc_trait::FOREIGN_CHILDREN);
    }
    ret
}

/// prctl: what would take the shim's ground away is refused.
pub fn prctl(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    const PR_SET_SYSCALL_USER_DISPATCH: u64 = 59;
    match args[0] {
        PR_SET_SECCOMP => {
            let ret = super::generic(t, row, args);
            filtered(t, ret);
            ret
        }
        PR_SET_SYSCALL_USER_DISPATCH => super::simple(t, row, args, |t| {
            record::note(t, note::REFUSED, b"prctl(PR_SET_SYSCALL_USER_DISPATCH)");
            EINVAL
        }),
        _ => super::generic(t, row, args),
    }
}

/// getrandom: from the seed, in both modes.
pub fn getrandom(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let [_, _, flags, ..] = *args;
    if t.process().mode == Mode::Replay {
        return replay::call(t, row, args);
    }
    const KNOWN_FLAGS: u64 = 7;
    if t.process().option(option::ENTROPY_OS) || flags & !KNOWN_FLAGS != 0 {
        return record::call(t, row, args);
    }
    let ret = entropy::answer(&mut t.rng, row.nr.into(), args);
    record::log(t, Kind::Call, flag::SEEDED, row, args, ret, &[]);
    ret
}
