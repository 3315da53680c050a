//! Keeps a thread that makes no call from starving the others.

use core::sync::atomic::Ordering;

use crate::thread::Thread;

/// Called by a thread that has waited long for the token: the holder gives it up at its next
/// call.
pub fn waited(t: &Thread) {
    t.process().wanted.store(1, Ordering::Release);
}

/// At a call's end, when another thread has waited long: gives the token up and takes it again.
pub fn let_others_run(t: &mut Thread) {
    use log_format::record::{Kind, flag};
    let p = t.process();
    p.wanted.store(0, Ordering::Release);
    let nothing = [0, 0];
    crate::record::words(t, Kind::Yield, flag::FAIRNESS, &nothing);
    let grants = p.grants.load(Ordering::Acquire);
    crate::token::release(p);
    for _ in 0..100 {
        if p.grants.load(Ordering::Acquire) != grants {
            break;
        }
        // SAFETY: sched_yield takes no argument.
        #[allow(unsafe_code, reason = "a raw syscall")]
        unsafe {
            crate::sys::sys!(libc::SYS_sched_yield)
        };
    }
    crate::token::acquire(t);
    crate::record::words(t, Kind::Yield, flag::FAIRNESS | flag::COMPLETES, &nothing);
}
