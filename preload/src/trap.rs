//! Ways into the shim and out of it: the SIGSYS trap, the symbols' entry, and the exit.
//!
//! A trapped syscall goes like this. The kernel raises SIGSYS; [`on_sigsys`] copies the guest's
//! registers to the thread's block, points the interrupted context at `rr_trap_entry` on the
//! shim's own stack and returns, so that no signal frame stays while the call is handled.
//! `rr_trap_entry` saves the vector state, calls [`crate::dispatch::rr_dispatch`], and
//! `rr_exit` puts every register back.
#![allow(unsafe_code, reason = "entry and exit")]

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use log_format::table::Memory;

use crate::process::Process;
use crate::sys::Guest;
use crate::thread::{Regs, Thread, current, entry};

/// Of pthread.h.
const PTHREAD_CANCEL_ASYNCHRONOUS: u32 = 1;

macro_rules! at {
    ($field:ident) => {
        offset_of!(Thread, regs) + offset_of!(Regs, $field)
    };
}

/// Stores the registers that hold a call's number and arguments, and those that a function keeps.
macro_rules! save_registers {
    () => {
        concat!(
            "mov gs:[{RAX}], rax\n",
            "mov gs:[{RDI}], rdi\n",
            "mov gs:[{RSI}], rsi\n",
            "mov gs:[{RDX}], rdx\n",
            "mov gs:[{R10}], r10\n",
            "mov gs:[{R8}], r8\n",
            "mov gs:[{R9}], r9\n",
            "mov gs:[{RBX}], rbx\n",
            "mov gs:[{RBP}], rbp\n",
            "mov gs:[{R12}], r12\n",
            "mov gs:[{R13}], r13\n",
            "mov gs:[{R14}], r14\n",
            "mov gs:[{R15}], r15\n",
        )
    };
}

global_asm!(
    // Nonzero once the constructor has run; before, symbols make plain syscalls.
    ".section .data.rr_ready, \"aw\"",
    ".globl rr_ready",
    ".hidden rr_ready",
    "rr_ready: .long 0",
    ".text",
    ".globl rr_trap_entry, rr_site_entry, rr_exit, rr_exit_vectors",
    ".globl rr_symbol_entry, rr_cancel_entry, rr_raw_entry, rr_restorer",
    ".globl rr_symbol_return, rr_symbol_restart, rr_raw_return, rr_raw_restart",
    ".hidden rr_trap_entry, rr_site_entry, rr_exit, rr_exit_vectors",
    ".hidden rr_symbol_entry, rr_cancel_entry, rr_raw_entry, rr_restorer",
    ".hidden rr_symbol_return, rr_symbol_restart, rr_raw_return, rr_raw_restart",
    // -- from a patched site: number in eax, rcx behind the site. The red zone is the guest's.
    "rr_site_entry:",
    "mov gs:[{RSP}], rsp",
    "mov rsp, gs:[{SHIM_SP}]",
    "pushfq",
    "pop qword ptr gs:[{RFLAGS}]",
    "mov gs:[{RIP}], rcx",
    "mov gs:[{RCX}], rcx",
    save_registers!(),
    "mov dword ptr gs:[{ENTRY}], {SITE}",
    // -- from SIGSYS: all of gs:regs is filled, rsp is the shim's stack.
    "rr_trap_entry:",
    "cld",
    "mov rbx, gs:[0]",
    "mov rcx, [rbx + {XSAVE}]",
    "mov eax, [rbx + {XMASK}]",
    "mov edx, [rbx + {XMASK} + 4]",
    "xsaveopt64 [rcx]",
    "mov rdi, rbx",
    "call {dispatch}",
    // -- leave with vectors and registers from the thread's block.
    "rr_exit_vectors:",
    "mov rbx, gs:[0]",
    "mov rcx, [rbx + {XSAVE}]",
    "mov eax, [rbx + {XMASK}]",
    "mov edx, [rbx + {XMASK} + 4]",
    "xrstor64 [rcx]",
    "rr_exit:",
    "push qword ptr gs:[{RFLAGS}]",
    "popfq",
    "mov r8, gs:[{R8}]",
    "mov r9, gs:[{R9}]",
    "mov r10, gs:[{R10}]",
    "mov r11, gs:[{R11}]",
    "mov r12, gs:[{R12}]",
    "mov r13, gs:[{R13}]",
    "mov r14, gs:[{R14}]",
    "mov r15, gs:[{R15}]",
    "mov rdi, gs:[{RDI}]",
    "mov rsi, gs:[{RSI}]",
    "mov rbp, gs:[{RBP}]",
    "mov rbx, gs:[{RBX}]",
    "mov rdx, gs:[{RDX}]",
    "mov rax, gs:[{RAX}]",
    "mov rcx, gs:[{RCX}]",
    "mov rsp, gs:[{RSP}]",
    "jmp qword ptr gs:[{RIP}]",
    // -- from a hooked libc function that is a cancellation point. Once there are threads, it does
    // as libc's own: a request that stands is obeyed, and one that comes meanwhile is sent as a
    // signal, whose handler unwinds from here. The unwinder needs the frame's description.
    ".cfi_startproc",
    "rr_cancel_entry:",
    "cmp dword ptr [rip + rr_ready], 0",
    "je rr_symbol_entry",
    "mov r11, gs:[{PROCESS}]",
    "cmp dword ptr [r11 + {STARTED}], 1",
    "jbe rr_symbol_entry",
    "mov r11, [rip + pthread_setcanceltype@GOTPCREL]",
    "test r11, r11",
    "je rr_symbol_entry",
    "sub rsp, 72",
    ".cfi_adjust_cfa_offset 72",
    "mov [rsp + 8], rax",
    "mov [rsp + 16], rdi",
    "mov [rsp + 24], rsi",
    "mov [rsp + 32], rdx",
    "mov [rsp + 40], r10",
    "mov [rsp + 48], r8",
    "mov [rsp + 56], r9",
    "mov edi, {ASYNCHRONOUS}",
    "mov rsi, rsp",
    "call r11",
    "mov rax, [rsp + 8]",
    "mov rdi, [rsp + 16]",
    "mov rsi, [rsp + 24]",
    "mov rdx, [rsp + 32]",
    "mov r10, [rsp + 40]",
    "mov r8, [rsp + 48]",
    "mov r9, [rsp + 56]",
    "call rr_symbol_entry",
    "mov [rsp + 8], rax",
    "mov edi, [rsp]",
    "xor esi, esi",
    "call [rip + pthread_setcanceltype@GOTPCREL]",
    "mov rax, [rsp + 8]",
    "add rsp, 72",
    ".cfi_adjust_cfa_offset -72",
    "ret",
    ".cfi_endproc",
    ".weak pthread_setcanceltype",
    // -- from a hooked libc function: number in eax, arguments as the kernel takes them.
    ".cfi_startproc",
    "rr_symbol_restart:",
    "rr_symbol_entry:",
    "cmp dword ptr [rip + rr_ready], 0",
    "je 8f",
    "lea r11, [rip + rr_symbol_return]",
    "mov dword ptr gs:[{ENTRY}], {SYMBOL}",
    "jmp 7f",
    "8:",
    "syscall",
    "jmp rr_symbol_return",
    "rr_raw_restart:",
    "rr_raw_entry:",
    "cmp dword ptr [rip + rr_ready], 0",
    "je 9f",
    "lea r11, [rip + rr_raw_return]",
    "mov dword ptr gs:[{ENTRY}], {RAW}",
    "7:",
    // The flags of the call before may still stand there (a trap keeps the direction flag).
    "mov qword ptr gs:[{RFLAGS}], 0x202",
    "mov gs:[{RIP}], r11",
    save_registers!(),
    "mov gs:[{RSP}], rsp",
    "mov rdi, gs:[0]",
    "mov rsp, gs:[{SHIM_SP}]",
    "call {dispatch}",
    "cmp dword ptr gs:[{RESUME}], 0",
    "jne rr_exit",
    "mov rax, gs:[{RAX}]",
    "mov r11, gs:[{RIP}]",
    "mov rsp, gs:[{RSP}]",
    "jmp r11",
    "9:",
    "syscall",
    "rr_raw_return:",
    "ret",
    // -- errno's convention.
    "rr_symbol_return:",
    "cmp rax, -4095",
    "jae 6f",
    "ret",
    "6:",
    "push rbx",
    ".cfi_adjust_cfa_offset 8",
    "mov rbx, rax",
    "neg ebx",
    "mov rax, [rip + __errno_location@GOTPCREL]",
    "test rax, rax",
    "je 5f",
    "call rax",
    "mov [rax], ebx",
    "5:",
    "mov rax, -1",
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_endproc",
    ".weak __errno_location",
    // -- return from the shim's own signal handlers.
    "rr_restorer:",
    "mov eax, 15",
    "syscall",
    dispatch = sym crate::dispatch::rr_dispatch,
    XSAVE = const offset_of!(Thread, xsave),
    XMASK = const offset_of!(Thread, xmask),
    ENTRY = const offset_of!(Thread, entry),
    PROCESS = const offset_of!(Thread, process),
    STARTED = const offset_of!(Process, threads_started),
    ASYNCHRONOUS = const PTHREAD_CANCEL_ASYNCHRONOUS,
    RESUME = const offset_of!(Thread, resume),
    SHIM_SP = const offset_of!(Thread, shim_sp),
    SITE = const entry::SITE,
    SYMBOL = const entry::SYMBOL,
    RAW = const entry::RAW,
    R8 = const at!(r8), R9 = const at!(r9), R10 = const at!(r10), R11 = const at!(r11),
    R12 = const at!(r12), R13 = const at!(r13), R14 = const at!(r14), R15 = const at!(r15),
    RDI = const at!(rdi), RSI = const at!(rsi), RBP = const at!(rbp), RBX = const at!(rbx),
    RDX = const at!(rdx), RAX = const at!(rax), RCX = const at!(rcx), RSP = const at!(rsp),
    RIP = const at!(rip), RFLAGS = const at!(rflags),
);

// A syscall that a signal can interrupt without being lost: between the check of `pending` and
// the instruction, the signal handler moves the thread to the abort path.
global_asm!(
    ".globl rr_call_begin, rr_call_end, rr_call_abort, rr_call",
    ".hidden rr_call_begin, rr_call_end, rr_call_abort, rr_call",
    "rr_call:", // rdi: number, rsi: arguments
    "mov rax, rdi",
    "mov rdi, [rsi]",
    "mov rdx, [rsi + 16]",
    "mov r10, [rsi + 24]",
    "mov r8, [rsi + 32]",
    "mov r9, [rsi + 40]",
    "mov rsi, [rsi + 8]",
    "rr_call_begin:",
    "cmp dword ptr gs:[{PENDING}], 0",
    "jne rr_call_abort",
    "syscall",
    "rr_call_end:",
    "ret",
    "rr_call_abort:",
    "mov rax, -512",
    "ret",
    PENDING = const offset_of!(Thread, pending),
);

// clone and its kin: the child continues on its own block, whose address is in r12.
global_asm!(
    ".globl rr_clone",
    ".hidden rr_clone",
    "rr_clone:", // rdi: number, rsi: arguments, rdx: block of the child
    "push r12",
    "mov r12, rdx",
    "mov rax, rdi",
    "mov rdi, [rsi]",
    "mov rdx, [rsi + 16]",
    "mov r10, [rsi + 24]",
    "mov r8, [rsi + 32]",
    "mov r9, [rsi + 40]",
    "mov rsi, [rsi + 8]",
    "syscall",
    "test rax, rax",
    "je 2f",
    "pop r12",
    "ret",
    "2:",
    "mov rdi, r12",
    "mov rsp, [r12 + {SHIM_SP}]",
    "xor ebp, ebp",
    "call {child}",
    "jmp rr_exit_vectors",
    SHIM_SP = const offset_of!(Thread, shim_sp),
    child = sym crate::calls::threads::rr_child,
);

#[expect(improper_ctypes, reason = "the assembly only passes the address on")]
unsafe extern "C" {
    static rr_ready: u32;
    fn rr_trap_entry();
    fn rr_site_entry();
    fn rr_symbol_restart();
    fn rr_raw_restart();
    fn rr_restorer();
    fn rr_call(nr: u64, args: *const u64) -> i64;
    fn rr_clone(nr: u64, args: *const u64, child: *mut Thread) -> i64;
    static rr_call_begin: u8;
    static rr_call_end: u8;
    static rr_call_abort: u8;
    // Provided by the linker.
    static __ehdr_start: u8;
    static etext: u8;
}

/// Result of a call that must be made again after a handler has run (the kernel's ERESTARTSYS).
pub const RESTART: i64 = -512;

/// A syscall that returns [`RESTART`] if a signal is pending or arrives before it starts.
pub fn interruptible(t: &Thread, nr: u64, args: &[u64; 6]) -> i64 {
    loop {
        // SAFETY: a syscall on behalf of the guest, with the guest's arguments.
        let ret = unsafe { rr_call(nr, args.as_ptr()) };
        // The watchdog's signal found the thread in a call: not the guest's business.
        let kicked = ret == -i64::from(libc::EINTR) && t.kicked.swap(0, Ordering::Relaxed) != 0;
        if !kicked || t.pending.load(Ordering::Relaxed) != 0 {
            return ret;
        }
    }
}

/// If a signal found `rip` before or at the syscall of [`interruptible`]: where to go instead.
pub fn abort_call(rip: u64) -> Option<u64> {
    let begin = &raw const rr_call_begin as u64;
    let end = &raw const rr_call_end as u64;
    (begin..end).contains(&rip).then_some(&raw const rr_call_abort as u64)
}

/// True if a signal found `rip` behind the syscall of [`interruptible`]: the call's end follows.
pub fn after_call(rip: u64) -> bool {
    rip == &raw const rr_call_end as u64
}

/// Creates a thread or process that starts in [`crate::calls::threads::rr_child`].
///
/// # Safety
/// `child` must be a block that no other thread uses; the arguments must make the child start
/// with the caller's stack pointer (no stack of its own), which it leaves at once.
pub unsafe fn clone(nr: u64, args: &[u64; 6], child: *mut Thread) -> i64 {
    // SAFETY: as the caller vouches.
    unsafe { rr_clone(nr, args.as_ptr(), child) }
}

/// Start and length of the shim's text: what syscall user dispatch lets through.
pub fn text() -> (u64, u64) {
    let start = &raw const __ehdr_start as u64;
    (start, &raw const etext as u64 - start)
}

/// True if `addr` lies in the shim.
pub fn in_shim(addr: u64) -> bool {
    let (start, len) = text();
    addr.wrapping_sub(start) < len
}

/// Opens the symbols' way into the shim.
pub fn set_ready() {
    // SAFETY: the word lies in the shim's data and is only read elsewhere.
    unsafe { (&raw const rr_ready).cast_mut().write_volatile(1) };
}

/// Address of the restorer for the shim's own handlers.
pub fn restorer() -> u64 {
    rr_restorer as *const () as u64
}

/// Puts the thread's registers back to the start of its call, to make it again.
pub fn rewind(t: &mut Thread, nr: u64) {
    const SYSCALL_BYTES: u64 = 2;
    t.regs.rax = nr;
    match t.entry {
        entry::TRAP | entry::SITE => t.regs.rip -= SYSCALL_BYTES,
        entry::SYMBOL => t.regs.rip = rr_symbol_restart as *const () as u64,
        _ => t.regs.rip = rr_raw_restart as *const () as u64,
    }
}

/// Where the stubs of patched sites go.
pub fn site_entry() -> u64 {
    rr_site_entry as *const () as u64
}

/// Where a signal handler sends a thread that has to make a call for a trapped instruction.
pub fn trap_entry() -> u64 {
    rr_trap_entry as *const () as u64
}

/// Start of `ucontext_t.uc_mcontext.gregs`, and of what follows, in the kernel's layout.
pub mod uc {
    /// uc_stack: address, flags, size.
    pub const STACK: usize = 16;
    /// gregs[23] in the order of [`crate::thread::Regs`], then segments, error, trap number,
    /// old mask and cr2.
    pub const GREGS: usize = 40;
    /// Pointer to the floating point state.
    pub const FPSTATE: usize = 224;
    /// uc_sigmask.
    pub const SIGMASK: usize = 296;
    /// Bytes of the kernel's `struct ucontext`.
    pub const BYTES: usize = 304;
}

/// si_code of a dispatched syscall.
const SYS_USER_DISPATCH: i32 = 2;

/// True if a syscall was dispatched while another SIGSYS was pending: the kernel queues a signal
/// once, so that the first one's siginfo is all that comes, and the call has not been made.
fn dispatch_was_lost(t: &Thread, gregs: &Regs) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let mut before = [0u8; 2];
    // The instruction leaves its successor's address in rcx. A thread that is just back from its
    // last call looks the same, but for that call's registers.
    gregs.rcx == gregs.rip
        && !in_shim(gregs.rip)
        && Guest.read(gregs.rip - 2, &mut before)
        && before == SYSCALL
        && Regs { rflags: t.regs.rflags, ..*gregs } != t.regs
}

/// The handler of SIGSYS.
///
/// # Safety
/// Called by the kernel with a valid siginfo and ucontext.
pub unsafe extern "C" fn on_sigsys(sig: i32, info: *mut u8, context: *mut u8) {
    // SAFETY: the kernel gives valid pointers; %gs is set on every thread that can get here.
    unsafe {
        let code = info.add(8).cast::<i32>().read();
        let gregs = context.add(uc::GREGS).cast::<Regs>();
        let t = &mut *current();
        if code != SYS_USER_DISPATCH {
            let lost = dispatch_was_lost(t, &*gregs);
            if !crate::watchdog::is_kick(info) {
                crate::signals::on_signal(sig, info, context);
            } else if !lost {
                crate::signals::on_kick(t, context);
            }
            if !lost {
                return;
            }
        }
        t.regs = *gregs;
        t.entry = entry::TRAP;
        (*gregs).rip = rr_trap_entry as *const () as u64;
        (*gregs).rsp = t.shim_sp;
    }
}
