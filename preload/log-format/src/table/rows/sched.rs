//! Scheduling, priorities, limits and use of resources.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{Len::*, Shape::*, Ty::*};

pub(super) const ROWS: &[Row] = rows! {
    24 sched_yield: Blocking () -> Int;
    142 sched_setparam: Recorded (pid: Int, param: In(Fixed(4), I32)) -> Int;
    143 sched_getparam: Recorded (pid: Int, param: Out(Fixed(4), I32)) -> Int;
    144 sched_setscheduler: Recorded (pid: Int, policy: Flags(FlagSet::Sched),
        param: In(Fixed(4), I32)) -> Int;
    145 sched_getscheduler: Recorded (pid: Int) -> Int;
    146 sched_get_priority_max: Recorded (policy: Flags(FlagSet::Sched)) -> Int;
    147 sched_get_priority_min: Recorded (policy: Flags(FlagSet::Sched)) -> Int;
    148 sched_rr_get_interval: Recorded (pid: Int, tp: Out(Fixed(16), Timespec)) -> Int;
    203 sched_setaffinity: Recorded (pid: Int, cpusetsize: Ulong, mask: In(Arg(1), CpuSet)) -> Int;
    204 sched_getaffinity: Recorded (pid: Int, cpusetsize: Ulong, mask: Out(Ret, CpuSet)) -> Int;
    // The first word of the structure is its size; what lies behind the kernel's is cleared.
    314 sched_setattr: Recorded (pid: Int, attr: InLoose(U32At(1, 4096), Opaque),
        flags: Flags(FlagSet::Hex)) -> Int;
    315 sched_getattr: Recorded (pid: Int, attr: Out(Arg(2), Opaque), size: Uint,
        flags: Flags(FlagSet::Hex)) -> Int;
    309 getcpu: Recorded (cpu: Out(Fixed(4), I32), node: Out(Fixed(4), I32), tcache: Unused) -> Int;
    140 getpriority: Recorded (which: Flags(FlagSet::PriorityWhich), who: Int) -> Int;
    141 setpriority: Recorded (which: Flags(FlagSet::PriorityWhich), who: Int, prio: Int) -> Int;
    251 ioprio_set: Recorded (which: Int, who: Int, ioprio: Flags(FlagSet::Hex)) -> Int;
    252 ioprio_get: Recorded (which: Int, who: Int) -> Hex;
    97 getrlimit: Recorded (resource: Flags(FlagSet::Rlimit), rlim: Out(Fixed(16), Rlimit)) -> Int;
    160 setrlimit: Own (resource: Flags(FlagSet::Rlimit), rlim: In(Fixed(16), Rlimit)) -> Int;
    302 prlimit64: Own (pid: Int, resource: Flags(FlagSet::Rlimit),
        new_limit: In(Fixed(16), Rlimit), old_limit: Out(Fixed(16), Rlimit)) -> Int;
    98 getrusage: Recorded (who: Flags(FlagSet::RusageWho), usage: Out(Fixed(144), Rusage)) -> Int;
    100 times: Recorded (buf: Out(Fixed(32), Tms)) -> Int;
};
