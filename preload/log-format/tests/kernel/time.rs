use crate::harness::{Kernel, int};

#[test]
fn clocks() {
    let mut k = Kernel::new();
    let at = k.buf(16);
    for clock in [0, 1, 2, 3, 4, 5, 6, 7, 11] {
        k.ok("clock_gettime", &[clock, at]);
        k.ok("clock_getres", &[clock, at]);
    }
    let (tv, tz, time) = (k.buf(16), k.buf(8), k.buf(8));
    k.ok("gettimeofday", &[tv, tz]);
    k.ok("time", &[time]);
    let timex = k.buf(208);
    k.set(timex, &[0; 208]);
    k.ok("adjtimex", &[timex]);
    k.set(timex, &[0; 208]);
    k.ok("clock_adjtime", &[0, timex]);
}

#[test]
fn timers() {
    let mut k = Kernel::new();
    let old = k.buf(32);
    k.ok("getitimer", &[1, old]);
    let far = k.words(&[0, 0, 1000, 0]);
    k.ok("setitimer", &[1, far, old]);
    let off = k.words(&[0; 4]);
    k.ok("setitimer", &[1, off, old]);

    let (id, event) = (k.buf(4), k.buf(64));
    k.set(event, &[0; 64]);
    k.set(event + 12, &1u32.to_le_bytes()); // SIGEV_NONE
    k.ok("timer_create", &[1, event, id]);
    let timer = k.u32(id).into();
    k.ok("timer_settime", &[timer, 0, far, old]);
    k.ok("timer_gettime", &[timer, old]);
    k.ok("timer_getoverrun", &[timer]);
    k.ok("timer_delete", &[timer]);

    let fd = k.ok("timerfd_create", &[1, 0]) as u64;
    k.ok("timerfd_settime", &[fd, 0, far, old]);
    k.ok("timerfd_gettime", &[fd, old]);
    k.ok("close", &[fd]);
}

#[test]
fn sleeps() {
    let mut k = Kernel::new();
    let (short, rest) = (k.words(&[0, 1000]), k.buf(16));
    k.ok("nanosleep", &[short, rest]);
    k.ok("clock_nanosleep", &[1, 0, short, rest]);
}

#[test]
fn a_sleep_that_a_signal_ends_gives_the_rest() {
    let mut k = Kernel::new();
    let (long, rest) = (k.words(&[100, 0]), k.buf(16));
    // SAFETY: the handler does nothing; the timer signals this thread alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
    }
    let (id, event) = (k.buf(4), k.buf(64));
    k.set(event, &[0; 64]);
    // SAFETY: gettid takes no argument.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    let (usr2, to_thread) = (libc::SIGUSR2 as u32, 4u32);
    k.set(event + 8, &usr2.to_le_bytes());
    k.set(event + 12, &to_thread.to_le_bytes());
    k.set(event + 16, &tid.to_le_bytes());
    k.ok("timer_create", &[1, event, id]);
    let timer = k.u32(id).into();
    // Again and again: the first may come before the sleep.
    let often = k.words(&[0, 20_000_000, 0, 20_000_000]);
    let eintr = -i64::from(libc::EINTR);
    k.ok("timer_settime", &[timer, 0, often, 0]);
    assert_eq!(k.call("nanosleep", &[long, rest]), eintr);
    assert_eq!(k.call("clock_nanosleep", &[1, 0, long, rest]), eintr);
    // Waits: times left, and events.
    let pipe = k.buf(8);
    k.ok("pipe", &[pipe]);
    let fd = k.u32(pipe);
    let fds = k.buf(8);
    k.set(fds, &fd.to_le_bytes());
    k.set(fds + 4, &[1, 0, 0xff, 0xff]);
    assert_eq!(k.call("poll", &[fds, 1, int(-1)]), eintr);
    k.set(fds + 6, &[0xff, 0xff]);
    let left = k.words(&[100, 0]);
    assert_eq!(k.call("ppoll", &[fds, 1, left, 0, 8]), eintr);
    let set = k.fd_set(fd);
    assert_eq!(k.call("select", &[u64::from(fd) + 1, set, 0, 0, left]), eintr);
    let set = k.fd_set(fd);
    assert_eq!(k.call("pselect6", &[u64::from(fd) + 1, set, 0, 0, left, 0]), eintr);
    k.ok("timer_delete", &[timer]);
}

extern "C" fn nothing(_: i32) {}
