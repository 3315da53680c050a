//! Reads of files by a thread that is alone: the most frequent call of most programs, and little
//! of what [`super::call`] attends to concerns it.
#![allow(unsafe_code, reason = "writes a record where the writer has room")]

use log_format::arena::Mode;
use log_format::record::{self, BUF_BYTES, CALL_BYTES, Dir, HEADER_BYTES, Header, Kind};
use log_format::table::Row;

use super::{TRANSFER_MAX, count_step, log};
use crate::fds::What;
use crate::sys::copy_checked;
use crate::thread::Thread;
use crate::trap;

/// Index of the argument that says where to read to.
const BUFFER: u8 = 1;

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
    if ret <= 0 || args[BUFFER as usize] == 0 || !append(t, row, args, ret) {
        log(t, Kind::Call, 0, row, args, ret, &[]);
    }
    Some(ret)
}

/// Appends the record of a read that gave `ret` bytes; false if the writer has no room at hand.
#[inline(always)]
fn append(t: &mut Thread, row: &Row, args: &[u64; 6], ret: i64) -> bool {
    let (p, nargs, got) = (t.process(), row.args.len(), ret as usize);
    let before = HEADER_BYTES + CALL_BYTES + nargs * 8 + BUF_BYTES;
    let len = before + got.next_multiple_of(8);
    let Some(start) = p.writer.place(len) else { return false };
    let header = Header { kind: Kind::Call, flags: 0, thread: t.ordinal as u16, len: len as u32 };
    let [first, second] = record::call_words(row.nr, nargs as u8, 1, ret);
    let buf = record::buf_words(got as u32, BUFFER, Dir::Out, 0, args[BUFFER as usize]);
    // SAFETY: from `start` on `len` bytes are the writer's, and `start` is a multiple of eight:
    // three words, the arguments, two words, and the bytes with what pads them. A fault in the
    // guest's memory is caught.
    unsafe {
        let words = start.cast::<u64>();
        words.cast::<[u64; 3]>().write([header.to_word(), first, second]);
        words.add(3).copy_from_nonoverlapping(args.as_ptr(), nargs.min(args.len()));
        words.add(3 + nargs).cast::<[u64; 2]>().write(buf);
        start.add(len - 8).cast::<u64>().write(0);
        let data = start.add(before);
        if !copy_checked(data, args[BUFFER as usize] as *const u8, got) {
            core::ptr::write_bytes(data, 0, got);
        }
    }
    p.writer.take(len);
    count_step(t);
    true
}
