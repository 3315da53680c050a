//! Checks that try: each in a forked child, which may die of it.
#![expect(unsafe_code, reason = "a fork, signal handlers and calls that libraries do not offer")]

use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It did what was asked.
    Worked,
    /// The kernel refused with this errno.
    Refused(Errno),
    /// It went on without the expected effect.
    NoEffect,
    /// It was killed by this signal.
    Killed(&'static str),
    /// It could not be tried.
    Untried,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Worked => f.write_str("works"),
            Outcome::Refused(e) => write!(f, "refused: {} ({e})", e.desc()),
            Outcome::NoEffect => f.write_str("accepted, and has no effect"),
            Outcome::Killed(signal) => write!(f, "a process that tried was killed by {signal}"),
            Outcome::Untried => f.write_str("could not be tried"),
        }
    }
}

/// Exit codes of children: 0 worked, an errno, or this.
const NO_EFFECT: i32 = 255;

/// Runs `body` in a child; it gives an exit code.
///
/// `body` may only make system calls and touch memory that exists: other threads' locks, the
/// allocator's among them, could be held at the time of the fork.
fn in_child(body: impl FnOnce() -> i32) -> WaitStatus {
    // SAFETY: the child runs only `body`, which by this function's contract makes system calls
    // and no allocation, and then `_exit`, which runs no handlers.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let code = body();
            // SAFETY: ends this process at once; nothing is left to run.
            unsafe { libc::_exit(code) }
        }
        Ok(ForkResult::Parent { child }) => loop {
            match waitpid(child, None) {
                Err(Errno::EINTR) => {}
                Ok(status) => return status,
                Err(_) => return WaitStatus::StillAlive,
            }
        },
        Err(_) => WaitStatus::StillAlive,
    }
}

fn outcome(status: WaitStatus) -> Outcome {
    match status {
        WaitStatus::Exited(_, 0) => Outcome::Worked,
        WaitStatus::Exited(_, NO_EFFECT) => Outcome::NoEffect,
        WaitStatus::Exited(_, errno) => Outcome::Refused(Errno::from_raw(errno)),
        WaitStatus::Signaled(_, signal, _) => Outcome::Killed(signal.as_str()),
        _ => Outcome::Untried,
    }
}

/// What the last failed call of this thread said; never 0 or [`NO_EFFECT`].
fn errno() -> i32 {
    match Errno::last_raw() {
        0 => NO_EFFECT,
        errno => errno,
    }
}

const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
const ON: u64 = 1;
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

static SELECTOR: AtomicU8 = AtomicU8::new(ALLOW);
static TRAPPED: AtomicI32 = AtomicI32::new(0);

/// Opens the gate, so that the return from this handler passes.
extern "C" fn on_sigsys(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SELECTOR.store(ALLOW, Ordering::SeqCst);
    // SAFETY: the handler is installed with SA_SIGINFO, so that the kernel gives a siginfo.
    let code = unsafe { (*info).si_code };
    TRAPPED.store(code, Ordering::SeqCst);
}

/// Arms syscall user dispatch, makes a call, and sees whether it was trapped.
pub(super) fn syscall_user_dispatch() -> Outcome {
    /// si_code of a call stopped by user dispatch.
    const SYS_USER_DISPATCH: i32 = 2;
    outcome(in_child(|| {
        // SAFETY: an all-zero sigaction is a valid one; the handler is async-signal-safe and has
        // the signature that SA_SIGINFO asks for.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigsys as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut())
        };
        if installed != 0 {
            return errno();
        }
        let selector = SELECTOR.as_ptr();
        // SAFETY: the selector is a static, readable as long as the process lives; no range of
        // addresses is exempt, and the selector still allows every call.
        let armed = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, ON, 0u64, 0u64, selector) };
        if armed != 0 {
            return errno();
        }
        SELECTOR.store(BLOCK, Ordering::SeqCst);
        // SAFETY: the call has no arguments; trapped, it is not made at all.
        unsafe { libc::syscall(libc::SYS_getppid) };
        SELECTOR.store(ALLOW, Ordering::SeqCst);
        if TRAPPED.load(Ordering::SeqCst) == SYS_USER_DISPATCH { 0 } else { NO_EFFECT }
    }))
}

/// Turns address space randomisation off.
pub(super) fn fixed_addresses() -> Outcome {
    const ASK: u64 = 0xffff_ffff;
    const ADDR_NO_RANDOMIZE: i32 = libc::ADDR_NO_RANDOMIZE;
    outcome(in_child(|| {
        // SAFETY: changes an attribute of this child that matters at its next exec only.
        let (set, now) = unsafe {
            let old = libc::personality(ASK);
            (libc::personality((old | ADDR_NO_RANDOMIZE) as u64), libc::personality(ASK))
        };
        match set {
            -1 => errno(),
            _ if now & ADDR_NO_RANDOMIZE == 0 => NO_EFFECT,
            _ => 0,
        }
    }))
}

/// Moves the vDSO and its data elsewhere, as the shim does.
pub(super) fn move_vdso() -> Outcome {
    let maps = super::text_of("/proc/self/maps");
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        Some((parse(start)?, parse(end)?))
    };
    let special = |line: &&str| line.ends_with("[vdso]");
    let Some((start, end)) = maps.lines().find(special).and_then(range) else {
        return Outcome::NoEffect;
    };
    let len = end - start;
    outcome(in_child(|| {
        // SAFETY: a new private mapping at an address of the kernel's choice, then the vDSO moved
        // over it. The child calls nothing in the vDSO afterwards.
        unsafe {
            let to = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if to == libc::MAP_FAILED {
                return errno();
            }
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let moved = libc::mremap(start as *mut libc::c_void, len, len, flags, to);
            if moved == to { 0 } else { errno() }
        }
    }))
}

/// Sets the base of %gs.
pub(super) fn segment_base() -> Outcome {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_GET_GS: i32 = 0x1004;
    static WORD: u64 = 0x5eed_5eed;
    outcome(in_child(|| {
        let base = (&raw const WORD).addr() as u64;
        let mut got = 0u64;
        // SAFETY: Rust and the C library do not use %gs on this architecture; the second call
        // writes one u64 to `got`.
        unsafe {
            if libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) != 0
                || libc::syscall(libc::SYS_arch_prctl, ARCH_GET_GS, &raw mut got) != 0
            {
                return errno();
            }
        }
        if got == base { 0 } else { NO_EFFECT }
    }))
}

/// Has the time stamp counter fault; the child dies of SIGSEGV if that works.
pub(super) fn trap_tsc() -> Outcome {
    const PR_TSC_SIGSEGV: u64 = 2;
    let status = in_child(|| {
        // SAFETY: changes this thread's right to execute rdtsc, nothing else; no core is dumped.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 0u64);
            if libc::prctl(libc::PR_SET_TSC, PR_TSC_SIGSEGV) != 0 {
                return errno();
            }
            std::hint::black_box(std::arch::x86_64::_rdtsc());
        }
        NO_EFFECT
    });
    match outcome(status) {
        Outcome::Killed("SIGSEGV") => Outcome::Worked,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_tells_how_it_ended() {
        assert_eq!(outcome(in_child(|| 0)), Outcome::Worked);
        assert_eq!(outcome(in_child(|| libc::EPERM)), Outcome::Refused(Errno::EPERM));
        assert_eq!(outcome(in_child(|| NO_EFFECT)), Outcome::NoEffect);
        let killed =
            in_child(|| nix::sys::signal::raise(nix::sys::signal::SIGKILL).map_or(1, |()| 0));
        assert_eq!(outcome(killed), Outcome::Killed("SIGKILL"));
    }
}
