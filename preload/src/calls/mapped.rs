//! Calls that change a file which processes of the session have mapped shared.
//!
//! The mapping shows what is written to the file. Recording keeps a list of such files over all
//! processes, and notes which one a call has changed, and where; replay changes the file that
//! stands for it.
#![allow(unsafe_code, reason = "looks at descriptors, and writes the replay's own files")]

use core::sync::atomic::Ordering;

use log_format::record::{Kind, MappedWrite, extra, note};
use log_format::table::Row;

use super::vm;
use crate::fds::What;
use crate::files;
use crate::sys::sys;
use crate::thread::Thread;
use crate::{arena, record, token, trap};

/// Recording: the file of a shared mapping that is about to be made is followed from now on. When
/// it was made, nanoseconds since the epoch; 0 if that is not known.
pub fn follow(t: &mut Thread, args: &[u64; 6]) -> u64 {
    const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;
    let [_, _, _, flags, fd, _] = *args;
    if flags & MAP_ANONYMOUS != 0 || !t.process().logging {
        return 0;
    }
    if arena::is_filtered() {
        record::note(t, note::UNSUPPORTED, b"a filtered process maps a file: writes are not seen");
    }
    let Some(file) = regular(fd) else { return 0 };
    for place in &arena::header().mapped_files {
        match place.compare_exchange(0, file.inode, Ordering::AcqRel, Ordering::Acquire) {
            Err(other) if other != file.inode => {}
            _ => return file.born_ns,
        }
    }
    record::note(t, note::UNSUPPORTED, b"too many mapped files: writes to one are not followed");
    file.born_ns
}

/// The followed file behind a descriptor.
pub fn inode_of(fd: u64) -> Option<u64> {
    let all = &arena::header().mapped_files;
    if all.first()?.load(Ordering::Acquire) == 0 {
        return None;
    }
    let inode = regular(fd)?.inode;
    let mut known = all.iter().map(|place| place.load(Ordering::Acquire));
    known.any(|other| other == inode).then_some(inode)
}

/// A regular file.
struct Regular {
    /// [`files::inode`].
    inode: u64,
    born_ns: u64,
    size: u64,
}

/// None where a seccomp filter may forbid to ask.
fn regular(fd: u64) -> Option<Regular> {
    let stat = if arena::is_filtered() { None } else { files::regular(fd) }?;
    let born_ns = files::born_ns(&stat).unwrap_or(0);
    let dev = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let inode = files::inode(dev, stat.stx_ino, born_ns);
    Some(Regular { inode, born_ns, size: stat.stx_size })
}

/// Performs and logs a call that changes a followed file; None: it does not.
pub fn change(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<i64> {
    let changes = matches!(
        i64::from(row.nr),
        libc::SYS_write
            | libc::SYS_writev
            | libc::SYS_pwrite64
            | libc::SYS_pwritev
            | libc::SYS_pwritev2
            | libc::SYS_ftruncate
            | libc::SYS_fallocate
    );
    let is_output = matches!(t.process().fds.get(args[0]), What::Stdout | What::Stderr);
    if !changes || is_output || !t.process().logging {
        return None;
    }
    let inode = inode_of(args[0])?;
    // Those who have mapped it see it from here on.
    token::share(t);
    let ret = trap::interruptible(t, row.nr.into(), args);
    let offset = offset(row, args, ret);
    let mut bytes = [0; size_of::<MappedWrite>()];
    bytes[..8].copy_from_slice(&inode.to_le_bytes());
    bytes[8..].copy_from_slice(&offset.to_le_bytes());
    record::log(t, Kind::Call, 0, row, args, ret, &[(extra::MAPPED, &bytes)]);
    Some(ret)
}

/// Where a write of `ret` bytes began.
fn offset(row: &Row, args: &[u64; 6], ret: i64) -> u64 {
    let fd = args[0];
    // SAFETY: no pointers.
    let position = || unsafe { sys!(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) as u64 };
    let appends = || {
        // SAFETY: as above.
        let flags = unsafe { sys!(libc::SYS_fcntl, fd, libc::F_GETFL) };
        flags >= 0 && flags as i32 & libc::O_APPEND != 0
    };
    let before = |end: u64| end.saturating_sub(ret.max(0) as u64);
    match i64::from(row.nr) {
        libc::SYS_write | libc::SYS_writev => before(position()),
        // pwritev2 with -1 writes at the file's own position.
        libc::SYS_pwritev2 if args[3] == u64::MAX => before(position()),
        // Linux appends, whatever the offset says (pwrite(2), BUGS).
        libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 if appends() => {
            before(regular(fd).map_or(0, |file| file.size))
        }
        libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 => args[3],
        _ => 0,
    }
}

/// Replay: changes the file that stands for it, if one does: until it is mapped, what is kept of
/// it will have the change.
pub fn change_again(row: &Row, args: &[u64; 6], ret: i64, change: &MappedWrite) {
    const ZEROES: u64 = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) as u64;
    let mut name = [0; files::NAME_BYTES];
    if ret < 0 || !files::shared_name(change.inode, &mut name) {
        return;
    }
    // SAFETY: a NUL-terminated name of ours; the descriptor is closed.
    unsafe {
        let file = sys!(libc::SYS_open, name.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if file < 0 {
            return;
        }
        match i64::from(row.nr) {
            libc::SYS_ftruncate => {
                // It stays as long as its mappings, which end with zeros.
                let size = sys!(libc::SYS_lseek, file, 0, libc::SEEK_END) as u64;
                if args[1] < size {
                    sys!(libc::SYS_ftruncate, file, args[1]);
                    sys!(libc::SYS_ftruncate, file, size);
                }
            }
            libc::SYS_fallocate if args[1] & ZEROES != 0 => {
                let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                sys!(libc::SYS_fallocate, file, hole, args[2], args[3]);
            }
            libc::SYS_fallocate => {}
            _ => {
                vm::write_buffers(file, row, args, ret, change.offset);
            }
        }
        sys!(libc::SYS_close, file);
    }
}
