//! Names in the file system, and the file systems themselves.

use crate::table::Act::*;
use crate::table::Effect::*;
use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{Len::*, Shape::*, Ty::*};

pub(super) const ROWS: &[Row] = rows! {
    21 access: Recorded (pathname: Path, mode: Flags(FlagSet::Access)) -> Int;
    269 faccessat: Recorded (dirfd: DirFd, pathname: Path, mode: Flags(FlagSet::Access)) -> Int;
    439 faccessat2: Recorded (dirfd: DirFd, pathname: Path, mode: Flags(FlagSet::Access),
        flags: Flags(FlagSet::AtAccess)) -> Int;
    79 getcwd: Recorded (buf: Out(Ret, Text), size: Ulong) -> Int;
    80 chdir: Recorded (path: Path) -> Int;
    81 fchdir: Recorded (fd: Fd) -> Int;
    161 chroot: Recorded (path: Path) -> Int;
    155 pivot_root: Recorded (new_root: Path, put_old: Path) -> Int;
    82 rename: Recorded (oldpath: Path, newpath: Path) -> Int, Paths(&[Removes(0), Replaces(1)]);
    264 renameat: Recorded (olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path)
        -> Int, Paths(&[Removes(1), Replaces(3)]);
    316 renameat2: Recorded (olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path,
        flags: Flags(FlagSet::Rename)) -> Int, Paths(&[Removes(1), Replaces(3)]);
    83 mkdir: Recorded (pathname: Path, mode: Mode) -> Int, Paths(&[Creates(0)]);
    258 mkdirat: Recorded (dirfd: DirFd, pathname: Path, mode: Mode) -> Int, Paths(&[Creates(1)]);
    84 rmdir: Recorded (pathname: Path) -> Int, Paths(&[Removes(0)]);
    86 link: Recorded (oldpath: Path, newpath: Path) -> Int, Paths(&[Changes(0), Creates(1)]);
    265 linkat: Recorded (olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path,
        flags: Flags(FlagSet::At)) -> Int, Paths(&[Changes(1), Creates(3)]);
    87 unlink: Recorded (pathname: Path) -> Int, Paths(&[Removes(0)]);
    263 unlinkat: Recorded (dirfd: DirFd, pathname: Path, flags: Flags(FlagSet::AtUnlink))
        -> Int, Paths(&[Removes(1)]);
    88 symlink: Recorded (target: Path, linkpath: Path) -> Int, Paths(&[Creates(1)]);
    266 symlinkat: Recorded (target: Path, newdirfd: DirFd, linkpath: Path)
        -> Int, Paths(&[Creates(2)]);
    89 readlink: Recorded (pathname: Path, buf: Out(Ret, Bytes), bufsiz: Int) -> Int;
    267 readlinkat: Recorded (dirfd: DirFd, pathname: Path, buf: Out(Ret, Bytes), bufsiz: Int)
        -> Int;
    133 mknod: Recorded (pathname: Path, mode: Mode, dev: Uint) -> Int, Paths(&[Creates(0)]);
    259 mknodat: Recorded (dirfd: DirFd, pathname: Path, mode: Mode, dev: Uint)
        -> Int, Paths(&[Creates(1)]);
    90 chmod: Recorded (pathname: Path, mode: Mode) -> Int, Paths(&[Changes(0)]);
    268 fchmodat: Recorded (dirfd: DirFd, pathname: Path, mode: Mode) -> Int, Paths(&[Changes(1)]);
    452 fchmodat2: Recorded (dirfd: DirFd, pathname: Path, mode: Mode, flags: Flags(FlagSet::At))
        -> Int, Paths(&[Changes(1)]);
    92 chown: Recorded (pathname: Path, owner: Uint, group: Uint) -> Int, Paths(&[Changes(0)]);
    94 lchown: Recorded (pathname: Path, owner: Uint, group: Uint)
        -> Int, Paths(&[ChangesEntry(0)]);
    260 fchownat: Recorded (dirfd: DirFd, pathname: Path, owner: Uint, group: Uint,
        flags: Flags(FlagSet::At)) -> Int, Paths(&[Changes(1)]);
    132 utime: Recorded (filename: Path, times: In(Fixed(16), U64)) -> Int, Paths(&[Changes(0)]);
    235 utimes: Recorded (filename: Path, times: In(Fixed(32), Timeval))
        -> Int, Paths(&[Changes(0)]);
    261 futimesat: Recorded (dirfd: DirFd, pathname: Path, times: In(Fixed(32), Timeval))
        -> Int, Paths(&[Changes(1)]);
    // With UTIME_NOW or UTIME_OMIT the seconds may be left unset.
    280 utimensat: Recorded (dirfd: DirFd, pathname: Path, times: InLoose(Fixed(32), Timespec),
        flags: Flags(FlagSet::At)) -> Int, Paths(&[Changes(1)]);

    165 mount: Recorded (source: Path, target: Path, filesystemtype: Path,
        mountflags: Flags(FlagSet::Mount), data: Path) -> Int;
    166 umount2: Recorded (target: Path, flags: Flags(FlagSet::Umount)) -> Int;
    428 open_tree: Recorded (dirfd: DirFd, path: Path, flags: Flags(FlagSet::OpenTree)) -> Fd;
    467 open_tree_attr: Recorded (dirfd: DirFd, path: Path, flags: Flags(FlagSet::OpenTree),
        attr: In(Arg(4), U64), size: Ulong) -> Fd;
    429 move_mount: Recorded (from_dirfd: DirFd, from_path: Path, to_dirfd: DirFd, to_path: Path,
        flags: Flags(FlagSet::Hex)) -> Int;
    430 fsopen: Recorded (fsname: Path, flags: Flags(FlagSet::Hex)) -> Fd;
    // The value is a string, a blob or a path as the command says.
    431 fsconfig: Recorded (fd: Fd, cmd: Uint, key: Path, value: Addr, aux: Int) -> Int;
    432 fsmount: Recorded (fsfd: Fd, flags: Flags(FlagSet::Hex), attr_flags: Flags(FlagSet::Hex))
        -> Fd;
    433 fspick: Recorded (dirfd: DirFd, path: Path, flags: Flags(FlagSet::Hex)) -> Fd;
    442 mount_setattr: Recorded (dirfd: DirFd, path: Path, flags: Flags(FlagSet::At),
        attr: In(Arg(4), U64), size: Ulong) -> Int;
    457 statmount: Recorded (req: In(U32At(0, 4096), U64), buf: Out(U32At(1, 0x10_0000), Opaque),
        bufsize: Ulong, flags: Flags(FlagSet::Hex)) -> Int;
    458 listmount: Recorded (req: In(U32At(0, 4096), U64), mnt_ids: Out(RetTimesMax(8, 2), U64),
        nr_mnt_ids: Uint, flags: Flags(FlagSet::Hex)) -> Int;
    136 ustat: Recorded (dev: Uint, ubuf: Out(Fixed(32), Opaque)) -> Int;
    167 swapon: Recorded (path: Path, swapflags: Flags(FlagSet::Hex)) -> Int;
    168 swapoff: Recorded (path: Path) -> Int;
};
