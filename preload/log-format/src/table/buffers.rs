//! Where the buffers of a call are: the only place that follows a guest's pointers.

use super::Row;
use super::types::{Len, Shape, Ty};
use crate::record::{BUF_INDIRECT, BUF_NOT_COMPARED, Dir};

/// Read access to a guest's memory.
pub trait Memory {
    /// Copies `into.len()` bytes from `addr`; false if any of them can't be read.
    fn read(&self, addr: u64, into: &mut [u8]) -> bool;

    /// Length of the NUL-terminated string at `addr` without its NUL, at most `max`.
    fn string_len(&self, addr: u64, max: u32) -> Option<u32> {
        let mut len = 0;
        let mut word = [0; 8];
        while len < max {
            let at = addr.checked_add(len.into())?;
            // Up to the next multiple of eight, so that no read crosses into another page.
            let part = word.get_mut(..8 - (at % 8) as usize)?;
            if !self.read(at, part) {
                return None;
            }
            if let Some(end) = part.iter().position(|b| *b == 0) {
                return Some(max.min(len + end as u32));
            }
            len += part.len() as u32;
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
/// Most iovecs of a call (IOV_MAX).
const ITEMS_MAX: u64 = 1024;
/// Most strings of an argv or envp looked at.
const STRINGS_MAX: u64 = 4096;
/// Longest buffer logged: below what one transfer may have.
const LEN_MAX: u64 = 0x7fff_0000;
/// Longest buffer logged of a call that failed, perhaps because of a length without sense.
const FAILED_LEN_MAX: u64 = 1 << 20;
/// The result that says that the kernel could not read an argument.
const EFAULT: i64 = -14;

/// Calls `found` for each buffer of a call that has returned `ret`, in a fixed order.
///
/// Buffers that the kernel can't have written (the call failed) are left out; what it read is
/// given also for a call that failed (a connect that answers EINPROGRESS). Addresses may be
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
        // What is compared as a number is no pointer; quick, for every read passes here.
        if addr != 0 && arg.ty.compared_bits() == 0 {
            let call = Call { row, args, ret, mem };
            call.argument(i as u8, arg.ty.resolve(args), addr, found);
        }
    }
}

/// A call that has returned.
struct Call<'a, M> {
    row: &'a Row,
    args: &'a [u64; 6],
    ret: i64,
    mem: &'a M,
}

impl<M: Memory> Call<'_, M> {
    fn argument(&self, arg: u8, ty: Ty, addr: u64, found: &mut impl FnMut(BufAt)) {
        let Call { args, ret, mem, .. } = *self;
        let ok = ret >= 0;
        let done = ret.max(0) as u64;
        let max = if ok { LEN_MAX } else { FAILED_LEN_MAX };
        let mut one = |dir, flags, addr, len: u64| {
            let len = len.min(max) as u32;
            if len > 0 {
                found(BufAt { arg, dir, flags, addr, len });
            }
        };
        // Also written through another argument (`sigprocmask(how, &set, &set)`): what stands there
        // now is not what the kernel read.
        let compared = || {
            let twice = args.iter().enumerate().any(|(i, a)| *a == addr && i != usize::from(arg));
            if twice { BUF_NOT_COMPARED } else { 0 }
        };
        if ret == EFAULT && !matches!(ty, Ty::OutAlways(..)) {
            return;
        }
        match ty {
            Ty::Path => {
                if let Some(len) = mem.string_len(addr, STRING_MAX) {
                    one(Dir::In, compared(), addr, u64::from(len) + 1);
                }
            }
            Ty::Strings => {
                for i in 0..STRINGS_MAX {
                    let Some(at) = mem.u64(addr.wrapping_add(i * 8)).filter(|at| *at != 0) else {
                        break;
                    };
                    let Some(len) = mem.string_len(at, STRING_MAX) else { break };
                    one(Dir::In, BUF_INDIRECT, at, u64::from(len) + 1);
                }
            }
            Ty::In(len, Shape::Sockaddr) => {
                let len = self.length(len, addr);
                one(Dir::In, compared(), addr, sockaddr_len(addr, len, mem));
            }
            Ty::In(len, _) => one(Dir::In, compared(), addr, self.length(len, addr)),
            Ty::InLoose(len, _) => {
                one(Dir::In, BUF_NOT_COMPARED, addr, self.length(len, addr));
            }
            Ty::Out(len, _) | Ty::InOut(len, _) if ok => {
                one(Dir::Out, 0, addr, self.length(len, addr));
            }
            Ty::OutAlways(len, _) => one(Dir::Out, 0, addr, self.length(len, addr)),
            Ty::IovIn(count) if ok => iovecs(addr, self.count(count), done, mem, |at, len| {
                one(Dir::In, BUF_INDIRECT, at, len);
            }),
            Ty::IovOut(count) if ok => iovecs(addr, self.count(count), done, mem, |at, len| {
                one(Dir::Out, BUF_INDIRECT, at, len);
            }),
            Ty::MsgIn => message(Dir::In, addr, done, mem, &mut one),
            Ty::MsgOut if ok => message(Dir::Out, addr, done, mem, &mut one),
            Ty::MmsgIn | Ty::MmsgOut if ok => {
                let dir = if matches!(ty, Ty::MmsgIn) { Dir::In } else { Dir::Out };
                for i in 0..done.min(ITEMS_MAX) {
                    let at = addr.wrapping_add(i * MMSGHDR_BYTES);
                    let msg_len = at.wrapping_add(MSGHDR_BYTES);
                    let len = mem.u32(msg_len).unwrap_or(0);
                    message(dir, at, len.into(), mem, &mut one);
                    // The kernel writes msg_len in both directions.
                    one(Dir::Out, BUF_INDIRECT, msg_len, 4);
                }
            }
            Ty::SigsetPair => {
                if let Some(set) = mem.u64(addr).filter(|set| *set != 0) {
                    one(Dir::In, BUF_INDIRECT, set, 8);
                }
            }
            Ty::XattrArgs(dir) => {
                let value = mem.u64(addr).unwrap_or(0);
                let size = u64::from(mem.u32(addr.wrapping_add(8)).unwrap_or(0));
                if value != 0 {
                    let len = if dir == Dir::Out { size.min(done) } else { size.min(XATTR_MAX) };
                    one(dir, BUF_INDIRECT, value, len);
                }
            }
            Ty::Regset if ok => {
                let len = mem.u64(addr.wrapping_add(8)).unwrap_or(0);
                if let Some(base) = mem.u64(addr) {
                    one(Dir::Out, BUF_INDIRECT, base, len.min(REGSET_MAX));
                }
                one(Dir::Out, 0, addr, 16);
            }
            Ty::Ifconf if ok => {
                let len = mem.u32(addr).unwrap_or(0);
                if let Some(base) = mem.u64(addr.wrapping_add(8)).filter(|base| *base != 0) {
                    one(Dir::Out, BUF_INDIRECT, base, u64::from(len).min(IFCONF_MAX));
                }
                one(Dir::Out, 0, addr, 16);
            }
            _ => {}
        }
    }

    /// The value of an argument that is a number, as wide as the kernel takes it.
    fn number(&self, index: u8) -> u64 {
        let index = usize::from(index);
        let value = self.args.get(index).copied().unwrap_or(0);
        match self.row.args.get(index).map(|arg| arg.ty) {
            Some(Ty::Int) => (value as i32).max(0) as u64,
            Some(Ty::Uint) => value & 0xffff_ffff,
            _ => value,
        }
    }

    /// A number of items.
    fn count(&self, index: u8) -> u64 {
        self.number(index) & 0xffff_ffff
    }

    fn length(&self, len: Len, addr: u64) -> u64 {
        let result = self.ret.max(0) as u64;
        match len {
            Len::Fixed(n) => n.into(),
            Len::Arg(i) => self.number(i),
            Len::ArgPlus(i, head) => self.number(i).saturating_add(head.into()),
            Len::ArgTimes(i, size) => self.count(i) * u64::from(size),
            Len::Ret => result,
            Len::RetPlus(head) => result.saturating_add(head.into()),
            Len::RetTimes(size) => result.saturating_mul(size.into()),
            Len::RetMax(i) => result.min(self.number(i)),
            Len::RetTimesMax(size, i) => result.min(self.count(i)).saturating_mul(size.into()),
            Len::U32At(i, max) => {
                let at = self.args.get(usize::from(i)).copied().unwrap_or(0);
                if at == 0 { 0 } else { self.mem.u32(at).unwrap_or(0).min(max).into() }
            }
            Len::Counted(head, count_at, size) => {
                let count = self.mem.u32(addr.wrapping_add(count_at.into())).unwrap_or(0);
                u64::from(head) + u64::from(count.min(COUNTED_MAX)) * u64::from(size)
            }
            Len::Bits(i) => self.count(i).min(1 << 20).div_ceil(64) * 8,
            Len::Pages(i) => self.number(i).div_ceil(4096),
        }
    }
}

const MSGHDR_BYTES: u64 = 56;
const MMSGHDR_BYTES: u64 = 64;
/// sizeof(struct sockaddr_storage).
const SOCKADDR_MAX: u64 = 128;
/// XATTR_SIZE_MAX of the kernel.
const XATTR_MAX: u64 = 65536;
/// Longest register set logged; AVX-512 and AMX state are below it.
const REGSET_MAX: u64 = 65536;
/// Longest list of interfaces logged.
const IFCONF_MAX: u64 = 1 << 20;

/// Bytes of the address at `addr` that mean something: what lies behind them is often left unset.
fn sockaddr_len(addr: u64, len: u64, mem: &impl Memory) -> u64 {
    const AF_UNIX: u32 = 1;
    const AF_INET: u32 = 2;
    let len = len.min(SOCKADDR_MAX);
    let mut head = [0; 4];
    if len < 4 || !mem.read(addr, &mut head) {
        return len;
    }
    let family = u32::from(u16::from_le_bytes([head[0], head[1]]));
    match family {
        AF_INET => len.min(8),
        // A path ends at its NUL; an abstract name starts with one and has no other end than len.
        AF_UNIX if head[2] != 0 => match mem.string_len(addr.wrapping_add(2), (len - 2) as u32) {
            Some(path) => len.min(u64::from(path) + 3),
            None => len,
        },
        _ => len,
    }
}

/// `struct msghdr`: name 0, namelen 8 (u32), iov 16, iovlen 24, control 32, controllen 40,
/// flags 48.
fn message(
    dir: Dir,
    addr: u64,
    transferred: u64,
    mem: &impl Memory,
    one: &mut impl FnMut(Dir, u16, u64, u64),
) {
    let word = |at: u64| mem.u64(addr.wrapping_add(at)).unwrap_or(0);
    let name = word(0);
    let name_len = u64::from(mem.u32(addr.wrapping_add(8)).unwrap_or(0)).min(SOCKADDR_MAX);
    let control = word(32);
    // First the header, from which a reader tells the name from the data. Its flags may be unset
    // when sending.
    let flags = if dir == Dir::In { BUF_INDIRECT | BUF_NOT_COMPARED } else { BUF_INDIRECT };
    one(dir, flags, addr, MSGHDR_BYTES);
    if name != 0 {
        let len = if dir == Dir::In { sockaddr_len(name, name_len, mem) } else { name_len };
        one(dir, BUF_INDIRECT, name, len);
    }
    iovecs(word(16), word(24), transferred, mem, |at, len| one(dir, BUF_INDIRECT, at, len));
    if control != 0 {
        one(dir, BUF_INDIRECT | BUF_NOT_COMPARED, control, word(40).min(65536));
    }
}

/// The parts of `count` iovecs at `addr` that a transfer of `left` bytes has touched.
fn iovecs(addr: u64, count: u64, mut left: u64, mem: &impl Memory, mut f: impl FnMut(u64, u64)) {
    for i in 0..count.min(ITEMS_MAX) {
        if left == 0 {
            return;
        }
        let at = addr.wrapping_add(i * 16);
        let (Some(base), Some(len)) = (mem.u64(at), mem.u64(at.wrapping_add(8))) else { return };
        let len = len.min(left);
        left -= len;
        f(base, len);
    }
}

/// Most items of a [`Len::Counted`] buffer logged.
const COUNTED_MAX: u32 = 65536;
