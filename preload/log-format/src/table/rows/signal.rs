//! Signals.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{Len::*, Shape::*, Ty::*};

pub(super) const ROWS: &[Row] = rows! {
    13 rt_sigaction: Own (signum: Signal, act: InLoose(Fixed(32), Sigaction),
        oldact: Out(Fixed(32), Sigaction), sigsetsize: Ulong) -> Int;
    14 rt_sigprocmask: Own (how: Flags(FlagSet::SigHow), set: In(Fixed(8), Sigset),
        oldset: Out(Fixed(8), Sigset), sigsetsize: Ulong) -> Int;
    15 rt_sigreturn: Own () -> Int;
    131 sigaltstack: Own (ss: InLoose(Fixed(24), Sigstack), old_ss: Out(Fixed(24), Sigstack))
        -> Int;
    219 restart_syscall: Own () -> Int;
    34 pause: Blocking () -> Int;
    130 rt_sigsuspend: Blocking (mask: In(Fixed(8), Sigset), sigsetsize: Ulong) -> Int;
    128 rt_sigtimedwait: Blocking (set: In(Fixed(8), Sigset), info: Out(Fixed(128), Siginfo),
        timeout: In(Fixed(16), Timespec), sigsetsize: Ulong) -> Int;
    127 rt_sigpending: Recorded (set: Out(Arg(1), Sigset), sigsetsize: Ulong) -> Int;
    62 kill: Recorded (pid: Pid, sig: Signal) -> Int;
    200 tkill: Recorded (tid: Pid, sig: Signal) -> Int;
    234 tgkill: Recorded (tgid: Pid, tid: Pid, sig: Signal) -> Int;
    129 rt_sigqueueinfo: Recorded (tgid: Pid, sig: Signal, info: InLoose(Fixed(128), Siginfo))
        -> Int;
    297 rt_tgsigqueueinfo: Recorded (tgid: Pid, tid: Pid, sig: Signal,
        info: InLoose(Fixed(128), Siginfo)) -> Int;
    424 pidfd_send_signal: Recorded (pidfd: Fd, sig: Signal, info: InLoose(Fixed(128), Siginfo),
        flags: Flags(FlagSet::Hex)) -> Int;
    282 signalfd: Recorded (fd: Fd, mask: In(Fixed(8), Sigset), sizemask: Ulong) -> Fd;
    289 signalfd4: Recorded (fd: Fd, mask: In(Fixed(8), Sigset), sizemask: Ulong,
        flags: Flags(FlagSet::FdCreate)) -> Fd;
};
