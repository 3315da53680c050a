//! Names of signals and of their codes.

use super::FlagName;

pub(super) const SIGNAL: &[FlagName] = one_of! {
    1 SIGHUP, 2 SIGINT, 3 SIGQUIT, 4 SIGILL, 5 SIGTRAP, 6 SIGABRT, 7 SIGBUS, 8 SIGFPE, 9 SIGKILL,
    10 SIGUSR1, 11 SIGSEGV, 12 SIGUSR2, 13 SIGPIPE, 14 SIGALRM, 15 SIGTERM, 16 SIGSTKFLT,
    17 SIGCHLD, 18 SIGCONT, 19 SIGSTOP, 20 SIGTSTP, 21 SIGTTIN, 22 SIGTTOU, 23 SIGURG, 24 SIGXCPU,
    25 SIGXFSZ, 26 SIGVTALRM, 27 SIGPROF, 28 SIGWINCH, 29 SIGIO, 30 SIGPWR, 31 SIGSYS,
};

pub(super) const SI_CODE: &[FlagName] = one_of! {
    0 SI_USER, 128 SI_KERNEL, 0xffffffff SI_QUEUE, 0xfffffffe SI_TIMER, 0xfffffffd SI_MESGQ,
    0xfffffffc SI_ASYNCIO, 0xfffffffb SI_SIGIO, 0xfffffffa SI_TKILL,
};

pub(super) const CLD: &[FlagName] = one_of! {
    1 CLD_EXITED, 2 CLD_KILLED, 3 CLD_DUMPED, 4 CLD_TRAPPED, 5 CLD_STOPPED, 6 CLD_CONTINUED,
};

pub(super) const SEGV: &[FlagName] = one_of! {
    1 SEGV_MAPERR, 2 SEGV_ACCERR, 3 SEGV_BNDERR, 4 SEGV_PKUERR,
};

pub(super) const BUS: &[FlagName] = one_of! {
    1 BUS_ADRALN, 2 BUS_ADRERR, 3 BUS_OBJERR,
};

pub(super) const FPE: &[FlagName] = one_of! {
    1 FPE_INTDIV, 2 FPE_INTOVF, 3 FPE_FLTDIV, 4 FPE_FLTOVF, 5 FPE_FLTUND, 6 FPE_FLTRES,
    7 FPE_FLTINV, 8 FPE_FLTSUB,
};

pub(super) const ILL: &[FlagName] = one_of! {
    1 ILL_ILLOPC, 2 ILL_ILLOPN, 3 ILL_ILLADR, 4 ILL_ILLTRP, 5 ILL_PRVOPC, 6 ILL_PRVREG,
    7 ILL_COPROC, 8 ILL_BADSTK,
};
