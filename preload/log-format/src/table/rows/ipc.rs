//! System V and POSIX inter-process communication.

use crate::table::Row;
use crate::table::flags::FlagSet;
use crate::table::types::{By, Len::*, Shape::*, Ty, Ty::*};

const IPC_RMID: u32 = 0;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;

/// glibc may pass IPC_64, which x86-64 ignores.
const COMMAND: u32 = !0x100;

const SHMCTL_BUF: Ty = Ty::By(&By {
    of: 1,
    mask: COMMAND,
    cases: &[
        (IPC_RMID, Unused),
        (IPC_SET, InLoose(Fixed(112), Opaque)),
        (IPC_STAT, Out(Fixed(112), Opaque)),
        (IPC_INFO, Out(Fixed(72), Opaque)),
        (11, Unused),                  // SHM_LOCK
        (12, Unused),                  // SHM_UNLOCK
        (13, Out(Fixed(112), Opaque)), // SHM_STAT
        (14, Out(Fixed(48), Opaque)),  // SHM_INFO
        (15, Out(Fixed(112), Opaque)), // SHM_STAT_ANY
    ],
    other: Addr,
});

const MSGCTL_BUF: Ty = Ty::By(&By {
    of: 1,
    mask: COMMAND,
    cases: &[
        (IPC_RMID, Unused),
        (IPC_SET, InLoose(Fixed(120), Opaque)),
        (IPC_STAT, Out(Fixed(120), Opaque)),
        (IPC_INFO, Out(Fixed(32), Opaque)),
        (11, Out(Fixed(120), Opaque)), // MSG_STAT
        (12, Out(Fixed(32), Opaque)),  // MSG_INFO
        (13, Out(Fixed(120), Opaque)), // MSG_STAT_ANY
    ],
    other: Addr,
});

/// The semaphores of a set are not counted in the call: so many of them are logged (GETALL).
const SEMAPHORES_MAX: u32 = 64;

const SEMCTL_ARG: Ty = Ty::By(&By {
    of: 2,
    mask: COMMAND,
    cases: &[
        (IPC_RMID, Unused),
        (IPC_SET, InLoose(Fixed(104), Opaque)),
        (IPC_STAT, Out(Fixed(104), Opaque)),
        (IPC_INFO, Out(Fixed(40), Opaque)),
        (11, Unused),                                 // GETPID
        (12, Unused),                                 // GETVAL
        (13, Out(Fixed(SEMAPHORES_MAX * 2), Opaque)), // GETALL
        (14, Unused),                                 // GETNCNT
        (15, Unused),                                 // GETZCNT
        (16, Int),                                    // SETVAL
        (17, Addr),                                   // SETALL
        (18, Out(Fixed(104), Opaque)),                // SEM_STAT
        (19, Out(Fixed(40), Opaque)),                 // SEM_INFO
        (20, Out(Fixed(104), Opaque)),                // SEM_STAT_ANY
    ],
    other: Addr,
});

/// mq_open's mode and attributes count only when a queue may be created.
const MQ_MODE: Ty = Ty::By(&By { of: 1, mask: 0o100, cases: &[(0, Unused)], other: Mode });
const MQ_ATTR: Ty =
    Ty::By(&By { of: 1, mask: 0o100, cases: &[(0, Unused)], other: InLoose(Fixed(64), I64) });

pub(super) const ROWS: &[Row] = rows! {
    29 shmget: Recorded (key: Int, size: Ulong, shmflg: Flags(FlagSet::IpcGet)) -> Int;
    // A mapping: the memory has to be there on replay.
    30 shmat: Own (shmid: Int, shmaddr: Addr, shmflg: Flags(FlagSet::Shmat)) -> Addr;
    67 shmdt: Own (shmaddr: Addr) -> Int;
    31 shmctl: Recorded (shmid: Int, op: Flags(FlagSet::ShmCtl), buf: SHMCTL_BUF) -> Int;
    64 semget: Recorded (key: Int, nsems: Int, semflg: Flags(FlagSet::IpcGet)) -> Int;
    65 semop: Blocking (semid: Int, sops: In(ArgTimes(2, 6), Opaque), nsops: Ulong) -> Int;
    220 semtimedop: Blocking (semid: Int, sops: In(ArgTimes(2, 6), Opaque), nsops: Ulong,
        timeout: In(Fixed(16), Timespec)) -> Int;
    66 semctl: Recorded (semid: Int, semnum: Int, op: Flags(FlagSet::SemCtl), arg: SEMCTL_ARG)
        -> Int;
    68 msgget: Recorded (key: Int, msgflg: Flags(FlagSet::IpcGet)) -> Int;
    69 msgsnd: Blocking (msqid: Int, msgp: In(ArgPlus(2, 8), Bytes), msgsz: Ulong,
        msgflg: Flags(FlagSet::IpcMsg)) -> Int;
    70 msgrcv: Blocking (msqid: Int, msgp: Out(RetPlus(8), Bytes), msgsz: Ulong, msgtyp: Long,
        msgflg: Flags(FlagSet::IpcMsg)) -> Int;
    71 msgctl: Recorded (msqid: Int, op: Flags(FlagSet::MsgCtl), buf: MSGCTL_BUF) -> Int;

    240 mq_open: Recorded (name: Path, oflag: Flags(FlagSet::Open), mode: MQ_MODE, attr: MQ_ATTR)
        -> Fd;
    241 mq_unlink: Recorded (name: Path) -> Int;
    242 mq_timedsend: Blocking (mqdes: Fd, msg_ptr: In(Arg(2), Bytes), msg_len: Ulong,
        msg_prio: Uint, abs_timeout: In(Fixed(16), Timespec)) -> Int;
    243 mq_timedreceive: Blocking (mqdes: Fd, msg_ptr: Out(Ret, Bytes), msg_len: Ulong,
        msg_prio: Out(Fixed(4), I32), abs_timeout: In(Fixed(16), Timespec)) -> Int;
    244 mq_notify: Recorded (mqdes: Fd, sevp: InLoose(Fixed(64), Opaque)) -> Int;
    245 mq_getsetattr: Recorded (mqdes: Fd, newattr: InLoose(Fixed(64), I64),
        oldattr: Out(Fixed(64), I64)) -> Int;
};
