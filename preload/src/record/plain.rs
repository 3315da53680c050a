//! Reads of files by a thread that is alone: the most frequent call of most programs, and little
//! of what [`super::call`] attends to concerns it.

use log_format::arena::Mode;
use log_format::record::{Dir, Kind};
use log_format::table::{BufAt, Row};

use super::{TRANSFER_MAX, append, log};
use crate::fds::What;
use crate::thread::Thread;
use crate::trap;

/// Performs and logs a read, if it is one that needs nothing else.
#[inline(always)]
pub fn read(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<i64> {
    let p = t.process();
    let is_plain = matches!(i64::from(row.nr), libc::SYS_read | libc::SYS_pread64)
        && p.mode == Mode::Record
        && p.fds.get(args[0]) == What::File
        && p.threads == 1
        && !p.shares()
        && p.logging;
    if !is_plain {
        return None;
    }
    let mut real = *args;
    real[2] = real[2].min(TRANSFER_MAX);
    let ret = trap::interruptible(t, row.nr.into(), &real);
    match t.bufs.first_mut() {
        // The one buffer that the table would find.
        Some(buf) if ret > 0 && args[1] != 0 => {
            *buf = BufAt { arg: 1, dir: Dir::Out, flags: 0, addr: args[1], len: ret as u32 };
            append(t, Kind::Call, 0, (row.nr, row.args.len()), args, ret, 1, &[]);
        }
        _ => log(t, Kind::Call, 0, row, args, ret, &[]),
    }
    Some(ret)
}
