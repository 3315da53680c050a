//! execve and execveat: the shim goes along, whatever environment the guest passes.
#![allow(unsafe_code, reason = "raw syscalls with arrays built here")]

use core::sync::atomic::Ordering;

use log_format::arena::{Mode, PAD_TOTAL, proc_state, stop};
use log_format::record::{Kind, extra, flag, note};
use log_format::table::{Memory, Row};

use super::{offline, pids, time};
use crate::files::{self, Target};
use crate::sys::{Guest, sys};
use crate::thread::{self, Thread};
use crate::{arena, fds, policy, record, replay};

/// Paths, argument and environment pointers of one exec.
struct Plan {
    nr: i64,
    dirfd: u64,
    path: u64,
    argv: u64,
    envp: u64,
    flags: u64,
}

fn plan(row: &Row, args: &[u64; 6]) -> Plan {
    let at_cwd = libc::AT_FDCWD as i64 as u64;
    let nr = i64::from(row.nr);
    if nr == libc::SYS_execve {
        Plan { nr, dirfd: at_cwd, path: args[0], argv: args[1], envp: args[2], flags: 0 }
    } else {
        Plan { nr, dirfd: args[0], path: args[1], argv: args[2], envp: args[3], flags: args[4] }
    }
}

/// Executes a program; returns only if that fails.
pub fn execute(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let plan = plan(row, args);
    if t.process().mode == Mode::Replay {
        return again(t, row, args, &plan);
    }
    if t.process().mode == Mode::Record && !recording_goes_on(t) {
        if let Some(ret) = policy::exec::unobserved(t) {
            return ret;
        }
        // Nobody would take the new image's log: it runs as it would without rr-run.
        if t.process().trap_tsc {
            time::let_tsc_be();
        }
        // SAFETY: the guest's own call.
        return unsafe { call(&plan, plan.envp) };
    }
    let target = files::executable(plan.dirfd, plan.path, plan.flags);
    attempt(t, row, args, &target);
    files::note_if_not_kept(t, target.bytes());
    files::note_if_not_kept(t, target.interpreter_bytes());
    if let Some(ret) = policy::exec::check(t, plan.dirfd, plan.path, &target) {
        record::log(t, Kind::Call, flag::COMPLETES, row, args, ret, &[]);
        return ret;
    }
    if t.process().mode == Mode::Network {
        policy::exec::tell(t, plan.dirfd, plan.path, &target);
    }
    let mut copy = [0; files::NAME_BYTES];
    let copied = target.copy(&mut copy);
    if copied.is_some() {
        record::note(t, note::COPIED, files::COPIED);
    }
    let entry = t.process().entry();
    if let Some(reason) = target.opaque {
        if t.process().mode == Mode::Network && !offline::go() {
            // What it would reach is not to be known.
            return -i64::from(libc::EACCES);
        }
        record::note(t, note::OPAQUE, reason);
        entry.state.store(proc_state::OPAQUE, Ordering::Release);
    }
    if !t.process().fds.hand_over(t.process().index) {
        record::note(t, note::UNSUPPORTED, b"more descriptors than an exec hands over");
    }
    let key = pids::before_exec(t, row, args);
    entry.generation.fetch_add(1, Ordering::Relaxed);
    entry.holds_shared.store(t.process().has_shared.into(), Ordering::Release);
    let plan = match copied {
        Some(_) => Plan {
            dirfd: libc::AT_FDCWD as i64 as u64,
            path: copy.as_ptr() as u64,
            flags: 0,
            ..plan
        },
        None => plan,
    };
    let name_len = name_len(&plan);
    let traps_tsc = t.process().trap_tsc;
    if traps_tsc {
        time::let_tsc_be();
    }
    let ret = perform(t, &plan, name_len);
    if traps_tsc {
        time::trap_tsc();
    }
    entry.generation.fetch_sub(1, Ordering::Relaxed);
    pids::after_exec(t, key);
    entry.holds_shared.store(0, Ordering::Release);
    fds::take_back(t.process().index);
    entry.state.store(proc_state::LIVE, Ordering::Release);
    record::log(t, Kind::Call, flag::COMPLETES, row, args, ret, &[]);
    ret
}

/// Makes the call that the guest made: a seccomp filter may allow only one of the two.
///
/// # Safety
/// Paths and arrays must be the guest's, or live until the call's end.
unsafe fn call(plan: &Plan, envp: u64) -> i64 {
    // SAFETY: as the caller vouches.
    unsafe {
        if plan.nr == libc::SYS_execve {
            sys!(libc::SYS_execve, plan.path, plan.argv, envp)
        } else {
            sys!(libc::SYS_execveat, plan.dirfd, plan.path, plan.argv, envp, plan.flags)
        }
    }
}

/// Executes with the shim's variables in the environment; the kernel's result if that fails.
fn perform(t: &mut Thread, plan: &Plan, name_len: usize) -> i64 {
    // SAFETY: the guest's path and argv, and an environment array that is its own or is borrowed.
    let execute = |envp: u64| unsafe { call(plan, envp) };
    // The kernel finds an array as unreadable, or as long, as the shim does, and says so.
    let Some(len) = room_for(plan.envp, 0) else { return execute(plan.envp) };
    let room = match thread::borrow(t, len) {
        Ok(room) => room,
        Err(errno) => return errno,
    };
    let ret = match environment(t.process().index, plan.envp, name_len, room) {
        Some((envp, _)) => execute(envp),
        None => -i64::from(libc::EFAULT),
    };
    thread::give_back(t);
    ret
}

fn recording_goes_on(t: &Thread) -> bool {
    t.process().logging && arena::header().stop.load(Ordering::Relaxed) == stop::NO
}

/// Length of the file name that the kernel puts on the new stack (AT_EXECFN): relative to a
/// directory's descriptor it is `/dev/fd/N/path`.
fn name_len(plan: &Plan) -> usize {
    let len = Guest.string_len(plan.path, 4096).unwrap_or(0) as usize;
    let absolute = Guest.u32(plan.path).unwrap_or(0) & 0xff == u32::from(b'/');
    if absolute || plan.dirfd as i32 == libc::AT_FDCWD {
        return len;
    }
    let digits = (plan.dirfd as u32).checked_ilog10().unwrap_or(0) as usize + 1;
    b"/dev/fd/".len() + digits + if len > 0 { 1 + len } else { 0 }
}

/// Logs the call before it is made: if it succeeds, this image logs nothing more.
fn attempt(t: &mut Thread, row: &Row, args: &[u64; 6], target: &Target) {
    let count = record::collect(t, row, args, 0);
    let file = target.bytes();
    let script = target.interpreter_bytes();
    let which = (row.nr, row.args.len());
    let extras = [(extra::FILE, file), (extra::FILE, script)];
    let used = usize::from(!file.is_empty()) + usize::from(!script.is_empty());
    record::append(t, Kind::Yield, 0, which, args, 0, count, extras.get(..used).unwrap_or(&[]));
}

/// Replay: the recorded program again, from the recorded path or the kept copy.
fn again(t: &mut Thread, row: &Row, args: &[u64; 6], plan: &Plan) -> i64 {
    let (_, extras) = replay::expect_attempt(t, row, args);
    let mut path = [0u8; 1024];
    let path_len = files::recorded_path(extras.file, &t.scratch, &mut path);
    let mut interpreter = [0u8; 1024];
    let its_path = t.scratch.get(replay::INTERPRETER_AT..).unwrap_or(&[]);
    let interpreter_len = files::recorded_path(extras.interpreter, its_path, &mut interpreter);
    loop {
        match replay::next_kind(t) {
            Some((Kind::Note, ..)) => {
                replay::take_words(t);
            }
            Some((Kind::Start, ..)) => break,
            Some(_) => return replay::call(t, row, args),
            None => replay::end_of_log(t),
        }
    }
    let process = t.process();
    process.cursor.save();
    let entry = process.entry();
    entry.generation.fetch_add(1, Ordering::Relaxed);
    entry.holds_shared.store(process.has_shared.into(), Ordering::Release);
    let mut script = files::Script::default();
    let interpreted = files::script(&path, &mut script);
    // The script names its interpreter by a path that need not exist any more.
    let (name, name_len) = match (interpreted, interpreter_len) {
        (false, _) => (path.as_ptr() as u64, path_len),
        (true, 0) => (script.interpreter(), script.interpreter_len()),
        (true, len) => (interpreter.as_ptr() as u64, len),
    };
    if process.trap_tsc {
        time::let_tsc_be();
    }
    if let Some(len) = room_for(plan.envp, if interpreted { plan.argv } else { 0 })
        && let Ok(room) = thread::borrow(t, len)
        && let Some((envp, rest)) = environment(process.index, plan.envp, name_len, room)
        && let Some(argv) =
            if interpreted { script.argv(plan.path, plan.argv, rest) } else { Some(plan.argv) }
    {
        // SAFETY: NUL-terminated strings and NULL-terminated arrays that live until the exec.
        unsafe { sys!(libc::SYS_execve, name, argv, envp) };
    }
    let shown = path.get(..path_len).unwrap_or(&path);
    crate::sys::complain(&[b"rr-run: failed to execute ", shown, b" on replay\n"]);
    crate::sys::die(125)
}

/// Longest string that the kernel lets an exec pass (MAX_ARG_STRLEN).
const STRING_MAX: u32 = 128 * 1024;
/// More pointers than the kernel lets an exec pass.
const POINTERS_MAX: u64 = 1 << 20;
/// What the shim adds, but for the guest's own LD_PRELOAD: names, paths and padding.
const STRINGS_BYTES: usize = PAD_TOTAL + 2048;
/// Pointers that the shim adds, the NULL at the end included.
const OWN_POINTERS: usize = 5;

/// Bytes that [`environment`] takes for this environment, with those of a script's interpreter's
/// arguments. None if an array can't be read, or is longer than any exec takes.
fn room_for(envp: u64, argv: u64) -> Option<usize> {
    let users = find(envp, b"LD_PRELOAD=").and_then(|at| Guest.string_len(at, STRING_MAX));
    let pointers = count(envp)? + count(argv)? + OWN_POINTERS + files::Script::OWN;
    Some(STRINGS_BYTES + users.unwrap_or(0) as usize + pointers * size_of::<u64>())
}

/// Pointers of a NULL-terminated array; none in one that is absent.
fn count(array: u64) -> Option<usize> {
    if array == 0 {
        return Some(0);
    }
    for i in 0..POINTERS_MAX {
        if Guest.u64(array.checked_add(i * 8)?)? == 0 {
            return Some(i as usize);
        }
    }
    None
}

/// Strings and pointers written from the start of `room`.
struct Build<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl Build<'_> {
    fn string(&mut self, parts: &[&[u8]]) -> Option<u64> {
        let at = self.used;
        for part in parts {
            self.room.get_mut(self.used..self.used + part.len())?.copy_from_slice(part);
            self.used += part.len();
        }
        *self.room.get_mut(self.used)? = 0;
        self.used += 1;
        Some(self.room.as_ptr() as u64 + at as u64)
    }

    fn pointer(&mut self, value: u64) -> Option<()> {
        let to = self.room.get_mut(self.used..self.used + 8)?;
        to.copy_from_slice(&value.to_le_bytes());
        self.used += 8;
        Some(())
    }
}

/// The guest's environment with the variables of the shim for process entry `index`; its address,
/// and what is left of `room`. None if there is no room, or it can't be read any more.
fn environment(
    index: u32,
    envp: u64,
    name_len: usize,
    room: &mut [u8],
) -> Option<(u64, &mut [u8])> {
    let header = arena::header();
    let (mut shim, mut path) = ([0u8; 256], [0u8; 1024]);
    let shim_len = arena::string(&header.shim_path, &mut shim);
    let path_len = arena::string(&header.arena_path, &mut path);
    let mut build = Build { room, used: 0 };
    let users = find(envp, b"LD_PRELOAD=");
    let mut preload_len = shim_len;
    let preload = match users {
        Some(users) if Guest.string_len(users, STRING_MAX).unwrap_or(0) > 0 => {
            let len = Guest.string_len(users, STRING_MAX)? as usize;
            let at = build.string(&[b"LD_PRELOAD=", shim.get(..shim_len)?, b":"])?;
            build.used -= 1;
            // SAFETY: the guest's string of `len` bytes; there is room by `get_mut`.
            unsafe {
                let to = build.room.get_mut(build.used..build.used + len + 1)?.as_mut_ptr();
                crate::sys::copy_checked(to, users as *const u8, len + 1);
            }
            build.used += len + 1;
            preload_len += 1 + len;
            at
        }
        _ => build.string(&[b"LD_PRELOAD=", shim.get(..shim_len)?])?,
    };
    let arena = build.string(&[b"RR_RUN_ARENA=", path.get(..path_len)?])?;
    let digits = [
        b'0' + (index / 1000 % 10) as u8,
        b'0' + (index / 100 % 10) as u8,
        b'0' + (index / 10 % 10) as u8,
        b'0' + (index % 10) as u8,
    ];
    let number = build.string(&[b"RR_RUN_PROC=", &digits])?;
    let pad_len = PAD_TOTAL.saturating_sub(preload_len + path_len + name_len);
    let pad = build.string(&[b"RR_RUN_PAD="])?;
    build.used -= 1;
    build.room.get_mut(build.used..build.used + pad_len)?.fill(b'x');
    build.used += pad_len;
    *build.room.get_mut(build.used)? = 0;
    build.used = (build.used + 1).next_multiple_of(8);
    let start = build.room.as_ptr() as u64 + build.used as u64;
    let mut i = 0;
    loop {
        let at = if envp == 0 { 0 } else { Guest.u64(envp + i * 8)? };
        i += 1;
        if at == 0 {
            break;
        }
        if !starts_with(at, b"LD_PRELOAD=") && !starts_with(at, b"RR_RUN_") {
            build.pointer(at)?;
        }
    }
    for at in [preload, arena, number, pad, 0] {
        build.pointer(at)?;
    }
    let Build { room, used } = build;
    Some((start, room.get_mut(used..)?))
}

fn starts_with(at: u64, prefix: &[u8]) -> bool {
    let mut head = [0u8; 16];
    let Some(part) = head.get_mut(..prefix.len()) else { return false };
    // A shorter string ends before the prefix does; what follows it is readable.
    Guest.read(at, part) && part == prefix
}

fn find(envp: u64, prefix: &[u8]) -> Option<u64> {
    let mut i = 0;
    loop {
        let at = Guest.u64(envp.checked_add(i * 8)?)?;
        if at == 0 {
            return None;
        }
        if starts_with(at, prefix) {
            return Some(at + prefix.len() as u64);
        }
        i += 1;
    }
}
