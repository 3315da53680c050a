//! Sockets.

use crate::table::Effect::*;
use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

/// Names of a socket option, by its level.
const OPTION: Ty = Ty::By(&By {
    of: 1,
    mask: !0,
    cases: &[
        (0, Flags(FlagSet::IpOption)),
        (1, Flags(FlagSet::SocketOption)),
        (6, Flags(FlagSet::TcpOption)),
        (41, Flags(FlagSet::Ipv6Option)),
        (270, Flags(FlagSet::NetlinkOption)),
    ],
    other: Int,
});

/// Largest socket option logged (SO_PEERSEC, TCP_INFO, filters are far below).
const OPTION_MAX: u32 = 65536;

/// An address that the kernel writes, and the word that holds its length.
const fn address(len: u8) -> Ty {
    Out(U32At(len, 128), Sockaddr)
}

pub(super) const ROWS: &[Row] = rows! {
    41 socket: Recorded (domain: Flags(FlagSet::Domain), type: Flags(FlagSet::SocketType),
        protocol: Int) -> Fd;
    53 socketpair: Recorded (domain: Flags(FlagSet::Domain), type: Flags(FlagSet::SocketType),
        protocol: Int, sv: Out(Fixed(8), I32)) -> Int;
    42 connect: Blocking (sockfd: Fd, addr: In(Arg(2), Sockaddr), addrlen: Int) -> Int, Connects;
    43 accept: Blocking (sockfd: Fd, addr: address(2), addrlen: InOut(Fixed(4), I32)) -> Fd;
    288 accept4: Blocking (sockfd: Fd, addr: address(2), addrlen: InOut(Fixed(4), I32),
        flags: Flags(FlagSet::SocketFlags)) -> Fd;
    49 bind: Recorded (sockfd: Fd, addr: In(Arg(2), Sockaddr), addrlen: Int) -> Int, Binds;
    50 listen: Recorded (sockfd: Fd, backlog: Int) -> Int;
    51 getsockname: Recorded (sockfd: Fd, addr: address(2), addrlen: InOut(Fixed(4), I32)) -> Int;
    52 getpeername: Recorded (sockfd: Fd, addr: address(2), addrlen: InOut(Fixed(4), I32)) -> Int;
    48 shutdown: Recorded (sockfd: Fd, how: Flags(FlagSet::Shutdown)) -> Int;
    54 setsockopt: Recorded (sockfd: Fd, level: Flags(FlagSet::SocketLevel), optname: OPTION,
        optval: In(Arg(4), SockOption), optlen: Int) -> Int;
    55 getsockopt: Recorded (sockfd: Fd, level: Flags(FlagSet::SocketLevel), optname: OPTION,
        optval: Out(U32At(4, OPTION_MAX), SockOption), optlen: InOut(Fixed(4), I32)) -> Int;

    44 sendto: Blocking (sockfd: Fd, buf: In(Ret, Bytes), len: Ulong, flags: Flags(FlagSet::Msg),
        dest_addr: In(Arg(5), Sockaddr), addrlen: Int) -> Int, SendsTo(4);
    45 recvfrom: Blocking (sockfd: Fd, buf: Out(RetMax(2), Bytes), len: Ulong,
        flags: Flags(FlagSet::Msg), src_addr: address(5), addrlen: InOut(Fixed(4), I32)) -> Int;
    46 sendmsg: Blocking (sockfd: Fd, msg: MsgIn, flags: Flags(FlagSet::Msg)) -> Int, SendsMessages;
    47 recvmsg: Blocking (sockfd: Fd, msg: MsgOut, flags: Flags(FlagSet::Msg)) -> Int;
    307 sendmmsg: Blocking (sockfd: Fd, msgvec: MmsgIn, vlen: Uint, flags: Flags(FlagSet::Msg))
        -> Int, SendsMessages;
    299 recvmmsg: Blocking (sockfd: Fd, msgvec: MmsgOut, vlen: Uint, flags: Flags(FlagSet::Msg),
        timeout: OutAlways(Fixed(16), Timespec)) -> Int;
};
