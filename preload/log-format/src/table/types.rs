//! Types of arguments, and the lengths and shapes of the buffers they lead to.

use super::flags::FlagSet;
use super::ioctl::ioctl;
use crate::record::Dir;

/// Type of an argument: how it is compared and shown, and which buffers it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// 32-bit signed number.
    Int,
    /// 32-bit unsigned number; all ones (as in "no change of owner") is shown as -1.
    Uint,
    /// Id of a process, thread or, negative for some, of a process group.
    Pid,
    /// 64-bit signed number.
    Long,
    /// 64-bit unsigned number.
    Ulong,
    /// 64-bit number, shown in hex.
    Hex,
    /// File descriptor.
    Fd,
    /// Directory file descriptor (AT_FDCWD).
    DirFd,
    /// File mode, octal.
    Mode,
    /// Signal number.
    Signal,
    /// Clock id.
    Clock,
    /// 32-bit flags or enumeration.
    Flags(FlagSet),
    /// Address that is not followed and not compared.
    Addr,
    /// Not an argument in this form of the call: whatever the register holds, it is neither
    /// compared nor shown.
    Unused,
    /// NUL-terminated path or name, read.
    Path,
    /// NULL-terminated array of strings (argv, envp), read.
    Strings,
    /// Buffer read by the kernel; logged also when the call fails.
    In(Len, Shape),
    /// As `In`, but not compared: it may hold padding, pointers, or fields left unset.
    InLoose(Len, Shape),
    /// Buffer written by the kernel when the call succeeds.
    Out(Len, Shape),
    /// Buffer written by the kernel also when the call is interrupted or fails.
    OutAlways(Len, Shape),
    /// Buffer read, and written when the call succeeds; logged as written.
    InOut(Len, Shape),
    /// iovec array, read; the argument with this index holds the count.
    IovIn(u8),
    /// iovec array, its buffers written; the argument with this index holds the count.
    IovOut(u8),
    /// msghdr of sendmsg.
    MsgIn,
    /// msghdr of recvmsg.
    MsgOut,
    /// mmsghdr array of sendmmsg (result: messages sent).
    MmsgIn,
    /// mmsghdr array of recvmmsg (result: messages received).
    MmsgOut,
    /// Sixth argument of pselect6 and io_pgetevents: `{ const sigset_t *set; size_t size; }`.
    SigsetPair,
    /// `struct xattr_args { u64 value; u32 size; u32 flags; }`, its value read (`Dir::In`) or
    /// written, as many bytes as the result says (`Dir::Out`).
    XattrArgs(Dir),
    /// One iovec, whose length the kernel updates to what it wrote (PTRACE_GETREGSET).
    Regset,
    /// `struct ifconf { int len; void *buf; }`, both written.
    Ifconf,
    /// Third argument of ioctl: see [`ioctl`].
    Ioctl,
    /// What it is depends on another argument (the command of fcntl, prctl, futex ...).
    By(&'static By),
}

/// Type of an argument that depends on another argument's value.
#[derive(Debug, PartialEq, Eq)]
pub struct By {
    /// Index of the argument that decides.
    pub of: u8,
    /// Bits of it that are looked at.
    pub mask: u32,
    /// Its values and what they mean.
    pub cases: &'static [(u32, Ty)],
    /// What every other value means.
    pub other: Ty,
}

/// Length of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    /// This many bytes.
    Fixed(u32),
    /// The value of the argument with this index, bytes.
    Arg(u8),
    /// The value of the argument, plus a header's bytes.
    ArgPlus(u8, u32),
    /// The value of the argument, times an element size in bytes.
    ArgTimes(u8, u32),
    /// The call's result, bytes.
    Ret,
    /// The call's result, plus a header's bytes.
    RetPlus(u32),
    /// The call's result, times an element size in bytes.
    RetTimes(u32),
    /// The smaller of the result and the argument's value, bytes (recvfrom with MSG_TRUNC).
    RetMax(u8),
    /// The smaller of the result and the argument's value, times an element size in bytes.
    RetTimesMax(u32, u8),
    /// The u32 that the argument with this index points to, bytes, at most the second number.
    U32At(u8, u32),
    /// A header, and as many items as the header says: bytes of the header, offset of the u32
    /// count in it, bytes of an item.
    Counted(u32, u32, u32),
    /// Bits in the argument's value, rounded up to whole 8-byte words (fd_set).
    Bits(u8),
    /// One byte for each page of as many bytes as the argument's value (mincore).
    Pages(u8),
}

/// What a buffer holds, for showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bytes or text.
    Bytes,
    /// Text up to the first NUL.
    Text,
    /// Array of i32.
    I32,
    /// Id of a process or process group, i32.
    PidWord,
    /// Array of u64, shown in hex.
    U64,
    /// Array of i64.
    I64,
    /// `struct timespec` array.
    Timespec,
    /// `struct timeval` array.
    Timeval,
    /// `struct itimerspec`.
    Itimerspec,
    /// `struct stat`.
    Stat,
    /// `struct statx`.
    Statx,
    /// `struct statfs`.
    Statfs,
    /// `struct sockaddr`.
    Sockaddr,
    /// `struct pollfd` array.
    Pollfds,
    /// `struct epoll_event` array.
    EpollEvents,
    /// `fd_set`.
    FdSet,
    /// `sigset_t` of the kernel, 8 bytes.
    Sigset,
    /// Kernel `struct sigaction`.
    Sigaction,
    /// `siginfo_t`.
    Siginfo,
    /// `struct rlimit64`.
    Rlimit,
    /// `struct rusage`.
    Rusage,
    /// `struct utsname`.
    Utsname,
    /// `struct flock`.
    Flock,
    /// `struct open_how`.
    OpenHow,
    /// `struct termios`.
    Termios,
    /// `struct winsize`.
    Winsize,
    /// `struct sigaltstack`.
    Sigstack,
    /// `struct clone_args`.
    CloneArgs,
    /// `struct sysinfo`.
    Sysinfo,
    /// `struct tms`.
    Tms,
    /// Mask of CPUs.
    CpuSet,
    /// Value of a socket option: a number if it has four bytes.
    SockOption,
    /// Wait status.
    WaitStatus,
    /// `struct linux_dirent64` array.
    Dirents,
    /// Another structure, shown in hex.
    Opaque,
}

impl Ty {
    /// What this type is in a call with these arguments: never [`Ty::By`] or [`Ty::Ioctl`].
    pub fn resolve(self, args: &[u64; 6]) -> Ty {
        let mut ty = self;
        // Cases may themselves depend on another argument (a level, then an option).
        for _ in 0..4 {
            ty = match ty {
                Ty::By(by) => {
                    let value = args.get(usize::from(by.of)).map_or(0, |v| *v as u32) & by.mask;
                    by.cases.iter().find(|(v, _)| *v == value).map_or(by.other, |(_, ty)| *ty)
                }
                Ty::Ioctl => ioctl(args[1]).ty,
                _ => return ty,
            };
        }
        Ty::Unused
    }

    /// Bits of the argument that replay compares: 0 for addresses. The type must be resolved:
    /// of a type that depends on other arguments nothing is compared.
    pub const fn compared_bits(self) -> u64 {
        match self {
            Ty::Int
            | Ty::Pid
            | Ty::Uint
            | Ty::Fd
            | Ty::DirFd
            | Ty::Mode
            | Ty::Signal
            | Ty::Clock
            | Ty::Flags(_) => 0xffff_ffff,
            Ty::Long | Ty::Ulong | Ty::Hex => u64::MAX,
            Ty::Ioctl
            | Ty::By(_)
            | Ty::Addr
            | Ty::Unused
            | Ty::Path
            | Ty::Strings
            | Ty::In(..)
            | Ty::InLoose(..)
            | Ty::Out(..)
            | Ty::OutAlways(..)
            | Ty::InOut(..)
            | Ty::IovIn(_)
            | Ty::IovOut(_)
            | Ty::MsgIn
            | Ty::MsgOut
            | Ty::MmsgIn
            | Ty::MmsgOut
            | Ty::SigsetPair
            | Ty::XattrArgs(_)
            | Ty::Regset
            | Ty::Ifconf => 0,
        }
    }
}
