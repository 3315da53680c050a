//! rr-run's shim: the shared object that runs inside every guest process.
//!
//! One call, followed:
//!
//! 1. [`start`] has mapped the arena, moved the vDSO, installed SIGSYS and armed syscall user
//!    dispatch before the guest's first own instruction.
//! 2. The guest calls `read`. If it is libc's symbol, it lands in [`symbols`]; if it is a
//!    syscall instruction, the kernel raises SIGSYS and [`trap`] redirects the thread. Either
//!    way it arrives in [`dispatch`] on the shim's own stack, outside any signal frame.
//! 3. The call's row in the table says what to do. While recording, [`record`] gives up the run
//!    token if the call may block, performs it and appends number, arguments, result and
//!    buffers by [`writer`]. On replay, [`replay`] compares the call with the log's head (read
//!    by [`cursor`]), fills the out-buffers, and never performs it.
//! 4. [`signals`] delivers what arrived meanwhile, and [`trap`] puts every register back.
//!
//! The shim is `no_std`, allocates nothing, calls nothing of libc but `__errno_location`, and
//! keeps no descriptor open.
#![no_std]
#![expect(unreachable_pub, reason = "a cdylib exports symbols, not items: `pub` means the crate")]

mod arena;
mod calls;
mod code;
mod cursor;
mod dispatch;
mod diverge;
mod entropy;
mod fds;
mod files;
mod holders;
mod intercept;
mod lending;
mod loader;
mod maps;
mod masks;
mod output;
mod patch;
mod policy;
mod process;
mod record;
mod replay;
mod signals;
mod sockets;
mod spin;
mod start;
mod symbols;
mod sys;
mod text;
mod thread;
mod token;
mod trap;
mod vdso;
mod watchdog;
mod writer;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::complain(&[b"rr-run: failed in its own code (panic); please report this\n"]);
    sys::die(125)
}
