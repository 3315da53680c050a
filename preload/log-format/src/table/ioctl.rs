//! ioctl requests: what their third argument is.

use super::types::{Len::*, Shape, Shape::*, Ty, Ty::*};

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct IoctlRow {
    /// Request number.
    pub request: u32,
    /// Name; empty if the request is not listed.
    pub name: &'static str,
    /// Type of the third argument.
    pub ty: Ty,
}

/// The row of a request; for an unlisted one that follows the _IOR/_IOW convention, what its
/// number says.
pub fn ioctl(request: u64) -> IoctlRow {
    let request = request as u32;
    if let Some((_, name, ty)) = IOCTLS.iter().find(|(r, ..)| *r == request) {
        return IoctlRow { request, name, ty: *ty };
    }
    let size = Fixed((request >> 16) & 0x3fff);
    let ty = match request >> 30 {
        0 => Addr,
        1 => InLoose(size, Opaque),
        2 => Out(size, Opaque),
        _ => InOut(size, Opaque),
    };
    IoctlRow { request, name: "", ty }
}

const fn get(bytes: u32, shape: Shape) -> Ty {
    Out(Fixed(bytes), shape)
}

const fn set(bytes: u32, shape: Shape) -> Ty {
    In(Fixed(bytes), shape)
}

const INT_OUT: Ty = get(4, I32);
const INT_IN: Ty = set(4, I32);
const PID_OUT: Ty = get(4, PidWord);
const PID_IN: Ty = set(4, PidWord);
/// The kernel's `struct termios`: c_line and 19 control characters behind four words.
const TERMIOS_BYTES: u32 = 36;
const TERMIOS_IN: Ty = InLoose(Fixed(TERMIOS_BYTES), Termios);
const TERMIOS2_BYTES: u32 = 44;
const TERMIOS2_IN: Ty = InLoose(Fixed(TERMIOS2_BYTES), Termios);
/// `struct ifreq`, of which the name is read and the rest read or written.
const IFREQ_GET: Ty = InOut(Fixed(40), Opaque);
const IFREQ_SET: Ty = InLoose(Fixed(40), Opaque);
const FIEMAP: Ty = InOut(Counted(32, 20, 56), Opaque);
/// `struct file_dedupe_range`, with dest_count at 16.
const DEDUPE: Ty = InOut(Counted(24, 16, 32), Opaque);

/// Every listed request: number, name, type of the third argument.
pub const IOCTLS: &[(u32, &str, Ty)] = &[
    // Terminals.
    (0x5401, "TCGETS", get(TERMIOS_BYTES, Termios)),
    (0x5402, "TCSETS", TERMIOS_IN),
    (0x5403, "TCSETSW", TERMIOS_IN),
    (0x5404, "TCSETSF", TERMIOS_IN),
    (0x5405, "TCGETA", get(18, Opaque)),
    (0x5406, "TCSETA", InLoose(Fixed(18), Opaque)),
    (0x5407, "TCSETAW", InLoose(Fixed(18), Opaque)),
    (0x5408, "TCSETAF", InLoose(Fixed(18), Opaque)),
    (0x5409, "TCSBRK", Int),
    (0x540a, "TCXONC", Int),
    (0x540b, "TCFLSH", Int),
    (0x540c, "TIOCEXCL", Unused),
    (0x540d, "TIOCNXCL", Unused),
    (0x540e, "TIOCSCTTY", Int),
    (0x540f, "TIOCGPGRP", PID_OUT),
    (0x5410, "TIOCSPGRP", PID_IN),
    (0x5411, "TIOCOUTQ", INT_OUT),
    (0x5412, "TIOCSTI", set(1, Bytes)),
    (0x5413, "TIOCGWINSZ", get(8, Winsize)),
    (0x5414, "TIOCSWINSZ", set(8, Winsize)),
    (0x5415, "TIOCMGET", INT_OUT),
    (0x5416, "TIOCMBIS", INT_IN),
    (0x5417, "TIOCMBIC", INT_IN),
    (0x5418, "TIOCMSET", INT_IN),
    (0x5419, "TIOCGSOFTCAR", INT_OUT),
    (0x541a, "TIOCSSOFTCAR", INT_IN),
    (0x541b, "FIONREAD", INT_OUT),
    (0x541c, "TIOCLINUX", InLoose(Fixed(1), Opaque)),
    (0x541d, "TIOCCONS", Unused),
    (0x541e, "TIOCGSERIAL", get(72, Opaque)),
    (0x541f, "TIOCSSERIAL", InLoose(Fixed(72), Opaque)),
    (0x5420, "TIOCPKT", INT_IN),
    (0x5421, "FIONBIO", INT_IN),
    (0x5422, "TIOCNOTTY", Unused),
    (0x5423, "TIOCSETD", INT_IN),
    (0x5424, "TIOCGETD", INT_OUT),
    (0x5425, "TCSBRKP", Int),
    (0x5427, "TIOCSBRK", Unused),
    (0x5428, "TIOCCBRK", Unused),
    (0x5429, "TIOCGSID", PID_OUT),
    (0x802c_542a, "TCGETS2", get(TERMIOS2_BYTES, Termios)),
    (0x402c_542b, "TCSETS2", TERMIOS2_IN),
    (0x402c_542c, "TCSETSW2", TERMIOS2_IN),
    (0x402c_542d, "TCSETSF2", TERMIOS2_IN),
    (0x8004_5430, "TIOCGPTN", INT_OUT),
    (0x4004_5431, "TIOCSPTLCK", INT_IN),
    (0x8004_5432, "TIOCGDEV", INT_OUT),
    (0x4004_5436, "TIOCSIG", Int),
    (0x5437, "TIOCVHANGUP", Unused),
    (0x8004_5438, "TIOCGPKT", INT_OUT),
    (0x8004_5439, "TIOCGPTLCK", INT_OUT),
    (0x8004_5440, "TIOCGEXCL", INT_OUT),
    (0x5441, "TIOCGPTPEER", Hex),
    (0x5450, "FIONCLEX", Unused),
    (0x5451, "FIOCLEX", Unused),
    (0x5452, "FIOASYNC", INT_IN),
    (0x5456, "TIOCGLCKTRMIOS", get(TERMIOS_BYTES, Termios)),
    (0x5457, "TIOCSLCKTRMIOS", TERMIOS_IN),
    (0x5459, "TIOCSERGETLSR", INT_OUT),
    (0x545c, "TIOCMIWAIT", Int),
    (0x545d, "TIOCGICOUNT", get(80, I32)),
    (0x5460, "FIOQSIZE", get(8, U64)),
    // Sockets and interfaces.
    (0x8901, "FIOSETOWN", INT_IN),
    (0x8902, "SIOCSPGRP", PID_IN),
    (0x8903, "FIOGETOWN", INT_OUT),
    (0x8904, "SIOCGPGRP", PID_OUT),
    (0x8905, "SIOCATMARK", INT_OUT),
    (0x8906, "SIOCGSTAMP", get(16, Timeval)),
    (0x8907, "SIOCGSTAMPNS", get(16, Timespec)),
    (0x890b, "SIOCADDRT", InLoose(Fixed(120), Opaque)),
    (0x890c, "SIOCDELRT", InLoose(Fixed(120), Opaque)),
    (0x8910, "SIOCGIFNAME", IFREQ_GET),
    (0x8912, "SIOCGIFCONF", Ifconf),
    (0x8913, "SIOCGIFFLAGS", IFREQ_GET),
    (0x8914, "SIOCSIFFLAGS", IFREQ_SET),
    (0x8915, "SIOCGIFADDR", IFREQ_GET),
    (0x8916, "SIOCSIFADDR", IFREQ_SET),
    (0x8917, "SIOCGIFDSTADDR", IFREQ_GET),
    (0x8918, "SIOCSIFDSTADDR", IFREQ_SET),
    (0x8919, "SIOCGIFBRDADDR", IFREQ_GET),
    (0x891a, "SIOCSIFBRDADDR", IFREQ_SET),
    (0x891b, "SIOCGIFNETMASK", IFREQ_GET),
    (0x891c, "SIOCSIFNETMASK", IFREQ_SET),
    (0x891d, "SIOCGIFMETRIC", IFREQ_GET),
    (0x891e, "SIOCSIFMETRIC", IFREQ_SET),
    (0x8921, "SIOCGIFMTU", IFREQ_GET),
    (0x8922, "SIOCSIFMTU", IFREQ_SET),
    (0x8923, "SIOCSIFNAME", IFREQ_SET),
    (0x8924, "SIOCSIFHWADDR", IFREQ_SET),
    (0x8927, "SIOCGIFHWADDR", IFREQ_GET),
    (0x8929, "SIOCGIFSLAVE", IFREQ_GET),
    (0x8933, "SIOCGIFINDEX", IFREQ_GET),
    (0x8935, "SIOCGIFPFLAGS", IFREQ_GET),
    (0x8938, "SIOCGIFCOUNT", IFREQ_GET),
    (0x8940, "SIOCGIFBR", IFREQ_GET),
    (0x8942, "SIOCGIFTXQLEN", IFREQ_GET),
    (0x8943, "SIOCSIFTXQLEN", IFREQ_SET),
    // What ifr_data points to is not logged.
    (0x8946, "SIOCETHTOOL", IFREQ_GET),
    (0x8947, "SIOCGMIIPHY", IFREQ_GET),
    (0x894b, "SIOCOUTQNSD", INT_OUT),
    (0x894c, "SIOCGSKNS", Unused),
    (0x8953, "SIOCDARP", InLoose(Fixed(68), Opaque)),
    (0x8954, "SIOCGARP", InOut(Fixed(68), Opaque)),
    (0x8955, "SIOCSARP", InLoose(Fixed(68), Opaque)),
    (0x8970, "SIOCGIFMAP", IFREQ_GET),
    // Files and file systems. Several say "long" in their number and mean int.
    (1, "FIBMAP", InOut(Fixed(4), I32)),
    (2, "FIGETBSZ", INT_OUT),
    (0x8008_6601, "FS_IOC_GETFLAGS", INT_OUT),
    (0x4008_6602, "FS_IOC_SETFLAGS", INT_IN),
    (0x8008_7601, "FS_IOC_GETVERSION", INT_OUT),
    (0x4008_7602, "FS_IOC_SETVERSION", INT_IN),
    (0x801c_581f, "FS_IOC_FSGETXATTR", get(28, Opaque)),
    (0x401c_5820, "FS_IOC_FSSETXATTR", InLoose(Fixed(28), Opaque)),
    (0x8100_9431, "FS_IOC_GETFSLABEL", get(256, Text)),
    (0xc020_660b, "FS_IOC_FIEMAP", FIEMAP),
    (0x4004_9409, "FICLONE", Fd),
    (0x4020_940d, "FICLONERANGE", set(32, U64)),
    (0xc018_9436, "FIDEDUPERANGE", DEDUPE),
    (0xc004_5877, "FIFREEZE", Unused),
    (0xc004_5878, "FITHAW", Unused),
    (0xc018_5879, "FITRIM", InOut(Fixed(24), U64)),
    // Block devices.
    (0x125d, "BLKROSET", INT_IN),
    (0x125e, "BLKROGET", INT_OUT),
    (0x125f, "BLKRRPART", Unused),
    (0x1260, "BLKGETSIZE", get(8, U64)),
    (0x1261, "BLKFLSBUF", Unused),
    (0x1262, "BLKRASET", Ulong),
    (0x1263, "BLKRAGET", get(8, U64)),
    (0x1267, "BLKSECTGET", get(2, Opaque)),
    (0x1268, "BLKSSZGET", INT_OUT),
    (0x8008_1270, "BLKBSZGET", INT_OUT),
    (0x4008_1271, "BLKBSZSET", INT_IN),
    (0x8008_1272, "BLKGETSIZE64", get(8, U64)),
    (0x1277, "BLKDISCARD", set(16, U64)),
    (0x1278, "BLKIOMIN", INT_OUT),
    (0x1279, "BLKIOOPT", INT_OUT),
    (0x127a, "BLKALIGNOFF", INT_OUT),
    (0x127b, "BLKPBSZGET", INT_OUT),
    (0x127e, "BLKROTATIONAL", get(2, Opaque)),
    (0x0301, "HDIO_GETGEO", get(16, Opaque)),
    // Namespaces, random numbers, performance counters.
    (0xb701, "NS_GET_USERNS", Unused),
    (0xb702, "NS_GET_PARENT", Unused),
    (0xb703, "NS_GET_NSTYPE", Unused),
    (0xb704, "NS_GET_OWNER_UID", INT_OUT),
    (0x8004_5200, "RNDGETENTCNT", INT_OUT),
    (0x4004_5201, "RNDADDTOENTCNT", INT_IN),
    (0x5204, "RNDZAPENTCNT", Unused),
    (0x5206, "RNDCLEARPOOL", Unused),
    (0x5207, "RNDRESEEDCRNG", Unused),
    (0x2400, "PERF_EVENT_IOC_ENABLE", Hex),
    (0x2401, "PERF_EVENT_IOC_DISABLE", Hex),
    (0x2402, "PERF_EVENT_IOC_REFRESH", Int),
    (0x2403, "PERF_EVENT_IOC_RESET", Hex),
    (0x4008_2406, "PERF_EVENT_IOC_SET_FILTER", Path),
    (0x8008_2407, "PERF_EVENT_IOC_ID", get(8, U64)),
    // Virtual machines and devices that programs try and then do without.
    (0xae00, "KVM_GET_API_VERSION", Unused),
    (0xae01, "KVM_CREATE_VM", Hex),
    (0xae03, "KVM_CHECK_EXTENSION", Hex),
    (0x4004_54ca, "TUNSETIFF", InOut(Fixed(40), Opaque)),
    (0x4004_54cb, "TUNSETPERSIST", Int),
    (0x4004_54cc, "TUNSETOWNER", Int),
    (0x4004_54d1, "TUNSETTXFILTER", Addr),
    (0x8004_54cf, "TUNGETFEATURES", INT_OUT),
    (0x8004_54d2, "TUNGETIFF", get(40, Opaque)),
    (0x4b33, "KDGKBTYPE", get(1, Opaque)),
    (0x4b3b, "KDGETMODE", INT_OUT),
    (0x4b3a, "KDSETMODE", Ulong),
    (0x4b44, "KDGKBMODE", INT_OUT),
    (0x4b45, "KDSKBMODE", Ulong),
    (0x5600, "VT_OPENQRY", INT_OUT),
    (0x5601, "VT_GETMODE", get(8, Opaque)),
    (0x5603, "VT_GETSTATE", get(6, Opaque)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_listed_twice() {
        for (i, (request, name, _)) in IOCTLS.iter().enumerate() {
            let twin = IOCTLS.iter().skip(i + 1).find(|(r, ..)| r == request);
            assert!(twin.is_none(), "{name} has a twin");
        }
    }

    #[test]
    fn an_unlisted_request_is_read_by_its_number() {
        assert_eq!(ioctl(0x8010_0001).ty, Out(Fixed(16), Opaque));
        assert_eq!(ioctl(0x4010_0001).ty, InLoose(Fixed(16), Opaque));
        assert_eq!(ioctl(0xc010_0001).ty, InOut(Fixed(16), Opaque));
        assert_eq!(ioctl(0x9999).ty, Addr);
    }
}
