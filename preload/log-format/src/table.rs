//! The table: one [`Row`] for every x86-64 syscall number.
//!
//! Recorder, replayer, decoder and docs/CALLS.md all read it; nothing else lists calls. A call's
//! buffers are found from its row by [`buffers`], after the call has returned.

mod flags;
mod ioctl;
mod rows;

pub use flags::{FlagName, FlagSet};
pub use ioctl::{IoctlRow, ioctl};
pub use rows::ROWS;

use crate::record::{BUF_INDIRECT, BUF_NOT_COMPARED, Dir};

/// What recorder and replayer do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Performed in both modes (memory, own threads); the result is compared.
    Local,
    /// Performed while recording; answered from the log on replay.
    Recorded,
    /// As `Recorded`, and gives up the run token while it waits.
    Blocking,
    /// Has code of its own in the shim (clone, exec, signals, mmap ...).
    Own,
    /// Answered with ENOSYS in both modes, and noted.
    Refused,
}

/// One syscall.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Number on x86-64.
    pub nr: u16,
    /// Name as in the kernel's table.
    pub name: &'static str,
    /// What is done with it.
    pub class: Class,
    /// Its arguments.
    pub args: &'static [Arg],
    /// How its result is shown.
    pub ret: Ret,
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Name as in the man page.
    pub name: &'static str,
    /// Type.
    pub ty: Ty,
}

/// How a result is shown (an error is shown as its errno in any case).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// A signed number.
    Int,
    /// A file descriptor.
    Fd,
    /// An address.
    Addr,
    /// A bit mask.
    Hex,
}

/// Type of an argument: how it is compared and shown, and which buffers it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// 32-bit signed number.
    Int,
    /// 64-bit number.
    Long,
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
    /// NUL-terminated path or name, read.
    Path,
    /// NULL-terminated array of strings (argv, envp), read.
    Strings,
    /// Buffer read by the kernel.
    In(Len, Shape),
    /// Buffer written by the kernel when the call succeeds.
    Out(Len, Shape),
    /// Buffer written by the kernel also when the call is interrupted or fails.
    OutAlways(Len, Shape),
    /// Buffer read and written; logged as written.
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
    /// Third argument of ioctl: see [`ioctl`].
    Ioctl,
    /// Third argument of fcntl: a number, or `struct flock` for the lock commands.
    Fcntl,
}

/// Length of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    /// This many bytes.
    Fixed(u32),
    /// The value of the argument with this index, bytes.
    Arg(u8),
    /// The value of the argument, times an element size in bytes.
    ArgTimes(u8, u32),
    /// The call's result, bytes.
    Ret,
    /// The call's result, times an element size in bytes.
    RetTimes(u32),
    /// The smaller of the result and the argument's value, bytes (recvfrom with MSG_TRUNC).
    RetMax(u8),
    /// The u32 that the argument with this index points to, bytes, at most the second number.
    U32At(u8, u32),
    /// Bits in the argument's value, rounded up to whole 8-byte words (fd_set).
    FdSet(u8),
}

/// What a buffer holds, for showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bytes or text.
    Bytes,
    /// Array of i32.
    I32,
    /// Array of u64.
    U64,
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
    /// `struct sockaddr`.
    Sockaddr,
    /// `struct pollfd` array.
    Pollfds,
    /// `struct epoll_event` array.
    EpollEvents,
    /// `sigset_t` of the kernel, 8 bytes.
    Sigset,
    /// Kernel `struct sigaction`.
    Sigaction,
    /// `siginfo_t`.
    Siginfo,
    /// `struct rlimit64`.
    Rlimit,
    /// Wait status.
    WaitStatus,
    /// `struct linux_dirent64` array.
    Dirents,
    /// Another structure, shown in hex.
    Opaque,
}

impl Ty {
    /// Bits of the argument that replay compares: 0 for addresses.
    pub const fn compared_bits(self) -> u64 {
        match self {
            Ty::Int | Ty::Fd | Ty::DirFd | Ty::Mode | Ty::Signal | Ty::Clock | Ty::Flags(_) => {
                0xffff_ffff
            }
            Ty::Long | Ty::Hex => u64::MAX,
            // A number for some commands, an address for others.
            Ty::Ioctl | Ty::Fcntl => 0,
            Ty::Addr
            | Ty::Path
            | Ty::Strings
            | Ty::In(..)
            | Ty::Out(..)
            | Ty::OutAlways(..)
            | Ty::InOut(..)
            | Ty::IovIn(_)
            | Ty::IovOut(_)
            | Ty::MsgIn
            | Ty::MsgOut
            | Ty::MmsgIn
            | Ty::MmsgOut => 0,
        }
    }
}

/// The row of a syscall number.
pub fn row(nr: u64) -> Option<&'static Row> {
    // Numbers are dense up to 336 (uprobe), and again from 424.
    let guess = if nr < FIRST_AFTER_GAP {
        nr
    } else {
        nr.checked_sub(424)?.checked_add(FIRST_AFTER_GAP)?
    };
    let row = ROWS.get(usize::try_from(guess).ok()?)?;
    (u64::from(row.nr) == nr).then_some(row)
}

/// Index in [`ROWS`] of number 424 (pidfd_send_signal), the first after the gap.
const FIRST_AFTER_GAP: u64 = 337;

// Every number has its row, at the place where `row` looks.
const _: () = {
    let mut i = 0;
    while i < ROWS.len() {
        let nr = if i < 337 { i } else { i - 337 + 424 };
        assert!(ROWS[i].nr as usize == nr, "a syscall number without a row, or out of order");
        i += 1;
    }
    assert!(ROWS[ROWS.len() - 1].nr >= 469);
};

/// Read access to a guest's memory.
pub trait Memory {
    /// Copies `into.len()` bytes from `addr`; false if any of them can't be read.
    fn read(&self, addr: u64, into: &mut [u8]) -> bool;

    /// Length of the NUL-terminated string at `addr` without its NUL, at most `max`.
    fn string_len(&self, addr: u64, max: u32) -> Option<u32> {
        let mut byte = [0];
        for i in 0..max {
            if !self.read(addr.checked_add(i.into())?, &mut byte) {
                return None;
            }
            if byte[0] == 0 {
                return Some(i);
            }
        }
        Some(max)
    }

    /// Reads a little-endian u32.
    fn u32(&self, addr: u64) -> Option<u32> {
        let mut b = [0; 4];
        self.read(addr, &mut b).then(|| u32::from_le_bytes(b))
    }

    /// Reads a little-endian u64.
    fn u64(&self, addr: u64) -> Option<u64> {
        let mut b = [0; 8];
        self.read(addr, &mut b).then(|| u64::from_le_bytes(b))
    }
}

/// Where a buffer of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufAt {
    /// Index of the argument.
    pub arg: u8,
    /// Direction.
    pub dir: Dir,
    /// [`BUF_INDIRECT`], [`BUF_NOT_COMPARED`].
    pub flags: u16,
    /// Address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
}

/// Longest path or string argument logged, bytes.
const STRING_MAX: u32 = 4096;
/// Most strings of an argv or envp logged, and most iovecs (IOV_MAX).
const ITEMS_MAX: u64 = 1024;
/// EINTR and the shim's "restart" as results.
const INTERRUPTED: [i64; 2] = [-4, -512];

/// Calls `found` for each buffer of a call that has returned `ret`, in a fixed order.
///
/// Buffers that the kernel can't have touched (the call failed) are left out. Addresses may be
/// unreadable all the same; whoever copies from them must bear a fault.
pub fn buffers(
    row: &Row,
    args: &[u64; 6],
    ret: i64,
    mem: &impl Memory,
    found: &mut impl FnMut(BufAt),
) {
    for (i, arg) in row.args.iter().enumerate() {
        let Some(&addr) = args.get(i) else { return };
        if addr == 0 && !matches!(arg.ty, Ty::Ioctl | Ty::Fcntl) {
            continue;
        }
        argument(i as u8, arg.ty, addr, args, ret, mem, found);
    }
}

fn argument(
    arg: u8,
    ty: Ty,
    addr: u64,
    args: &[u64; 6],
    ret: i64,
    mem: &impl Memory,
    found: &mut impl FnMut(BufAt),
) {
    let ok = ret >= 0;
    let mut one = |dir, flags, addr, len: u64| {
        let len = len.min(u64::from(u32::MAX >> 1)) as u32;
        if len > 0 {
            found(BufAt { arg, dir, flags, addr, len });
        }
    };
    match ty {
        Ty::Path => {
            const EFAULT: i64 = -14;
            if ret != EFAULT
                && let Some(len) = mem.string_len(addr, STRING_MAX)
            {
                one(Dir::In, 0, addr, u64::from(len) + 1);
            }
        }
        Ty::Strings => {
            for i in 0..ITEMS_MAX {
                let Some(at) = mem.u64(addr + i * 8).filter(|at| *at != 0) else { break };
                let Some(len) = mem.string_len(at, STRING_MAX) else { break };
                one(Dir::In, BUF_INDIRECT, at, u64::from(len) + 1);
            }
        }
        Ty::In(len, shape) if ok || INTERRUPTED.contains(&ret) => {
            let flags = if matches!(shape, Shape::Opaque) { BUF_NOT_COMPARED } else { 0 };
            one(Dir::In, flags, addr, length(len, args, ret, mem));
        }
        Ty::Out(len, _) | Ty::InOut(len, _) if ok => {
            one(Dir::Out, 0, addr, length(len, args, ret, mem));
        }
        Ty::OutAlways(len, _) => one(Dir::Out, 0, addr, length(len, args, ret, mem)),
        Ty::IovIn(count) if ok => iovecs(addr, value(args, count), ret as u64, mem, |at, len| {
            one(Dir::In, BUF_INDIRECT, at, len);
        }),
        Ty::IovOut(count) if ok => iovecs(addr, value(args, count), ret as u64, mem, |at, len| {
            one(Dir::Out, BUF_INDIRECT, at, len);
        }),
        Ty::MsgIn if ok => message(Dir::In, addr, ret as u64, mem, &mut one),
        Ty::MsgOut if ok => message(Dir::Out, addr, ret as u64, mem, &mut one),
        Ty::MmsgIn | Ty::MmsgOut if ok => {
            let dir = if matches!(ty, Ty::MmsgIn) { Dir::In } else { Dir::Out };
            for i in 0..(ret as u64).min(ITEMS_MAX) {
                let at = addr + i * MMSGHDR_BYTES;
                let len = mem.u32(at + MSGHDR_BYTES).unwrap_or(0);
                message(dir, at, len.into(), mem, &mut one);
                // The kernel writes msg_len in both directions.
                one(Dir::Out, BUF_INDIRECT, at + MSGHDR_BYTES, 4);
            }
        }
        Ty::Ioctl => {
            let Some(row) = ioctl(value(args, 1)) else { return };
            if row.write > 0 && ok {
                one(Dir::In, BUF_NOT_COMPARED, addr, row.write.into());
            }
            if row.read > 0 && ok {
                one(Dir::Out, 0, addr, row.read.into());
            }
        }
        Ty::Fcntl if ok => match fcntl_lock(value(args, 1)) {
            Some(Dir::Out) => one(Dir::Out, 0, addr, 32),
            Some(dir) => one(dir, BUF_NOT_COMPARED, addr, 32),
            None => {}
        },
        _ => {}
    }
}

/// Direction of the `struct flock` (or f_owner_ex) that an fcntl command passes.
fn fcntl_lock(command: u64) -> Option<Dir> {
    // F_GETLK, F_OFD_GETLK; F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW.
    match command {
        5 | 36 => Some(Dir::Out),
        6 | 7 | 37 | 38 => Some(Dir::In),
        _ => None,
    }
}

const MSGHDR_BYTES: u64 = 56;
const MMSGHDR_BYTES: u64 = 64;
/// sizeof(struct sockaddr_storage).
const SOCKADDR_MAX: u64 = 128;

/// `struct msghdr`: name 0, namelen 8 (u32), iov 16, iovlen 24, control 32, controllen 40, flags 48.
fn message(
    dir: Dir,
    addr: u64,
    transferred: u64,
    mem: &impl Memory,
    one: &mut impl FnMut(Dir, u16, u64, u64),
) {
    let name = mem.u64(addr).unwrap_or(0);
    let name_len = mem.u32(addr + 8).unwrap_or(0);
    let control = mem.u64(addr + 32).unwrap_or(0);
    let control_len = mem.u64(addr + 40).unwrap_or(0);
    if name != 0 {
        one(dir, BUF_INDIRECT, name, u64::from(name_len).min(SOCKADDR_MAX));
    }
    let (iov, count) = (mem.u64(addr + 16).unwrap_or(0), mem.u64(addr + 24).unwrap_or(0));
    iovecs(iov, count, transferred, mem, |at, len| one(dir, BUF_INDIRECT, at, len));
    if control != 0 {
        one(dir, BUF_INDIRECT | BUF_NOT_COMPARED, control, control_len.min(65536));
    }
    if dir == Dir::Out {
        one(Dir::Out, BUF_INDIRECT, addr, MSGHDR_BYTES);
    }
}

/// The parts of `count` iovecs at `addr` that a transfer of `left` bytes has touched.
fn iovecs(addr: u64, count: u64, mut left: u64, mem: &impl Memory, mut f: impl FnMut(u64, u64)) {
    for i in 0..count.min(ITEMS_MAX) {
        if left == 0 {
            return;
        }
        let at = addr + i * 16;
        let (Some(base), Some(len)) = (mem.u64(at), mem.u64(at + 8)) else { return };
        let len = len.min(left);
        left -= len;
        f(base, len);
    }
}

fn value(args: &[u64; 6], index: u8) -> u64 {
    args.get(usize::from(index)).copied().unwrap_or(0)
}

fn length(len: Len, args: &[u64; 6], ret: i64, mem: &impl Memory) -> u64 {
    let result = ret.max(0) as u64;
    match len {
        Len::Fixed(n) => n.into(),
        Len::Arg(i) => value(args, i),
        Len::ArgTimes(i, size) => (value(args, i) & 0xffff_ffff) * u64::from(size),
        Len::Ret => result,
        Len::RetTimes(size) => result * u64::from(size),
        Len::RetMax(i) => result.min(value(args, i)),
        Len::U32At(i, max) => {
            let at = value(args, i);
            if at == 0 { 0 } else { mem.u32(at).unwrap_or(0).min(max).into() }
        }
        Len::FdSet(i) => (value(args, i) & 0xffff_ffff).div_ceil(64) * 8,
    }
}
