//! Calls that write the memory of a process: process_vm_writev, and writes to `/proc/<pid>/mem`.
//!
//! Recording notes whose memory it was. Replay writes it again, once that process has come as far
//! as it had then; a process that was written by another takes part in the shared token, so that
//! it goes on after that.
#![allow(unsafe_code, reason = "writes memory on behalf of the guest")]

use core::sync::atomic::Ordering;

use log_format::arena::{ProcEntry, child_key, divergence, proc_state};
use log_format::record::{Kind, Written, extra, note};
use log_format::table::{Memory, Row};

use crate::diverge::{self, Difference};
use crate::fds::What;
use crate::files;
use crate::sys::{Guest, sys};
use crate::thread::Thread;
use crate::{arena, record, token, trap, watchdog};

/// How often a replay looks whether the other process is there, milliseconds.
const WAIT_MS: u64 = 5;
/// After so many looks for a process of which nothing is known, it is taken to have ended.
const LOOKS_MAX: u32 = 6_000;

/// Performs and logs a call that writes the memory of a process of the session; None: it is none.
pub fn write(t: &mut Thread, row: &Row, args: &[u64; 6]) -> Option<i64> {
    let pid = match i64::from(row.nr) {
        libc::SYS_process_vm_writev => args[0] as i32,
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwrite64
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
            if t.process().fds.get(args[0]) == What::Memory =>
        {
            process_behind(args[0])?
        }
        _ => return None,
    };
    if !t.process().logging {
        return None;
    }
    let entry = entry_of(t, pid)?;
    if entry.key.load(Ordering::Relaxed) != t.process().entry().key.load(Ordering::Relaxed) {
        token::share(t);
        entry.written.store(entry.image_tag(), Ordering::Release);
        if watchdog::state(pid) == Some(b'R') {
            record::note(t, note::SHARED_MEMORY, b"memory of a process that ran was written");
        }
    }
    let before = position(row, args);
    let ret = trap::interruptible(t, row.nr.into(), args);
    let words = [entry.key.load(Ordering::Relaxed), entry.steps.load(Ordering::Acquire), before];
    let mut bytes = [0; size_of::<Written>()];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    record::log(t, Kind::Call, 0, row, args, ret, &[(extra::WRITTEN, &bytes)]);
    Some(ret)
}

/// Where a write begins; 0 for process_vm_writev, whose argument tells.
fn position(row: &Row, args: &[u64; 6]) -> u64 {
    match i64::from(row.nr) {
        libc::SYS_process_vm_writev => 0,
        libc::SYS_write | libc::SYS_writev => {
            // SAFETY: no pointer.
            unsafe { sys!(libc::SYS_lseek, args[0], 0, libc::SEEK_CUR) as u64 }
        }
        // pwritev2 with -1 writes at the file's own position.
        libc::SYS_pwritev2 if args[3] == u64::MAX => {
            // SAFETY: no pointer.
            unsafe { sys!(libc::SYS_lseek, args[0], 0, libc::SEEK_CUR) as u64 }
        }
        _ => args[3],
    }
}

/// The entry of the process that has a thread with this id.
fn entry_of(t: &Thread, pid: i32) -> Option<&'static ProcEntry> {
    let own = t.process();
    if pid == own.real_pid || is_own_thread(pid) {
        return Some(own.entry());
    }
    arena::entry_of(pid)
}

fn is_own_thread(tid: i32) -> bool {
    // SAFETY: signal 0 is none; a thread of another process is not found so.
    tid > 0 && unsafe { sys!(libc::SYS_tgkill, sys!(libc::SYS_getpid), tid, 0) } == 0
}

/// Replay: writes the memory again.
pub fn write_again(t: &mut Thread, row: &Row, args: &[u64; 6], ret: i64, written: &Written) {
    if ret <= 0 {
        return;
    }
    let p = t.process();
    let pid = if written.key == p.entry().key.load(Ordering::Relaxed) {
        p.real_pid
    } else if let Some(pid) = wait_for(written) {
        pid
    } else {
        return;
    };
    let done = if i64::from(row.nr) == libc::SYS_process_vm_writev {
        let [_, local, local_count, remote, remote_count, flags] = *args;
        // SAFETY: the guest's own call, for the process that has the recorded one's place.
        unsafe { sys!(row.nr, pid, local, local_count, remote, remote_count, flags) }
    } else {
        write_file(row, args, ret, pid, written.addr)
    };
    // Nobody sees what a process holds that has ended.
    if done != ret && (pid == p.real_pid || !watchdog::is_dead(pid)) {
        let difference = Difference { ret: done as u64, ..Difference::default() };
        diverge::report(t, divergence::RESULT, row.nr.into(), args, difference);
    }
}

/// Waits until a process has come as far as it had in the recording; its pid, or None if it has
/// ended.
fn wait_for(written: &Written) -> Option<i32> {
    let mut looks = 0;
    loop {
        // Asked first: what had started by then has an entry now, unless it has ended.
        let started = has_started(written.key);
        let entry = arena::entries().find(|e| e.key.load(Ordering::Acquire) == written.key);
        match entry.map(|entry| (entry, entry.state.load(Ordering::Acquire))) {
            Some((entry, proc_state::LIVE))
                if entry.steps.load(Ordering::Acquire) >= written.steps =>
            {
                return Some(entry.pid.load(Ordering::Acquire));
            }
            Some((_, proc_state::EXITED)) => return None,
            Some(_) => {}
            None if started || looks == LOOKS_MAX => return None,
            None => looks += 1,
        }
        let pause = [0, WAIT_MS * 1_000_000];
        // SAFETY: own buffer.
        unsafe { sys!(libc::SYS_nanosleep, pause.as_ptr(), 0) };
        if !arena::host_lives() {
            crate::sys::die(1);
        }
    }
}

/// True if the process has been created for sure: a child, or the parent, of one that has an entry.
fn has_started(key: u64) -> bool {
    arena::entries().any(|entry| {
        let own = entry.key.load(Ordering::Acquire);
        let children = entry.children.load(Ordering::Acquire);
        own != 0
            && (entry.parent_key.load(Ordering::Acquire) == key
                || (1..=children).any(|ordinal| child_key(own, ordinal) == key))
    })
}

/// Writes `len` bytes of the call's buffers to a process's memory at `addr`, as the kernel does it
/// for this file: also where the pages are not writable. How many, or a negative errno.
fn write_file(row: &Row, args: &[u64; 6], len: i64, pid: i32, addr: u64) -> i64 {
    let mut name = [0; watchdog::PROC_PATH_BYTES];
    watchdog::proc_path(pid, b"/mem", &mut name);
    // SAFETY: a NUL-terminated name of ours; the descriptor is closed.
    unsafe {
        let file = sys!(libc::SYS_open, name.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return file;
        }
        let done = write_buffers(file, row, args, len, addr);
        sys!(libc::SYS_close, file);
        done
    }
}

/// Writes the first `len` bytes of a write's buffers to `file` at `offset`; how many.
pub fn write_buffers(file: i64, row: &Row, args: &[u64; 6], len: i64, mut offset: u64) -> i64 {
    let one = matches!(i64::from(row.nr), libc::SYS_write | libc::SYS_pwrite64);
    let count = if one { 1 } else { args[2] };
    let mut left = len as u64;
    // SAFETY: the caller's descriptor; the kernel bears unreadable buffers.
    unsafe {
        for i in 0..count {
            let at = args[1] + i * 16;
            let (base, size) = if one {
                (args[1], left)
            } else {
                (Guest.u64(at).unwrap_or(0), Guest.u64(at + 8).unwrap_or(0).min(left))
            };
            if size == 0 {
                continue;
            }
            let n = sys!(libc::SYS_pwrite64, file, base, size, offset);
            if n <= 0 {
                break;
            }
            left -= n as u64;
            offset += n as u64;
        }
    }
    len - left as i64
}

/// The process whose memory the file `fd` is, which was opened as `path`.
pub fn process_of(path: u64, fd: u64) -> Option<i32> {
    // Only a few names are looked at closer.
    const ENDING: &[u8] = b"mem";
    let len = Guest.string_len(path, files::PATH_BYTES as u32)? as usize;
    let mut ending = [0; ENDING.len()];
    let at = path + len.checked_sub(ENDING.len())? as u64;
    if !Guest.read(at, &mut ending) || ending != ENDING {
        return None;
    }
    process_behind(fd)
}

/// The process whose memory the file `fd` is.
fn process_behind(fd: u64) -> Option<i32> {
    let mut link = [0u8; 32];
    files::proc_fd(fd, &mut link);
    let mut path = [0u8; 64];
    // SAFETY: a NUL-terminated name and a buffer of ours.
    let n = unsafe { sys!(libc::SYS_readlink, link.as_ptr(), path.as_mut_ptr(), path.len()) };
    // "/proc/<pid>/mem" or "/proc/<pid>/task/<tid>/mem".
    let rest = path.get(..n.max(0) as usize)?.strip_prefix(b"/proc/")?.strip_suffix(b"/mem")?;
    let digits = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let number = rest.get(..digits)?.iter().try_fold(0i32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit as i32)
    })?;
    (number > 0).then_some(number)
}
