use crate::harness::{Kernel, int};

#[test]
fn the_system() {
    let mut k = Kernel::new();
    let (names, info, times) = (k.buf(390), k.buf(112), k.buf(32));
    k.ok("uname", &[names]);
    k.ok("sysinfo", &[info]);
    k.ok("times", &[times]);
    let log = k.buf(4096);
    k.call("syslog", &[3, log, 4096]);
    let name = k.buf(32);
    k.call("sysfs", &[2, 0, name]);
    let (ids, size) = (k.buf(256), k.buf(4));
    k.set(size, &[0, 1, 0, 0]);
    k.maybe("lsm_list_modules", &[ids, size, 0]);
    k.set(size, &[1, 0, 0, 0]);
    k.call("lsm_list_modules", &[ids, size, 0]);
}

#[test]
fn limits_and_scheduling() {
    let mut k = Kernel::new();
    let (limit, usage) = (k.buf(16), k.buf(144));
    k.ok("getrlimit", &[7, limit]);
    k.ok("prlimit64", &[0, 3, 0, limit]);
    for who in [0, 1, int(-1)] {
        k.ok("getrusage", &[who, usage]);
    }
    let (cpus, cpu, node) = (k.buf(128), k.buf(4), k.buf(4));
    k.ok("sched_getaffinity", &[0, 128, cpus]);
    k.ok("getcpu", &[cpu, node, 0]);
    let (param, time, attr) = (k.buf(4), k.buf(16), k.buf(64));
    k.ok("sched_getparam", &[0, param]);
    k.ok("sched_rr_get_interval", &[0, time]);
    k.ok("sched_getattr", &[0, attr, 64, 0]);
    k.ok("sched_getattr", &[0, attr, 48, 0]);
}

#[test]
fn identity() {
    let mut k = Kernel::new();
    let (a, b, c) = (k.buf(4), k.buf(4), k.buf(4));
    k.ok("getresuid", &[a, b, c]);
    k.ok("getresgid", &[a, b, c]);
    let groups = k.buf(4 * 64);
    k.ok("getgroups", &[64, groups]);
    k.ok("getgroups", &[0, groups]);
    let (header, data) = (k.put(&[0x22, 5, 8, 0x20, 0, 0, 0, 0]), k.buf(24));
    k.ok("capget", &[header, data]);
    k.set(header, &[0; 8]);
    k.call("capget", &[header, data]);
    let (head, len) = (k.buf(8), k.buf(8));
    k.ok("get_robust_list", &[0, head, len]);
}

#[test]
fn prctl() {
    let mut k = Kernel::new();
    for (option, size) in [(2, 4), (16, 16), (25, 4), (37, 4), (40, 8)] {
        let out = k.buf(size);
        k.maybe("prctl", &[option, out, 0, 0, 0]);
    }
    let (cookie, name) = (k.buf(8), k.string("named"));
    // PR_SCHED_CORE_GET; PR_SET_VMA_ANON_NAME.
    k.call("prctl", &[62, 0, 0, 0, cookie]);
    k.call("prctl", &[0x5356_4d41, 0, cookie & !0xfff, 4096, name]);
    let auxv = k.buf(1024);
    k.call("prctl", &[0x4155_5856, auxv, 1024, 0, 0]);
    for code in [0x1003, 0x1021, 0x1022] {
        let out = k.buf(8);
        k.ok("arch_prctl", &[code, out]);
    }
    // ARCH_GET_GS: refused under rr-run, which uses the segment.
    let out = k.buf(8);
    k.call("arch_prctl", &[0x1004, out]);
}

#[test]
fn signals() {
    let mut k = Kernel::new();
    let (new, old) = (k.words(&[1 << 11]), k.buf(8));
    k.ok("rt_sigprocmask", &[0, new, old, 8]);
    k.ok("rt_sigpending", &[old, 8]);
    // SAFETY: tgkill of this very thread with a signal that it blocks.
    unsafe {
        let tid = libc::syscall(libc::SYS_gettid);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR2);
    }
    k.ok("rt_sigpending", &[old, 8]);
    let (info, time) = (k.buf(128), k.words(&[1, 0]));
    k.ok("rt_sigtimedwait", &[new, info, time, 8]);
    let action = k.buf(32);
    k.ok("rt_sigaction", &[12, 0, action, 8]);
    let stack = k.buf(24);
    k.ok("sigaltstack", &[0, stack]);
}

#[test]
fn children() {
    let mut k = Kernel::new();
    let (status, usage, info) = (k.buf(4), k.buf(144), k.buf(128));
    for wait in 0..2 {
        // SAFETY: the child only exits.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: ends the child without running anything of this process's.
            unsafe { libc::_exit(3) };
        }
        if wait == 0 {
            k.ok("wait4", &[int(pid), status, 0, usage]);
        } else {
            k.ok("waitid", &[1, int(pid), info, 4, usage]);
        }
    }
}

#[test]
fn a_traced_child() {
    let mut k = Kernel::new();
    // SAFETY: the child calls nothing but the kernel.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            libc::_exit(0);
        }
    }
    let status = k.buf(4);
    k.ok("wait4", &[int(pid), status, 0, 0]);
    let child = int(pid);
    let (word, regs, fp, info) = (k.buf(8), k.buf(216), k.buf(512), k.buf(128));
    k.ok("ptrace", &[12, child, 0, regs]);
    k.ok("ptrace", &[14, child, 0, fp]);
    k.ok("ptrace", &[3, child, 0, word]);
    k.ok("ptrace", &[0x4201, child, 0, word]);
    k.ok("ptrace", &[0x4202, child, 0, info]);
    k.ok("ptrace", &[0x420a, child, 8, word]);
    let call = k.buf(88);
    k.ok("ptrace", &[0x420e, child, 88, call]);
    let set = k.buf(4096);
    let iov = k.words(&[set, 4096]);
    // NT_PRSTATUS, NT_X86_XSTATE.
    k.ok("ptrace", &[0x4204, child, 1, iov]);
    let iov = k.words(&[set, 4096]);
    k.ok("ptrace", &[0x4204, child, 0x202, iov]);
    k.ok("ptrace", &[8, child, 0, 0]);
    k.ok("wait4", &[child, status, 0, 0]);
}

#[test]
fn futexes() {
    let mut k = Kernel::new();
    let word = k.put(&[0; 4]);
    const LOCK_PI: u64 = 6 | 128;
    const UNLOCK_PI: u64 = 7 | 128;
    k.ok("futex", &[word, LOCK_PI, 0, 0, 0, 0]);
    k.ok("futex", &[word, UNLOCK_PI, 0, 0, 0, 0]);
    let other = k.put(&[5, 0, 0, 0]);
    // FUTEX_WAKE_OP: set `other` to 7, wake its waiters if it was 5.
    let op = 7 << 12 | 5;
    k.ok("futex", &[word, 5 | 128, 1, 1, other, op]);
    assert_eq!(k.u32(other), 7);
    let time = k.words(&[0, 1000]);
    let timed_out = -i64::from(libc::ETIMEDOUT);
    assert_eq!(k.call("futex", &[other, 128, 7, time, 0, 0]), timed_out);
}
