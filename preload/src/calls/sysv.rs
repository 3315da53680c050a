//! System V shared memory: attached segments are the guest's memory, also on replay.
#![allow(unsafe_code, reason = "maps on behalf of the guest")]

use log_format::arena::{Mode, divergence};
use log_format::record::{Dir, Kind, extra, flag, note};
use log_format::table::{BufAt, Row};

use crate::diverge::{self, Difference};
use crate::files::Reach;
use crate::sys::sys;
use crate::thread::Thread;
use crate::{arena, files, record, replay, token, watchdog};

/// Most segments attached at once that are followed.
pub const ATTACHED_MAX: usize = 64;
/// Most content of a segment that is logged when it is attached, bytes: one record holds it.
const CONTENT_MAX: u64 = 1 << 30;
/// Parts in which a segment's content is looked at.
const PARTS_MAX: u64 = 1000;
const PAGE: u64 = 4096;

/// Attached segments of a process: address and size.
pub type Attached = [(u64, u64); ATTACHED_MAX];

/// shmat: the segment's size is logged, and then what it holds.
pub fn attach(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    if t.process().mode == Mode::Replay {
        return replay_attach(t, row, args);
    }
    token::share(t);
    // SAFETY: the guest's own call.
    let ret = unsafe { sys!(libc::SYS_shmat, args[0], args[1], args[2]) };
    if !t.process().logging {
        return ret;
    }
    let segment = if ret < 0 { Segment::default() } else { segment(args[0]) };
    let mut count = 0;
    if ret >= 0 {
        remember(t, ret as u64, segment.size);
        if let Some(slot) = t.bufs.first_mut() {
            let addr = &raw const segment.size as u64;
            *slot = BufAt { arg: extra::SEGMENT, dir: Dir::Extra, flags: 0, addr, len: 8 };
        }
        count = 1 + content(t, ret as u64, segment.size);
        if segment.is_reached_from_outside() {
            record::note(t, note::SHARED_MEMORY, b"a System V segment");
        }
    }
    record::append(t, Kind::Call, flag::LOCAL, (row.nr, row.args.len()), args, ret, count, &[]);
    ret
}

/// Puts those parts of a segment into `t.bufs`, from the second on, that hold something: how many.
fn content(t: &mut Thread, at: u64, size: u64) -> usize {
    let part = size.div_ceil(PARTS_MAX).next_multiple_of(PAGE);
    let (mut count, mut total, mut from) = (0, 0, 0);
    let mut left_out = false;
    while from < size {
        let len = part.min(size - from);
        if let Some((addr, used)) = touched(at + from, len) {
            left_out |= total + used > CONTENT_MAX;
            if let Some(slot) = t.bufs.get_mut(1 + count).filter(|_| !left_out) {
                let flags = log_format::record::BUF_INDIRECT;
                *slot = BufAt { arg: 1, dir: Dir::Out, flags, addr, len: used as u32 };
                count += 1;
                total += used;
            }
        }
        from += len;
    }
    if left_out {
        record::note(t, note::UNSUPPORTED, b"a segment with more content than 1 GiB");
    }
    count
}

/// Address and length of what lies between the first and the last used page in a part of a
/// segment; None if no page has ever been used: to read such a page would make it.
fn touched(at: u64, len: u64) -> Option<(u64, u64)> {
    const PAGES_MAX: u64 = 256;
    let mut pages = [0u8; PAGES_MAX as usize];
    let end = at + len;
    let mut found: Option<(u64, u64)> = None;
    let mut from = at;
    while from < end {
        let part = (end - from).min(PAGES_MAX * PAGE);
        // SAFETY: one byte for each page of the part.
        if unsafe { sys!(libc::SYS_mincore, from, part, pages.as_mut_ptr()) } != 0 {
            return Some((at, len));
        }
        let used = pages.iter().take(part.div_ceil(PAGE) as usize).map(|page| page & 1 != 0);
        let places = (from..end).step_by(PAGE as usize);
        for page in places.zip(used).filter_map(|(page, used)| used.then_some(page)) {
            let first = found.map_or(page, |(first, _)| first);
            found = Some((first, (page + PAGE).min(end)));
        }
        from += part;
    }
    found.map(|(first, behind)| (first, behind - first))
}

/// Replay: memory that stands for the segment in all processes is mapped before its content is
/// taken from the log.
fn replay_attach(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let Some((ret, len)) = replay::peek_segment(t, row, args) else {
        return replay::call(t, row, args);
    };
    if ret >= 0 {
        const SYSV: u64 = u64::MAX;
        let mut name = [0; files::NAME_BYTES];
        let prot = if args[2] & libc::SHM_RDONLY as u64 != 0 { 1 } else { 3 };
        let mapped = files::shared_name(files::inode(SYSV, args[0], 0), &mut name)
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

/// What the kernel knows of a segment.
#[derive(Default)]
struct Segment {
    size: u64,
    /// When it was made, seconds since the epoch.
    made_s: u64,
    maker: i32,
}

impl Segment {
    /// True if a process outside of the session may have it attached.
    fn is_reached_from_outside(&self) -> bool {
        let ours = arena::entry_of(self.maker).is_some() || watchdog::is_dead(self.maker);
        Reach::of_segment(self.made_s).outside || !ours
    }
}

fn segment(id: u64) -> Segment {
    // struct shmid_ds: ipc_perm has 48 bytes, then size, times of attach, detach and change, and
    // the maker's pid.
    let mut segment = [0u64; 16];
    // SAFETY: shmid_ds has 112 bytes.
    unsafe { sys!(libc::SYS_shmctl, id, libc::IPC_STAT, segment.as_mut_ptr()) };
    Segment { size: segment[6], made_s: segment[9], maker: segment[10] as i32 }
}
