//! Clocks and timers.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{Len::*, Shape::*, Ty::*};

pub(super) const ROWS: &[Row] = rows! {
    96 gettimeofday: Recorded (tv: Out(Fixed(16), Timeval), tz: Out(Fixed(8), I32)) -> Int;
    164 settimeofday: Recorded (tv: In(Fixed(16), Timeval), tz: In(Fixed(8), I32)) -> Int;
    201 time: Recorded (tloc: Out(Fixed(8), U64)) -> Int;
    228 clock_gettime: Recorded (clockid: Clock, tp: Out(Fixed(16), Timespec)) -> Int;
    227 clock_settime: Recorded (clockid: Clock, tp: In(Fixed(16), Timespec)) -> Int;
    229 clock_getres: Recorded (clockid: Clock, res: Out(Fixed(16), Timespec)) -> Int;
    159 adjtimex: Recorded (buf: InOut(Fixed(208), Opaque)) -> Int;
    305 clock_adjtime: Recorded (clockid: Clock, buf: InOut(Fixed(208), Opaque)) -> Int;
    // The rest is written when a signal ends the sleep.
    35 nanosleep: Blocking (req: In(Fixed(16), Timespec), rem: OutAlways(Fixed(16), Timespec))
        -> Int;
    230 clock_nanosleep: Blocking (clockid: Clock, flags: Flags(FlagSet::Timer),
        request: In(Fixed(16), Timespec), remain: OutAlways(Fixed(16), Timespec)) -> Int;
    37 alarm: Recorded (seconds: Uint) -> Int;
    36 getitimer: Recorded (which: Flags(FlagSet::Itimer), curr_value: Out(Fixed(32), Timeval))
        -> Int;
    38 setitimer: Recorded (which: Flags(FlagSet::Itimer), new_value: In(Fixed(32), Timeval),
        old_value: Out(Fixed(32), Timeval)) -> Int;
    222 timer_create: Recorded (clockid: Clock, sevp: InLoose(Fixed(64), Opaque),
        timerid: Out(Fixed(4), I32)) -> Int;
    223 timer_settime: Recorded (timerid: Int, flags: Flags(FlagSet::Timer),
        new_value: In(Fixed(32), Itimerspec), old_value: Out(Fixed(32), Itimerspec)) -> Int;
    224 timer_gettime: Recorded (timerid: Int, curr_value: Out(Fixed(32), Itimerspec)) -> Int;
    225 timer_getoverrun: Recorded (timerid: Int) -> Int;
    226 timer_delete: Recorded (timerid: Int) -> Int;
    283 timerfd_create: Recorded (clockid: Clock, flags: Flags(FlagSet::FdCreate)) -> Fd;
    286 timerfd_settime: Recorded (fd: Fd, flags: Flags(FlagSet::Timerfd),
        new_value: In(Fixed(32), Itimerspec), old_value: Out(Fixed(32), Itimerspec)) -> Int;
    287 timerfd_gettime: Recorded (fd: Fd, curr_value: Out(Fixed(32), Itimerspec)) -> Int;
};
