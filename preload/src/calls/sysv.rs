//! System V shared memory: attached segments are the guest's memory, also on replay.
#![allow(unsafe_code, reason = "maps on behalf of the guest")]

use log_format::arena::{Mode, divergence};
use log_format::record::{Dir, FileId, Kind, flag};
use log_format::table::{BufAt, Row};

use crate::diverge::{self, Difference};
use crate::sys::sys;
use crate::thread::Thread;
use crate::{files, record, replay, token};

/// Most segments attached at once that are followed.
pub const ATTACHED_MAX: usize = 64;
/// Content of a segment is logged when it is attached, up to this size, bytes.
const CONTENT_MAX: u64 = 64 << 20;

/// Attached segments of a process: address and size.
pub type Attached = [(u64, u64); ATTACHED_MAX];

/// shmat: the segment's size is logged as the length of its content.
pub fn attach(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    token::share(t);
    if t.process().mode == Mode::Replay {
        return replay_attach(t, row, args);
    }
    // SAFETY: the guest's own call.
    let ret = unsafe { sys!(libc::SYS_shmat, args[0], args[1], args[2]) };
    let size = if ret < 0 { 0 } else { segment_size(args[0]) };
    if ret >= 0 {
        remember(t, ret as u64, size);
    }
    let count = usize::from(ret >= 0 && size <= CONTENT_MAX);
    if let Some(slot) = t.bufs.first_mut() {
        let flags = log_format::record::BUF_INDIRECT;
        *slot = BufAt { arg: 1, dir: Dir::Out, flags, addr: ret as u64, len: size as u32 };
    }
    record::append(t, Kind::Call, flag::LOCAL, (row.nr, row.args.len()), args, ret, count, &[]);
    ret
}

/// Replay: memory that stands for the segment in all processes is mapped before its content is
/// taken from the log.
fn replay_attach(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let Some((ret, len)) = replay::peek_result(t, row, args) else {
        return replay::call(t, row, args);
    };
    if ret >= 0 {
        const SYSV: u64 = u64::MAX;
        let id = FileId {
            identity: 0,
            dev: SYSV,
            ino: args[0],
            size: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            mode: 0,
            flags: 0,
        };
        let mut name = [0; files::NAME_BYTES];
        let prot = if args[2] & libc::SHM_RDONLY as u64 != 0 { 1 } else { 3 };
        let mapped = files::shared_name(&id, &mut name)
            && super::memory::map_shared_file(&name, ret as u64, len, prot, 0, 0, 0, None) == ret;
        if !mapped {
            let difference = Difference { ret: ret as u64, ..Difference::default() };
            diverge::report(t, divergence::RESULT, row.nr.into(), args, difference);
        }
        remember(t, ret as u64, len);
    }
    replay::call(t, row, args)
}

/// shmdt: unmaps what stands for the segment on replay.
pub fn detach(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let replays = t.process().mode == Mode::Replay;
    let found = t.process().attached.iter_mut().find(|(at, _)| *at == args[0] && *at != 0);
    let size = found.map_or(0, |slot| core::mem::take(slot).1);
    if !replays {
        // SAFETY: the guest's own call.
        let ret = unsafe { sys!(libc::SYS_shmdt, args[0]) };
        record::log(t, Kind::Call, flag::LOCAL, row, args, ret, &[]);
        return ret;
    }
    let ret = replay::call(t, row, args);
    if ret == 0 && size > 0 {
        // SAFETY: the mapping made by `replay_attach`.
        unsafe { sys!(libc::SYS_munmap, args[0], size) };
    }
    ret
}

fn remember(t: &mut Thread, at: u64, size: u64) {
    if let Some(slot) = t.process().attached.iter_mut().find(|(at, _)| *at == 0) {
        *slot = (at, size.next_multiple_of(4096));
    }
}

fn segment_size(id: u64) -> u64 {
    // struct shmid_ds: ipc_perm has 48 bytes, then the size.
    let mut segment = [0u64; 16];
    // SAFETY: shmid_ds has 112 bytes.
    unsafe { sys!(libc::SYS_shmctl, id, libc::IPC_STAT, segment.as_mut_ptr()) };
    segment[6]
}
