use std::fs::{self, File};
use std::os::fd::AsRawFd;

use crate::harness::{CWD, Kernel, int};

const PAGE: u64 = 4096;

fn fd(file: &File) -> u64 {
    file.as_raw_fd() as u64
}

/// A file of a page, and its path.
fn file(dir: &tempfile::TempDir) -> (File, String) {
    let path = dir.path().join("file");
    fs::write(&path, vec![b'x'; PAGE as usize]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (file, path.to_str().unwrap().to_owned())
}

#[test]
fn attributes() {
    let mut k = Kernel::new();
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = file(&dir);
    let path = k.string(&path);
    let stat = k.buf(144);
    k.ok("stat", &[path, stat]);
    k.ok("lstat", &[path, stat]);
    k.ok("fstat", &[fd(&file), stat]);
    k.ok("newfstatat", &[CWD, path, stat, 0]);
    let statx = k.buf(256);
    k.ok("statx", &[CWD, path, 0, 0xfff, statx]);
    let statfs = k.buf(120);
    k.ok("statfs", &[path, statfs]);
    k.ok("fstatfs", &[fd(&file), statfs]);
    let root = k.string("/");
    let device = fs::metadata("/").map(|m| std::os::unix::fs::MetadataExt::dev(&m)).unwrap();
    let ustat = k.buf(32);
    k.call("ustat", &[device, ustat]);
    let (range, stats) = (k.words(&[0, 0]), k.buf(40));
    k.maybe("cachestat", &[fd(&file), range, stats, 0]);

    let (handle, mount) = (k.buf(8 + 128), k.buf(8));
    k.set(handle, &[0; 8]);
    let overflow = k.call("name_to_handle_at", &[CWD, root, handle, mount, 0]);
    if overflow == -i64::from(libc::EOVERFLOW) {
        k.call("name_to_handle_at", &[CWD, root, handle, mount, 0]);
        k.call("name_to_handle_at", &[CWD, root, handle, mount, 1]);
    }

    let (name, value, list) = (k.string("user.rr"), k.put(b"value"), k.buf(256));
    if k.maybe("setxattr", &[path, name, value, 5, 0]) == 0 {
        let got = k.buf(64);
        assert_eq!(k.ok("getxattr", &[path, name, got, 64]), 5);
        k.ok("fgetxattr", &[fd(&file), name, got, 0]);
        k.ok("listxattr", &[path, list, 256]);
        let (target, args) = (k.buf(64), k.buf(16));
        k.set(args, &target.to_le_bytes());
        k.set(args + 8, &[64, 0, 0, 0, 0, 0, 0, 0]);
        k.maybe("getxattrat", &[CWD, path, 0, name, args, 16]);
        k.maybe("listxattrat", &[CWD, path, 0, list, 256]);
    }
    let attr = k.buf(24);
    k.set(attr, &[0; 24]);
    k.maybe("file_getattr", &[CWD, path, attr, 24, 0]);
}

#[test]
fn names() {
    let mut k = Kernel::new();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
    let link = k.string(dir.path().join("link").to_str().unwrap());
    let buf = k.buf(4096);
    assert_eq!(k.ok("readlink", &[link, buf, 4096]), 6);
    assert_eq!(k.ok("readlinkat", &[CWD, link, buf, 3]), 3);
    k.ok("getcwd", &[buf, 4096]);
    let open = File::open(dir.path()).unwrap();
    let entries = k.buf(4096);
    k.ok("getdents64", &[fd(&open), entries, 4096]);
    k.ok("lseek", &[fd(&open), 0, 0]);
    k.ok("getdents", &[fd(&open), entries, 4096]);
}

#[test]
fn data() {
    let mut k = Kernel::new();
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = file(&dir);
    let (one, two) = (k.buf(100), k.buf(100));
    let iov = k.words(&[one, 40, two, 100]);
    k.ok("read", &[fd(&file), one, 100]);
    k.ok("pread64", &[fd(&file), one, 100, PAGE - 10]);
    k.ok("readv", &[fd(&file), iov, 2]);
    k.ok("preadv", &[fd(&file), iov, 2, PAGE - 50, 0]);
    k.ok("preadv2", &[fd(&file), iov, 2, 0, 0, 0]);
    k.ok("process_vm_readv", &[u64::from(std::process::id()), iov, 2, iov, 1, 0]);
    k.ok("writev", &[fd(&file), iov, 2]);
    let to = File::create(dir.path().join("to")).unwrap();
    let (from_at, to_at) = (k.words(&[8]), k.words(&[0]));
    k.ok("sendfile", &[fd(&to), fd(&file), from_at, 16]);
    k.maybe("copy_file_range", &[fd(&file), from_at, fd(&to), to_at, 16, 0]);
    let pipe = k.buf(8);
    k.ok("pipe2", &[pipe, libc::O_NONBLOCK as u64]);
    let (reads, writes) = (k.u32(pipe).into(), k.u32(pipe + 4).into());
    k.ok("splice", &[fd(&file), from_at, writes, 0, 16, 0]);
    // Both directions of vmsplice.
    let text = k.put(b"spliced");
    let source = k.words(&[text, 7]);
    k.ok("vmsplice", &[writes, source, 1, 0]);
    k.ok("vmsplice", &[reads, iov, 2, 0]);
    let lock = k.buf(32);
    k.set(lock, &[0; 32]);
    k.set(lock, &[1]);
    k.ok("fcntl", &[fd(&file), libc::F_GETLK as u64, lock]);
    k.set(lock, &[0; 32]);
    k.set(lock, &[1]);
    k.ok("fcntl", &[fd(&file), libc::F_OFD_GETLK as u64, lock]);
    let (owner, hint, uids) = (k.buf(8), k.buf(8), k.buf(8));
    k.ok("fcntl", &[fd(&file), 16, owner]);
    k.ok("fcntl", &[fd(&file), 1035, hint]);
    k.call("fcntl", &[fd(&file), 17, uids]);
    k.ok("fcntl", &[fd(&file), 3, 0]);
    let name = k.string(&path);
    k.ok("access", &[name, 4]);
}

#[test]
fn memory() {
    let mut k = Kernel::new();
    let vec = k.buf(3);
    let page = k.buf(0) & !(PAGE - 1);
    k.ok("mincore", &[page, PAGE * 2 + 1, vec]);
    let (mode, nodes) = (k.buf(4), k.buf(128));
    k.maybe("get_mempolicy", &[mode, nodes, 1024, 0, 0]);
    let (pages, status) = (k.words(&[page, page + PAGE]), k.buf(8));
    k.maybe("move_pages", &[0, 2, pages, 0, status, 0]);
    let random = k.buf(33);
    k.ok("getrandom", &[random, 33, 0]);
}

#[test]
fn waiting() {
    let mut k = Kernel::new();
    let pipe = k.buf(8);
    k.ok("pipe", &[pipe]);
    let (reads, writes) = (k.u32(pipe), k.u32(pipe + 4));
    let fds = k.buf(16);
    k.set(fds, &[0xff; 16]);
    k.set(fds, &reads.to_le_bytes());
    k.set(fds + 4, &[1, 0]);
    k.set(fds + 8, &writes.to_le_bytes());
    k.set(fds + 12, &[4, 0]);
    assert_eq!(k.ok("poll", &[fds, 2, 0]), 1);
    let time = k.words(&[0, 5000]);
    k.ok("ppoll", &[fds, 2, time, 0, 8]);
    k.ok("ppoll", &[fds, 1, time, 0, 8]);
    let time = k.words(&[0, 5000]);
    let (r, w, x) = (k.fd_set(reads), k.fd_set(writes), k.fd_set(writes));
    k.ok("select", &[u64::from(writes) + 1, r, w, x, time]);
    let time = k.words(&[0, 5000]);
    let mask = k.words(&[0]);
    let pair = k.words(&[mask, 8]);
    k.ok("pselect6", &[u64::from(writes) + 1, r, w, x, time, pair]);
    let epoll = k.ok("epoll_create1", &[0]) as u64;
    let event = k.put(&[4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    k.ok("epoll_ctl", &[epoll, 1, writes.into(), event]);
    let events = k.buf(12 * 4);
    assert_eq!(k.ok("epoll_wait", &[epoll, events, 4, 0]), 1);
    assert_eq!(k.ok("epoll_pwait", &[epoll, events, 4, 0, mask, 8]), 1);
    assert_eq!(k.maybe("epoll_pwait2", &[epoll, events, 4, time, mask, 8]), 1);
}

#[test]
fn devices() {
    let mut k = Kernel::new();
    // SAFETY: posix_openpt has no preconditions.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) } as u64;
    let word = k.buf(4);
    k.ok("ioctl", &[master, libc::TIOCGPTN, word]);
    k.set(word, &[0; 4]);
    k.ok("ioctl", &[master, libc::TIOCSPTLCK, word]);
    for request in [0x8004_5438u64, 0x8004_5439, 0x8004_5440, 0x8004_5432] {
        k.ok("ioctl", &[master, request, word]);
    }
    let slave = k.ok("ioctl", &[master, 0x5441, (libc::O_RDWR | libc::O_NOCTTY) as u64]) as u64;
    let (termios, termios2, size) = (k.buf(36), k.buf(44), k.buf(8));
    k.ok("ioctl", &[slave, libc::TCGETS, termios]);
    k.ok("ioctl", &[slave, libc::TCSETS, termios]);
    k.ok("ioctl", &[slave, 0x802c_542a, termios2]);
    let termio = k.buf(18);
    k.ok("ioctl", &[slave, 0x5405, termio]);
    k.ok("ioctl", &[slave, libc::TIOCGWINSZ, size]);
    for request in [libc::FIONREAD, libc::TIOCOUTQ, libc::TIOCGETD] {
        k.ok("ioctl", &[slave, request, word]);
    }
    k.call("ioctl", &[slave, libc::TIOCGPGRP, word]);
    k.call("ioctl", &[slave, libc::TIOCGSID, word]);

    let dir = tempfile::tempdir().unwrap();
    let (file, _) = file(&dir);
    let (flags, version, size) = (k.buf(8), k.buf(8), k.buf(8));
    k.call("ioctl", &[fd(&file), 0x8008_6601, flags]);
    k.call("ioctl", &[fd(&file), 0x8008_7601, version]);
    k.ok("ioctl", &[fd(&file), 2, flags]);
    k.ok("ioctl", &[fd(&file), libc::FIONREAD, flags]);
    k.ok("ioctl", &[fd(&file), 0x5460, size]);
    let extents = k.buf(32 + 4 * 56);
    k.set(extents, &[0; 32]);
    k.set(extents + 8, &u64::MAX.to_le_bytes());
    k.set(extents + 24, &[4, 0, 0, 0]);
    k.call("ioctl", &[fd(&file), 0xc020_660b, extents]);
    let xattr = k.buf(28);
    k.call("ioctl", &[fd(&file), 0x801c_581f, xattr]);
    let random = File::open("/dev/random").unwrap();
    k.ok("ioctl", &[fd(&random), 0x8004_5200, word]);
    let null = k.call("ioctl", &[int(-1), libc::TCGETS, termios]);
    assert_eq!(null, -i64::from(libc::EBADF));
}

#[test]
fn mounts() {
    let mut k = Kernel::new();
    let root = k.string("/");
    let statx = k.buf(256);
    // STATX_MNT_ID_UNIQUE.
    k.ok("statx", &[CWD, root, 0, 0x4000, statx]);
    let id: Vec<u8> = (0..8).map(|i| (k.u32(statx + 144 + i) & 0xff) as u8).collect();
    let id = u64::from_le_bytes(id.try_into().unwrap());
    let request = k.words(&[24, id, 0x3f]);
    let (mount, list) = (k.buf(8192), k.buf(64 * 8));
    k.maybe("statmount", &[request, mount, 8192, 0]);
    // LSMT_ROOT.
    let request = k.words(&[24, u64::MAX, 0]);
    k.maybe("listmount", &[request, list, 64, 0]);
}
