// covers: pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait
// covers: epoll_pwait epoll_pwait2 splice tee vmsplice sendfile eventfd eventfd2 timerfd_create
// covers: timerfd_settime timerfd_gettime ioctl
#include "guest.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

static void *writer(void *fd) {
    for (int i = 0; i < 5; i++) {
        sleep_ms(3);
        char text[64];
        int len = snprintf(text, sizeof text, "message %d at %lld", i, now_ns());
        MUST(write((int)(long)fd, text, len) == len);
    }
    close((int)(long)fd);
    return NULL;
}

static void feed(int *fds, pthread_t *thread) {
    MUST(pipe2(fds, O_NONBLOCK) == 0);
    MUST(pthread_create(thread, NULL, writer, (void *)(long)fds[1]) == 0);
}

// Reads to the end with `wait` before each read.
static void drain(const char *how, int (*wait)(int fd)) {
    int fds[2];
    pthread_t thread;
    feed(fds, &thread);
    char text[256];
    for (;;) {
        int ready = wait(fds[0]);
        ssize_t n = read(fds[0], text, sizeof text);
        if (n == 0) break;
        if (n < 0) {
            MUST(errno == EAGAIN);
            continue;
        }
        say("%s: ready %d: %.*s", how, ready, (int)n, text);
    }
    pthread_join(thread, NULL);
    close(fds[0]);
}

static int with_poll(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return syscall(SYS_poll, &p, 1, 1000);
}
static int with_ppoll(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    struct timespec t = {1, 0};
    return ppoll(&p, 1, &t, NULL);
}
static int with_select(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval t = {1, 0};
    int n = syscall(SYS_select, fd + 1, &set, NULL, NULL, &t);
    say("left %ld us, set %d", (long)t.tv_usec, FD_ISSET(fd, &set));
    return n;
}
static int with_pselect(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timespec t = {1, 0};
    return pselect(fd + 1, &set, NULL, NULL, &t, NULL);
}
static int epoll_of(int fd) {
    int e = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, fd, &event) == 0);
    return e;
}
static int with_epoll(int fd) {
    int e = epoll_of(fd);
    struct epoll_event events[4];
    int n = syscall(SYS_epoll_wait, e, events, 4, 1000);
    if (n > 0) say("events %x data %lx", events[0].events, (long)events[0].data.u64);
    close(e);
    return n;
}
static int with_epoll_pwait(int fd) {
    int e = epoll_of(fd);
    struct epoll_event events[4];
    sigset_t none;
    sigemptyset(&none);
    int n = epoll_pwait(e, events, 4, 1000, &none);
    close(e);
    return n;
}
static int with_epoll_pwait2(int fd) {
    int e = epoll_of(fd);
    struct epoll_event events[4];
    struct timespec t = {1, 0};
    int n = syscall(SYS_epoll_pwait2, e, events, 4, &t, NULL, 0);
    close(e);
    return n;
}

static void timeouts(void) {
    int fds[2];
    MUST(syscall(SYS_pipe, fds) == 0);
    struct pollfd p = {fds[0], POLLIN, 0};
    SHOW(poll(&p, 1, 5));
    SHOW(poll(NULL, 0, 1));
    p.fd = 777;
    SHOW(poll(&p, 1, 5));
    say("revents %x", p.revents);
    struct timeval t = {0, 2000};
    SHOW(select(0, NULL, NULL, NULL, &t));
    close(fds[1]);
    p.fd = fds[0];
    SHOW(poll(&p, 1, -1));
    say("revents %x", p.revents);
    signal(SIGPIPE, SIG_IGN);
    int back[2];
    MUST(pipe(back) == 0);
    close(back[0]);
    SHOW(write(back[1], "x", 1));
}

static void moving(void) {
    int a[2], b[2];
    MUST(pipe(a) == 0 && pipe(b) == 0);
    struct iovec v = {"gift of bytes", 13};
    SHOW(vmsplice(a[1], &v, 1, 0));
    SHOW(tee(a[0], b[1], 100, 0));
    char text[64] = "";
    SHOW(read(b[0], text, sizeof text));
    say("%s", text);
    SHOW(splice(a[0], NULL, b[1], NULL, 8, 0));
    memset(text, 0, sizeof text);
    SHOW(read(b[0], text, sizeof text));
    say("%s", text);
    int left = 0;
    SHOW(ioctl(a[0], FIONREAD, &left));
    say("left %d", left);
    int file = open("/proc/self/exe", O_RDONLY);
    off_t at = 1;
    SHOW(sendfile(b[1], file, &at, 3));
    say("at %ld", (long)at);
    SHOW(read(b[0], text, 3));
    say("%.3s", text);
    SHOW(fcntl(a[1], F_SETPIPE_SZ, 8192));
    SHOW(fcntl(a[1], F_GETPIPE_SZ));
    int on = 1;
    SHOW(ioctl(a[0], FIONBIO, &on));
    SHOW(read(a[0], text, 64));
    SHOW(read(a[0], text, 64));
}

static void counters(void) {
    uint64_t value = 3;
    int e = eventfd(4, EFD_NONBLOCK | EFD_SEMAPHORE);
    MUST(write(e, &value, 8) == 8);
    for (int i = 0; i < 8; i++) {
        long n = SHOW(read(e, &value, 8));
        if (n == 8) say("value %ld", (long)value);
    }
    SHOW(syscall(SYS_eventfd, 1));
    int t = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec spec = {{0, 2000000}, {0, 1000000}};
    SHOW(timerfd_settime(t, 0, &spec, NULL));
    for (int i = 0; i < 3; i++) {
        sleep_ms(i * 3);
        SHOW(read(t, &value, 8));
        say("expired %ld", (long)value);
    }
    SHOW(timerfd_gettime(t, &spec));
    say("left %ld interval %ld", spec.it_value.tv_nsec, spec.it_interval.tv_nsec);
    SHOW(syscall(SYS_epoll_create, 1));
    SHOW(epoll_ctl(t, EPOLL_CTL_ADD, e, NULL));
}

int main(void) {
    drain("poll", with_poll);
    drain("ppoll", with_ppoll);
    drain("select", with_select);
    drain("pselect", with_pselect);
    drain("epoll", with_epoll);
    drain("epoll_pwait", with_epoll_pwait);
    drain("epoll_pwait2", with_epoll_pwait2);
    timeouts();
    moving();
    counters();
    return 0;
}
