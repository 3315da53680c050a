//! Reading, writing, and waiting for descriptors.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const EPOLL_CTL_DEL: u32 = 2;

/// EPOLL_CTL_DEL ignores the event. The others' data is a union of which programs often set but
/// a part, so it is not compared.
const EPOLL_EVENT: Ty = Ty::By(&By {
    of: 1,
    mask: !0,
    cases: &[(EPOLL_CTL_DEL, Unused)],
    other: InLoose(Fixed(12), EpollEvents),
});

pub(super) const ROWS: &[Row] = rows! {
    0 read: Blocking (fd: Fd, buf: Out(Ret, Bytes), count: Ulong) -> Int;
    1 write: Blocking (fd: Fd, buf: In(Ret, Bytes), count: Ulong) -> Int;
    17 pread64: Recorded (fd: Fd, buf: Out(Ret, Bytes), count: Ulong, offset: Long) -> Int;
    18 pwrite64: Recorded (fd: Fd, buf: In(Ret, Bytes), count: Ulong, offset: Long) -> Int;
    19 readv: Blocking (fd: Fd, iov: IovOut(2), iovcnt: Uint) -> Int;
    20 writev: Blocking (fd: Fd, iov: IovIn(2), iovcnt: Uint) -> Int;
    295 preadv: Recorded (fd: Fd, iov: IovOut(2), iovcnt: Uint, pos_l: Long, pos_h: Unused) -> Int;
    296 pwritev: Recorded (fd: Fd, iov: IovIn(2), iovcnt: Uint, pos_l: Long, pos_h: Unused) -> Int;
    // With an offset of -1 these two are readv and writev.
    327 preadv2: Blocking (fd: Fd, iov: IovOut(2), iovcnt: Uint, pos_l: Long, pos_h: Unused,
        flags: Flags(FlagSet::Rwf)) -> Int;
    328 pwritev2: Blocking (fd: Fd, iov: IovIn(2), iovcnt: Uint, pos_l: Long, pos_h: Unused,
        flags: Flags(FlagSet::Rwf)) -> Int;
    8 lseek: Recorded (fd: Fd, offset: Long, whence: Flags(FlagSet::Whence)) -> Int;
    16 ioctl: Recorded (fd: Fd, request: Flags(FlagSet::Ioctl), argp: Ty::Ioctl) -> Int;

    40 sendfile: Blocking (out_fd: Fd, in_fd: Fd, offset: InOut(Fixed(8), I64), count: Ulong)
        -> Int;
    275 splice: Blocking (fd_in: Fd, off_in: InOut(Fixed(8), I64), fd_out: Fd,
        off_out: InOut(Fixed(8), I64), len: Ulong, flags: Flags(FlagSet::Splice)) -> Int;
    276 tee: Blocking (fd_in: Fd, fd_out: Fd, len: Ulong, flags: Flags(FlagSet::Splice)) -> Int;
    // On the reading end of a pipe the vectors are written, on the writing end they are read;
    // logged as written they are right for both.
    278 vmsplice: Blocking (fd: Fd, iov: IovOut(2), nr_segs: Ulong, flags: Flags(FlagSet::Splice))
        -> Int;
    326 copy_file_range: Blocking (fd_in: Fd, off_in: InOut(Fixed(8), I64), fd_out: Fd,
        off_out: InOut(Fixed(8), I64), len: Ulong, flags: Flags(FlagSet::Hex)) -> Int;

    // poll writes all revents, also when a signal ends it.
    7 poll: Blocking (fds: OutAlways(ArgTimes(1, 8), Pollfds), nfds: Uint, timeout: Int) -> Int;
    271 ppoll: Blocking (fds: OutAlways(ArgTimes(1, 8), Pollfds), nfds: Uint,
        tmo_p: OutAlways(Fixed(16), Timespec), sigmask: In(Fixed(8), Sigset), sigsetsize: Ulong)
        -> Int;
    23 select: Blocking (nfds: Int, readfds: InOut(Bits(0), FdSet),
        writefds: InOut(Bits(0), FdSet), exceptfds: InOut(Bits(0), FdSet),
        timeout: OutAlways(Fixed(16), Timeval)) -> Int;
    270 pselect6: Blocking (nfds: Int, readfds: InOut(Bits(0), FdSet),
        writefds: InOut(Bits(0), FdSet), exceptfds: InOut(Bits(0), FdSet),
        timeout: OutAlways(Fixed(16), Timespec), sigmask: SigsetPair) -> Int;
    213 epoll_create: Recorded (size: Int) -> Fd;
    291 epoll_create1: Recorded (flags: Flags(FlagSet::FdCreate)) -> Fd;
    233 epoll_ctl: Recorded (epfd: Fd, op: Flags(FlagSet::EpollCtl), fd: Fd, event: EPOLL_EVENT)
        -> Int;
    232 epoll_wait: Blocking (epfd: Fd, events: Out(RetTimes(12), EpollEvents), maxevents: Int,
        timeout: Int) -> Int;
    281 epoll_pwait: Blocking (epfd: Fd, events: Out(RetTimes(12), EpollEvents), maxevents: Int,
        timeout: Int, sigmask: In(Fixed(8), Sigset), sigsetsize: Ulong) -> Int;
    441 epoll_pwait2: Blocking (epfd: Fd, events: Out(RetTimes(12), EpollEvents), maxevents: Int,
        timeout: In(Fixed(16), Timespec), sigmask: In(Fixed(8), Sigset), sigsetsize: Ulong) -> Int;
    214 epoll_ctl_old: Recorded () -> Int;
    215 epoll_wait_old: Recorded () -> Int;

    284 eventfd: Recorded (initval: Uint) -> Fd;
    290 eventfd2: Recorded (initval: Uint, flags: Flags(FlagSet::Eventfd)) -> Fd;
    253 inotify_init: Recorded () -> Fd;
    294 inotify_init1: Recorded (flags: Flags(FlagSet::FdCreate)) -> Fd;
    254 inotify_add_watch: Recorded (fd: Fd, pathname: Path, mask: Flags(FlagSet::Inotify)) -> Int;
    255 inotify_rm_watch: Recorded (fd: Fd, wd: Int) -> Int;
    300 fanotify_init: Recorded (flags: Flags(FlagSet::Hex), event_f_flags: Flags(FlagSet::Open))
        -> Fd;
    301 fanotify_mark: Recorded (fanotify_fd: Fd, flags: Flags(FlagSet::Hex), mask: Hex,
        dirfd: DirFd, pathname: Path) -> Int;

    // The kernel writes the results of these to memory while the guest runs.
    206 io_setup: Refused (nr_events: Uint, ctx_idp: Addr) -> Int;
    207 io_destroy: Refused (ctx_id: Hex) -> Int;
    208 io_getevents: Refused (ctx_id: Hex, min_nr: Long, nr: Long, events: Addr, timeout: Addr)
        -> Int;
    209 io_submit: Refused (ctx_id: Hex, nr: Long, iocbpp: Addr) -> Int;
    210 io_cancel: Refused (ctx_id: Hex, iocb: Addr, result: Addr) -> Int;
    333 io_pgetevents: Refused (ctx_id: Hex, min_nr: Long, nr: Long, events: Addr, timeout: Addr,
        sig: Addr) -> Int;
    425 io_uring_setup: Refused (entries: Uint, p: Addr) -> Fd;
    426 io_uring_enter: Refused (fd: Fd, to_submit: Uint, min_complete: Uint,
        flags: Flags(FlagSet::Hex), argp: Addr, argsz: Ulong) -> Int;
    427 io_uring_register: Refused (fd: Fd, opcode: Uint, arg: Addr, nr_args: Uint) -> Int;
};
