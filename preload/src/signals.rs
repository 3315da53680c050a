//! Signals: kept until a call's end, delivered there, the same way in both modes.
//!
//! The kernel only ever knows the shim's handlers. An asynchronous signal is queued in its
//! thread's block and, at the end of the current or next call, logged and delivered by a frame
//! that the shim builds as the kernel would. A fault of the guest's own instruction is
//! delivered at once.
#![allow(unsafe_code, reason = "signal frames")]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use log_format::arena::{Mode, proc_state};
use log_format::record::{Kind, SIGNAL_BYTES, flag};

use crate::process::SigAction;
use crate::sys::{copy_checked, sys, write_guest};
use crate::thread::{Regs, Thread, XSAVE_BYTES, current, entry};
use crate::trap::{self, uc};
use crate::{arena, lending, record, replay, watchdog};

const SIG_IGN: u64 = 1;
/// `struct siginfo` and the frame's head.
const INFO_BYTES: usize = 128;
const FRAME_BYTES: u64 = 8 + uc::BYTES as u64 + INFO_BYTES as u64;
/// Where `struct _fpx_sw_bytes` lies in the floating point state, and its marks.
const SW_BYTES_AT: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// cs 0x33, ss 0x2b.
const SEGMENTS: u64 = 0x002b_0000_0000_0033;
/// UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS.
const UC_FLAGS: u64 = 7;

/// Size of the extended state that is saved, bytes; features saved.
static XSTATE_BYTES: AtomicU32 = AtomicU32::new(0);
static XFEATURES: AtomicU64 = AtomicU64::new(0);

/// Finds which processor state exists; the features to save.
pub fn detect_xstate() -> u64 {
    const AMX: u64 = 3 << 17;
    let (low, high): (u32, u32);
    // SAFETY: xgetbv(0) is allowed where xsave64 is, which every x86-64 with AVX has.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    let features = (u64::from(low) | u64::from(high) << 32) & !AMX;
    let known = &crate::arena::header().xstate_bytes;
    let mut bytes = known.load(Ordering::Relaxed);
    if bytes == 0 {
        bytes = 576;
        for i in 2..63 {
            if features >> i & 1 != 0 {
                let part = core::arch::x86_64::__cpuid_count(0xd, i);
                bytes = bytes.max(part.eax + part.ebx);
            }
        }
        known.store(bytes, Ordering::Relaxed);
    }
    XSTATE_BYTES.store(bytes.min(XSAVE_BYTES as u32), Ordering::Relaxed);
    XFEATURES.store(features, Ordering::Relaxed);
    features
}

/// Installs one of the shim's handlers at the kernel.
pub fn install(sig: u64, flags: u64) {
    const SA_RESTORER: u64 = 0x0400_0000;
    let handler = if sig == libc::SIGSYS as u64 {
        trap::on_sigsys as *const () as u64
    } else {
        on_signal as *const () as u64
    };
    let action = SigAction {
        handler,
        flags: flags | libc::SA_SIGINFO as u64 | libc::SA_ONSTACK as u64 | SA_RESTORER,
        restorer: trap::restorer(),
        mask: u64::MAX,
    };
    kernel_action(sig, &action);
}

fn kernel_action(sig: u64, action: &SigAction) {
    // SAFETY: the action is valid; handlers stay in place for the life of the process.
    unsafe { sys!(libc::SYS_rt_sigaction, sig, core::ptr::from_ref(action), 0, 8) };
}

/// Signals that an instruction can raise.
fn synchronous(sig: i32) -> bool {
    matches!(sig, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP)
}

/// The shim's handler of every signal.
///
/// # Safety
/// Called by the kernel with valid pointers, on a thread whose `%gs` is set.
pub unsafe extern "C" fn on_signal(sig: i32, info: *mut u8, context: *mut u8) {
    // SAFETY: the kernel gives valid pointers, and each field is at its place in the ABI.
    unsafe {
        let t = &mut *current();
        let code = info.add(8).cast::<i32>().read();
        let gregs = &mut *context.add(uc::GREGS).cast::<Regs>();
        let mask = &mut *context.add(uc::SIGMASK).cast::<u64>();
        if synchronous(sig) && code > 0 {
            if let Some(go_on) = crate::sys::copy_fault(gregs.rip) {
                gregs.rip = go_on;
            } else if trap::in_shim(gregs.rip) {
                crate::sys::complain(&[b"rr-run: failed in its own code; please report this\n"]);
                crate::sys::die(125);
            } else if !crate::calls::time::trapped_tsc(t, sig, gregs) {
                fault(t, sig, info, context, gregs, mask);
            }
            return;
        }
        if t.process().mode == Mode::Replay {
            return;
        }
        // Only one is queued: the rest stays with the kernel until this one is delivered.
        if t.pending.load(Ordering::Acquire) == 0 {
            copy_checked(t.pending_info.as_mut_ptr(), info, INFO_BYTES);
            t.pending.store(1, Ordering::Release);
        } else {
            // The guest's mask was told to the kernel after the first had come.
            let mut second = [0; INFO_BYTES];
            copy_checked(second.as_mut_ptr(), info, INFO_BYTES);
            match held_index(sig) {
                Some(index) => hold(t, sig, index, &second),
                None => give_back(t, sig, &second),
            }
        }
        *mask |= !crate::masks::KEPT_OPEN;
        if let Some(abort) = trap::abort_call(gregs.rip) {
            gregs.rip = abort;
        } else if !trap::after_call(gregs.rip) {
            // In the shim, its last look at what is pending may lie behind.
            watchdog::signal_waits(t);
        }
    }
}

/// Delivers a fault of the guest's own instruction.
unsafe fn fault(
    t: &mut Thread,
    sig: i32,
    info: *const u8,
    context: *mut u8,
    gregs: &mut Regs,
    mask: &mut u64,
) {
    lending::settle(t);
    let action = action(t, sig);
    let blocked = t.sigmask >> (sig - 1) & 1 != 0;
    let mut body = [0; SIGNAL_BYTES - 8];
    // SAFETY: the kernel's siginfo has 128 bytes.
    unsafe { copy_checked(body.as_mut_ptr(), info, INFO_BYTES) };
    if action.handler <= SIG_IGN || blocked {
        end_by_signal(t, sig);
    }
    signal_record(t, sig, flag::SYNCHRONOUS, &body);
    // SAFETY: as the caller's.
    unsafe { interrupt(t, sig, &body, context, gregs, mask) };
}

/// Sends the interrupted thread into the guest's handler, at the instruction it has reached.
unsafe fn interrupt(
    t: &mut Thread,
    sig: i32,
    info: &[u8; INFO_BYTES],
    context: *mut u8,
    gregs: &mut Regs,
    mask: &mut u64,
) {
    // SAFETY: FPSTATE holds the kernel's pointer to the state it saved.
    let state = unsafe { context.add(uc::FPSTATE).cast::<*const u8>().read() };
    t.regs = *gregs;
    // SAFETY: err, trapno, oldmask and cr2 follow the general registers and the segments.
    let extra = unsafe { context.add(uc::GREGS + 19 * 8).cast::<[u64; 4]>().read() };
    if push_frame(t, sig, info, &extra, State::Kernel(state)) {
        *gregs = t.regs;
        *mask = kernel_mask(t);
    } else {
        end_by_signal(t, libc::SIGSEGV);
    }
}

/// The watchdog's signal, or the timer of one that waits: the thread makes no call.
///
/// # Safety
/// Called from the handler of SIGSYS with its context.
pub unsafe fn on_kick(t: &mut Thread, context: *mut u8) {
    // SAFETY: as in `on_signal`.
    let (gregs, mask) = unsafe {
        (&mut *context.add(uc::GREGS).cast::<Regs>(), &mut *context.add(uc::SIGMASK).cast::<u64>())
    };
    if watchdog::ours(gregs.rip) {
        t.kicked.store(1, Ordering::Relaxed);
        return;
    }
    if t.process().mode == Mode::Replay {
        lending::kicked(t, gregs);
        return;
    }
    let info = t.pending_info;
    let sig = i32::from_le_bytes([info[0], info[1], info[2], info[3]]);
    let blocked = t.sigmask >> (sig.max(1) - 1) & 1 != 0;
    if t.pending.load(Ordering::Acquire) == 0 {
        watchdog::kicked(t, gregs);
    } else if !blocked && action(t, sig).handler > SIG_IGN {
        t.pending.store(0, Ordering::Release);
        watchdog::signal_delivered(t);
        record::bytes(t, Kind::Signal, flag::INEXACT, [sig as u32, 0], &info);
        // SAFETY: as the caller's.
        unsafe { interrupt(t, sig, &info, context, gregs, mask) };
    }
}

/// Ends the process by a signal's default action.
pub fn end_by_signal(t: &mut Thread, sig: i32) -> ! {
    end_by(t, sig, 0)
}

fn end_by(t: &mut Thread, sig: i32, flags: u8) -> ! {
    if t.process().mode == Mode::Replay {
        let header = replay::peek(t);
        if header.kind == Kind::Exit {
            replay::take_words(t);
        }
        t.process().entry().status.store(sig as u32, Ordering::Release);
        replay::end_of_log(t);
    }
    record::words(t, Kind::Exit, flags, &[sig as u64]);
    let entry = t.process().entry();
    entry.status.store(sig as u32, Ordering::Release);
    entry.state.store(proc_state::EXITED, Ordering::Release);
    crate::token::abandon(t.process());
    arena::ring();
    let default = SigAction::default();
    kernel_action(sig as u64, &default);
    let none = 0u64;
    // SAFETY: own signal state; tgkill targets this thread.
    unsafe {
        sys!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, 8);
        sys!(libc::SYS_tgkill, t.process().real_pid, t.real_tid, sig);
    }
    crate::sys::die(128 + sig as u32)
}

fn action(t: &Thread, sig: i32) -> SigAction {
    t.process().actions.get(sig as usize).copied().unwrap_or_default()
}

/// The mask that the kernel has: the guest's, with the shim's signals open. On replay nothing
/// is blocked: the user's interrupt must get through, and no other signal comes.
pub fn kernel_mask(t: &Thread) -> u64 {
    if t.process().mode == Mode::Replay { 0 } else { t.sigmask & !crate::masks::KEPT_OPEN }
}

/// Tells the kernel the guest's mask.
pub fn apply_mask(t: &Thread) {
    let mask = kernel_mask(t);
    // SAFETY: the mask is valid for the call.
    unsafe { sys!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, 8) };
}

fn signal_record(t: &mut Thread, sig: i32, flags: u8, info: &[u8]) {
    if t.process().mode == Mode::Replay {
        let header = replay::peek(t);
        if header.kind == Kind::Signal && header.thread == t.ordinal as u16 {
            replay::take_words(t);
        } else {
            let args = [sig as u64, 0, 0, 0, 0, 0];
            let nr = 0x1_0000 | Kind::Signal as u32;
            let d = crate::diverge::Difference::default();
            crate::diverge::report(t, log_format::arena::divergence::CALL, nr, &args, d);
        }
    } else {
        record::bytes(t, Kind::Signal, flags, [sig as u32, 0], info);
    }
}

/// The end of a call: deliver what is pending, let others run if they have waited long.
pub fn boundary(t: &mut Thread) {
    if t.process().mode == Mode::Replay {
        return replay_boundary(t);
    }
    while t.pending.load(Ordering::Acquire) != 0 {
        deliver_pending(t);
    }
    if t.held != 0 {
        deliver_held(t);
    }
    if watchdog::is_wanted(t) {
        watchdog::let_others_run(t);
    }
}

fn deliver_pending(t: &mut Thread) {
    let info = t.pending_info;
    t.pending.store(0, Ordering::Release);
    watchdog::signal_delivered(t);
    arrived(t, &info, 0);
    apply_mask(t);
}

/// A signal has come to the guest: deliver it, keep it while it is blocked, or do what its
/// action says.
fn arrived(t: &mut Thread, info: &[u8; INFO_BYTES], flags: u8) {
    let sig = i32::from_le_bytes([info[0], info[1], info[2], info[3]]);
    let action = action(t, sig);
    let blocked = t.sigmask >> (sig - 1) & 1 != 0;
    let kept_open = held_index(sig);
    match (blocked, action.handler, kept_open) {
        (false, 2.., _) => {
            record::bytes(t, Kind::Signal, flags, [sig as u32, 0], info);
            deliver(t, sig, info);
        }
        (true, _, Some(index)) => hold(t, sig, index, info),
        (false, SIG_IGN, Some(_)) => {}
        (false, _, Some(_)) => end_by(t, sig, flag::KILLED),
        // The guest has blocked it, or changed its action, since it came: the kernel keeps it or
        // does what the action says.
        _ => give_back(t, sig, info),
    }
}

/// Keeps a signal that the kernel never blocks until the guest can have it.
fn hold(t: &mut Thread, sig: i32, index: usize, info: &[u8; INFO_BYTES]) {
    t.held |= 1 << (sig - 1);
    if let Some(held) = t.held_info.get_mut(index) {
        *held = *info;
    }
}

/// Sends a signal that has come to this thread again, as it was.
fn give_back(t: &Thread, sig: i32, info: &[u8; INFO_BYTES]) {
    // SAFETY: a signal with its own siginfo, to this very thread.
    unsafe {
        let pid = t.process().real_pid;
        sys!(libc::SYS_rt_tgsigqueueinfo, pid, t.real_tid, sig, info.as_ptr());
    }
}

/// Index in `held_info` of a signal that the kernel never blocks for the shim's sake.
fn held_index(sig: i32) -> Option<usize> {
    [libc::SIGBUS, libc::SIGSEGV, libc::SIGSYS].iter().position(|s| *s == sig)
}

/// Delivers what was held and is not blocked any more.
fn deliver_held(t: &mut Thread) {
    for sig in [libc::SIGBUS, libc::SIGSEGV, libc::SIGSYS] {
        let bit = 1 << (sig - 1);
        if t.held & bit != 0
            && t.sigmask & bit == 0
            && let Some(info) = held_index(sig).and_then(|i| t.held_info.get(i)).copied()
        {
            t.held &= !bit;
            arrived(t, &info, 0);
        }
    }
}

fn replay_boundary(t: &mut Thread) {
    while let Some((kind, thread, flags)) = replay::next_kind(t) {
        if thread != t.ordinal as u16 {
            return;
        }
        match kind {
            Kind::Signal if flags & flag::SYNCHRONOUS == 0 => {
                let mut info = [0; INFO_BYTES];
                let cursor = &mut t.process().cursor;
                cursor.skip(8);
                let sig = cursor.word() as u32 as i32;
                cursor.bytes(&mut info);
                replay::step(t);
                deliver(t, sig, &info);
            }
            Kind::Exit if flags & flag::KILLED != 0 => {
                let sig = replay::take_words(t) as u32;
                t.process().entry().status.store(sig, Ordering::Release);
                replay::end_of_log(t);
            }
            Kind::Yield if flags & flag::FAIRNESS != 0 => {
                replay::take_words(t);
                crate::token::give_up(t);
                crate::token::take(t);
                replay::take_words(t);
            }
            Kind::Note => {
                replay::take_words(t);
            }
            Kind::Preempt => {
                // Somewhere before its next call; threads that wait for their turn see to it.
                t.process().holder.store(t.real_tid as u32, Ordering::Relaxed);
                t.process().preempt_due.store(1, Ordering::Release);
                return;
            }
            _ => return,
        }
    }
    if replay::at_end(t) {
        // It was killed before its next call, and might compute for ever.
        replay::end_of_log(t);
    }
}

fn deliver(t: &mut Thread, sig: i32, info: &[u8; INFO_BYTES]) {
    if matches!(t.entry, entry::SYMBOL | entry::RAW) && t.resume == 0 {
        // Came by a function call: the vector registers are the caller's to lose, but the
        // frame wants a state to restore.
        save_vectors(t);
    }
    if push_frame(t, sig, info, &[0; 4], State::Saved) {
        t.resume = 1;
    } else {
        end_by_signal(t, libc::SIGSEGV);
    }
}

fn save_vectors(t: &mut Thread) {
    let (low, high) = (t.xmask as u32, (t.xmask >> 32) as u32);
    // SAFETY: the area is aligned and large enough for the features of xmask.
    unsafe { asm!("xsave64 [{}]", in(reg) t.xsave, in("eax") low, in("edx") high) };
}

/// Where a frame's vector state comes from.
enum State {
    /// The thread's xsave area.
    Saved,
    /// What the kernel saved in the frame of the shim's handler.
    Kernel(*const u8),
}

/// True if a stack pointer lies on the guest's alternate stack.
pub fn on_altstack(t: &Thread, sp: u64) -> bool {
    t.altstack[1] & libc::SS_DISABLE as u64 == 0
        && sp.wrapping_sub(t.altstack[0] + 1) < t.altstack[2]
}

/// Builds the kernel's `rt_sigframe` for the guest's handler and points the registers at it.
/// False if the stack can't take it.
fn push_frame(
    t: &mut Thread,
    sig: i32,
    info: &[u8; INFO_BYTES],
    extra: &[u64; 4],
    state: State,
) -> bool {
    const RED_ZONE: u64 = 128;
    let info = &crate::calls::pids::in_siginfo(t, *info);
    let action = action(t, sig);
    let mut sp = t.regs.rsp - RED_ZONE;
    let onstack = action.flags & libc::SA_ONSTACK as u64 != 0;
    if onstack && t.altstack[1] & libc::SS_DISABLE as u64 == 0 && !on_altstack(t, t.regs.rsp) {
        sp = t.altstack[0] + t.altstack[2];
    }
    let mut xbytes = u64::from(XSTATE_BYTES.load(Ordering::Relaxed));
    if let State::Kernel(from) = state {
        // SAFETY: the kernel's frame holds its software bytes.
        xbytes = unsafe { u64::from(from.add(SW_BYTES_AT + 16).cast::<u32>().read()) };
    }
    let state_at = (sp - xbytes - 4) & !63;
    let frame = ((state_at - FRAME_BYTES) & !15) - 8;
    let from = match state {
        State::Saved => t.xsave.cast_const(),
        State::Kernel(from) => from,
    };
    // SAFETY: both sources hold `xbytes`; a fault on the guest's stack is caught.
    if !unsafe { copy_checked(state_at as *mut u8, from, xbytes as usize) } {
        return false;
    }
    let mut software = [0u8; 48];
    software[..4].copy_from_slice(&MAGIC1.to_le_bytes());
    software[4..8].copy_from_slice(&(xbytes as u32 + 4).to_le_bytes());
    software[8..16].copy_from_slice(&XFEATURES.load(Ordering::Relaxed).to_le_bytes());
    software[16..20].copy_from_slice(&(xbytes as u32).to_le_bytes());
    let mut ok = write_guest(state_at + SW_BYTES_AT as u64, &software)
        && write_guest(state_at + xbytes, &MAGIC2.to_le_bytes());
    let old_mask = t.saved_mask.take().unwrap_or(t.sigmask);
    let mut words = [0u64; FRAME_BYTES as usize / 8];
    words[0] = action.restorer;
    let context = &mut words[1..];
    context[0] = UC_FLAGS;
    context[2..5].copy_from_slice(&t.altstack);
    let r = &t.regs;
    let gregs = [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
        r.rax, r.rcx, r.rsp, r.rip, r.rflags, SEGMENTS, extra[0], extra[1], extra[2], extra[3],
    ];
    context[uc::GREGS / 8..uc::GREGS / 8 + gregs.len()].copy_from_slice(&gregs);
    context[uc::FPSTATE / 8] = state_at;
    context[uc::SIGMASK / 8] = old_mask;
    for (i, word) in words.iter().enumerate() {
        ok &= write_guest(frame + i as u64 * 8, &word.to_le_bytes());
    }
    let info_at = frame + 8 + uc::BYTES as u64;
    ok &= write_guest(info_at, info);
    if !ok {
        return false;
    }
    t.sigmask |= action.mask;
    if action.flags & libc::SA_NODEFER as u64 == 0 {
        t.sigmask |= 1 << (sig - 1);
    }
    if action.flags & libc::SA_RESETHAND as u64 != 0 {
        set_action(t, sig, SigAction::default());
    }
    const DIRECTION_TRAP_RESUME: u64 = 0x1_0500;
    t.regs = Regs {
        rip: action.handler,
        rsp: frame,
        rdi: sig as u64,
        rsi: info_at,
        rdx: frame + 8,
        rax: 0,
        rflags: t.regs.rflags & !DIRECTION_TRAP_RESUME,
        ..t.regs
    };
    true
}

/// rt_sigreturn: takes everything back from the frame at the guest's stack pointer.
pub fn sigreturn(t: &mut Thread) {
    let context = t.regs.rsp;
    let mut bytes = [0u8; uc::BYTES];
    // SAFETY: `bytes` is ours; a fault in the guest's memory is caught.
    if !unsafe { copy_checked(bytes.as_mut_ptr(), context as *const u8, bytes.len()) } {
        end_by_signal(t, libc::SIGSEGV);
    }
    let word = |at: usize| {
        let mut w = [0; 8];
        w.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(w)
    };
    // SAFETY: Regs is 18 words of plain data, which `bytes` has at GREGS.
    t.regs = unsafe { bytes.as_ptr().add(uc::GREGS).cast::<Regs>().read_unaligned() };
    t.altstack = [word(uc::STACK), word(uc::STACK + 8) & 0xffff_ffff, word(uc::STACK + 16)];
    t.sigmask = word(uc::SIGMASK) & !crate::masks::KILL_STOP;
    let state = word(uc::FPSTATE);
    if state != 0 {
        let mut software = [0u8; 20];
        let from = (state + SW_BYTES_AT as u64) as *const u8;
        // SAFETY: as above.
        unsafe { copy_checked(software.as_mut_ptr(), from, software.len()) };
        let n = |at: usize| {
            u32::from_le_bytes([software[at], software[at + 1], software[at + 2], software[at + 3]])
        };
        let full = n(0) == MAGIC1 && n(16) <= XSAVE_BYTES as u32;
        let bytes = if full { n(16) } else { 512 };
        // SAFETY: the area has XSAVE_BYTES; a fault in the guest's memory is caught.
        unsafe {
            copy_checked(t.xsave, state as *const u8, bytes as usize);
            if !full {
                // Legacy state only: x87 and SSE.
                t.xsave.add(512).cast::<u64>().write(3);
                t.xsave.add(520).cast::<[u64; 7]>().write([0; 7]);
            }
        }
    }
    t.entry = entry::TRAP;
    // A handler that ran after a hooked function returns through the vectors' exit all the
    // same: the frame's state is in the xsave area now.
    if t.process().mode != Mode::Replay {
        apply_mask(t);
    }
}

/// Changes a signal's action, at the kernel too while recording.
pub fn set_action(t: &mut Thread, sig: i32, action: SigAction) {
    let p = t.process();
    if let Some(slot) = p.actions.get_mut(sig as usize) {
        *slot = action;
    }
    if matches!(sig, libc::SIGSYS | libc::SIGSEGV | libc::SIGBUS) {
        return;
    }
    if p.mode == Mode::Replay {
        // Only faults happen on replay.
        if synchronous(sig) {
            if action.handler > SIG_IGN {
                install(sig as u64, 0);
            } else {
                kernel_action(sig as u64, &SigAction::default());
            }
        }
        return;
    }
    if action.handler > SIG_IGN {
        let kept = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
        install(sig as u64, action.flags & kept as u64);
    } else {
        const SA_RESTORER: u64 = 0x0400_0000;
        let action = SigAction {
            flags: action.flags & !(libc::SA_ONSTACK as u64) | SA_RESTORER,
            restorer: trap::restorer(),
            ..action
        };
        kernel_action(sig as u64, &action);
    }
}

/// Reads the actions and the mask that the process was started with.
pub fn inherit(t: &mut Thread) {
    let p = t.process();
    for sig in 1..=64u64 {
        let mut action = SigAction::default();
        // SAFETY: the buffer is valid for one action.
        unsafe { sys!(libc::SYS_rt_sigaction, sig, 0, &raw mut action, 8) };
        if let Some(slot) = p.actions.get_mut(sig as usize) {
            *slot = action;
        }
    }
    let mut mask = 0u64;
    // SAFETY: the buffer is valid.
    unsafe { sys!(libc::SYS_rt_sigprocmask, 0, 0, &raw mut mask, 8) };
    t.sigmask = mask;
}
