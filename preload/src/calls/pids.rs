//! Process ids of a network replay: a process has the one that the process with its key had in the
//! recording, because ids end up in what programs print, and so in prompts.
//!
//! The guest's numbers are turned into the kernel's before a call, and the kernel's into the
//! guest's after it, where the table says that one stands. What files in `/proc` hold is real.
#![allow(unsafe_code, reason = "reads a file of the host's that is mapped")]

use core::sync::atomic::{AtomicUsize, Ordering};

use log_format::arena::Mode;
use log_format::pids::BESIDE;
use log_format::processes::{self, Arguments, arguments_at, stands_for};
use log_format::table::{Memory, Row, Ty, siginfo_pid};

use crate::process::Process;
use crate::sys::{Guest, map_file, sys, write_guest_u32};
use crate::text::Text;
use crate::thread::{PROC_PATH_BYTES, Thread};
use crate::{arena, record};

/// Where the recorded pids are mapped: behind the clock's readings.
const AT: u64 = log_format::arena::BASE + 0x1_8000_0000;
const FILE_BYTES_MAX: u64 = 1 << 28;
/// Of a `siginfo_t` up to where its sender stands, and as much as waitid(2) fills in.
const SIGINFO_BYTES: usize = 28;
/// Bytes mapped at [`AT`]; 0: pids are live.
static LEN: AtomicUsize = AtomicUsize::new(0);

fn words() -> &'static [u64] {
    // SAFETY: `open` has mapped so many bytes there, read-only, and they stay mapped as long as
    // this image runs.
    unsafe { core::slice::from_raw_parts(AT as *const u64, LEN.load(Ordering::Relaxed) / 8) }
}

/// True if pids are those of the recording. In another pid namespace numbers mean something else.
fn are_recorded(p: &Process) -> bool {
    p.mode == Mode::Network && LEN.load(Ordering::Relaxed) != 0 && !arena::is_foreign()
}

/// Gives an image that begins its pid.
pub fn open(t: &mut Thread) {
    if t.process().mode != Mode::Network {
        return;
    }
    let mut path = [0u8; 1100];
    let dir = arena::string(&arena::header().net.clocks_dir, &mut path);
    let Some(name) = path.get_mut(dir..dir + processes::FILE.len()) else { return };
    name.copy_from_slice(processes::FILE);
    if let Some(len) = map_file(&path, AT, FILE_BYTES_MAX) {
        LEN.store(len, Ordering::Relaxed);
    }
    begin(t);
    if t.clear_tid != 0 {
        // The loader's set_tid_address stored the real one there.
        write_guest_u32(t.clear_tid, t.tid as u32);
    }
}

/// Gives a process that begins its pid. (A process replay has it from the log.)
pub fn begin(t: &mut Thread) {
    let p = t.process();
    if p.mode != Mode::Network {
        return;
    }
    let entry = p.entry();
    // An exec keeps it, whoever has been told.
    t.tid = match entry.generation.load(Ordering::Relaxed) {
        0 => of_process(p, entry.key.load(Ordering::Relaxed), p.real_pid),
        _ if are_recorded(p) => shown(p.real_pid),
        _ => p.real_pid,
    };
    t.process().pid = t.tid;
}

/// The pid to show for a process that was just created.
pub fn of_process(p: &Process, key: u64, real: i32) -> i32 {
    if !are_recorded(p) {
        return real;
    }
    let pids = &arena::header().net.pids;
    match processes::pid(words(), key) {
        Some(shown) if pids.real(shown).is_none_or(|other| other == real || !lives(other)) => {
            pids.set(shown, real);
            shown
        }
        _ => of_thread(p, real),
    }
}

fn lives(real: i32) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { sys!(libc::SYS_kill, real, 0) != -i64::from(libc::ESRCH) }
}

/// Lets a child that is about to execute its first program stand for the recorded one that
/// executed the same: its clocks, its seed, and its pid if nobody has been told another one yet.
/// The key that it had until now.
pub fn before_exec(t: &mut Thread, row: &Row, args: &[u64; 6]) -> u64 {
    let p = t.process();
    let entry = p.entry();
    let [key, parent] = [&entry.key, &entry.parent_key].map(|key| key.load(Ordering::Relaxed));
    let first = entry.generation.load(Ordering::Relaxed) == 0 && parent != 0;
    let Some(argv) = arguments_at(row.nr).filter(|_| first && p.mode == Mode::Network) else {
        return key;
    };
    let count = record::collect(t, row, args, 0);
    let mut arguments = Arguments::default();
    for buf in t.bufs.iter().take(count).filter(|buf| buf.arg == argv) {
        let mut part = [0; 256];
        let mut done = 0;
        while done < buf.len as usize {
            let len = part.len().min(buf.len as usize - done);
            let Some(part) = part.get_mut(..len) else { break };
            Guest.read(buf.addr + done as u64, part);
            arguments.add(part);
            done += len;
        }
    }
    let child = (key, parent, entry.ordinal.load(Ordering::Relaxed));
    let new = stands_for(words(), &arena::header().net.claims, child, arguments.hashes());
    stand_for(t, new);
    key
}

/// The exec has failed: the process is again the one with the key that it had.
pub fn after_exec(t: &mut Thread, key: u64) {
    let p = t.process();
    let entry = p.entry();
    if p.mode == Mode::Network && entry.generation.load(Ordering::Relaxed) == 0 {
        arena::header().net.claims.release(words(), entry.key.load(Ordering::Relaxed));
        stand_for(t, key);
    }
}

fn stand_for(t: &mut Thread, key: u64) {
    let p = t.process();
    let entry = p.entry();
    if entry.key.swap(key, Ordering::AcqRel) != key && p.parent_waits {
        begin(t);
    }
}

/// The id to show for a thread that was just created, or a process that was not recorded.
pub fn of_thread(p: &Process, real: i32) -> i32 {
    if !are_recorded(p) {
        return real;
    }
    arena::header().net.pids.forget(real);
    beside(real)
}

/// Like a live id, but none of the recording's.
fn beside(real: i32) -> i32 {
    if processes::has_pid(words(), real) { real + BESIDE } else { real }
}

fn shown(real: i32) -> i32 {
    arena::header().net.pids.shown(real).unwrap_or_else(|| beside(real))
}

fn real(shown: i32) -> i32 {
    arena::header().net.pids.real(shown).unwrap_or(match shown {
        BESIDE.. => shown - BESIDE,
        _ => shown,
    })
}

/// What the kernel is to be told for an id, or negative for a process group's; 0 and -1 stand for
/// the caller and for all.
fn real_of_arg(arg: u64) -> u64 {
    match arg as i32 {
        -1 | 0 | i32::MIN => arg,
        group @ ..0 => i64::from(-real(-group)) as u64,
        pid => real(pid) as u64,
    }
}

/// Turns the guest's ids in a call's arguments into the kernel's.
pub fn before(t: &mut Thread, row: &Row, args: &mut [u64; 6]) {
    if !are_recorded(t.process()) {
        return;
    }
    let given = *args;
    for (i, (place, arg)) in args.iter_mut().zip(row.args).enumerate() {
        match arg.ty.resolve(&given) {
            Ty::Pid => *place = real_of_arg(*place),
            Ty::Path => {
                if let Some(path) = real_path(&mut t.proc_path, *place) {
                    *place = path;
                }
            }
            Ty::In(..) if row.holds_pid(i, &given) => {
                if let Some(pid) = Guest.u32(*place) {
                    t.pid_arg = real_of_arg(pid.into()) as i32;
                    *place = (&raw const t.pid_arg) as u64;
                }
            }
            _ => {}
        }
    }
}

/// Turns the kernel's ids in a call's results into the guest's.
pub fn after(t: &Thread, row: &Row, args: &[u64; 6], ret: i64) -> i64 {
    if ret < 0 || !are_recorded(t.process()) {
        return ret;
    }
    for (i, (at, arg)) in args.iter().zip(row.args).enumerate() {
        if !matches!(arg.ty.resolve(args), Ty::Out(..)) {
            continue;
        }
        if row.holds_pid(i, args) {
            show_at(*at);
        } else if row.holds_siginfo(i, args) {
            let mut info = [0; SIGINFO_BYTES];
            Guest.read(*at, &mut info);
            if let Some(offset) = siginfo_pid(&info) {
                show_at(*at + offset as u64);
            }
        }
    }
    if ret > 0 && row.gives_pid(args) { shown(ret as i32).into() } else { ret }
}

/// Turns the kernel's id at an address of the guest's.
fn show_at(at: u64) {
    if let Some(pid) = Guest.u32(at).filter(|pid| *pid as i32 > 0) {
        write_guest_u32(at, shown(pid as i32) as u32);
    }
}

/// The id to show for a child or thread that the kernel has just named.
pub fn after_clone(p: &Process, ret: i64) -> i64 {
    if ret > 0 && are_recorded(p) { shown(ret as i32).into() } else { ret }
}

/// What the guest's handler gets of a signal: the sender's id is one of the guest's.
pub fn in_siginfo(t: &Thread, mut info: [u8; 128]) -> [u8; 128] {
    if are_recorded(t.process())
        && let Some(at) = siginfo_pid(&info)
        && let Some(place) = info.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>())
    {
        *place = shown(i32::from_le_bytes(*place)).to_le_bytes();
    }
    info
}

/// The path of the files in /proc that the guest names by its ids; None if it is another one.
fn real_path(to: &mut Text<PROC_PATH_BYTES>, at: u64) -> Option<u64> {
    const PROC: &[u8] = b"/proc/";
    const TASK: &[u8] = b"/task/";
    let mut path = [0u8; PROC_PATH_BYTES - 32];
    let start = path.get_mut(..PROC.len() + 1)?;
    if at == 0 || !Guest.read(at, start) || !start.starts_with(PROC) {
        return None;
    }
    if !start.last()?.is_ascii_digit() {
        return None;
    }
    let len = Guest.string_len(at, path.len() as u32)? as usize;
    let path = path.get_mut(..len)?;
    if !Guest.read(at, path) {
        return None;
    }
    to.set(&[PROC]);
    let mut rest = real_number(to, path.get(PROC.len()..)?)?;
    if let Some(thread) = rest.strip_prefix(TASK)
        && thread.first().is_some_and(u8::is_ascii_digit)
    {
        to.push(TASK);
        rest = real_number(to, thread)?;
    }
    to.push(rest);
    to.push(&[0]);
    Some(to.get().as_ptr() as u64)
}

/// Appends the real id for the one that `text` begins with; what follows.
fn real_number<'t>(to: &mut Text<PROC_PATH_BYTES>, text: &'t [u8]) -> Option<&'t [u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    let number = core::str::from_utf8(number).ok()?.parse().ok()?;
    to.number(real(number) as u32);
    Some(rest)
}
