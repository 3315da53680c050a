//! Per-thread state, reached through `%gs`, and the region it lives in.
#![allow(unsafe_code, reason = "the region's blocks and the %gs base")]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use log_format::table::BufAt;

use crate::entropy::Rng;
use crate::process::Process;
use crate::sys::sys;
use crate::text::Text;

/// Start of the shim's own memory: behind the arena, at the same place in both modes.
pub const REGION: u64 = log_format::arena::BASE + 0x8000_0000;
/// Bytes of one block (a thread's state, or a process's).
pub const BLOCK_BYTES: u64 = 256 * 1024;
/// Most blocks.
const BLOCKS: usize = 32768;
/// Blocks that are mapped at once, when those before are in use.
const BLOCKS_MAPPED: usize = 4096;
/// Start of the areas: memory of a thread for what its block has no room for.
const AREAS: u64 = REGION + BLOCKS as u64 * BLOCK_BYTES;
/// Bytes of one thread's area: more than the pointers that the kernel lets an exec pass.
const AREA_BYTES: u64 = 32 * 1024 * 1024;
/// Where in its block a thread's alternate signal stack starts, and its size.
const ALTSTACK_AT: u64 = 112 * 1024;
const ALTSTACK_BYTES: u64 = 48 * 1024;
/// Memory for building the arguments of an exec.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// Longest path in /proc whose ids are replaced, with its NUL.
pub const PROC_PATH_BYTES: usize = 320;
/// Most buffers of one call that can be logged.
pub const BUFS_MAX: usize = 1040;
/// Bytes reserved for the extended processor state.
pub const XSAVE_BYTES: usize = 16 * 1024;

/// General registers in the order of the kernel's `gregset_t`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
}

impl Regs {
    /// Those that code computes with.
    pub fn computed(&self) -> [u64; 15] {
        [
            self.r8, self.r9, self.r10, self.r11, self.r12, self.r13, self.r14, self.r15, self.rdi,
            self.rsi, self.rbp, self.rbx, self.rdx, self.rax, self.rcx,
        ]
    }
}

/// How the guest came into the shim.
pub mod entry {
    /// A trapped instruction: every register is preserved.
    pub const TRAP: u32 = 0;
    /// A patched syscall site: as a trap.
    pub const SITE: u32 = 3;
    /// A hooked libc function: result in errno's convention.
    pub const SYMBOL: u32 = 1;
    /// A patched vDSO function: result as from the kernel.
    pub const RAW: u32 = 2;
}

/// State of one guest thread.
#[repr(C)]
pub struct Thread {
    /// This structure's address: what `%gs:0` reads.
    pub this: *mut Thread,
    /// Top of the shim's stack for this thread.
    pub shim_sp: u64,
    /// The guest's registers while it is inside the shim.
    pub regs: Regs,
    /// One of [`entry`]'s values.
    pub entry: u32,
    /// 1: leave by restoring all of `regs` (a signal handler is to run).
    pub resume: u32,
    /// 1: a signal waits in `pending_info`.
    pub pending: AtomicU32,
    /// Ordinal in its process and image.
    pub ordinal: u32,
    /// The xsave area, 64-byte aligned.
    pub xsave: *mut u8,
    /// Features to save.
    pub xmask: u64,
    /// Its process.
    pub process: *mut Process,
    /// Tid as recorded.
    pub tid: i32,
    /// Tid in this run.
    pub real_tid: i32,
    /// Cleared by the kernel when the thread is gone: its block can be used again.
    pub kernel_tid: AtomicU32,
    /// Nonzero while another thread of the process creates this one.
    pub starting: u32,
    /// Address that the guest wants cleared and woken at the thread's end.
    pub clear_tid: u64,
    /// Blocked signals as the guest sees them (bit n-1: signal n).
    pub sigmask: u64,
    /// Mask to go back to after a call that set one for its own time (ppoll, sigsuspend).
    pub saved_mask: Option<u64>,
    /// The guest's alternate stack: address, flags, size.
    pub altstack: [u64; 3],
    /// Signals that the shim keeps open at the kernel, sent to the guest while it blocked them.
    pub held: u64,
    /// Their siginfo: SIGBUS, SIGSEGV, SIGSYS.
    pub held_info: [[u8; 128]; 3],
    /// Id + 1 of the timer that looks after a queued signal; 0: none.
    pub timer: i32,
    /// An id and a path that stand in for the guest's.
    pub pid_arg: i32,
    pub proc_path: Text<PROC_PATH_BYTES>,
    /// A deadline that stands in for the guest's.
    pub deadline: [u64; 4],
    /// A kick of the watchdog interrupted a call.
    pub kicked: AtomicU32,
    /// Replay: it was preempted, and runs or waits to run before the recording has it go on.
    pub owes: bool,
    /// The pending signal's siginfo.
    pub pending_info: [u8; 128],
    /// Its stream of seeded randomness.
    pub rng: Rng,
    /// Bytes of its area that are mapped.
    pub area: u64,
    /// Buffers of the call being logged.
    pub bufs: [BufAt; BUFS_MAX],
    /// Scratch for exec.
    pub scratch: [u8; SCRATCH_BYTES],
}

const _: () = assert!(size_of::<Thread>() + XSAVE_BYTES + 64 <= ALTSTACK_AT as usize);

impl Thread {
    /// The process this thread belongs to.
    pub fn process(&self) -> &'static mut Process {
        // SAFETY: set when the thread was made and valid until the process ends. Only the
        // holder of the run token uses the fields that are not atomics.
        unsafe { &mut *self.process }
    }

    fn block(&self) -> u64 {
        self as *const Thread as u64
    }

    /// Makes this thread's block known to the kernel: `%gs` base and alternate stack.
    ///
    /// # Safety
    /// Must run on the thread itself.
    pub unsafe fn enter(&mut self) {
        const ARCH_SET_GS: u64 = 0x1001;
        let stack = [self.block() + ALTSTACK_AT, 0, ALTSTACK_BYTES];
        // SAFETY: both calls only set this thread's own state; the block outlives the thread.
        unsafe {
            sys!(libc::SYS_arch_prctl, ARCH_SET_GS, self.block());
            sys!(libc::SYS_sigaltstack, stack.as_ptr(), 0);
        }
    }
}

/// The calling thread's state.
///
/// # Safety
/// `%gs` must have been set by [`Thread::enter`] on this thread.
#[inline(always)]
pub unsafe fn current() -> *mut Thread {
    let this;
    // SAFETY: %gs:0 holds the block's own address.
    unsafe { asm!("mov {}, gs:[0]", out(reg) this, options(nostack, readonly, preserves_flags)) };
    this
}

/// In use, one word per block. Lies in the shim's data, which fork copies.
static USED: [AtomicU32; BLOCKS] = [const { AtomicU32::new(0) }; BLOCKS];
/// Blocks that are mapped: those below this number.
static MAPPED: AtomicU32 = AtomicU32::new(0);
/// Blocks that have ever been in use are below this number.
static TOUCHED: AtomicU32 = AtomicU32::new(0);

/// Maps memory of the shim's own at an address that nothing else has; the kernel's result.
fn map(at: u64, len: u64) -> i64 {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: MAP_FIXED_NOREPLACE refuses to replace anything.
    unsafe { sys!(libc::SYS_mmap, at, len, prot, flags, -1, 0) }
}

/// Maps the first blocks.
///
/// # Errors
/// A sentence that says what failed.
pub fn map_region() -> Result<(), &'static [u8]> {
    if map_blocks(0) {
        Ok(())
    } else {
        Err(b"failed to reserve the shim's memory (is the address space limited?)")
    }
}

/// Maps the blocks from `first` on; false if that fails.
fn map_blocks(first: usize) -> bool {
    let at = REGION + first as u64 * BLOCK_BYTES;
    let ret = map(at, BLOCKS_MAPPED as u64 * BLOCK_BYTES);
    // There already: a process that shares this memory was faster.
    let done = ret as u64 == at || first > 0 && ret == -i64::from(libc::EEXIST);
    if done {
        MAPPED.fetch_max((first + BLOCKS_MAPPED) as u32, Ordering::AcqRel);
    }
    done
}

/// Takes an unused block; its address. Blocks of threads that are gone are used again; where none
/// is free, those that are about to go are waited for.
pub fn alloc_block() -> Option<u64> {
    const ATTEMPTS: u32 = 1000;
    for _ in 0..ATTEMPTS {
        let mut ending = false;
        let found = find_block(&mut ending);
        if found.is_some() || !ending {
            return found;
        }
        // SAFETY: takes no argument.
        unsafe { sys!(libc::SYS_sched_yield) };
    }
    None
}

/// `ending`: a block that is in use belongs to a thread that is not quite gone.
fn find_block(ending: &mut bool) -> Option<u64> {
    for (i, used) in USED.iter().enumerate() {
        if i >= MAPPED.load(Ordering::Acquire) as usize && !map_blocks(i) {
            return None;
        }
        let at = REGION + i as u64 * BLOCK_BYTES;
        match used.load(Ordering::Relaxed) {
            0 => {}
            2 => {
                // SAFETY: state 2 marks a block that was set up as a thread's.
                let gone = unsafe { (*(at as *const Thread)).kernel_tid.load(Ordering::Acquire) };
                if gone != 0 {
                    *ending = true;
                    continue;
                }
            }
            _ => continue,
        }
        let now = used.load(Ordering::Relaxed);
        if now != 1 && used.compare_exchange(now, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(at);
        }
    }
    None
}

/// Gives a block back; `thread`: only once the kernel has cleared the thread's `kernel_tid`.
pub fn free_block(at: u64, thread: bool) {
    let index = (at - REGION) / BLOCK_BYTES;
    if let Some(used) = USED.get(index as usize) {
        used.store(if thread { 2 } else { 0 }, Ordering::Release);
    }
}

/// Makes a thread's state in a fresh block.
pub fn new_thread(process: *mut Process, ordinal: u32, xmask: u64) -> Option<*mut Thread> {
    let at = alloc_block()?;
    let thread = at as *mut Thread;
    // SAFETY: the block is ours, large enough (asserted above) and zero or left by a thread
    // that is gone; every field is written before use except plain byte arrays.
    unsafe {
        core::ptr::write_bytes(at as *mut u8, 0, core::mem::offset_of!(Thread, bufs));
        let t = &mut *thread;
        t.this = thread;
        t.shim_sp = at + BLOCK_BYTES;
        t.xsave = ((at + size_of::<Thread>() as u64 + 63) & !63) as *mut u8;
        core::ptr::write_bytes(t.xsave, 0, 1024);
        t.xmask = xmask;
        t.process = process;
        t.ordinal = ordinal;
        t.altstack = [0, libc::SS_DISABLE as u64, 0];
        t.regs.rflags = 0x202;
    }
    Some(thread)
}

/// After a fork: every block but the caller's and its process's is free.
pub fn keep_only(t: &Thread) {
    let kept = [t.this as u64, t.process as u64];
    let touched = TOUCHED.load(Ordering::Relaxed) as usize;
    for (i, used) in USED.iter().enumerate().take(touched) {
        let at = REGION + i as u64 * BLOCK_BYTES;
        used.store(u32::from(kept.contains(&at)), Ordering::Relaxed);
    }
}

/// `len` bytes for the thread's own use until it gives them back: its scratch, or if that is too
/// small its area, which is mapped for it.
///
/// # Errors
/// A negated errno: E2BIG for more than an area holds, else the kernel's.
pub fn borrow(t: &mut Thread, len: usize) -> Result<&'static mut [u8], i64> {
    let (mut at, mut room) = (t.scratch.as_mut_ptr(), t.scratch.len());
    if len > room {
        let bytes = (len as u64).next_multiple_of(4096);
        if bytes > AREA_BYTES {
            return Err(-i64::from(libc::E2BIG));
        }
        let start = AREAS + (t.block() - REGION) / BLOCK_BYTES * AREA_BYTES;
        let ret = map(start, bytes);
        if ret as u64 != start {
            return Err(ret);
        }
        t.area = bytes;
        (at, room) = (start as *mut u8, bytes as usize);
    }
    // SAFETY: the scratch lives as long as the thread, the area until `give_back`; the caller has
    // no other use of the scratch meanwhile.
    Ok(unsafe { core::slice::from_raw_parts_mut(at, room) })
}

/// Ends the use of what [`borrow`] gave, if anything; also for a thread that has left the memory
/// that it shared with the caller.
pub fn give_back(t: &mut Thread) {
    if t.area > 0 {
        let start = AREAS + (t.block() - REGION) / BLOCK_BYTES * AREA_BYTES;
        // SAFETY: the area is this thread's own, and nobody uses it any more.
        unsafe { sys!(libc::SYS_munmap, start, t.area) };
        t.area = 0;
    }
}
