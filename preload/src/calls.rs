//! Calls with code of their own, by area.

pub mod clocks;
pub mod clone3;
pub mod descriptors;
pub mod exec;
pub mod mapped;
pub mod memory;
pub mod network;
mod offline;
pub mod pids;
pub mod process;
pub mod state;
pub mod sysv;
pub mod threads;
pub mod time;
pub mod vm;

use log_format::arena::Mode;
use log_format::table::Row;

use crate::dispatch::Outcome;
use crate::thread::Thread;
use crate::{record, replay, signals};

/// Handles a call of class Own.
pub fn own(t: &mut Thread, row: &'static Row, args: &[u64; 6]) -> Outcome {
    let ret = match i64::from(row.nr) {
        libc::SYS_clone | libc::SYS_fork | libc::SYS_vfork | libc::SYS_clone3 => {
            threads::create(t, row, args)
        }
        libc::SYS_execve | libc::SYS_execveat => exec::execute(t, row, args),
        libc::SYS_exit => process::exit_thread(t, args[0]),
        libc::SYS_exit_group => process::exit(t, args[0]),
        libc::SYS_rt_sigreturn => {
            simple(t, row, args, |_| 0);
            signals::sigreturn(t);
            return Outcome::RegistersSet;
        }
        libc::SYS_rt_sigaction => state::rt_sigaction(t, row, args),
        libc::SYS_rt_sigprocmask => state::rt_sigprocmask(t, row, args),
        libc::SYS_sigaltstack => state::sigaltstack(t, row, args),
        libc::SYS_set_tid_address => state::set_tid_address(t, row, args),
        libc::SYS_arch_prctl => state::arch_prctl(t, row, args),
        libc::SYS_prctl => state::prctl(t, row, args),
        libc::SYS_seccomp => state::seccomp(t, row, args),
        libc::SYS_unshare | libc::SYS_setns => state::enter_namespace(t, row, args),
        libc::SYS_rseq => simple(t, row, args, |_| -i64::from(libc::ENOSYS)),
        libc::SYS_getrandom => state::getrandom(t, row, args),
        libc::SYS_setrlimit | libc::SYS_prlimit64 => state::set_limit(t, row, args),
        libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid => {
            state::become_user(t, row, args)
        }
        libc::SYS_mmap => memory::mmap(t, row, args),
        libc::SYS_shmat => sysv::attach(t, row, args),
        libc::SYS_shmdt => sysv::detach(t, row, args),
        _ => generic(t, row, args),
    };
    Outcome::Returns(ret)
}

/// Network replay: a call that is answered otherwise than by the kernel, or with other arguments.
pub fn instead(t: &mut Thread, row: &Row, args: &mut [u64; 6]) -> Option<i64> {
    let nr = row.nr.into();
    pids::before(t, row, args);
    network::call(t, nr, args).or_else(|| clocks::call(t, nr, args))
}

/// As a call of class Recorded.
fn generic(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    if t.process().mode == Mode::Replay {
        replay::call(t, row, args)
    } else {
        record::call(t, row, args)
    }
}

/// Logs what `perform` gives, or answers from the log without it.
fn simple(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    perform: impl FnOnce(&mut Thread) -> i64,
) -> i64 {
    if t.process().mode == Mode::Replay {
        return replay::call(t, row, args);
    }
    let ret = perform(t);
    record::log(t, log_format::record::Kind::Call, 0, row, args, ret, &[]);
    ret
}
