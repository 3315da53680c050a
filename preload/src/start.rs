//! The constructor: everything is in place before the guest's first own instruction.
#![allow(unsafe_code, reason = "the process's initial stack and state")]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use log_format::arena::{Mode, ProcEntry, option, proc_state, proc_trait};
use log_format::record::{Dir, Kind, StartInfo, extra, note};
use log_format::table::Memory;

use crate::cursor::Cursor;
use crate::fds::Fds;
use crate::lending::Lending;
use crate::maps::{self, MAPS_MAX, Map, Name};
use crate::process::{BELLS, Ordinals, Process, SigAction};
use crate::spin::Samples;
use crate::sys::{Guest, complain, die, sys, write_guest, write_guest_u32};
use crate::thread::{self, SCRATCH_BYTES, Thread};
use crate::writer::Writer;
use crate::{
    arena, calls, code, entropy, files, patch, record, replay, signals, token, trap, vdso,
};
use calls::time;

/// The guest's environment as the shim finds it.
struct Environment {
    entries: *mut *mut u8,
    arena: *const u8,
    proc: u32,
    /// It has OPENSSL_ia32cap.
    masked: bool,
}

#[ctor::ctor(unsafe)]
fn start() {
    // SAFETY: runs once, before any other code of the process besides the loader's.
    unsafe {
        let Some(entries) = environ() else { return };
        let mut env = Environment { entries, arena: core::ptr::null(), proc: 0, masked: false };
        let random = scrub(&mut env);
        if env.arena.is_null() {
            return;
        }
        if let Err(why) = begin(&env, random) {
            complain(&[b"rr-run: ", why, b"; this program is not recorded\n"]);
        }
    }
}

/// The environment array, from libc or from the initial stack.
unsafe fn environ() -> Option<*mut *mut u8> {
    let (environ, stack_end): (*const *mut *mut u8, *const *mut u64);
    // SAFETY: weak symbols: null where the C library has none.
    unsafe {
        asm!(
            ".weak environ",
            ".weak __libc_stack_end",
            "mov {}, [rip + environ@GOTPCREL]",
            "mov {}, [rip + __libc_stack_end@GOTPCREL]",
            out(reg) environ, out(reg) stack_end, options(nostack)
        );
        if !environ.is_null() && !(*environ).is_null() {
            return Some(*environ);
        }
        if stack_end.is_null() || (*stack_end).is_null() {
            return None;
        }
        // argc, argv..., NULL, envp...
        let sp = *stack_end;
        Some(sp.add(2 + *sp as usize).cast())
    }
}

/// Takes the shim's variables out of the environment; the address of the 16 random bytes that
/// the kernel gave (AT_RANDOM), or null.
unsafe fn scrub(env: &mut Environment) -> *mut u8 {
    // SAFETY: the environment is NULL-terminated and followed by the auxiliary vector.
    unsafe {
        let (mut from, mut to) = (env.entries, env.entries);
        let mut own_preload = true;
        while !(*from).is_null() {
            let entry = *from;
            from = from.add(1);
            if let Some(value) = after(entry, b"RR_RUN_ARENA=") {
                env.arena = value;
            } else if let Some(value) = after(entry, b"RR_RUN_PROC=") {
                let mut at = value;
                while (*at).is_ascii_digit() {
                    env.proc = env.proc * 10 + u32::from(*at - b'0');
                    at = at.add(1);
                }
            } else if after(entry, b"RR_RUN_PAD=").is_some() {
            } else if own_preload && after(entry, b"LD_PRELOAD=").is_some() {
                own_preload = false;
                // What follows the shim's own path is the user's.
                let name = b"LD_PRELOAD=";
                let mut at = entry.add(name.len());
                while *at != 0 && *at != b':' {
                    at = at.add(1);
                }
                if *at == b':' {
                    let moved = at.add(1).sub(name.len());
                    core::ptr::copy(name.as_ptr(), moved, name.len());
                    *to = moved;
                    to = to.add(1);
                }
            } else {
                env.masked |= after(entry, b"OPENSSL_ia32cap=").is_some();
                *to = entry;
                to = to.add(1);
            }
        }
        let mut auxv = from.add(1).cast::<[u64; 2]>();
        while to < from {
            *to = core::ptr::null_mut();
            to = to.add(1);
        }
        const AT_RANDOM: u64 = 25;
        while (*auxv)[0] != 0 {
            if (*auxv)[0] == AT_RANDOM {
                return (*auxv)[1] as *mut u8;
            }
            auxv = auxv.add(1);
        }
        core::ptr::null_mut()
    }
}

unsafe fn after(entry: *mut u8, name: &[u8]) -> Option<*const u8> {
    for (i, byte) in name.iter().enumerate() {
        // SAFETY: stops at the string's NUL, which differs from every byte of the name.
        if unsafe { *entry.add(i) } != *byte {
            return None;
        }
    }
    // SAFETY: the name is a prefix of the string.
    Some(unsafe { entry.add(name.len()) })
}

unsafe fn begin(env: &Environment, random: *mut u8) -> Result<(), &'static [u8]> {
    arena::map(env.arena)?;
    let header = arena::header();
    let mode = Mode::from_u32(header.mode.load(Ordering::Relaxed))
        .ok_or(&b"failed to understand the arena's mode"[..])?;
    let entry = arena::proc(env.proc);
    if mode == Mode::Record && !is_own(entry) {
        entry.unseen.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    thread::map_region()?;
    let block = thread::alloc_block().ok_or(&b"failed to allocate"[..])?;
    let process = block as *mut Process;
    arena::adopt(entry);
    // SAFETY: a fresh block; gettid and getpid take no argument; kernel structures are ours.
    let t = unsafe {
        let pid = sys!(libc::SYS_getpid) as i32;
        process.write(Process {
            index: env.proc,
            mode,
            options: header.options.load(Ordering::Relaxed),
            logging: mode == Mode::Record,
            threads: 1,
            threads_started: 1,
            pid,
            real_pid: pid,
            token: 1.into(),
            output: 0.into(),
            sharing: false.into(),
            has_shared: false,
            trap_tsc: false,
            masked: env.masked,
            wanted: 0.into(),
            seen_steps: 0.into(),
            samples: Samples::none(),
            spins: false.into(),
            preempt_due: 0.into(),
            lending: Lending::none(),
            grants: 0.into(),
            holder: (pid as u32).into(),
            turn: 0.into(),
            turn_bells: [const { AtomicU32::new(0) }; BELLS],
            steps: entry.steps.load(Ordering::Relaxed).into(),
            writer: Writer::new(env.proc),
            cursor: Cursor::new(env.proc),
            fds: Fds::take_over(process, env.proc),
            last_mapped: files::Identified::NONE,
            attached: [(0, 0); calls::sysv::ATTACHED_MAX],
            name_server: calls::network::Inet::NONE,
            clocks: calls::clocks::Recorded::NONE,
            parent_waits: false,
            uuids: 0,
            actions: [SigAction::default(); 65],
            ordinals: Ordinals::FIRST,
        });
        let xmask = signals::detect_xstate();
        let thread = thread::new_thread(process, 0, xmask).ok_or(&b"failed to allocate"[..])?;
        let t = &mut *thread;
        t.enter();
        t.tid = sys!(libc::SYS_gettid) as i32;
        t.real_tid = t.tid;
        enter_pid(entry, pid);
        entry.state.store(proc_state::LIVE, Ordering::Release);
        t
    };
    t.rng = entropy::stream(t.process(), 0);
    let mut special = [Map { start: 0, end: 0, name: Name::Other }; MAPS_MAX];
    let mut random_code = Paths { bytes: [0; 2048], used: 0 };
    let mut reads_tsc = t.process().option(option::TRAP_TSC);
    let count = maps::read(&mut special, |file| {
        if let Some((start, end)) = file.code
            && !is_shim(file.path)
        {
            let verdict = code::judge(file.path, start, end, env.masked);
            reads_tsc |= verdict.trap_counter;
            if verdict.random {
                random_code.add(file.path);
            }
        }
    });
    t.process().trap_tsc = reads_tsc;
    patch::prepare();
    vdso::replace(special.get(..count).unwrap_or(&[]));
    signals::inherit(t);
    for sig in [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS] {
        signals::install(sig as u64, libc::SA_RESTART as u64);
    }
    if !random.is_null() {
        let mut bytes = [0u8; 16];
        entropy::fill(&mut t.rng, &mut bytes);
        write_guest(random as u64, &bytes);
    }
    unregister_rseq();
    take_over_tid(t);
    arena::ring();
    begin_image(t, true);
    if t.process().logging {
        for path in random_code.all() {
            record::note(t, note::RANDOM, path);
        }
    }
    calls::clocks::open(t.process());
    calls::pids::open(t);
    if entry.holds_shared.swap(0, Ordering::AcqRel) != 0 {
        // The image before the exec held the shared token; this one shares nothing yet.
        t.process().has_shared = true;
        token::abandon(t.process());
    }
    signals::apply_mask(t);
    if t.process().trap_tsc {
        time::trap_tsc();
    }
    trap::set_ready();
    arm();
    Ok(())
}

/// Tells the host this process's pid, unless its parent does.
pub fn enter_pid(entry: &ProcEntry, pid: i32) {
    if entry.traits.load(Ordering::Acquire) & proc_trait::TOLD == 0 {
        entry.pid.store(pid, Ordering::Release);
    }
}

/// Recording: whether an entry is this process's. A program that can't be intercepted hands its
/// variables, which name its entry, to those that it starts.
fn is_own(entry: &ProcEntry) -> bool {
    const ELSEWHERE: u32 = proc_trait::FOREIGN | proc_trait::TOLD;
    // SAFETY: getpid takes no argument.
    let pid = unsafe { sys!(libc::SYS_getpid) } as i32;
    let known = entry.pid.load(Ordering::Acquire);
    entry.state.load(Ordering::Acquire) != proc_state::OPAQUE
        && (known == 0 || known == pid || entry.traits.load(Ordering::Acquire) & ELSEWHERE != 0)
}

/// Sends every syscall outside the shim's text to SIGSYS, for the calling thread.
pub fn arm() {
    const PR_SET_SYSCALL_USER_DISPATCH: u64 = 59;
    const PR_SYS_DISPATCH_ON: u64 = 1;
    let (start, len) = trap::text();
    // SAFETY: the handler is in place.
    let ret = unsafe {
        sys!(libc::SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, start, len, 0)
    };
    if ret != 0 {
        complain(&[b"rr-run: failed to turn on syscall user dispatch (try `rr-run doctor`)\n"]);
        die(125);
    }
}

/// The C library reads the cpu number from the rseq area that the kernel writes at any time:
/// without it, it asks, and the answer is logged.
fn unregister_rseq() {
    let offset: *const i64;
    let tls: u64;
    // SAFETY: a weak symbol, and the thread pointer.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            "mov {}, [rip + __rseq_offset@GOTPCREL]",
            "mov {}, fs:[0]",
            out(reg) offset, out(reg) tls, options(nostack)
        );
        if offset.is_null() {
            return;
        }
        const UNREGISTER: u64 = 1;
        const SIGNATURE: u64 = 0x5305_3053;
        let area = tls.wrapping_add_signed(*offset);
        // The length must be the registered one, which grew over the C library's versions.
        for len in [32u64, 64, 48, 40, 36, 96, 128, 28] {
            if sys!(libc::SYS_rseq, area, len, UNREGISTER, SIGNATURE) == 0 {
                return;
            }
        }
    }
}

/// The word that the kernel would clear at the main thread's end becomes the shim's task.
fn take_over_tid(t: &mut Thread) {
    const PR_GET_TID_ADDRESS: u64 = 40;
    let mut address = 0u64;
    // SAFETY: own buffer; the word for the kernel lies in the thread's block.
    unsafe {
        sys!(libc::SYS_prctl, PR_GET_TID_ADDRESS, &raw mut address);
        t.clear_tid = address;
        t.kernel_tid.store(1, Ordering::Relaxed);
        sys!(libc::SYS_set_tid_address, t.kernel_tid.as_ptr());
    }
}

/// Logs that an image or a forked child begins, or takes that from the log.
pub fn begin_image(t: &mut Thread, loaded: bool) {
    match t.process().mode {
        Mode::Replay => replay_start(t, loaded),
        Mode::Record => record_start(t, loaded),
        Mode::Seeded | Mode::Network => {}
    }
}

fn record_start(t: &mut Thread, loaded: bool) {
    let p = t.process();
    let entry = p.entry();
    // SAFETY: getppid and brk(0) only ask.
    let (ppid, brk) = unsafe { (sys!(libc::SYS_getppid), sys!(libc::SYS_brk, 0)) };
    let info = StartInfo {
        key: entry.key.load(Ordering::Relaxed),
        parent_key: entry.parent_key.load(Ordering::Relaxed),
        pid: p.pid as u32,
        ppid: ppid as u32,
        generation: entry.generation.load(Ordering::Relaxed),
        ordinal: entry.ordinal.load(Ordering::Relaxed),
        stack: stack_start(),
        brk: brk as u64,
        sigmask: t.sigmask,
        std_fds: p.fds.to_words(),
    };
    // The identities of the files that the loader has mapped, one after the other.
    let mut used = 0;
    const FILES_MAX: usize = 250;
    let mut ends = [0usize; FILES_MAX];
    let (mut count, mut unknown) = (0, 0);
    if loaded {
        let scratch = &mut t.scratch;
        let mut special = [Map { start: 0, end: 0, name: Name::Other }; MAPS_MAX];
        maps::read(&mut special, |file| {
            let (path, start) = (file.path, file.start);
            if !file.first || is_shim(path) {
                return;
            }
            let fd = files::open_mapped(&file);
            if fd < 0 {
                unknown += 1;
                return;
            }
            let file = files::identify(fd as u64, 0);
            // SAFETY: opened above.
            unsafe { sys!(libc::SYS_close, fd) };
            let bytes = file.bytes();
            let kept = file.id.flags & files::kept::COPY != 0;
            let name = if kept { loaded_as(start) } else { None };
            let len = bytes.len() + name.map_or(0, |name| 1 + name.len());
            if let (Some(to), Some(end)) = (scratch.get_mut(used..used + len), ends.get_mut(count))
            {
                let (identity, rest) = to.split_at_mut(bytes.len());
                identity.copy_from_slice(bytes);
                if let (Some(name), Some((nul, to))) = (name, rest.split_first_mut()) {
                    *nul = 0;
                    to.copy_from_slice(name);
                }
                used += len;
                *end = used;
                count += 1;
            } else {
                unknown += 1;
            }
        });
    }
    // SAFETY: StartInfo is plain data without padding.
    let bytes = unsafe {
        core::slice::from_raw_parts((&raw const info).cast::<u8>(), size_of::<StartInfo>())
    };
    let mut extras: [record::Extra<'_>; FILES_MAX + 2] = [(extra::START, &[]); FILES_MAX + 2];
    let time = crate::vdso::monotonic_ns(t.process()).to_le_bytes();
    extras[0] = (extra::START, bytes);
    extras[1] = (extra::TIME, &time);
    let mut from = 0;
    // SAFETY: the scratch is not written while the record is appended.
    let scratch = unsafe { &*(&raw const t.scratch).cast::<[u8; SCRATCH_BYTES]>() };
    for (slot, end) in extras.iter_mut().skip(2).zip(ends.iter().take(count)) {
        *slot = (extra::FILE, scratch.get(from..*end).unwrap_or(&[]));
        from = *end;
    }
    let extras = extras.get(..count + 2).unwrap_or(&[]);
    record::append(t, Kind::Start, 0, (0, 0), &[0; 6], 0, 0, extras);
    for (_, file) in extras.iter().skip(2) {
        files::note_if_not_kept(t, file);
    }
    for _ in 0..unknown {
        record::note(t, note::NOT_KEPT, b"a library was gone before it could be identified");
    }
}

/// Paths one after the other, each with a NUL; what does not fit is left out.
struct Paths {
    bytes: [u8; 2048],
    used: usize,
}

impl Paths {
    fn add(&mut self, path: &[u8]) {
        let end = self.used + path.len();
        if end < self.bytes.len()
            && let Some(to) = self.bytes.get_mut(self.used..end)
        {
            to.copy_from_slice(path);
            self.used = end + 1;
        }
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.bytes.get(..self.used).unwrap_or(&[]);
        bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty())
    }
}

/// True for the shim's own file, or the arena: not the guest's.
fn is_shim(path: &[u8]) -> bool {
    let header = arena::header();
    let mut own = [0u8; 1024];
    let len = arena::string(&header.shim_path, &mut own);
    if own.get(..len) == Some(path) {
        return true;
    }
    let len = arena::string(&header.arena_path, &mut own);
    own.get(..len) == Some(path)
}

fn stack_start() -> u64 {
    let at: *const u64;
    // SAFETY: a weak symbol.
    unsafe {
        asm!("mov {}, [rip + __libc_stack_end@GOTPCREL]", out(reg) at, options(nostack));
        if at.is_null() { 0 } else { *at }
    }
}

/// The name by which the loader opened the library that is mapped at `start`.
fn loaded_as(start: u64) -> Option<&'static [u8]> {
    const NAME_MAX: u32 = 4096;
    let object = crate::loader::objects().find(|object| object.bias == start)?;
    let len = Guest.string_len(object.name, NAME_MAX).filter(|len| *len > 0)?;
    // SAFETY: the name has just been read; the loader keeps it, and does not change its list while
    // constructors run.
    Some(unsafe { core::slice::from_raw_parts(object.name as *const u8, len as usize) })
}

fn replay_start(t: &mut Thread, loaded: bool) {
    let header = replay::peek(t);
    let cursor = &mut t.process().cursor;
    if header.kind != Kind::Start {
        let d = crate::diverge::Difference::default();
        crate::diverge::report(t, log_format::arena::divergence::LOG, 0, &[0; 6], d);
    }
    cursor.skip(8);
    let word = cursor.word();
    cursor.skip(8);
    let (nargs, nbufs) = ((word >> 16) as u8, (word >> 24) as u16);
    cursor.skip(usize::from(nargs) * 8);
    for _ in 0..nbufs {
        let word = cursor.word();
        cursor.skip(8);
        let (len, arg, dir) = (word as u32 as usize, (word >> 32) as u8, (word >> 40) as u8);
        if arg == extra::START && dir == Dir::Extra as u8 && len == size_of::<StartInfo>() {
            let mut words = [0u64; size_of::<StartInfo>() / 8];
            for word in &mut words {
                *word = cursor.word();
            }
            t.tid = words[2] as u32 as i32;
            t.process().pid = t.tid;
            t.sigmask = words[6];
            let stack = stack_start();
            if loaded && words[4] != stack {
                let difference = crate::diverge::Difference { ret: stack, ..Default::default() };
                let args = [words[4], stack, 0, 0, 0, 0];
                let kind = log_format::arena::divergence::RESULT;
                crate::diverge::report(t, kind, 0x1_0000 | Kind::Start as u32, &args, difference);
            }
        } else {
            cursor.skip(len.next_multiple_of(8));
        }
    }
    replay::step(t);
    if loaded && t.clear_tid != 0 {
        // The loader's set_tid_address stored this run's tid there.
        write_guest_u32(t.clear_tid, t.tid as u32);
    }
}
