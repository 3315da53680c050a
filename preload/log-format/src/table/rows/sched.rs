//! Scheduling, priorities, limits and use of resources.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const WHO: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (0, Pid), // PRIO_PROCESS
        (1, Pid), // PRIO_PGRP
    ],
    other: Int,
});

const IOPRIO_WHO: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (1, Pid), // IOPRIO_WHO_PROCESS
        (2, Pid), // IOPRIO_WHO_PGRP
    ],
    other: Int,
});

pub(super) const ROWS: &[Row] = rows! {
    24 sched_yield: Blocking () -> Int;
    142 sched_setparam: Recorded (pid: Pid, param: In(Fixed(4), I32)) -> Int;
    143 sched_getparam: Recorded (pid: Pid, param: Out(Fixed(4), I32)) -> Int;
    144 sched_setscheduler: Recorded (pid: Pid, policy: Flags(FlagSet::Sched),
        param: In(Fixed(4), I32)) -> Int;
    145 sched_getscheduler: Recorded (pid: Pid) -> Int;
    146 sched_get_priority_max: Recorded (policy: Flags(FlagSet::Sched)) -> Int;
    147 sched_get_priority_min: Recorded (policy: Flags(FlagSet::Sched)) -> Int;
    148 sched_rr_get_interval: Recorded (pid: Pid, tp: Out(Fixed(16), Timespec)) -> Int;
    203 sched_setaffinity: Recorded (pid: Pid, cpusetsize: Ulong, mask: In(Arg(1), CpuSet)) -> Int;
    204 sched_getaffinity: Recorded (pid: Pid, cpusetsize: Ulong, mask: Out(Ret, CpuSet)) -> Int;
    // The first word of the structure is its size; what lies behind the kernel's is cleared.
    314 sched_setattr: Recorded (pid: Pid, attr: InLoose(U32At(1, 4096), Opaque),
        flags: Flags(FlagSet::Hex)) -> Int;
    315 sched_getattr: Recorded (pid: Pid, attr: Out(Arg(2), Opaque), size: Uint,
        flags: Flags(FlagSet::Hex)) -> Int;
    309 getcpu: Recorded (cpu: Out(Fixed(4), I32), node: Out(Fixed(4), I32), tcache: Unused) -> Int;
    140 getpriority: Recorded (which: Flags(FlagSet::PriorityWhich), who: WHO) -> Int;
    141 setpriority: Recorded (which: Flags(FlagSet::PriorityWhich), who: WHO, prio: Int) -> Int;
    251 ioprio_set: Recorded (which: Int, who: IOPRIO_WHO, ioprio: Flags(FlagSet::Hex)) -> Int;
    252 ioprio_get: Recorded (which: Int, who: IOPRIO_WHO) -> Hex;
    97 getrlimit: Recorded (resource: Flags(FlagSet::Rlimit), rlim: Out(Fixed(16), Rlimit)) -> Int;
    160 setrlimit: Own (resource: Flags(FlagSet::Rlimit), rlim: In(Fixed(16), Rlimit)) -> Int;
    302 prlimit64: Own (pid: Pid, resource: Flags(FlagSet::Rlimit),
        new_limit: In(Fixed(16), Rlimit), old_limit: Out(Fixed(16), Rlimit)) -> Int;
    98 getrusage: Recorded (who: Flags(FlagSet::RusageWho), usage: Out(Fixed(144), Rusage)) -> Int;
    100 times: Recorded (buf: Out(Fixed(32), Tms)) -> Int;
};
