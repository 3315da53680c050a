//! Open files: descriptors, their state, directories' content, attributes.

use crate::record::Dir;
use crate::table::Act::*;
use crate::table::Effect::*;
use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const O_CREAT_OR_TMPFILE: u32 = 0o100 | 0o20_000_000;

/// The mode counts only when a file may be created.
const OPEN_MODE: Ty =
    Ty::By(&By { of: 1, mask: O_CREAT_OR_TMPFILE, cases: &[(0, Unused)], other: Mode });
const OPENAT_MODE: Ty =
    Ty::By(&By { of: 2, mask: O_CREAT_OR_TMPFILE, cases: &[(0, Unused)], other: Mode });

/// With AT_HANDLE_MNT_ID_UNIQUE the mount's id has 64 bits.
const HANDLE_MOUNT_ID: Ty = Ty::By(&By {
    of: 4,
    mask: 1,
    cases: &[(1, OutAlways(Fixed(8), U64))],
    other: OutAlways(Fixed(4), I32),
});

/// Third argument of fcntl.
const FCNTL_ARG: Ty = Ty::By(&By {
    of: 1,
    mask: !0,
    cases: &[
        (0, Int),                        // F_DUPFD
        (1, Unused),                     // F_GETFD
        (2, Flags(FlagSet::FdFlags)),    // F_SETFD
        (3, Unused),                     // F_GETFL
        (4, Flags(FlagSet::Open)),       // F_SETFL
        (5, InOut(Fixed(32), Flock)),    // F_GETLK
        (6, InLoose(Fixed(32), Flock)),  // F_SETLK
        (7, InLoose(Fixed(32), Flock)),  // F_SETLKW
        (8, Pid),                        // F_SETOWN
        (9, Unused),                     // F_GETOWN
        (10, Signal),                    // F_SETSIG
        (11, Unused),                    // F_GETSIG
        (15, In(Fixed(8), I32)),         // F_SETOWN_EX
        (16, Out(Fixed(8), I32)),        // F_GETOWN_EX
        (17, Out(Fixed(8), I32)),        // F_GETOWNER_UIDS
        (36, InOut(Fixed(32), Flock)),   // F_OFD_GETLK
        (37, InLoose(Fixed(32), Flock)), // F_OFD_SETLK
        (38, InLoose(Fixed(32), Flock)), // F_OFD_SETLKW
        (1024, Int),                     // F_SETLEASE
        (1025, Unused),                  // F_GETLEASE
        (1026, Hex),                     // F_NOTIFY
        (1027, Fd),                      // F_DUPFD_QUERY
        (1028, Unused),                  // F_CREATED_QUERY
        (1030, Int),                     // F_DUPFD_CLOEXEC
        (1031, Int),                     // F_SETPIPE_SZ
        (1032, Unused),                  // F_GETPIPE_SZ
        (1033, Flags(FlagSet::Seals)),   // F_ADD_SEALS
        (1034, Unused),                  // F_GET_SEALS
        (1035, Out(Fixed(8), I64)),      // F_GET_RW_HINT
        (1036, In(Fixed(8), I64)),       // F_SET_RW_HINT
        (1037, Out(Fixed(8), I64)),      // F_GET_FILE_RW_HINT
        (1038, In(Fixed(8), I64)),       // F_SET_FILE_RW_HINT
    ],
    other: Addr,
});

pub(super) const ROWS: &[Row] = rows! {
    // Opening a FIFO waits for its other end.
    2 open: Blocking (pathname: Path, flags: Flags(FlagSet::Open), mode: OPEN_MODE) -> Fd, Opens(0);
    85 creat: Blocking (pathname: Path, mode: Mode) -> Fd, Opens(0);
    257 openat: Blocking (dirfd: DirFd, pathname: Path, flags: Flags(FlagSet::Open),
        mode: OPENAT_MODE) -> Fd, Opens(1);
    437 openat2: Blocking (dirfd: DirFd, pathname: Path, how: In(Arg(3), OpenHow), size: Ulong)
        -> Fd, Opens(1);
    303 name_to_handle_at: Recorded (dirfd: DirFd, pathname: Path,
        handle: OutAlways(Counted(8, 0, 1), Opaque), mount_id: HANDLE_MOUNT_ID,
        flags: Flags(FlagSet::At)) -> Int;
    304 open_by_handle_at: Blocking (mount_fd: DirFd, handle: InLoose(Counted(8, 0, 1), Opaque),
        flags: Flags(FlagSet::Open)) -> Fd;
    3 close: Recorded (fd: Fd) -> Int;
    436 close_range: Recorded (first: Uint, last: Uint, flags: Flags(FlagSet::CloseRange)) -> Int;
    32 dup: Recorded (oldfd: Fd) -> Fd;
    33 dup2: Recorded (oldfd: Fd, newfd: Fd) -> Fd;
    292 dup3: Recorded (oldfd: Fd, newfd: Fd, flags: Flags(FlagSet::FdCreate)) -> Fd;
    22 pipe: Recorded (pipefd: Out(Fixed(8), I32)) -> Int;
    293 pipe2: Recorded (pipefd: Out(Fixed(8), I32), flags: Flags(FlagSet::FdCreate)) -> Int;
    72 fcntl: Blocking (fd: Fd, cmd: Flags(FlagSet::Fcntl), arg: FCNTL_ARG) -> Int;
    73 flock: Blocking (fd: Fd, operation: Flags(FlagSet::FlockOp)) -> Int;

    5 fstat: Recorded (fd: Fd, statbuf: Out(Fixed(144), Stat)) -> Int;
    4 stat: Recorded (pathname: Path, statbuf: Out(Fixed(144), Stat)) -> Int;
    6 lstat: Recorded (pathname: Path, statbuf: Out(Fixed(144), Stat)) -> Int;
    262 newfstatat: Recorded (dirfd: DirFd, pathname: Path, statbuf: Out(Fixed(144), Stat),
        flags: Flags(FlagSet::At)) -> Int;
    332 statx: Recorded (dirfd: DirFd, pathname: Path, flags: Flags(FlagSet::At),
        mask: Flags(FlagSet::StatxMask), statxbuf: Out(Fixed(256), Statx)) -> Int;
    137 statfs: Recorded (path: Path, buf: Out(Fixed(120), Statfs)) -> Int;
    138 fstatfs: Recorded (fd: Fd, buf: Out(Fixed(120), Statfs)) -> Int;
    78 getdents: Recorded (fd: Fd, dirp: Out(Ret, Opaque), count: Uint) -> Int;
    217 getdents64: Recorded (fd: Fd, dirp: Out(Ret, Dirents), count: Uint) -> Int;

    74 fsync: Recorded (fd: Fd) -> Int;
    75 fdatasync: Recorded (fd: Fd) -> Int;
    162 sync: Recorded () -> Int;
    306 syncfs: Recorded (fd: Fd) -> Int;
    277 sync_file_range: Recorded (fd: Fd, offset: Long, nbytes: Long, flags: Flags(FlagSet::Hex))
        -> Int;
    76 truncate: Recorded (path: Path, length: Long) -> Int, Paths(&[Changes(0)]);
    77 ftruncate: Recorded (fd: Fd, length: Long) -> Int;
    285 fallocate: Recorded (fd: Fd, mode: Flags(FlagSet::Fallocate), offset: Long, len: Long)
        -> Int;
    221 fadvise64: Recorded (fd: Fd, offset: Long, len: Long, advice: Flags(FlagSet::Fadvise))
        -> Int;
    187 readahead: Recorded (fd: Fd, offset: Long, count: Ulong) -> Int;
    451 cachestat: Recorded (fd: Fd, cstat_range: In(Fixed(16), U64), cstat: Out(Fixed(40), U64),
        flags: Flags(FlagSet::Hex)) -> Int;

    91 fchmod: Recorded (fd: Fd, mode: Mode) -> Int, ChangesFile;
    93 fchown: Recorded (fd: Fd, owner: Uint, group: Uint) -> Int, ChangesFile;
    95 umask: Recorded (mask: Mode) -> Int;

    188 setxattr: Recorded (path: Path, name: Path, value: In(Arg(3), Bytes), size: Ulong,
        flags: Flags(FlagSet::Xattr)) -> Int, Paths(&[Changes(0)]);
    189 lsetxattr: Recorded (path: Path, name: Path, value: In(Arg(3), Bytes), size: Ulong,
        flags: Flags(FlagSet::Xattr)) -> Int, Paths(&[ChangesEntry(0)]);
    190 fsetxattr: Recorded (fd: Fd, name: Path, value: In(Arg(3), Bytes), size: Ulong,
        flags: Flags(FlagSet::Xattr)) -> Int, ChangesFile;
    191 getxattr: Recorded (path: Path, name: Path, value: Out(RetMax(3), Bytes), size: Ulong)
        -> Int;
    192 lgetxattr: Recorded (path: Path, name: Path, value: Out(RetMax(3), Bytes), size: Ulong)
        -> Int;
    193 fgetxattr: Recorded (fd: Fd, name: Path, value: Out(RetMax(3), Bytes), size: Ulong) -> Int;
    194 listxattr: Recorded (path: Path, list: Out(RetMax(2), Bytes), size: Ulong) -> Int;
    195 llistxattr: Recorded (path: Path, list: Out(RetMax(2), Bytes), size: Ulong) -> Int;
    196 flistxattr: Recorded (fd: Fd, list: Out(RetMax(2), Bytes), size: Ulong) -> Int;
    197 removexattr: Recorded (path: Path, name: Path) -> Int, Paths(&[Changes(0)]);
    198 lremovexattr: Recorded (path: Path, name: Path) -> Int, Paths(&[ChangesEntry(0)]);
    199 fremovexattr: Recorded (fd: Fd, name: Path) -> Int, ChangesFile;
    463 setxattrat: Recorded (dirfd: DirFd, path: Path, at_flags: Flags(FlagSet::At), name: Path,
        args: XattrArgs(Dir::In), size: Ulong) -> Int, Paths(&[Changes(1)]);
    464 getxattrat: Recorded (dirfd: DirFd, path: Path, at_flags: Flags(FlagSet::At), name: Path,
        args: XattrArgs(Dir::Out), size: Ulong) -> Int;
    465 listxattrat: Recorded (dirfd: DirFd, path: Path, at_flags: Flags(FlagSet::At),
        list: Out(RetMax(4), Bytes), size: Ulong) -> Int;
    466 removexattrat: Recorded (dirfd: DirFd, path: Path, at_flags: Flags(FlagSet::At), name: Path)
        -> Int, Paths(&[Changes(1)]);
    468 file_getattr: Recorded (dirfd: DirFd, path: Path, ufattr: Out(Arg(3), Opaque), size: Ulong,
        at_flags: Flags(FlagSet::At)) -> Int;
    469 file_setattr: Recorded (dirfd: DirFd, path: Path, ufattr: InLoose(Arg(3), Opaque),
        size: Ulong, at_flags: Flags(FlagSet::At)) -> Int, Paths(&[Changes(1)]);
};
