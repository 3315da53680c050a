//! Everything in the process that refers to one socket: its descriptors, and the epoll
//! instances that watch it; and another socket put in its place.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use crate::maps::each_line;
use crate::sys::sys;

/// Most descriptors of one socket, and most epoll instances that watch it.
const HOLDERS_MAX: usize = 32;
/// `EPOLL_CTL_ADD` and `EPOLL_CTL_DEL`.
const ADD: i32 = 1;
const DEL: i32 = 2;

/// A descriptor of the socket.
#[derive(Clone, Copy, Default)]
struct Descriptor {
    fd: u64,
    cloexec: bool,
}

/// An interest in the socket.
#[derive(Clone, Copy, Default)]
struct Interest {
    epoll: u64,
    fd: u64,
    events: u32,
    data: u64,
}

/// What refers to one socket.
pub struct Holders {
    descriptors: [Descriptor; HOLDERS_MAX],
    descriptor_count: usize,
    interests: [Interest; HOLDERS_MAX],
    interest_count: usize,
    inode: u64,
}

impl Holders {
    /// Finds what refers to the socket `fd`.
    ///
    /// # Errors
    /// Why it can't be told, or that there are too many.
    pub fn of(fd: u64) -> Result<Holders, &'static [u8]> {
        let (_, inode) = stat(fd).ok_or(&b"its socket could not be looked at"[..])?;
        let mut holders = Holders {
            descriptors: [Descriptor::default(); HOLDERS_MAX],
            descriptor_count: 0,
            interests: [Interest::default(); HOLDERS_MAX],
            interest_count: 0,
            inode,
        };
        if !holders.each_descriptor() {
            return Err(b"its socket has too many descriptors, or /proc could not be read");
        }
        Ok(holders)
    }

    /// Puts the socket `new` wherever the old one is.
    pub fn replace(&self, new: u64) {
        let interests = self.interests.get(..self.interest_count).unwrap_or(&[]);
        // The interests go first: an epoll instance would keep the old socket, which lives on in
        // the host, under a descriptor that is another's.
        for one in interests {
            // SAFETY: no pointer is read for a deletion.
            unsafe { sys!(libc::SYS_epoll_ctl, one.epoll, DEL, one.fd, 0) };
        }
        for one in self.descriptors.get(..self.descriptor_count).unwrap_or(&[]) {
            let flags = if one.cloexec { libc::O_CLOEXEC } else { 0 };
            // SAFETY: only descriptors of the old socket are replaced.
            unsafe { sys!(libc::SYS_dup3, new, one.fd, flags) };
        }
        for one in interests {
            let mut event = [0u8; 12];
            event[..4].copy_from_slice(&one.events.to_le_bytes());
            event[4..].copy_from_slice(&one.data.to_le_bytes());
            // SAFETY: a packed epoll_event of ours.
            unsafe { sys!(libc::SYS_epoll_ctl, one.epoll, ADD, one.fd, event.as_ptr()) };
        }
    }

    /// Looks at all descriptors of the process; false if something did not fit.
    fn each_descriptor(&mut self) -> bool {
        const NAME_AT: usize = 19;
        let mut block = [0u8; 2048];
        // SAFETY: own buffers; the descriptor is closed.
        unsafe {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
            let dir = sys!(libc::SYS_open, c"/proc/self/fd".as_ptr(), flags);
            if dir < 0 {
                return false;
            }
            let mut fits = true;
            loop {
                let n = sys!(libc::SYS_getdents64, dir, block.as_mut_ptr(), block.len());
                if n <= 0 {
                    break;
                }
                let mut rest = block.get(..n as usize).unwrap_or(&[]);
                while let Some(len) = rest.get(16..18) {
                    let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
                    let name = rest.get(NAME_AT..len).unwrap_or(&[]);
                    if let Some(fd) = number(name, 10).filter(|fd| *fd != dir as u64) {
                        fits &= self.descriptor(fd);
                    }
                    rest = rest.get(len..).unwrap_or(&[]);
                }
            }
            sys!(libc::SYS_close, dir);
            fits && self.descriptor_count > 0
        }
    }

    fn descriptor(&mut self, fd: u64) -> bool {
        let Some((mode, inode)) = stat(fd) else { return true };
        match mode & libc::S_IFMT {
            libc::S_IFSOCK if inode == self.inode => {
                let Some(to) = self.descriptors.get_mut(self.descriptor_count) else {
                    return false;
                };
                // SAFETY: no pointer.
                let flags = unsafe { sys!(libc::SYS_fcntl, fd, libc::F_GETFD) };
                *to = Descriptor { fd, cloexec: flags & i64::from(libc::FD_CLOEXEC) != 0 };
                self.descriptor_count += 1;
                true
            }
            // The kernel's anonymous files have no type.
            0 if is_epoll(fd) => self.interests_of(fd),
            _ => true,
        }
    }

    /// Reads what an epoll instance watches:
    /// `tfd:        5 events:       1d data:  7f..  pos:0 ino:1234 sdev:8`.
    fn interests_of(&mut self, epoll: u64) -> bool {
        let mut name = [0u8; 48];
        path(b"/proc/self/fdinfo/", epoll, &mut name);
        let mut fits = true;
        let read = each_line::<160>(name.as_ptr(), |line| fits &= self.interest(epoll, line));
        read && fits
    }

    fn interest(&mut self, epoll: u64, line: &[u8]) -> bool {
        let field = |name: &[u8], base| {
            let at = line.windows(name.len()).position(|w| w == name)? + name.len();
            number(line.get(at..)?, base)
        };
        let (Some(fd), Some(events), Some(data), Some(inode)) =
            (field(b"tfd:", 10), field(b"events:", 16), field(b"data:", 16), field(b"ino:", 16))
        else {
            return true;
        };
        if inode != self.inode {
            return true;
        }
        let Some(to) = self.interests.get_mut(self.interest_count) else { return false };
        *to = Interest { epoll, fd, events: events as u32, data };
        self.interest_count += 1;
        true
    }
}

/// Mode and inode of a descriptor.
fn stat(fd: u64) -> Option<(u32, u64)> {
    // SAFETY: a buffer of ours, for which all zeros are valid.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        (sys!(libc::SYS_fstat, fd, &raw mut stat) == 0).then_some((stat.st_mode, stat.st_ino))
    }
}

fn is_epoll(fd: u64) -> bool {
    let mut name = [0u8; 48];
    path(b"/proc/self/fd/", fd, &mut name);
    let mut link = [0u8; 32];
    // SAFETY: own buffers.
    let n = unsafe { sys!(libc::SYS_readlink, name.as_ptr(), link.as_mut_ptr(), link.len()) };
    link.get(..n.max(0) as usize) == Some(b"anon_inode:[eventpoll]")
}

/// `prefix` and a number, NUL-terminated.
fn path(prefix: &[u8], fd: u64, to: &mut [u8; 48]) {
    let digits = fd.checked_ilog10().unwrap_or(0) as usize + 1;
    let (mut rest, mut end) = (fd, prefix.len() + digits);
    *to = [0; 48];
    for (to, from) in to.iter_mut().zip(prefix) {
        *to = *from;
    }
    for _ in 0..digits {
        end -= 1;
        if let Some(to) = to.get_mut(end) {
            *to = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
    }
}

/// The number at the start of `text`, blanks before it passed over.
fn number(text: &[u8], base: u32) -> Option<u64> {
    let mut value = None;
    for byte in text.iter().skip_while(|b| **b == b' ' || **b == b'\t') {
        let Some(digit) = char::from(*byte).to_digit(base) else { break };
        value = Some(value.unwrap_or(0) * u64::from(base) + u64::from(digit));
    }
    value
}
