//! Signal masks that calls carry: SIGSYS must never be blocked, and a mask that holds for one
//! call decides which signal is delivered at its end.

use log_format::table::Memory;

use crate::sys::Guest;
use crate::thread::Thread;

/// Signals that the kernel must not block while the shim is in place: SIGSYS for dispatch,
/// SIGSEGV and SIGBUS for checked copies.
pub const KEPT_OPEN: u64 =
    1 << (libc::SIGSYS - 1) | 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1);

/// Signals that nobody can block.
pub const KILL_STOP: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);

/// Replaces the mask argument of a call by `room`, a copy that keeps the shim's signals open,
/// and notes the mask as the one in force.
pub fn before(t: &mut Thread, nr: u64, real: &mut [u64; 6], room: &mut [u64; 3]) {
    let (index, in_force) = match nr as i64 {
        libc::SYS_ppoll => (3, true),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => (4, true),
        libc::SYS_rt_sigsuspend => (0, true),
        libc::SYS_rt_sigtimedwait => (0, false),
        libc::SYS_signalfd => (1, false),
        libc::SYS_signalfd4 => (1, false),
        libc::SYS_pselect6 => {
            // A structure of pointer and length.
            let at = real[5];
            let Some(pointer) = Guest.u64(at).filter(|p| at != 0 && *p != 0) else { return };
            let Some(mask) = Guest.u64(pointer) else { return };
            set(t, mask, true);
            room[0] = mask & !KEPT_OPEN;
            room[1] = room.as_ptr() as u64;
            room[2] = Guest.u64(at + 8).unwrap_or(8);
            real[5] = room.as_ptr() as u64 + 8;
            return;
        }
        _ => return,
    };
    let Some(mask) = real.get(index).filter(|at| **at != 0).and_then(|at| Guest.u64(*at)) else {
        return;
    };
    set(t, mask, in_force);
    room[0] = mask & !KEPT_OPEN;
    if let Some(arg) = real.get_mut(index) {
        *arg = room.as_ptr() as u64;
    }
}

fn set(t: &mut Thread, mask: u64, in_force: bool) {
    if in_force {
        t.saved_mask = Some(t.sigmask);
        t.sigmask = mask & !KILL_STOP;
    }
}

/// Ends the mask of one call that no handler has taken over.
pub fn after(t: &mut Thread) {
    if let Some(mask) = t.saved_mask.take() {
        t.sigmask = mask;
    }
}
