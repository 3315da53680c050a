// Calls with bad pointers and bad descriptors give the kernel's errors, not a crash.
#include "guest.h"
#include <sys/epoll.h>
#include <sys/uio.h>
#include <poll.h>

#define BAD ((void *)0x10)

int main(void) {
    int fds[2];
    MUST(pipe(fds) == 0 && write(fds[1], "abc", 3) == 3);
    char buffer[16];
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(edge + 4096, 4096) == 0);
    SHOW(syscall(SYS_read, fds[0], BAD, 3));
    SHOW(syscall(SYS_read, -1, buffer, 3));
    SHOW(syscall(SYS_write, fds[1], BAD, 3));
    SHOW(syscall(SYS_write, 5000, "x", 1));
    // The kernel writes up to the end of the page.
    SHOW(syscall(SYS_read, fds[0], edge + 4094, 3));
    SHOW(syscall(SYS_open, BAD, O_RDONLY));
    SHOW(syscall(SYS_open, "", O_RDONLY));
    SHOW(syscall(SYS_open, "/etc/passwd/x", O_RDONLY));
    SHOW(syscall(SYS_openat, AT_FDCWD, BAD, O_RDONLY));
    SHOW(syscall(SYS_stat, "/", BAD));
    SHOW(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD));
    SHOW(syscall(SYS_nanosleep, BAD, NULL));
    SHOW(syscall(SYS_poll, BAD, 1, 0));
    SHOW(syscall(SYS_readv, fds[0], BAD, 1));
    SHOW(syscall(SYS_writev, fds[1], BAD, 1));
    struct iovec v[2] = {{"ok", 2}, {BAD, 2}};
    SHOW(writev(fds[1], v, 2));
    SHOW(syscall(SYS_writev, fds[1], v, 5000));
    SHOW(syscall(SYS_pipe2, BAD, 0));
    SHOW(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, BAD));
    SHOW(syscall(SYS_sendmsg, fds[0], BAD, 0));
    SHOW(syscall(SYS_recvmsg, -1, BAD, 0));
    SHOW(syscall(SYS_getrandom, BAD, 8, 0));
    SHOW(syscall(SYS_epoll_wait, fds[0], BAD, 1, 0));
    SHOW(syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8));
    SHOW(syscall(SYS_rt_sigaction, SIGKILL, NULL, NULL, 8));
    SHOW(syscall(SYS_rt_sigaction, 99, NULL, NULL, 8));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD, 8));
    SHOW(syscall(SYS_sigaltstack, BAD, NULL));
    SHOW(syscall(SYS_futex, BAD, 0, 0, NULL, NULL, 0));
    SHOW(syscall(SYS_wait4, -1, BAD, 0, NULL));
    SHOW(syscall(SYS_execve, BAD, NULL, NULL));
    SHOW(syscall(SYS_execve, "/bin/sh", BAD, NULL));
    SHOW(syscall(SYS_execve, "/etc/passwd", NULL, NULL));
    SHOW(syscall(SYS_uname, BAD));
    SHOW(syscall(SYS_getcwd, BAD, 100));
    SHOW(syscall(SYS_getcwd, buffer, 1));
    SHOW(syscall(SYS_mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW(syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
    SHOW(syscall(SYS_ioctl, fds[0], 0x5401, BAD));
    SHOW(syscall(SYS_ioctl, fds[0], 0xdeadbeef, BAD));
    SHOW(syscall(SYS_fcntl, fds[0], 9999, 0));
    SHOW(syscall(SYS_select, 10, BAD, NULL, NULL, NULL));
    SHOW(syscall(SYS_clone, 0xffffffffffffffff, 0, 0, 0, 0));
    SHOW(syscall(SYS_clone3, BAD, 64));
    SHOW(syscall(SYS_prlimit64, 0, 7, BAD, NULL));
    SHOW(syscall(500));
    SHOW(syscall(336 + 50));
    return 0;
}
