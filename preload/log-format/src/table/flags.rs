//! Names of flags and enumerations, for showing calls as strace does.

/// Flags that may stand together: `value NAME`, or `value/mask NAME` for a part of the number that
/// holds one of several values. Names of several bits come before those of their parts.
macro_rules! flags {
    ($($value:literal $(/ $mask:literal)? $name:ident),* $(,)?) => {
        &[$(FlagName { value: $value, mask: 0 $(+ $mask)?, name: stringify!($name) }),*]
    };
}

/// Values of which one stands alone: `value NAME`.
macro_rules! one_of {
    ($($value:literal $name:ident),* $(,)?) => {
        &[$(FlagName { value: $value, mask: u32::MAX, name: stringify!($name) }),*]
    };
}

mod errno;
mod file;
mod memory;
mod net;
mod process;
mod signal;

pub use errno::errno_name;

/// One named value.
#[derive(Clone, Copy, Debug)]
pub struct FlagName {
    /// Value.
    pub value: u32,
    /// Bits that must equal `value`; 0 means `value` itself (a plain flag).
    pub mask: u32,
    /// Name as in the man page.
    pub name: &'static str,
}

/// Writes [`FlagSet`] and its names.
macro_rules! sets {
    ($($(#[$doc:meta])* $set:ident => $names:path,)*) => {
        /// Which set of names an argument takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FlagSet {
            $($(#[$doc])* $set,)*
            /// Request of ioctl: named by [`super::ioctl()`].
            Ioctl,
            /// Not named: shown in hex.
            Hex,
        }

        impl FlagSet {
            /// All sets.
            pub const ALL: &[FlagSet] = &[$(FlagSet::$set,)* FlagSet::Ioctl, FlagSet::Hex];

            /// The names of this set.
            pub const fn names(self) -> &'static [FlagName] {
                match self {
                    $(FlagSet::$set => $names,)*
                    FlagSet::Ioctl | FlagSet::Hex => &[],
                }
            }
        }
    };
}

sets! {
    /// open(2).
    Open => file::OPEN,
    /// Calls that create descriptors and take but a few of open's flags.
    FdCreate => file::FD_CREATE,
    /// fcntl(F_SETFD).
    FdFlags => file::FD_FLAGS,
    /// The AT_ flags of most calls with a directory descriptor.
    At => file::AT,
    /// faccessat2(2).
    AtAccess => file::AT_ACCESS,
    /// unlinkat(2).
    AtUnlink => file::AT_UNLINK,
    /// access(2).
    Access => file::ACCESS,
    /// lseek(2).
    Whence => file::WHENCE,
    /// Commands of fcntl(2).
    Fcntl => file::FCNTL,
    /// Kinds of a lock in `struct flock`.
    LockType => file::LOCK_TYPE,
    /// Seals of a memfd.
    Seals => file::SEALS,
    /// flock(2).
    FlockOp => file::FLOCK_OP,
    /// close_range(2).
    CloseRange => file::CLOSE_RANGE,
    /// preadv2(2).
    Rwf => file::RWF,
    /// splice(2).
    Splice => file::SPLICE,
    /// renameat2(2).
    Rename => file::RENAME,
    /// fallocate(2).
    Fallocate => file::FALLOCATE,
    /// posix_fadvise(2).
    Fadvise => file::FADVISE,
    /// setxattr(2).
    Xattr => file::XATTR,
    /// Fields of statx(2).
    StatxMask => file::STATX_MASK,
    /// inotify(7).
    Inotify => file::INOTIFY,
    /// eventfd(2).
    Eventfd => file::EVENTFD,
    /// epoll_ctl(2).
    EpollCtl => file::EPOLL_CTL,
    /// Events of epoll(7).
    Epoll => file::EPOLL,
    /// Events of poll(2).
    Poll => file::POLL,
    /// mount(2).
    Mount => file::MOUNT,
    /// umount2(2).
    Umount => file::UMOUNT,
    /// open_tree(2).
    OpenTree => file::OPEN_TREE,
    /// Kinds of file in st_mode.
    FileType => file::FILE_TYPE,
    /// Kinds of file in a directory entry.
    DirentType => file::DIRENT_TYPE,
    /// openat2(2).
    Resolve => file::RESOLVE,
    /// mmap(2), protection.
    Prot => memory::PROT,
    /// mmap(2).
    Map => memory::MAP,
    /// mremap(2).
    Mremap => memory::MREMAP,
    /// msync(2).
    Msync => memory::MSYNC,
    /// madvise(2).
    Madvise => memory::MADVISE,
    /// mlockall(2).
    Mlockall => memory::MLOCKALL,
    /// memfd_create(2).
    Memfd => memory::MEMFD,
    /// membarrier(2).
    Membarrier => memory::MEMBARRIER,
    /// shmget(2), semget(2), msgget(2).
    IpcGet => memory::IPC_GET,
    /// msgrcv(2).
    IpcMsg => memory::IPC_MSG,
    /// shmat(2).
    Shmat => memory::SHMAT,
    /// shmctl(2).
    ShmCtl => memory::SHM_CTL,
    /// semctl(2).
    SemCtl => memory::SEM_CTL,
    /// msgctl(2).
    MsgCtl => memory::MSG_CTL,
    /// Address families.
    Domain => net::DOMAIN,
    /// socket(2).
    SocketType => net::SOCKET_TYPE,
    /// accept4(2).
    SocketFlags => net::SOCKET_FLAGS,
    /// send(2) and recv(2).
    Msg => net::MSG,
    /// shutdown(2).
    Shutdown => net::SHUTDOWN,
    /// Levels of socket options.
    SocketLevel => net::SOCKET_LEVEL,
    /// Options of SOL_SOCKET.
    SocketOption => net::SOCKET_OPTION,
    /// Options of SOL_TCP.
    TcpOption => net::TCP_OPTION,
    /// Options of SOL_IP.
    IpOption => net::IP_OPTION,
    /// Options of SOL_IPV6.
    Ipv6Option => net::IPV6_OPTION,
    /// Options of SOL_NETLINK.
    NetlinkOption => net::NETLINK_OPTION,
    /// clone(2).
    Clone => process::CLONE,
    /// futex(2).
    Futex => process::FUTEX,
    /// futex_wait(2).
    Futex2 => process::FUTEX2,
    /// Bit sets of futex(2).
    FutexBitset => process::FUTEX_BITSET,
    /// wait4(2), waitid(2).
    Wait => process::WAIT,
    /// waitid(2), whom.
    IdType => process::ID_TYPE,
    /// pidfd_open(2).
    Pidfd => process::PIDFD,
    /// prctl(2).
    Prctl => process::PRCTL,
    /// arch_prctl(2).
    ArchPrctl => process::ARCH_PRCTL,
    /// ptrace(2).
    Ptrace => process::PTRACE,
    /// personality(2).
    Personality => process::PERSONALITY,
    /// seccomp(2).
    Seccomp => process::SECCOMP,
    /// Scheduling policies.
    Sched => process::SCHED,
    /// setpriority(2).
    PriorityWhich => process::PRIORITY_WHICH,
    /// Resources of setrlimit(2).
    Rlimit => process::RLIMIT,
    /// getrusage(2).
    RusageWho => process::RUSAGE_WHO,
    /// sigprocmask(2).
    SigHow => process::SIG_HOW,
    /// Flags of sigaction(2).
    Sa => process::SA,
    /// Clocks.
    Clock => process::CLOCK,
    /// timer_settime(2), clock_nanosleep(2).
    Timer => process::TIMER,
    /// timerfd_settime(2).
    Timerfd => process::TIMERFD,
    /// setitimer(2).
    Itimer => process::ITIMER,
    /// getrandom(2).
    Getrandom => process::GETRANDOM,
    /// keyctl(2).
    Keyctl => process::KEYCTL,
    /// Signals below the real-time ones.
    Signal => signal::SIGNAL,
    /// si_code of any signal.
    SiCode => signal::SI_CODE,
    /// si_code of SIGCHLD.
    Cld => signal::CLD,
    /// si_code of SIGSEGV.
    Segv => signal::SEGV,
    /// si_code of SIGBUS.
    Bus => signal::BUS,
    /// si_code of SIGFPE.
    Fpe => signal::FPE,
    /// si_code of SIGILL.
    Ill => signal::ILL,
}

impl FlagSet {
    /// Name of exactly this value, for enumerations.
    pub fn name_of(self, value: u32) -> Option<&'static str> {
        self.names().iter().find(|n| n.value == value).map(|n| n.name)
    }
}
