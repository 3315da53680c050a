//! Memory calls: performed in both modes, with the same addresses.
#![allow(unsafe_code, reason = "maps on behalf of the guest")]

use log_format::arena::{Mode, divergence};
use log_format::record::{Kind, extra, flag, note};
use log_format::table::Row;

use crate::calls::mapped;
use crate::diverge::{self, Difference};
use crate::files::{self, Reach, kept};
use crate::sys::{complain, die, sys};
use crate::thread::Thread;
use crate::{record, replay, token};

const MAP_TYPE: u64 = libc::MAP_TYPE as u64;
const MAP_SHARED: u64 = libc::MAP_SHARED as u64;
const MAP_PRIVATE: u64 = libc::MAP_PRIVATE as u64;
const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;
const MAP_FIXED: u64 = libc::MAP_FIXED as u64;
const MAP_FIXED_NOREPLACE: u64 = libc::MAP_FIXED_NOREPLACE as u64;
const PROT_WRITE: u64 = libc::PROT_WRITE as u64;

/// Replay of a call of class Local: performed; addresses must come out as recorded.
pub fn replay_local(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let (recorded, _) = replay::expect_call(t, row, args);
    if recorded < 0 {
        return recorded;
    }
    // SAFETY: the guest's own memory call.
    let ret = unsafe { sys!(row.nr, args[0], args[1], args[2], args[3], args[4], args[5]) };
    let gives_address = matches!(i64::from(row.nr), libc::SYS_brk | libc::SYS_mremap);
    if gives_address && ret != recorded {
        let difference = Difference { ret: ret as u64, ..Difference::default() };
        diverge::report(t, divergence::RESULT, row.nr.into(), args, difference);
    }
    recorded
}

/// mmap: anonymous memory as it is; files with their identity.
pub fn mmap(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    if t.process().mode == Mode::Replay {
        return replay_mmap(t, row, args);
    }
    let reach = if args[3] & MAP_TYPE == MAP_PRIVATE { Reach::NOBODY } else { reach(args) };
    let mut born_ns = 0;
    if reach.tree {
        token::share(t);
        born_ns = mapped::follow(t, args);
    }
    // SAFETY: the guest's own mapping.
    let ret = unsafe { sys!(libc::SYS_mmap, args[0], args[1], args[2], args[3], args[4], args[5]) };
    let [_, _, _, flags, fd, _] = *args;
    if ret < 0 || flags & MAP_ANONYMOUS != 0 || !t.process().logging {
        record::log(t, Kind::Call, flag::LOCAL, row, args, ret, &[]);
        return ret;
    }
    let file = &mut t.process().last_mapped;
    let fresh = files::identify_again(fd, if reach.tree { kept::SHARED } else { 0 }, file);
    if args[2] & libc::PROT_EXEC as u64 != 0 {
        crate::code::watch(t, file.path(), file.id.size, ret as u64, args);
    }
    let born = born_ns.to_le_bytes();
    let extras = [(extra::FILE, file.bytes()), (extra::BORN, &born[..])];
    let used = if file.bytes().is_empty() { 0 } else { 1 + usize::from(reach.tree) };
    if reach.outside {
        record::note(t, note::SHARED_MEMORY, file.path());
    }
    record::log(t, Kind::Call, flag::LOCAL, row, args, ret, extras.get(..used).unwrap_or(&[]));
    if fresh {
        files::note_if_not_kept(t, file.bytes());
    }
    ret
}

/// Who can change the memory of a shared mapping.
fn reach(args: &[u64; 6]) -> Reach {
    let [_, _, prot, flags, fd, _] = *args;
    if flags & MAP_ANONYMOUS != 0 {
        // A child may make it writable.
        Reach { tree: true, outside: false }
    } else {
        Reach::of_file(fd, prot & PROT_WRITE != 0)
    }
}

fn replay_mmap(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let (recorded, extras) = replay::expect_call(t, row, args);
    if recorded < 0 {
        return recorded;
    }
    let [_, len, prot, flags, _, offset] = *args;
    // Where it was: other mappings are as recorded, so the place is free.
    let place = if flags & MAP_FIXED != 0 { MAP_FIXED } else { MAP_FIXED_NOREPLACE };
    let other = flags & !(MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE);
    let at = recorded as u64;
    let ret = if flags & MAP_ANONYMOUS != 0 {
        let kind = flags & MAP_TYPE;
        // SAFETY: the guest's mapping at its recorded place.
        unsafe { sys!(libc::SYS_mmap, at, len, prot, other | kind | place, -1, 0) }
    } else if let Some((id, _)) = extras.file {
        let fd = files::open_recorded(&extras, &t.scratch);
        if fd < 0 {
            let difference = Difference { arg: 4, ..Difference::default() };
            diverge::report(t, divergence::FILE, row.nr.into(), args, difference);
        }
        // SAFETY: as above; the file's copy is mapped privately: replay changes no file.
        let ret = unsafe {
            let end = (offset + len).next_multiple_of(4096);
            let shared = flags & MAP_TYPE != MAP_PRIVATE;
            let inode = files::inode(id.dev, id.ino, extras.born_ns);
            if id.flags & kept::SHARED != 0 || shared && files::has_stand_in(inode) {
                shared_copy(at, len, prot, place, fd, offset, (inode, id.size))
            } else if end > id.size.next_multiple_of(4096) {
                anonymous_copy(at, len, prot, place, fd, offset)
            } else {
                let flags = other & !MAP_SHARED | MAP_PRIVATE | place;
                sys!(libc::SYS_mmap, at, len, prot, flags, fd, offset)
            }
        };
        // SAFETY: opened above.
        unsafe { sys!(libc::SYS_close, fd) };
        ret
    } else {
        // A device: what it held is not known; most (/dev/zero) are as empty memory.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | place;
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_mmap, at, len, prot, flags, -1, 0) }
    };
    if ret != recorded {
        let difference = Difference { ret: ret as u64, ..Difference::default() };
        diverge::report(t, divergence::RESULT, row.nr.into(), args, difference);
    }
    if let Some((id, path_len)) = extras.file
        && prot & libc::PROT_EXEC as u64 != 0
    {
        let mut path = [0; files::PATH_BYTES];
        let len = path_len.min(path.len());
        path[..len].copy_from_slice(&t.scratch[..len]);
        crate::code::watch(t, &path[..len], id.size, at, args);
    }
    ret
}

/// A mapping whose file may have grown after it was copied: memory with the copy's content.
unsafe fn anonymous_copy(at: u64, len: u64, prot: u64, place: u64, fd: i64, offset: u64) -> i64 {
    // SAFETY: the caller's place is free or to be replaced.
    unsafe {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | place;
        let ret = sys!(libc::SYS_mmap, at, len, prot | PROT_WRITE, flags, -1, 0);
        if ret < 0 {
            return ret;
        }
        let mut done = 0;
        while done < len {
            let n = sys!(libc::SYS_pread64, fd, at + done, len - done, offset + done);
            if n < 0 {
                complain(&[b"rr-run: failed to read a mapped file's copy\n"]);
                die(125);
            }
            if n == 0 {
                break;
            }
            done += n as u64;
        }
        if prot & PROT_WRITE == 0 {
            sys!(libc::SYS_mprotect, at, len, prot);
        }
        ret
    }
}

/// A writable shared mapping: of a file of the replay's own, which stands for the recorded inode
/// in all of its processes and begins with the copy's content.
fn shared_copy(
    at: u64,
    len: u64,
    prot: u64,
    place: u64,
    fd: i64,
    offset: u64,
    (inode, size): (u64, u64),
) -> i64 {
    let mut name = [0; files::NAME_BYTES];
    if !files::shared_name(inode, &mut name) {
        return -i64::from(libc::ENOENT);
    }
    map_shared_file(&name, at, len, prot, place, offset, size, Some(fd))
}

/// Maps the replay's own file `name` shared at `at`; a new one begins with the first `size`
/// bytes of `content`.
#[expect(clippy::too_many_arguments, reason = "the parts of one mapping")]
pub fn map_shared_file(
    name: &[u8; files::NAME_BYTES],
    at: u64,
    len: u64,
    prot: u64,
    place: u64,
    offset: u64,
    size: u64,
    content: Option<i64>,
) -> i64 {
    let end = (offset + len).next_multiple_of(4096);
    let place = if place == 0 { MAP_FIXED_NOREPLACE } else { place };
    // SAFETY: a NUL-terminated name of ours; the caller's place is free or to be replaced. The
    // shared token keeps other processes of the replay out.
    unsafe {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC;
        let file = sys!(libc::SYS_open, name.as_ptr(), flags, 0o600);
        if file < 0 {
            return file;
        }
        let before = sys!(libc::SYS_lseek, file, 0, libc::SEEK_END) as u64;
        if content.is_some() && size < before {
            // What was behind the recorded file's end is gone.
            sys!(libc::SYS_ftruncate, file, size);
            sys!(libc::SYS_ftruncate, file, before);
        }
        let mut from = 0u64;
        while let Some(content) = content.filter(|_| before == 0 && from < size) {
            if sys!(libc::SYS_sendfile, file, content, &raw mut from, size - from) <= 0 {
                break;
            }
        }
        if end > before.max(from) {
            sys!(libc::SYS_ftruncate, file, end);
        }
        let ret = sys!(libc::SYS_mmap, at, len, prot, MAP_SHARED | place, file, offset);
        sys!(libc::SYS_close, file);
        ret
    }
}
