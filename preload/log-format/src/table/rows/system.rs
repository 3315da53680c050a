//! The machine, its kernel, keys, security, and the numbers without a call.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const SYSLOG_BUF: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    // SYSLOG_ACTION_READ, _READ_ALL, _READ_CLEAR.
    cases: &[(2, Out(Ret, Bytes)), (3, Out(Ret, Bytes)), (4, Out(Ret, Bytes))],
    other: Addr,
});

const SYSFS_BY_NAME: u32 = 1;
const SYSFS_BY_INDEX: u32 = 2;
const SYSFS_ARG1: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[(SYSFS_BY_NAME, Path), (SYSFS_BY_INDEX, Uint)],
    other: Unused,
});
/// Longer than the name of any file system.
const FS_NAME_MAX: u32 = 32;
const SYSFS_ARG2: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[(SYSFS_BY_INDEX, Out(Fixed(FS_NAME_MAX), Text))],
    other: Unused,
});

/// The command stands above the quota's type, which has eight bits.
const fn quota(cases: &'static By) -> Ty {
    Ty::By(cases)
}
const QUOTA_CASES: &[(u32, Ty)] = &[
    (0x8000_0100, Unused),                     // Q_SYNC
    (0x8000_0200, Path),                       // Q_QUOTAON
    (0x8000_0300, Unused),                     // Q_QUOTAOFF
    (0x8000_0400, Out(Fixed(4), I32)),         // Q_GETFMT
    (0x8000_0500, Out(Fixed(24), Opaque)),     // Q_GETINFO
    (0x8000_0600, InLoose(Fixed(24), Opaque)), // Q_SETINFO
    (0x8000_0700, Out(Fixed(72), Opaque)),     // Q_GETQUOTA
    (0x8000_0800, InLoose(Fixed(72), Opaque)), // Q_SETQUOTA
    (0x8000_0900, Out(Fixed(72), Opaque)),     // Q_GETNEXTQUOTA
    (0x0058_0300, Out(Fixed(112), Opaque)),    // Q_XGETQUOTA
    (0x0058_0500, Out(Fixed(80), Opaque)),     // Q_XGETQSTAT
    (0x0058_0800, Out(Fixed(192), Opaque)),    // Q_XGETQSTATV
    (0x0058_0900, Out(Fixed(112), Opaque)),    // Q_XGETNEXTQUOTA
];
const QUOTACTL_ADDR: Ty = quota(&By { of: 0, mask: 0xffff_ff00, cases: QUOTA_CASES, other: Addr });
const QUOTACTL_FD_ADDR: Ty =
    quota(&By { of: 1, mask: 0xffff_ff00, cases: QUOTA_CASES, other: Addr });

const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
const KEYCTL_UPDATE: u32 = 2;
const KEYCTL_DESCRIBE: u32 = 6;
const KEYCTL_SEARCH: u32 = 10;
const KEYCTL_READ: u32 = 11;
const KEYCTL_GET_SECURITY: u32 = 17;
const KEYCTL_DH_COMPUTE: u32 = 23;
const KEYCTL_CAPABILITIES: u32 = 31;
const KEYCTL_ARG2: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (KEYCTL_JOIN_SESSION_KEYRING, Path),
        (KEYCTL_DH_COMPUTE, In(Fixed(12), I32)),
        // The rest of it is cleared.
        (KEYCTL_CAPABILITIES, Out(Arg(2), Bytes)),
    ],
    other: Int,
});
const KEYCTL_ARG3: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (KEYCTL_UPDATE, In(Arg(3), Bytes)),
        (KEYCTL_DESCRIBE, Out(RetMax(3), Text)),
        (KEYCTL_SEARCH, Path),
        (KEYCTL_READ, Out(RetMax(3), Bytes)),
        (KEYCTL_GET_SECURITY, Out(RetMax(3), Text)),
        (KEYCTL_DH_COMPUTE, Out(RetMax(3), Bytes)),
        (KEYCTL_CAPABILITIES, Ulong),
    ],
    other: Addr,
});
const KEYCTL_ARG4: Ty = Ty::By(&By {
    of: 0,
    mask: !0,
    cases: &[
        (KEYCTL_UPDATE, Ulong),
        (KEYCTL_DESCRIBE, Ulong),
        (KEYCTL_SEARCH, Path),
        (KEYCTL_READ, Ulong),
        (KEYCTL_GET_SECURITY, Ulong),
        (KEYCTL_DH_COMPUTE, Ulong),
    ],
    other: Addr,
});
const KEYCTL_ARG5: Ty =
    Ty::By(&By { of: 0, mask: !0, cases: &[(KEYCTL_SEARCH, Int)], other: Unused });

pub(super) const ROWS: &[Row] = rows! {
    63 uname: Recorded (buf: Out(Fixed(390), Utsname)) -> Int;
    99 sysinfo: Recorded (info: Out(Fixed(112), Sysinfo)) -> Int;
    103 syslog: Recorded (type: Int, bufp: SYSLOG_BUF, len: Int) -> Int;
    139 sysfs: Recorded (option: Int, arg1: SYSFS_ARG1, arg2: SYSFS_ARG2) -> Int;
    153 vhangup: Recorded () -> Int;
    163 acct: Recorded (filename: Path) -> Int;
    169 reboot: Recorded (magic: Flags(FlagSet::Hex), magic2: Flags(FlagSet::Hex),
        op: Flags(FlagSet::Hex), arg: Addr) -> Int;
    170 sethostname: Recorded (name: In(Arg(1), Bytes), len: Ulong) -> Int;
    171 setdomainname: Recorded (name: In(Arg(1), Bytes), len: Ulong) -> Int;
    172 iopl: Recorded (level: Int) -> Int;
    173 ioperm: Recorded (from: Ulong, num: Ulong, turn_on: Int) -> Int;
    175 init_module: Recorded (module_image: Addr, len: Ulong, param_values: Path) -> Int;
    313 finit_module: Recorded (fd: Fd, param_values: Path, flags: Flags(FlagSet::Hex)) -> Int;
    176 delete_module: Recorded (name: Path, flags: Flags(FlagSet::Open)) -> Int;
    246 kexec_load: Recorded (entry: Addr, nr_segments: Ulong, segments: Addr, flags: Hex) -> Int;
    320 kexec_file_load: Recorded (kernel_fd: Fd, initrd_fd: Fd, cmdline_len: Ulong,
        cmdline: In(Arg(2), Text), flags: Hex) -> Int;
    179 quotactl: Recorded (op: Flags(FlagSet::Hex), special: Path, id: Int, addr: QUOTACTL_ADDR)
        -> Int;
    443 quotactl_fd: Recorded (fd: Fd, op: Flags(FlagSet::Hex), id: Int, addr: QUOTACTL_FD_ADDR)
        -> Int;
    318 getrandom: Own (buf: Out(Ret, Bytes), buflen: Ulong, flags: Flags(FlagSet::Getrandom))
        -> Int;

    248 add_key: Recorded (type: Path, description: Path, payload: In(Arg(3), Bytes), plen: Ulong,
        keyring: Int) -> Int;
    249 request_key: Recorded (type: Path, description: Path, callout_info: Path, dest_keyring: Int)
        -> Int;
    250 keyctl: Recorded (operation: Flags(FlagSet::Keyctl), arg2: KEYCTL_ARG2, arg3: KEYCTL_ARG3,
        arg4: KEYCTL_ARG4, arg5: KEYCTL_ARG5) -> Int;
    // The kernel writes results into the attribute union; what its pointers lead to is not logged.
    321 bpf: Recorded (cmd: Int, attr: InOut(Arg(2), Opaque), size: Uint) -> Int;
    298 perf_event_open: Recorded (attr: Addr, pid: Pid, cpu: Int, group_fd: Fd,
        flags: Flags(FlagSet::Hex)) -> Fd;
    444 landlock_create_ruleset: Recorded (attr: In(Arg(1), U64), size: Ulong,
        flags: Flags(FlagSet::Hex)) -> Int;
    445 landlock_add_rule: Recorded (ruleset_fd: Fd, rule_type: Int, rule_attr: Addr,
        flags: Flags(FlagSet::Hex)) -> Int;
    446 landlock_restrict_self: Recorded (ruleset_fd: Fd, flags: Flags(FlagSet::Hex)) -> Int;
    459 lsm_get_self_attr: Recorded (attr: Uint, ctx: Out(U32At(2, 65536), Opaque),
        size: OutAlways(Fixed(4), I32), flags: Flags(FlagSet::Hex)) -> Int;
    460 lsm_set_self_attr: Recorded (attr: Uint, ctx: InLoose(Arg(2), Opaque), size: Uint,
        flags: Flags(FlagSet::Hex)) -> Int;
    461 lsm_list_modules: Recorded (ids: Out(U32At(1, 65536), U64), size: OutAlways(Fixed(4), I32),
        flags: Flags(FlagSet::Hex)) -> Int;
    335 uretprobe: Refused () -> Int;
    336 uprobe: Refused () -> Int;

    // x86-64 has no such call (any more): ENOSYS, which the log repeats.
    134 uselib: Recorded (library: Path) -> Int;
    156 _sysctl: Recorded () -> Int;
    174 create_module: Recorded () -> Int;
    177 get_kernel_syms: Recorded () -> Int;
    178 query_module: Recorded () -> Int;
    180 nfsservctl: Recorded () -> Int;
    181 getpmsg: Recorded () -> Int;
    182 putpmsg: Recorded () -> Int;
    183 afs_syscall: Recorded () -> Int;
    184 tuxcall: Recorded () -> Int;
    185 security: Recorded () -> Int;
    205 set_thread_area: Recorded () -> Int;
    211 get_thread_area: Recorded () -> Int;
    212 lookup_dcookie: Recorded () -> Int;
    236 vserver: Recorded () -> Int;
};
