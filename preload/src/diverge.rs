//! Tells the host of the first difference and stops.

use core::sync::atomic::Ordering;

use crate::arena;
use crate::sys::{copy_checked, futex_wake};
use crate::thread::Thread;

/// Where a call differs from the recorded one.
#[derive(Clone, Copy)]
pub struct Difference {
    /// Argument index; 255: the call as a whole.
    pub arg: u32,
    /// Offset of the first differing byte in the buffer.
    pub offset: u64,
    /// Address of the buffer.
    pub addr: u64,
    /// Its length.
    pub len: u64,
    /// Actual result, where results are compared.
    pub ret: u64,
}

impl Default for Difference {
    fn default() -> Difference {
        Difference { arg: 255, offset: 0, addr: 0, len: 0, ret: 0 }
    }
}

/// Bytes before the difference that are reported too.
const CONTEXT: u64 = 256;

/// Writes the report (the first of all processes wins) and waits for the host to end the run.
#[allow(unsafe_code, reason = "copies the differing bytes")]
pub fn report(t: &mut Thread, kind: u32, nr: u32, args: &[u64; 6], d: Difference) -> ! {
    let header = arena::header();
    let entry = &header.divergence;
    if entry.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        let p = t.process();
        entry.kind.store(kind, Ordering::Relaxed);
        entry.proc.store(p.index, Ordering::Relaxed);
        entry.thread.store(t.ordinal, Ordering::Relaxed);
        entry.step.store(p.steps.load(Ordering::Relaxed), Ordering::Relaxed);
        entry.pid.store(p.real_pid, Ordering::Relaxed);
        entry.tid.store(t.real_tid, Ordering::Relaxed);
        entry.actual_nr.store(nr, Ordering::Relaxed);
        let nargs = log_format::table::row(nr.into()).map_or(6, |row| row.args.len());
        entry.actual_nargs.store(nargs as u32, Ordering::Relaxed);
        for (to, arg) in entry.actual_args.iter().zip(args) {
            to.store(*arg, Ordering::Relaxed);
        }
        entry.arg.store(d.arg, Ordering::Relaxed);
        entry.offset.store(d.offset, Ordering::Relaxed);
        entry.actual_ret.store(d.ret, Ordering::Relaxed);
        for (to, reg) in entry.regs.iter().zip([t.regs.rip, t.regs.rsp, t.regs.rbp]) {
            to.store(reg, Ordering::Relaxed);
        }
        let start = d.offset.saturating_sub(CONTEXT);
        let len = (d.len - start.min(d.len)).min(entry.actual_bytes.len() as u64);
        // SAFETY: the target is the mapped arena; a fault in the guest's memory is caught.
        let copied = unsafe {
            let to = entry.actual_bytes.as_ptr().cast_mut().cast::<u8>();
            copy_checked(to, (d.addr + start) as *const u8, len as usize)
        };
        entry.actual_at.store(start, Ordering::Relaxed);
        entry.actual_len.store(if copied { len as u32 } else { 0 }, Ordering::Relaxed);
        entry.state.store(2, Ordering::Release);
        header.diverged.store(p.index + 1, Ordering::Release);
        futex_wake(&entry.state, u32::MAX >> 1, true);
        arena::ring();
    }
    crate::replay::park()
}
