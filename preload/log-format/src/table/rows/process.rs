//! Processes and threads: creation, end, waiting, identity, control.

use crate::table::Effect::*;
use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const fn futex(cases: &'static By) -> Ty {
    Ty::By(cases)
}

/// Operations of futex, without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
const FUTEX_MASK: u32 = 0x7f;
const WAIT: u32 = 0;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAKE_OP: u32 = 5;
const LOCK_PI: u32 = 6;
const UNLOCK_PI: u32 = 7;
const TRYLOCK_PI: u32 = 8;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;
const WAIT_REQUEUE_PI: u32 = 11;
const CMP_REQUEUE_PI: u32 = 12;
const LOCK_PI2: u32 = 13;

/// A futex word that the kernel writes.
const WORD: Ty = OutAlways(Fixed(4), I32);
const DEADLINE: Ty = In(Fixed(16), Timespec);

const FUTEX_UADDR: Ty = futex(&By {
    of: 1,
    mask: FUTEX_MASK,
    cases: &[(LOCK_PI, WORD), (UNLOCK_PI, WORD), (TRYLOCK_PI, WORD), (LOCK_PI2, WORD)],
    other: Addr,
});
const FUTEX_VAL: Ty = futex(&By {
    of: 1,
    mask: FUTEX_MASK,
    cases: &[(LOCK_PI, Unused), (UNLOCK_PI, Unused), (TRYLOCK_PI, Unused), (LOCK_PI2, Unused)],
    other: Uint,
});
const FUTEX_TIMEOUT: Ty = futex(&By {
    of: 1,
    mask: FUTEX_MASK,
    cases: &[
        (WAIT, DEADLINE),
        (LOCK_PI, DEADLINE),
        (WAIT_BITSET, DEADLINE),
        (WAIT_REQUEUE_PI, DEADLINE),
        (LOCK_PI2, DEADLINE),
        // Not a time here: val2.
        (REQUEUE, Uint),
        (CMP_REQUEUE, Uint),
        (WAKE_OP, Uint),
        (CMP_REQUEUE_PI, Uint),
    ],
    other: Unused,
});
const FUTEX_UADDR2: Ty = futex(&By {
    of: 1,
    mask: FUTEX_MASK,
    cases: &[
        (REQUEUE, Addr),
        (CMP_REQUEUE, Addr),
        (WAKE_OP, WORD),
        (WAIT_REQUEUE_PI, WORD),
        (CMP_REQUEUE_PI, WORD),
    ],
    other: Unused,
});
const FUTEX_VAL3: Ty = futex(&By {
    of: 1,
    mask: FUTEX_MASK,
    cases: &[
        (CMP_REQUEUE, Uint),
        (WAKE_OP, Flags(FlagSet::Hex)),
        (WAIT_BITSET, Flags(FlagSet::FutexBitset)),
        (WAKE_BITSET, Flags(FlagSet::FutexBitset)),
        (CMP_REQUEUE_PI, Uint),
    ],
    other: Unused,
});

const PRCTL_ARG2: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (1, Signal),                // PR_SET_PDEATHSIG
        (2, Out(Fixed(4), I32)),    // PR_GET_PDEATHSIG
        (3, Unused),                // PR_GET_DUMPABLE
        (4, Ulong),                 // PR_SET_DUMPABLE
        (5, Out(Fixed(4), I32)),    // PR_GET_UNALIGN
        (7, Unused),                // PR_GET_KEEPCAPS
        (8, Ulong),                 // PR_SET_KEEPCAPS
        (9, Out(Fixed(4), I32)),    // PR_GET_FPEMU
        (11, Out(Fixed(4), I32)),   // PR_GET_FPEXC
        (13, Unused),               // PR_GET_TIMING
        (15, Path),                 // PR_SET_NAME
        (16, Out(Fixed(16), Text)), // PR_GET_NAME
        (19, Out(Fixed(4), I32)),   // PR_GET_ENDIAN
        (21, Unused),               // PR_GET_SECCOMP
        (22, Ulong),                // PR_SET_SECCOMP
        (23, Ulong),                // PR_CAPBSET_READ
        (24, Ulong),                // PR_CAPBSET_DROP
        (25, Out(Fixed(4), I32)),   // PR_GET_TSC
        (26, Ulong),                // PR_SET_TSC
        (27, Unused),               // PR_GET_SECUREBITS
        (28, Ulong),                // PR_SET_SECUREBITS
        (29, Ulong),                // PR_SET_TIMERSLACK
        (30, Unused),               // PR_GET_TIMERSLACK
        (36, Ulong),                // PR_SET_CHILD_SUBREAPER
        (37, Out(Fixed(4), I32)),   // PR_GET_CHILD_SUBREAPER
        (38, Ulong),                // PR_SET_NO_NEW_PRIVS
        (39, Unused),               // PR_GET_NO_NEW_PRIVS
        (40, Out(Fixed(8), U64)),   // PR_GET_TID_ADDRESS
        (41, Ulong),                // PR_SET_THP_DISABLE
        (42, Unused),               // PR_GET_THP_DISABLE
        (PR_SET_SYSCALL_USER_DISPATCH, Ulong),
        (PR_GET_AUXV, Out(RetMax(2), U64)),
        (0x5961_6d61, Ulong), // PR_SET_PTRACER
    ],
    other: Addr,
});
const PR_SET_SECCOMP: u32 = 22;
const PR_MCE_KILL: u32 = 33;
const PR_SET_MM: u32 = 35;
const PR_CAP_AMBIENT: u32 = 47;
const PR_GET_SPECULATION_CTRL: u32 = 52;
const PR_SET_SPECULATION_CTRL: u32 = 53;
const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;
const PR_SCHED_CORE: u32 = 62;
const PR_GET_AUXV: u32 = 0x4155_5856;
const PR_SET_VMA: u32 = 0x5356_4d41;
/// The arguments behind the second, for the options that have them.
const PRCTL_ARG3: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (PR_SET_SECCOMP, Addr),
        (PR_MCE_KILL, Ulong),
        (PR_SET_MM, Addr),
        (PR_CAP_AMBIENT, Ulong),
        (PR_GET_SPECULATION_CTRL, Ulong),
        (PR_SET_SPECULATION_CTRL, Ulong),
        (PR_SET_SYSCALL_USER_DISPATCH, Addr),
        (PR_SCHED_CORE, Int),
        (PR_GET_AUXV, Ulong),
        (PR_SET_VMA, Addr),
    ],
    other: Unused,
});
const PRCTL_ARG4: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (PR_SET_MM, Ulong),
        (PR_SET_SPECULATION_CTRL, Ulong),
        (PR_SET_SYSCALL_USER_DISPATCH, Ulong),
        (PR_SCHED_CORE, Int),
        (PR_SET_VMA, Ulong),
    ],
    other: Unused,
});
const PRCTL_ARG5: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (PR_SET_SYSCALL_USER_DISPATCH, Addr),
        (PR_SCHED_CORE, Out(Fixed(8), U64)),
        (PR_SET_VMA, Path),
    ],
    other: Unused,
});

const ARCH_PRCTL_ADDR: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (0x1003, Out(Fixed(8), U64)), // ARCH_GET_FS
        (0x1004, Out(Fixed(8), U64)), // ARCH_GET_GS
        (0x1011, Unused),             // ARCH_GET_CPUID
        (0x1012, Ulong),              // ARCH_SET_CPUID
        (0x1021, Out(Fixed(8), U64)), // ARCH_GET_XCOMP_SUPP
        (0x1022, Out(Fixed(8), U64)), // ARCH_GET_XCOMP_PERM
        (0x1023, Ulong),              // ARCH_REQ_XCOMP_PERM
        (0x1024, Out(Fixed(8), U64)), // ARCH_GET_XCOMP_GUEST_PERM
        (0x1025, Ulong),              // ARCH_REQ_XCOMP_GUEST_PERM
        (0x5001, Hex),                // ARCH_SHSTK_ENABLE
        (0x5002, Hex),                // ARCH_SHSTK_DISABLE
        (0x5003, Hex),                // ARCH_SHSTK_LOCK
        (0x5004, Hex),                // ARCH_SHSTK_UNLOCK
        (0x5005, Out(Fixed(8), U64)), // ARCH_SHSTK_STATUS
    ],
    other: Addr,
});

const PTRACE_DATA: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (0, Unused),                            // PTRACE_TRACEME
        (1, Out(Fixed(8), U64)),                // PTRACE_PEEKTEXT
        (2, Out(Fixed(8), U64)),                // PTRACE_PEEKDATA
        (3, Out(Fixed(8), U64)),                // PTRACE_PEEKUSER
        (4, Hex),                               // PTRACE_POKETEXT
        (5, Hex),                               // PTRACE_POKEDATA
        (6, Hex),                               // PTRACE_POKEUSER
        (7, Signal),                            // PTRACE_CONT
        (8, Unused),                            // PTRACE_KILL
        (9, Signal),                            // PTRACE_SINGLESTEP
        (12, Out(Fixed(216), U64)),             // PTRACE_GETREGS
        (13, In(Fixed(216), U64)),              // PTRACE_SETREGS
        (14, Out(Fixed(512), Opaque)),          // PTRACE_GETFPREGS
        (15, InLoose(Fixed(512), Opaque)),      // PTRACE_SETFPREGS
        (17, Signal),                           // PTRACE_DETACH
        (24, Signal),                           // PTRACE_SYSCALL
        (0x4200, Hex),                          // PTRACE_SETOPTIONS
        (0x4201, Out(Fixed(8), U64)),           // PTRACE_GETEVENTMSG
        (0x4202, Out(Fixed(128), Siginfo)),     // PTRACE_GETSIGINFO
        (0x4203, InLoose(Fixed(128), Siginfo)), // PTRACE_SETSIGINFO
        (0x4204, Regset),                       // PTRACE_GETREGSET
        (0x4206, Hex),                          // PTRACE_SEIZE
        (0x4209, Out(RetTimes(128), Siginfo)),  // PTRACE_PEEKSIGINFO
        (0x420a, Out(Fixed(8), Sigset)),        // PTRACE_GETSIGMASK
        (0x420b, In(Fixed(8), Sigset)),         // PTRACE_SETSIGMASK
        (0x420e, Out(RetMax(2), Opaque)),       // PTRACE_GET_SYSCALL_INFO
        (0x420f, Out(Fixed(24), U64)),          // PTRACE_GET_RSEQ_CONFIGURATION
    ],
    other: Addr,
});

const WAITID_ID: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (1, Pid), // P_PID
        (2, Pid), // P_PGID
        (3, Fd),  // P_PIDFD
    ],
    other: Int,
});

pub(super) const ROWS: &[Row] = rows! {
    56 clone: Own (flags: Flags(FlagSet::Clone), stack: Addr, parent_tid: Addr, child_tid: Addr,
        tls: Addr) -> Pid;
    57 fork: Own () -> Pid;
    58 vfork: Own () -> Pid;
    435 clone3: Own (cl_args: In(Arg(1), CloneArgs), size: Ulong) -> Pid;
    59 execve: Own (pathname: Path, argv: Strings, envp: Strings) -> Int, Executes(0);
    322 execveat: Own (dirfd: DirFd, pathname: Path, argv: Strings, envp: Strings,
        flags: Flags(FlagSet::At)) -> Int, Executes(1);
    60 exit: Own (status: Int) -> Int;
    231 exit_group: Own (status: Int) -> Int;
    61 wait4: Blocking (pid: Pid, wstatus: Out(Fixed(4), WaitStatus), options: Flags(FlagSet::Wait),
        rusage: Out(Fixed(144), Rusage)) -> Pid;
    247 waitid: Blocking (idtype: Flags(FlagSet::IdType), id: WAITID_ID,
        infop: Out(Fixed(28), Siginfo), options: Flags(FlagSet::Wait),
        rusage: Out(Fixed(144), Rusage)) -> Int;
    434 pidfd_open: Recorded (pid: Pid, flags: Flags(FlagSet::Pidfd)) -> Fd;
    438 pidfd_getfd: Recorded (pidfd: Fd, targetfd: Fd, flags: Flags(FlagSet::Hex)) -> Fd;

    202 futex: Blocking (uaddr: FUTEX_UADDR, futex_op: Flags(FlagSet::Futex), val: FUTEX_VAL,
        timeout: FUTEX_TIMEOUT, uaddr2: FUTEX_UADDR2, val3: FUTEX_VAL3) -> Int;
    454 futex_wake: Recorded (uaddr: Addr, mask: Hex, nr: Int, flags: Flags(FlagSet::Futex2))
        -> Int;
    455 futex_wait: Blocking (uaddr: Addr, val: Hex, mask: Hex, flags: Flags(FlagSet::Futex2),
        timeout: In(Fixed(16), Timespec), clockid: Clock) -> Int;
    456 futex_requeue: Recorded (waiters: InLoose(Fixed(48), Opaque), flags: Flags(FlagSet::Hex),
        nr_wake: Int, nr_requeue: Int) -> Int;
    449 futex_waitv: Blocking (waiters: InLoose(ArgTimes(1, 24), Opaque), nr_futexes: Uint,
        flags: Flags(FlagSet::Hex), timeout: In(Fixed(16), Timespec), clockid: Clock) -> Int;
    273 set_robust_list: Local (head: Addr, len: Ulong) -> Int;
    // Of another process too, so the answer comes from the log.
    274 get_robust_list: Recorded (pid: Pid, head_ptr: Out(Fixed(8), U64),
        len_ptr: Out(Fixed(8), U64)) -> Int;
    218 set_tid_address: Own (tidptr: Addr) -> Pid;
    334 rseq: Own (rseq: Addr, rseq_len: Uint, flags: Flags(FlagSet::Hex), sig: Flags(FlagSet::Hex))
        -> Int;
    157 prctl: Own (option: Flags(FlagSet::Prctl), arg2: PRCTL_ARG2, arg3: PRCTL_ARG3,
        arg4: PRCTL_ARG4, arg5: PRCTL_ARG5) -> Int;
    158 arch_prctl: Own (code: Flags(FlagSet::ArchPrctl), addr: ARCH_PRCTL_ADDR) -> Int;
    101 ptrace: Recorded (request: Flags(FlagSet::Ptrace), pid: Pid, addr: Addr, data: PTRACE_DATA)
        -> Int;
    135 personality: Recorded (persona: Flags(FlagSet::Personality)) -> Hex;
    317 seccomp: Own (operation: Flags(FlagSet::Seccomp), flags: Flags(FlagSet::Hex),
        args: Addr) -> Int;
    272 unshare: Own (flags: Flags(FlagSet::Clone)) -> Int;
    308 setns: Own (fd: Fd, nstype: Flags(FlagSet::Clone)) -> Int;
    312 kcmp: Recorded (pid1: Pid, pid2: Pid, type: Int, idx1: Hex, idx2: Hex) -> Int;

    39 getpid: Recorded () -> Pid;
    186 gettid: Recorded () -> Pid;
    110 getppid: Recorded () -> Pid;
    111 getpgrp: Recorded () -> Pid;
    121 getpgid: Recorded (pid: Pid) -> Pid;
    109 setpgid: Recorded (pid: Pid, pgid: Pid) -> Int;
    124 getsid: Recorded (pid: Pid) -> Pid;
    112 setsid: Recorded () -> Pid;
    102 getuid: Recorded () -> Int;
    104 getgid: Recorded () -> Int;
    107 geteuid: Recorded () -> Int;
    108 getegid: Recorded () -> Int;
    105 setuid: Own (uid: Uint) -> Int;
    106 setgid: Recorded (gid: Uint) -> Int;
    113 setreuid: Own (ruid: Uint, euid: Uint) -> Int;
    114 setregid: Recorded (rgid: Uint, egid: Uint) -> Int;
    117 setresuid: Own (ruid: Uint, euid: Uint, suid: Uint) -> Int;
    118 getresuid: Recorded (ruid: Out(Fixed(4), I32), euid: Out(Fixed(4), I32),
        suid: Out(Fixed(4), I32)) -> Int;
    119 setresgid: Recorded (rgid: Uint, egid: Uint, sgid: Uint) -> Int;
    120 getresgid: Recorded (rgid: Out(Fixed(4), I32), egid: Out(Fixed(4), I32),
        sgid: Out(Fixed(4), I32)) -> Int;
    122 setfsuid: Recorded (fsuid: Uint) -> Int;
    123 setfsgid: Recorded (fsgid: Uint) -> Int;
    115 getgroups: Recorded (size: Int, list: Out(RetTimesMax(4, 0), I32)) -> Int;
    116 setgroups: Recorded (size: Int, list: In(ArgTimes(0, 4), I32)) -> Int;
    // Version 1 writes half of it; the rest is logged as it stands.
    125 capget: Recorded (hdrp: OutAlways(Fixed(8), I32), datap: Out(Fixed(24), I32)) -> Int;
    126 capset: Recorded (hdrp: In(Fixed(8), I32), datap: InLoose(Fixed(24), I32)) -> Int;
};
