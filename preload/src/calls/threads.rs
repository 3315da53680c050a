//! clone, clone3, fork, vfork: new threads and processes begin inside the shim.
#![allow(unsafe_code, reason = "new threads of execution")]

use core::sync::atomic::Ordering;

use log_format::arena::{Mode, child_key, proc_state, proc_trait};
use log_format::record::{Dir, Kind, extra, note};
use log_format::table::{BufAt, Memory, Row};

use super::clone3::{self, Clone3};
use crate::cursor::Cursor;
use crate::process::{Ordinals, Process};
use crate::sys::{Guest, futex_wait, sys, write_guest_u32};
use crate::thread::{self, Thread, XSAVE_BYTES};
use crate::writer::Writer;
use crate::{arena, entropy, fds, lending, record, replay, signals, start, token};

const CLONE_VM: u64 = libc::CLONE_VM as u64;
const CLONE_VFORK: u64 = libc::CLONE_VFORK as u64;
const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
const CLONE_SETTLS: u64 = libc::CLONE_SETTLS as u64;
const PARENT_SETTID: u64 = libc::CLONE_PARENT_SETTID as u64;
const CHILD_SETTID: u64 = libc::CLONE_CHILD_SETTID as u64;
const CHILD_CLEARTID: u64 = libc::CLONE_CHILD_CLEARTID as u64;
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const NAMESPACES: u64 = 0x7e02_0080;
/// The low byte of clone's flags: the signal at the child's end.
const EXIT_SIGNAL: u64 = 0xff;

/// What [`rr_child`] finds in `Thread::starting`.
mod starting {
    pub(super) const THREAD: u32 = 1;
    pub(super) const FORK: u32 = 2;
    pub(super) const VFORK: u32 = 3;
}

/// What the guest asked for, whichever call it used.
#[derive(Clone, Copy, Default)]
struct Request {
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
    pidfd: u64,
    exit_signal: u64,
}

fn request(nr: u16, args: &[u64; 6]) -> Request {
    let word = |i: u64| Guest.u64(args[0] + i * 8).unwrap_or(0);
    match i64::from(nr) {
        libc::SYS_fork => Request { exit_signal: libc::SIGCHLD as u64, ..Request::default() },
        libc::SYS_vfork => Request {
            flags: CLONE_VM | CLONE_VFORK,
            exit_signal: libc::SIGCHLD as u64,
            ..Request::default()
        },
        libc::SYS_clone => Request {
            flags: args[0] & !EXIT_SIGNAL,
            stack: args[1],
            parent_tid: args[2],
            child_tid: args[3],
            tls: args[4],
            pidfd: args[2],
            exit_signal: args[0] & EXIT_SIGNAL,
        },
        // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
        // stack_size, tls.
        _ => Request {
            flags: word(0),
            pidfd: word(1),
            child_tid: word(2),
            parent_tid: word(3),
            exit_signal: word(4),
            stack: if word(5) == 0 { 0 } else { word(5) + word(6) },
            tls: word(7),
        },
    }
}

/// Creates a thread or process for the guest.
pub fn create(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let wanted = request(row.nr, args);
    if t.process().mode == Mode::Replay {
        let (ret, _) = replay::expect_call(t, row, args);
        if ret < 0 {
            return ret;
        }
        if again(t, row, args, &wanted, ret) < 0 {
            crate::sys::complain(&[b"rr-run: failed to create a thread or process on replay\n"]);
            crate::sys::die(125);
        }
        return ret;
    }
    if i64::from(row.nr) == libc::SYS_clone3 && !readable(args[0], args[1]) {
        // SAFETY: the kernel finds the arguments as unreadable as the shim does, and fails.
        let ret = unsafe { sys!(libc::SYS_clone3, args[0], args[1]) };
        record::log(t, Kind::Call, 0, row, args, ret, &[]);
        return ret;
    }
    let ret = make(t, row, args, &wanted, None);
    super::pids::after_clone(t.process(), ret)
}

/// Replay: creates what was recorded. Processes and threads that had ended by then may still be
/// about to, and have what it takes.
fn again(t: &mut Thread, row: &Row, args: &[u64; 6], wanted: &Request, recorded: i64) -> i64 {
    const ATTEMPTS: u32 = 6000;
    const WAIT_MS: u64 = 10;
    let mut made = 0;
    for _ in 0..ATTEMPTS {
        made = make(t, row, args, wanted, Some(recorded));
        if made != -i64::from(libc::EAGAIN) || !arena::host_lives() {
            break;
        }
        let bell = &arena::header().host_bell;
        futex_wait(bell, bell.load(Ordering::Acquire), WAIT_MS, true);
    }
    made
}

/// True if the kernel could take a `struct clone_args` of this size from there.
fn readable(at: u64, size: u64) -> bool {
    const CLONE_ARGS_SIZE_VER0: u64 = 64;
    (CLONE_ARGS_SIZE_VER0..=4096).contains(&size)
        && (0..CLONE_ARGS_SIZE_VER0 / 8).all(|i| Guest.u64(at.wrapping_add(i * 8)).is_some())
}

/// `recorded`: the tid to give the child on replay.
fn make(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    wanted: &Request,
    recorded: Option<i64>,
) -> i64 {
    if wanted.flags & CLONE_THREAD != 0 {
        make_thread(t, row, args, wanted, recorded)
    } else if wanted.flags & CLONE_VM != 0 {
        make_sharing_process(t, row, args, wanted, recorded)
    } else {
        make_process(t, row, args, wanted, recorded)
    }
}

/// Blocks every signal around `f`: a handler must not run on a thread without its block.
fn without_signals(t: &mut Thread, f: impl FnOnce(&mut Thread) -> i64) -> i64 {
    let all = u64::MAX;
    // SAFETY: own signal state.
    unsafe { sys!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8) };
    let ret = f(t);
    if t.pending.load(Ordering::Relaxed) == 0 {
        signals::apply_mask(t);
    }
    ret
}

/// A copy of the parent's registers and vector state for a child in a block of its own.
fn prepare(t: &mut Thread, child: &mut Thread, wanted: &Request) {
    child.regs = t.regs;
    child.regs.rax = 0;
    // As after a syscall instruction.
    child.regs.rcx = t.regs.rip;
    if wanted.stack != 0 {
        child.regs.rsp = wanted.stack;
    }
    child.sigmask = t.sigmask;
    // SAFETY: both areas have XSAVE_BYTES.
    unsafe { core::ptr::copy_nonoverlapping(t.xsave, child.xsave, XSAVE_BYTES) };
}

fn make_thread(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    wanted: &Request,
    recorded: Option<i64>,
) -> i64 {
    let p = t.process();
    let ordinal = p.ordinals.next(p.threads_started);
    let Some(child) = thread::new_thread(t.process, ordinal, t.xmask) else {
        return none_left(t, row, args, recorded, TOO_MANY_THREADS);
    };
    // SAFETY: a fresh block that no other thread knows yet.
    let c = unsafe { &mut *child };
    prepare(t, c, wanted);
    c.starting = starting::THREAD;
    // By its number among all threads: no two have the same stream.
    c.rng = entropy::stream(p, p.threads_started);
    c.kernel_tid.store(1, Ordering::Release);
    if wanted.flags & CHILD_CLEARTID != 0 {
        c.clear_tid = wanted.child_tid;
    }
    c.tid = recorded.unwrap_or(0) as i32;
    let mut kept = wanted.flags & !(PARENT_SETTID | CHILD_SETTID);
    if recorded.is_some() {
        kept &= !(CLONE_PIDFD | NAMESPACES);
    }
    let flags = kept | CHILD_CLEARTID | PARENT_SETTID;
    let kernel = [
        flags,
        0,
        &raw mut c.real_tid as u64,
        c.kernel_tid.as_ptr() as u64,
        if wanted.flags & CLONE_SETTLS != 0 { wanted.tls } else { 0 },
        0,
    ];
    p.threads += 1;
    p.threads_started += 1;
    p.ordinals.set(ordinal, true);
    let replays = recorded.is_some();
    let clone3 = Clone3::of(row, args, recorded);
    let ret = without_signals(t, |_| {
        if let Some(mut clone3) = clone3 {
            use clone3::word::{CHILD_TID, FLAGS, PARENT_TID};
            clone3.set(FLAGS, flags).set(PARENT_TID, kernel[2]).set(CHILD_TID, kernel[3]);
            // SAFETY: as below.
            return unsafe { clone3.call(child) };
        }
        // SAFETY: the child's block is its own; no stack is given, so it starts in rr_child.
        unsafe { crate::trap::clone(libc::SYS_clone as u64, &kernel, child) }
    });
    if ret < 0 {
        p.threads -= 1;
        p.threads_started -= 1;
        p.ordinals.set(ordinal, false);
        thread::free_block(child as u64, false);
    } else {
        thread::free_block(child as u64, true);
        let live = || super::pids::of_thread(p, ret as i32);
        let tid = recorded.map_or_else(live, |tid| tid as i32) as u32;
        if !replays {
            // SAFETY: the child waits for the token, which this thread holds.
            unsafe { (*child).tid = tid as i32 };
        }
        if wanted.flags & PARENT_SETTID != 0 {
            write_guest_u32(wanted.parent_tid, tid);
        }
        if wanted.flags & CHILD_SETTID != 0 {
            write_guest_u32(wanted.child_tid, tid);
        }
    }
    if !replays {
        let bytes = u64::from(ordinal).to_le_bytes();
        record::log(t, Kind::Call, 0, row, args, ret, &[(extra::THREAD, &bytes)]);
    }
    ret
}

/// A process with its own memory.
fn make_process(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    wanted: &Request,
    recorded: Option<i64>,
) -> i64 {
    let Some((index, key)) = reserve(t, wanted) else {
        return none_left(t, row, args, recorded, TOO_MANY_PROCESSES);
    };
    t.starting = starting::FORK;
    let p = t.process();
    let parent_entry = p.index;
    let regs = t.regs;
    let sp = wanted.stack;
    if sp != 0 {
        t.regs.rsp = sp;
    }
    t.regs.rax = 0;
    let before = t.clear_tid;
    t.clear_tid = if wanted.flags & CHILD_CLEARTID != 0 { wanted.child_tid } else { 0 };
    p.index = index;
    let unwanted = PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID;
    let ret = without_signals(t, |t| {
        let child = t.this;
        if recorded.is_some() {
            let flags =
                wanted.flags & !(unwanted | CLONE_PIDFD | NAMESPACES) | libc::SIGCHLD as u64;
            // SAFETY: the child has a copy of this block, and no stack is given.
            return unsafe {
                crate::trap::clone(libc::SYS_clone as u64, &[flags, 0, 0, 0, wanted.tls, 0], child)
            };
        }
        if let Some(mut clone3) = Clone3::of(row, args, recorded) {
            clone3.set(clone3::word::FLAGS, wanted.flags & !unwanted);
            // SAFETY: as above.
            return unsafe { clone3.call(child) };
        }
        let flags = wanted.flags & !unwanted | wanted.exit_signal;
        let pidfd = if flags & CLONE_PIDFD != 0 { wanted.pidfd } else { 0 };
        // SAFETY: as above.
        unsafe {
            crate::trap::clone(libc::SYS_clone as u64, &[flags, 0, pidfd, 0, wanted.tls, 0], child)
        }
    });
    p.index = parent_entry;
    t.starting = 0;
    t.regs = regs;
    t.clear_tid = before;
    created(t, row, args, wanted, recorded, ret, index, key);
    ret
}

/// A process that shares memory with its parent (vfork, posix_spawn): it gets blocks of its own.
fn make_sharing_process(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    wanted: &Request,
    recorded: Option<i64>,
) -> i64 {
    let Some(block) = thread::alloc_block() else {
        return none_left(t, row, args, recorded, TOO_MANY_THREADS);
    };
    let process = block as *mut Process;
    let Some(child) = thread::new_thread(process, 0, t.xmask) else {
        thread::free_block(block, false);
        return none_left(t, row, args, recorded, TOO_MANY_THREADS);
    };
    let Some((index, key)) = reserve(t, wanted) else {
        thread::free_block(child as u64, false);
        thread::free_block(block, false);
        return none_left(t, row, args, recorded, TOO_MANY_PROCESSES);
    };
    // SAFETY: fresh blocks that nobody else knows; a Process has no destructor.
    let c = unsafe {
        core::ptr::copy_nonoverlapping(t.process.cast_const(), process, 1);
        (*process).index = index;
        (*process).sharing.store(false, Ordering::Relaxed);
        (*process).has_shared = false;
        (*process).parent_waits = wanted.flags & CLONE_VFORK != 0;
        (*process).fds = t.process().fds.copy(process);
        &mut *child
    };
    prepare(t, c, wanted);
    c.altstack = t.altstack;
    c.starting = starting::VFORK;
    if wanted.flags & CHILD_CLEARTID != 0 {
        c.clear_tid = wanted.child_tid;
    }
    let unwanted = PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID;
    let mut kept = wanted.flags & !unwanted;
    if recorded.is_some() {
        kept &= !(CLONE_PIDFD | NAMESPACES);
    }
    const CLEAR_SIGHAND: u64 = 1 << 32;
    if kept & CLEAR_SIGHAND != 0 {
        // The kernel would take the shim's handlers away: only the guest's are cleared.
        kept &= !CLEAR_SIGHAND;
        // SAFETY: as above.
        for action in unsafe { &mut (*process).actions } {
            if action.handler > 1 {
                action.handler = 0;
            }
        }
    }
    let flags = kept | wanted.exit_signal.max(1);
    let clone3 = Clone3::of(row, args, recorded);
    let ret = without_signals(t, |_| {
        if let Some(mut clone3) = clone3 {
            clone3.set(clone3::word::FLAGS, kept);
            // SAFETY: as below.
            return unsafe { clone3.call(child) };
        }
        // SAFETY: the child starts in rr_child on its own block.
        unsafe {
            let pidfd = if kept & CLONE_PIDFD != 0 { wanted.pidfd } else { 0 };
            crate::trap::clone(libc::SYS_clone as u64, &[flags, 0, pidfd, 0, wanted.tls, 0], child)
        }
    });
    if ret < 0 || wanted.flags & CLONE_VFORK != 0 {
        // The child has executed or is gone: its blocks are free.
        // SAFETY: nobody else uses the block any more.
        thread::give_back(unsafe { &mut *child });
        thread::free_block(child as u64, false);
        thread::free_block(block, false);
    }
    created(t, row, args, wanted, recorded, ret, index, key);
    ret
}

const TOO_MANY_THREADS: &[u8] = b"more threads at once than rr-run follows (32,768)";
const TOO_MANY_PROCESSES: &[u8] = b"more processes at once than rr-run follows (4,096)";

/// There is no room for another thread or process: the call fails as it does at a limit of the
/// system's, and the log says that the limit is rr-run's.
fn none_left(t: &mut Thread, row: &Row, args: &[u64; 6], recorded: Option<i64>, why: &[u8]) -> i64 {
    let ret = -i64::from(libc::EAGAIN);
    if recorded.is_none() {
        record::note(t, note::UNSUPPORTED, why);
        record::log(t, Kind::Call, 0, row, args, ret, &[]);
    }
    ret
}

/// Reserves the entry of the next child.
fn reserve(t: &mut Thread, wanted: &Request) -> Option<(u32, u64)> {
    let parent = t.process().entry();
    let index = arena::reserve_proc()?;
    let ordinal = parent.children.load(Ordering::Relaxed) + 1;
    let key = child_key(parent.key.load(Ordering::Relaxed), ordinal);
    let entry = arena::proc(index);
    arena::reset(entry);
    entry.held.store(1, Ordering::Release);
    let new_pids = wanted.flags & libc::CLONE_NEWPID as u64 != 0;
    let traits = proc_trait::of_child(parent.traits.load(Ordering::Relaxed), new_pids);
    entry.traits.store(traits, Ordering::Relaxed);
    entry.parent_key.store(parent.key.load(Ordering::Relaxed), Ordering::Relaxed);
    entry.ordinal.store(ordinal, Ordering::Relaxed);
    entry.key.store(key, Ordering::Release);
    // Of a process that had this entry before and was killed during an exec.
    fds::take_back(index);
    Some((index, key))
}

/// The parent's side once the child exists, or not.
#[expect(clippy::too_many_arguments, reason = "the parts of one creation")]
fn created(
    t: &mut Thread,
    row: &Row,
    args: &[u64; 6],
    wanted: &Request,
    recorded: Option<i64>,
    ret: i64,
    index: u32,
    key: u64,
) {
    let entry = arena::proc(index);
    if ret < 0 {
        entry.key.store(0, Ordering::Release);
        entry.held.store(0, Ordering::Release);
        entry.state.store(proc_state::FREE, Ordering::Release);
    } else {
        let state = &entry.state;
        let (from, to) = (proc_state::RESERVED, proc_state::LIVE);
        if state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // Not started yet: the host must be able to see it end even if it never does.
            let _ = entry.pid.compare_exchange(0, ret as i32, Ordering::AcqRel, Ordering::Relaxed);
        }
        if entry.traits.load(Ordering::Acquire) & proc_trait::TOLD != 0 {
            entry.pid.store(ret as i32, Ordering::Release);
        }
        entry.held.store(0, Ordering::Release);
        t.process().entry().children.fetch_add(1, Ordering::Relaxed);
        // One that executed a program may stand for another recorded process by now.
        let vfork = wanted.flags & CLONE_VFORK != 0;
        let now = if vfork { entry.key.load(Ordering::Acquire) } else { key };
        let live = || super::pids::of_process(t.process(), now, ret as i32);
        let shown = recorded.map_or_else(live, |pid| pid as i32);
        if wanted.flags & PARENT_SETTID != 0 {
            write_guest_u32(wanted.parent_tid, shown as u32);
        }
    }
    if recorded.is_some() || !t.process().logging {
        return;
    }
    let bytes = key.to_le_bytes();
    let mut count = record::collect(t, row, args, ret);
    if ret > 0
        && wanted.flags & CLONE_PIDFD != 0
        && let Some(slot) = t.bufs.get_mut(count)
    {
        let flags = log_format::record::BUF_INDIRECT;
        *slot = BufAt { arg: 0, dir: Dir::Out, flags, addr: wanted.pidfd, len: 4 };
        count += 1;
    }
    let which = (row.nr, row.args.len());
    record::append(t, Kind::Call, 0, which, args, ret, count, &[(extra::CHILD, &bytes)]);
}

/// A child's first steps, on its own stack and in its own block.
pub extern "C" fn rr_child(t: &mut Thread) {
    // SAFETY: `t` is the block of the thread that runs here.
    unsafe { t.enter() };
    start::arm();
    // SAFETY: gettid and getpid take no argument.
    let (tid, pid) = unsafe { (sys!(libc::SYS_gettid), sys!(libc::SYS_getpid)) };
    t.real_tid = tid as i32;
    t.pending.store(0, Ordering::Relaxed);
    t.saved_mask = None;
    t.held = 0;
    t.timer = 0;
    let kind = t.starting;
    t.starting = 0;
    if kind == starting::THREAD {
        if t.process().trap_tsc {
            super::time::trap_tsc();
        }
        super::process::begin_thread(t);
        signals::apply_mask(t);
        return;
    }
    let p = t.process();
    if kind == starting::FORK {
        thread::keep_only(t);
    }
    t.ordinal = 0;
    t.tid = tid as i32;
    p.pid = pid as i32;
    p.real_pid = pid as i32;
    p.threads = 1;
    if p.threads_started > 1 {
        p.ordinals = Ordinals::FIRST;
    }
    p.threads_started = 1;
    p.token.store(1, Ordering::Relaxed);
    p.output.store(0, Ordering::Relaxed);
    p.wanted.store(0, Ordering::Relaxed);
    p.turn.store(0, Ordering::Relaxed);
    lending::reset(t, p);
    p.holder.store(tid as u32, Ordering::Relaxed);
    p.steps.store(0, Ordering::Relaxed);
    p.writer = Writer::new(p.index);
    p.cursor = Cursor::new(p.index);
    t.rng = entropy::stream(p, 0);
    p.uuids = 0;
    if kind == starting::FORK {
        p.parent_waits = false;
    }
    let entry = p.entry();
    arena::adopt(entry);
    start::enter_pid(entry, pid as i32);
    entry.state.store(proc_state::LIVE, Ordering::Release);
    arena::ring();
    start::begin_image(t, false);
    if kind == starting::FORK {
        super::clocks::open(p);
    } else {
        // The parent's readings are mapped in the memory that they share.
        p.clocks = super::clocks::Recorded::NONE;
    }
    super::pids::begin(t);
    if kind == starting::FORK && t.clear_tid != 0 {
        // glibc asks for CLONE_CHILD_SETTID and CLEARTID of the same word.
        write_guest_u32(t.clear_tid, t.tid as u32);
    }
    p.has_shared = false;
    if p.shares() {
        token::take(t);
    }
    signals::apply_mask(t);
}
