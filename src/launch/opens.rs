//! What the loader opens before the shim is there, answered by the host.
//!
//! A seccomp filter of the replay's processes stops `openat` and `readlink` until the host has
//! answered. The guest's own calls never come to it: the shim answers them from the log. Only the
//! loader's are left, which maps a program's libraries before the shim's constructor runs.
#![expect(unsafe_code, reason = "seccomp and its notifications")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{offset_of, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_IOCTL_NOTIF_ADDFD, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, SECCOMP_SET_MODE_FILTER,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE, seccomp_data, seccomp_notif, seccomp_notif_addfd,
    seccomp_notif_resp, sock_filter, sock_fprog,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Error, Result};

/// AUDIT_ARCH_X86_64 of linux/audit.h.
const X86_64: u32 = 0xc000_003e;

/// The host's and the child's end of the way by which the listener comes to the host.
///
/// # Errors
/// The system's.
pub fn channel() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::io("create a pair of sockets")(e.into()))
}

/// Installs the filter for the calling process and what it executes and creates; sends its
/// listener to the other end of `socket`. Where that is not possible, nothing is intercepted.
///
/// Between fork and exec: only system calls, no allocation.
pub fn intercept(socket: BorrowedFd<'_>) {
    let load = |at: usize| filter(BPF_LD | BPF_W | BPF_ABS, at as u32, 0, 0);
    let equal = |value: u32, yes, no| filter(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no);
    let answer = |value| filter(BPF_RET | BPF_K, value, 0, 0);
    let mut program = [
        load(offset_of!(seccomp_data, arch)),
        equal(X86_64, 0, 4),
        load(offset_of!(seccomp_data, nr)),
        equal(libc::SYS_openat as u32, 1, 0),
        equal(libc::SYS_readlink as u32, 0, 1),
        answer(SECCOMP_RET_USER_NOTIF),
        answer(SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is valid for the call, which copies it; the new descriptor is ours.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let fd =
            libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program);
        if fd < 0 {
            return;
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let _ = sendmsg(socket, &[IoSlice::new(b"l")], &mut control, SendFlags::empty());
}

fn filter(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    id: u64,
    /// Thread that makes the call.
    pub tid: u32,
    /// Syscall number.
    pub nr: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What a call is answered with.
#[derive(Debug)]
pub enum Answer {
    /// The kernel makes the call.
    Performed,
    /// This result.
    Returns(i64),
    /// A new descriptor of this file.
    Opened(OwnedFd),
}

/// The host's side of the filter.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Takes what [`intercept`] has sent; none if it could not.
    pub fn receive(socket: &OwnedFd) -> Option<Listener> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).ok()?;
        control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next().map(Listener),
            _ => None,
        })
    }

    /// Waits for the next call; none once no process with the filter is left.
    pub fn next(&self) -> Option<Asked> {
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().contains(PollFlags::IN) => {}
                Ok(_) => return None,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
            }
            // SAFETY: plain data, for which zeros are valid (and asked for by the kernel).
            let mut asked: seccomp_notif = unsafe { zeroed() };
            // SAFETY: the request writes one such structure.
            let got = unsafe {
                libc::ioctl(self.0.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked)
            };
            // A thread that was killed meanwhile asks no more.
            if got == 0 {
                let seccomp_notif { id, pid, data, .. } = asked;
                return Some(Asked { id, tid: pid, nr: data.nr.into(), args: data.args });
            }
        }
    }

    /// Answers a call.
    pub fn answer(&self, asked: &Asked, answer: Answer) {
        // SAFETY: plain data, for which zeros are valid.
        let mut reply: seccomp_notif_resp = unsafe { zeroed() };
        reply.id = asked.id;
        match answer {
            Answer::Performed => reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Answer::Returns(value) if value >= 0 => reply.val = value,
            Answer::Returns(errno) => reply.error = errno as i32,
            Answer::Opened(file) => match self.give(asked, &file) {
                Ok(fd) => reply.val = fd.into(),
                Err(e) => reply.error = -e.raw_os_error().unwrap_or(libc::EIO),
            },
        }
        // SAFETY: the request reads one such structure. It fails if the thread is gone.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, &raw mut reply) };
    }

    /// Puts a descriptor into the process that asks; its number there.
    fn give(&self, asked: &Asked, file: &OwnedFd) -> io::Result<i32> {
        let request = seccomp_notif_addfd {
            id: asked.id,
            flags: 0,
            srcfd: file.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: libc::O_CLOEXEC as u32,
        };
        // SAFETY: the request reads one such structure.
        let fd = unsafe {
            libc::ioctl(self.0.as_raw_fd(), SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request)
        };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
    }
}

const _: () = assert!(size_of::<seccomp_notif>() == 80 && size_of::<seccomp_notif_addfd>() == 24);
