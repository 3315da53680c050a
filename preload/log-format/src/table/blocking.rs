//! Which calls of a kind that may block can't, given their arguments.

use super::{Class, Row};

/// Numbers of the calls whose arguments decide.
pub(super) mod nr {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const OPEN: u16 = 2;
    pub(crate) const CLOSE: u16 = 3;
    pub(crate) const POLL: u16 = 7;
    pub(crate) const READV: u16 = 19;
    pub(crate) const WRITEV: u16 = 20;
    pub(crate) const SENDFILE: u16 = 40;
    pub(crate) const CONNECT: u16 = 42;
    pub(crate) const ACCEPT: u16 = 43;
    pub(crate) const SENDTO: u16 = 44;
    pub(crate) const RECVFROM: u16 = 45;
    pub(crate) const SENDMSG: u16 = 46;
    pub(crate) const RECVMSG: u16 = 47;
    pub(crate) const SHUTDOWN: u16 = 48;
    pub(crate) const WAIT4: u16 = 61;
    pub(crate) const MSGSND: u16 = 69;
    pub(crate) const MSGRCV: u16 = 70;
    pub(crate) const FCNTL: u16 = 72;
    pub(crate) const FLOCK: u16 = 73;
    pub(crate) const FUTEX: u16 = 202;
    pub(crate) const EPOLL_WAIT: u16 = 232;
    pub(crate) const WAITID: u16 = 247;
    pub(crate) const OPENAT: u16 = 257;
    pub(crate) const SPLICE: u16 = 275;
    pub(crate) const EPOLL_PWAIT: u16 = 281;
    pub(crate) const ACCEPT4: u16 = 288;
    pub(crate) const RECVMMSG: u16 = 299;
    pub(crate) const SENDMMSG: u16 = 307;
}

const O_NONBLOCK: u64 = 0o4000;
const IPC_NOWAIT: u64 = 0o4000;
const MSG_DONTWAIT: u64 = 0x40;
const WNOHANG: u64 = 1;
const LOCK_NB: u64 = 4;
const F_SETLKW: u32 = 7;
const F_OFD_SETLKW: u32 = 38;
/// Operation of a futex call without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
const FUTEX_COMMAND: u32 = 0x7f;
const FUTEX_WAIT: u32 = 0;
const FUTEX_LOCK_PI: u32 = 6;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAIT_REQUEUE_PI: u32 = 11;
const FUTEX_LOCK_PI2: u32 = 13;

impl Row {
    /// What is done with a call that has these arguments: [`Row::class`], but `Recorded` for one
    /// of a blocking kind that returns at once (futex wakes, polls with no timeout, F_GETFL ...).
    ///
    /// Recorder and replayer must both ask here, for the answer decides whether the log holds a
    /// yield before the call.
    pub fn class_of(&self, args: &[u64; 6]) -> Class {
        let [_, a1, a2, a3, a4, _] = *args;
        if self.class != Class::Blocking {
            return self.class;
        }
        let blocks = match self.nr {
            nr::FCNTL => matches!(a1 as u32, F_SETLKW | F_OFD_SETLKW),
            nr::FUTEX => matches!(
                a1 as u32 & FUTEX_COMMAND,
                FUTEX_WAIT
                    | FUTEX_LOCK_PI
                    | FUTEX_WAIT_BITSET
                    | FUTEX_WAIT_REQUEUE_PI
                    | FUTEX_LOCK_PI2
            ),
            nr::POLL => a2 as i32 != 0,
            nr::EPOLL_WAIT | nr::EPOLL_PWAIT => a3 as i32 != 0,
            nr::SENDTO | nr::RECVFROM | nr::SENDMMSG | nr::RECVMMSG => a3 & MSG_DONTWAIT == 0,
            nr::SENDMSG | nr::RECVMSG => a2 & MSG_DONTWAIT == 0,
            nr::WAIT4 => a2 & WNOHANG == 0,
            nr::WAITID => a3 & WNOHANG == 0,
            nr::MSGSND => a3 & IPC_NOWAIT == 0,
            nr::MSGRCV => a4 & IPC_NOWAIT == 0,
            nr::FLOCK => a1 & LOCK_NB == 0,
            nr::OPEN => a1 & O_NONBLOCK == 0,
            nr::OPENAT => a2 & O_NONBLOCK == 0,
            _ => true,
        };
        if blocks { Class::Blocking } else { Class::Recorded }
    }

    /// Index of the descriptor argument of a call that moves bytes or opens or ends a connection,
    /// whose records carry the time ([`crate::record::extra::TIME`]) unless the descriptor is a
    /// file that was opened by its name.
    pub fn timed_fd(&self) -> Option<usize> {
        match self.nr {
            nr::SPLICE => Some(2),
            nr::READ
            | nr::WRITE
            | nr::CLOSE
            | nr::READV
            | nr::WRITEV
            | nr::SENDFILE
            | nr::CONNECT
            | nr::ACCEPT
            | nr::ACCEPT4
            | nr::SHUTDOWN
            | nr::SENDTO
            | nr::RECVFROM
            | nr::SENDMSG
            | nr::RECVMSG
            | nr::SENDMMSG
            | nr::RECVMMSG => Some(0),
            _ => None,
        }
    }
}
