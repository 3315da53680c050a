//! clone3 with other arguments than the guest's.
#![allow(unsafe_code, reason = "new threads of execution")]

use log_format::table::Row;

use crate::sys::copy_checked;
use crate::thread::Thread;

/// Bytes of `struct clone_args` that are taken over; kernels of today know 88.
const BYTES: usize = 128;

/// Words of `struct clone_args`.
pub mod word {
    /// Flags.
    pub const FLAGS: usize = 0;
    /// Where the child's tid goes in the child's memory.
    pub const CHILD_TID: usize = 2;
    /// Where it goes in the parent's.
    pub const PARENT_TID: usize = 3;
    pub(super) const STACK: usize = 5;
    pub(super) const STACK_BYTES: usize = 6;
}

/// The guest's `struct clone_args`, without its stack and the places for tids, which the shim
/// sees to.
pub struct Clone3 {
    bytes: [u8; BYTES],
    len: usize,
}

impl Clone3 {
    /// None for another call, and on replay, where the flags are not the guest's.
    pub fn of(row: &Row, args: &[u64; 6], recorded: Option<i64>) -> Option<Clone3> {
        if i64::from(row.nr) != libc::SYS_clone3 || recorded.is_some() {
            return None;
        }
        let mut copy = Clone3 { bytes: [0; BYTES], len: (args[1] as usize).min(BYTES) };
        // SAFETY: the bytes are ours; a fault in the guest's memory is caught.
        unsafe { copy_checked(copy.bytes.as_mut_ptr(), args[0] as *const u8, copy.len) };
        for zero in [word::CHILD_TID, word::PARENT_TID, word::STACK, word::STACK_BYTES] {
            copy.set(zero, 0);
        }
        Some(copy)
    }

    /// Replaces a word.
    pub fn set(&mut self, word: usize, value: u64) -> &mut Clone3 {
        if let Some(to) = self.bytes.get_mut(word * 8..word * 8 + 8) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// Makes the call.
    ///
    /// # Safety
    /// As [`crate::trap::clone`].
    pub unsafe fn call(&self, child: *mut Thread) -> i64 {
        let kernel = [self.bytes.as_ptr() as u64, self.len as u64, 0, 0, 0, 0];
        // SAFETY: as the caller vouches.
        unsafe { crate::trap::clone(libc::SYS_clone3 as u64, &kernel, child) }
    }
}
