//! What executing a file changes in this process's rights.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use log_format::privileges::{CAPABILITY_BYTES, Caller, Effect, Marks, effect};

use crate::sys::sys;

const ST_NOSUID: u64 = 2;
/// Words of `struct statfs`, and which of them has the mount's flags.
const STATFS_WORDS: usize = 15;
const STATFS_FLAGS: usize = 10;
/// Capability numbers that the kernel may know.
const CAPABILITIES: u64 = 64;

/// What the marks of an open file come to if this process executes it.
pub fn of(fd: u64) -> Effect {
    // SAFETY: all zeros are a valid stat, which the kernel fills.
    let stat = unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        if sys!(libc::SYS_fstat, fd, &raw mut stat) != 0 {
            return Effect::None;
        }
        stat
    };
    let mut bytes = [0u8; CAPABILITY_BYTES];
    let name = c"security.capability".as_ptr();
    // SAFETY: own buffer and name; the ids only ask. An error means that there are none.
    let (len, uid, euid, gid, egid) = unsafe {
        (
            sys!(libc::SYS_fgetxattr, fd, name, bytes.as_mut_ptr(), bytes.len()),
            sys!(libc::SYS_getuid) as u32,
            sys!(libc::SYS_geteuid) as u32,
            sys!(libc::SYS_getgid) as u32,
            sys!(libc::SYS_getegid) as u32,
        )
    };
    let capabilities = bytes.get(..len.max(0) as usize).unwrap_or(&[]);
    let mut marks = Marks { mode: stat.st_mode, uid: stat.st_uid, gid: stat.st_gid, capabilities };
    let mut caller = Caller { uid, euid, gid, egid, ..Caller::default() };
    if marks.any() {
        if ignored(fd) {
            marks = Marks { mode: 0, capabilities: &[], ..marks };
        } else {
            sets(&mut caller);
        }
    }
    effect(&marks, &caller)
}

/// True if the kernel ignores all marks, for the mount's sake or the process's.
fn ignored(fd: u64) -> bool {
    let mut fs = [0u64; STATFS_WORDS];
    // SAFETY: own buffer of the structure's size, which the kernel fills; prctl only asks.
    unsafe {
        sys!(libc::SYS_fstatfs, fd, fs.as_mut_ptr()) == 0 && fs[STATFS_FLAGS] & ST_NOSUID != 0
            || sys!(libc::SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    }
}

fn sets(caller: &mut Caller) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    // Effective, permitted, inheritable: the lower halves, then the upper ones.
    let mut words = [0u32; 6];
    // SAFETY: own buffers of the sizes that this version has.
    unsafe { sys!(libc::SYS_capget, header.as_ptr(), words.as_mut_ptr()) };
    caller.permitted = u64::from(words[1]) | u64::from(words[4]) << 32;
    caller.inheritable = u64::from(words[2]) | u64::from(words[5]) << 32;
    for one in 0..CAPABILITIES {
        // SAFETY: prctl only asks.
        if unsafe { sys!(libc::SYS_prctl, libc::PR_CAPBSET_READ, one, 0, 0, 0) } == 1 {
            caller.bounding |= 1 << one;
        }
    }
}
