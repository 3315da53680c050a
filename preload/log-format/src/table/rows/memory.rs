//! The address space.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{Len::*, Shape::*, Ty::*};

pub(super) const ROWS: &[Row] = rows! {
    9 mmap: Own (addr: Addr, length: Ulong, prot: Flags(FlagSet::Prot), flags: Flags(FlagSet::Map),
        fd: Fd, offset: Hex) -> Addr;
    10 mprotect: Local (addr: Addr, len: Ulong, prot: Flags(FlagSet::Prot)) -> Int;
    11 munmap: Local (addr: Addr, length: Ulong) -> Int;
    12 brk: Local (addr: Addr) -> Addr;
    25 mremap: Local (old_address: Addr, old_size: Ulong, new_size: Ulong,
        flags: Flags(FlagSet::Mremap), new_address: Addr) -> Addr;
    // Writes to a file: nothing to do on replay, where mappings are of copies.
    26 msync: Recorded (addr: Addr, length: Ulong, flags: Flags(FlagSet::Msync)) -> Int;
    // What is in the page cache differs from run to run.
    27 mincore: Recorded (addr: Addr, length: Ulong, vec: Out(Pages(1), Bytes)) -> Int;
    28 madvise: Local (addr: Addr, length: Ulong, advice: Flags(FlagSet::Madvise)) -> Int;
    440 process_madvise: Recorded (pidfd: Fd, iovec: Addr, vlen: Ulong,
        advice: Flags(FlagSet::Madvise), flags: Flags(FlagSet::Hex)) -> Int;
    448 process_mrelease: Recorded (pidfd: Fd, flags: Flags(FlagSet::Hex)) -> Int;
    149 mlock: Recorded (addr: Addr, len: Ulong) -> Int;
    325 mlock2: Recorded (addr: Addr, len: Ulong, flags: Flags(FlagSet::Hex)) -> Int;
    150 munlock: Recorded (addr: Addr, len: Ulong) -> Int;
    151 mlockall: Recorded (flags: Flags(FlagSet::Mlockall)) -> Int;
    152 munlockall: Recorded () -> Int;
    216 remap_file_pages: Local (addr: Addr, size: Ulong, prot: Flags(FlagSet::Prot), pgoff: Ulong,
        flags: Flags(FlagSet::Map)) -> Int;
    319 memfd_create: Recorded (name: Path, flags: Flags(FlagSet::Memfd)) -> Fd;
    447 memfd_secret: Recorded (flags: Flags(FlagSet::FdCreate)) -> Fd;
    329 pkey_mprotect: Local (addr: Addr, len: Ulong, prot: Flags(FlagSet::Prot), pkey: Int) -> Int;
    330 pkey_alloc: Local (flags: Flags(FlagSet::Hex), access_rights: Flags(FlagSet::Hex)) -> Int;
    331 pkey_free: Local (pkey: Int) -> Int;
    462 mseal: Local (addr: Addr, len: Ulong, flags: Hex) -> Int;
    453 map_shadow_stack: Refused (addr: Addr, size: Ulong, flags: Flags(FlagSet::Hex)) -> Addr;
    323 userfaultfd: Refused (flags: Flags(FlagSet::FdCreate)) -> Fd;
    324 membarrier: Local (cmd: Flags(FlagSet::Membarrier), flags: Flags(FlagSet::Hex), cpu_id: Int)
        -> Int;
    154 modify_ldt: Local (func: Int, ptr: Addr, bytecount: Ulong) -> Int;

    237 mbind: Recorded (addr: Addr, len: Ulong, mode: Int, nodemask: In(Bits(4), U64),
        maxnode: Ulong, flags: Flags(FlagSet::Hex)) -> Int;
    238 set_mempolicy: Recorded (mode: Int, nodemask: In(Bits(2), U64), maxnode: Ulong) -> Int;
    239 get_mempolicy: Recorded (mode: Out(Fixed(4), I32), nodemask: Out(Bits(2), U64),
        maxnode: Ulong, addr: Addr, flags: Flags(FlagSet::Hex)) -> Int;
    450 set_mempolicy_home_node: Recorded (start: Addr, len: Ulong, home_node: Ulong,
        flags: Flags(FlagSet::Hex)) -> Int;
    256 migrate_pages: Recorded (pid: Pid, maxnode: Ulong, old_nodes: In(Bits(1), U64),
        new_nodes: In(Bits(1), U64)) -> Int;
    279 move_pages: Recorded (pid: Pid, count: Ulong, pages: In(ArgTimes(1, 8), U64),
        nodes: In(ArgTimes(1, 4), I32), status: Out(ArgTimes(1, 4), I32),
        flags: Flags(FlagSet::Hex)) -> Int;

    310 process_vm_readv: Recorded (pid: Pid, local_iov: IovOut(2), liovcnt: Ulong,
        remote_iov: Addr, riovcnt: Ulong, flags: Flags(FlagSet::Hex)) -> Int;
    311 process_vm_writev: Recorded (pid: Pid, local_iov: IovIn(2), liovcnt: Ulong,
        remote_iov: Addr, riovcnt: Ulong, flags: Flags(FlagSet::Hex)) -> Int;
};
