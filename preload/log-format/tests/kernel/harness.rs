//! Memory whose changes are seen, and calls checked with it.

use std::hash::{DefaultHasher, Hash, Hasher};

use log_format::record::Dir;
use log_format::table::{Memory, ROWS, buffers};

/// Memory of this process, read through the kernel so that a bad address is no fault.
struct Own;

impl Memory for Own {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: addr as *mut _, iov_len: into.len() };
        // SAFETY: `into` is valid for its length; the kernel checks the other side.
        let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        read == into.len() as isize
    }
}

/// Fills memory that no call has written.
const PATTERN: u8 = 0xa5;
const BYTES: usize = 1 << 20;

/// A region from which every pointer of the checked calls is taken.
pub(crate) struct Kernel {
    base: *mut u8,
    used: usize,
    /// Start and length of each buffer given out.
    given: Vec<(u64, u64)>,
}

impl Kernel {
    pub(crate) fn new() -> Kernel {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, prot, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base: *mut u8 = base.cast();
        // SAFETY: the mapping is BYTES long and writable.
        unsafe { base.write_bytes(PATTERN, BYTES) };
        Kernel { base, used: 0, given: Vec::new() }
    }

    /// A buffer of `len` bytes for the kernel to write.
    pub(crate) fn buf(&mut self, len: usize) -> u64 {
        let at = self.used;
        // A gap shows what is written behind the end.
        self.used = (at + len + 256).next_multiple_of(64);
        assert!(self.used <= BYTES, "the region is full");
        let addr = self.base as u64 + at as u64;
        self.given.push((addr, len as u64));
        addr
    }

    /// A buffer with this content.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> u64 {
        let addr = self.buf(bytes.len());
        self.set(addr, bytes);
        addr
    }

    /// A buffer with these words.
    pub(crate) fn words(&mut self, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// An fd_set of the usual size with one descriptor.
    pub(crate) fn fd_set(&mut self, fd: u32) -> u64 {
        let mut words = [0; 16];
        words[fd as usize / 64] = 1 << (fd % 64);
        self.words(&words)
    }

    /// A NUL-terminated string.
    pub(crate) fn string(&mut self, text: &str) -> u64 {
        self.put(format!("{text}\0").as_bytes())
    }

    /// Sets bytes of a buffer.
    pub(crate) fn set(&mut self, addr: u64, bytes: &[u8]) {
        let at = (addr - self.base as u64) as usize;
        assert!(at + bytes.len() <= BYTES);
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.base.add(at).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// The u32 at `addr`.
    pub(crate) fn u32(&self, addr: u64) -> u32 {
        Own.u32(addr).unwrap()
    }

    fn snapshot(&self) -> Vec<u8> {
        // SAFETY: what is given out of the mapping lies in it.
        unsafe { std::slice::from_raw_parts(self.base, self.used) }.to_vec()
    }

    /// Performs a call and checks its buffers; the result, or a negated errno.
    #[track_caller]
    pub(crate) fn call(&mut self, name: &str, args: &[u64]) -> i64 {
        let row = ROWS.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row.args.len(), args.len(), "arguments of {name}");
        let mut all = [0u64; 6];
        all[..args.len()].copy_from_slice(args);
        let before = self.snapshot();
        let nr = i64::from(row.nr);
        // SAFETY: the pointers are to the region, and the tests' calls change nothing else.
        let ret = unsafe { libc::syscall(nr, all[0], all[1], all[2], all[3], all[4], all[5]) };
        // SAFETY: errno belongs to this thread.
        let ret = if ret == -1 { -i64::from(unsafe { *libc::__errno_location() }) } else { ret };
        let after = self.snapshot();
        let mut written = Vec::new();
        buffers(row, &all, ret, &Own, &mut |buf| {
            if buf.dir == Dir::Out {
                written.push((buf.addr, u64::from(buf.len)));
            }
        });
        let base = self.base as u64;
        for (i, (was, is)) in before.iter().zip(&after).enumerate() {
            let at = base + i as u64;
            if was != is {
                let known = written.iter().any(|(from, len)| (*from..from + len).contains(&at));
                let buffer = self.given.iter().rfind(|(from, _)| *from <= at);
                assert!(
                    known,
                    "{name} = {ret} wrote at byte {:?} of a buffer, which the table does not know \
                     (it says {written:x?})",
                    buffer.map(|(from, _)| at - from)
                );
            }
        }
        // Under rr-run this line tells whether a replay gave the same bytes as the kernel did.
        let mut hash = DefaultHasher::new();
        after.hash(&mut hash);
        println!("{name} = {ret}, memory {:016x}", hash.finish());
        for (from, len) in &written {
            let inside = self.given.iter().any(|(at, size)| from >= at && from + len <= at + size);
            assert!(inside, "{name}: {len} bytes at {from:#x} reach beyond their buffer");
        }
        ret
    }

    /// As [`Kernel::call`], and the call must succeed.
    #[track_caller]
    pub(crate) fn ok(&mut self, name: &str, args: &[u64]) -> i64 {
        let ret = self.call(name, args);
        assert!(ret >= 0, "{name} gave {ret}");
        ret
    }

    /// As [`Kernel::ok`], but the machine may not have or allow the call.
    #[track_caller]
    pub(crate) fn maybe(&mut self, name: &str, args: &[u64]) -> i64 {
        let ret = self.call(name, args);
        let absent = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EOPNOTSUPP, libc::ENODATA];
        let absent = absent.iter().any(|errno| ret == -i64::from(*errno));
        assert!(ret >= 0 || absent, "{name} gave {ret}");
        ret
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing points into it any more.
        unsafe { libc::munmap(self.base.cast(), BYTES) };
    }
}

/// `-1` and the like as an argument.
pub(crate) const fn int(value: i32) -> u64 {
    value as u32 as u64
}

/// AT_FDCWD.
pub(crate) const CWD: u64 = int(libc::AT_FDCWD);
