// covers: rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo
// covers: rt_sigsuspend sigaltstack pause alarm setitimer getitimer kill tkill tgkill signalfd
// covers: signalfd4 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
// covers: rt_tgsigqueueinfo nanosleep clock_nanosleep
#include "guest.h"
#include <sys/signalfd.h>

static volatile sig_atomic_t seen, last;
static volatile long value;

static void note(int signal) {
    seen++;
    last = signal;
}

static void note_info(int signal, siginfo_t *info, void *context) {
    (void)context;
    seen++;
    last = signal;
    value = info->si_value.sival_int;
    say("handler: signal %d code %d value %ld pid %d", signal, info->si_code, value,
        info->si_code == SI_QUEUE || info->si_code == SI_USER ? info->si_pid : 0);
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(signal, &action, NULL) == 0);
}

// Again and again: on a busy machine the first may come before the call that it is to interrupt.
static volatile int interrupting;
static void *interrupt(void *thread) {
    while (interrupting) {
        sleep_ms(10);
        pthread_kill((pthread_t)thread, SIGUSR1);
    }
    return NULL;
}

// Interrupts a read, with and without SA_RESTART.
static void interrupted(int flags) {
    handle(SIGUSR1, note, flags);
    int fds[2];
    MUST(pipe(fds) == 0);
    pthread_t thread;
    seen = 0;
    interrupting = 1;
    MUST(pthread_create(&thread, NULL, interrupt, (void *)pthread_self()) == 0);
    struct itimerval tick = {{0, 30000}, {0, 30000}}, never = {{0, 0}, {0, 0}};
    if (flags & SA_RESTART) {
        // The read goes on after the handler; an alarm ends it.
        handle(SIGALRM, note, 0);
        MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    }
    char byte;
    SHOW(read(fds[0], &byte, 1));
    say("restart %d: seen %d last %d", !!(flags & SA_RESTART), seen, last);
    MUST(setitimer(ITIMER_REAL, &never, NULL) == 0);
    interrupting = 0;
    pthread_join(thread, NULL);
    close(fds[0]), close(fds[1]);
}

static void queued(void) {
    struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGRTMIN, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGUSR2);
    MUST(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    for (int i = 1; i <= 3; i++) SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
    SHOW(kill(getpid(), SIGUSR2));
    SHOW(kill(getpid(), SIGUSR2));
    MUST(sigpending(&pending) == 0);
    say("pending %d %d", sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGUSR2));
    siginfo_t info;
    struct timespec limit = {0, 1000000};
    SHOW(sigwaitinfo(&set, &info));
    say("taken %d value %d", info.si_signo, info.si_value.sival_int);
    seen = 0;
    MUST(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    say("delivered %d", seen);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    SHOW(sigtimedwait(&set, &info, &limit));
}

static void suspended(void) {
    handle(SIGALRM, note, 0);
    sigset_t set, none, old;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    MUST(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    struct itimerval tick = {{0, 0}, {0, 5000}};
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    seen = 0;
    SHOW(sigsuspend(&none));
    say("seen %d", seen);
    MUST(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    tick.it_interval = tick.it_value;
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    SHOW(syscall(SYS_pause));
    say("seen %d", seen);
    tick.it_interval.tv_usec = 0;
    tick.it_value.tv_usec = 500000;
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    MUST(getitimer(ITIMER_REAL, &tick) == 0);
    say("left %ld", (long)tick.it_value.tv_usec);
    tick.it_value.tv_usec = 0;
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    SHOW(syscall(SYS_alarm, 100));
    SHOW(syscall(SYS_alarm, 0));
}

// A handler on an alternate stack, entered from a sleep.
static char alternate[65536];
static volatile int on_alternate;
static void where(int signal) {
    char here;
    (void)signal;
    on_alternate = &here > alternate && &here < alternate + sizeof alternate;
    seen++;
}
static void stack(void) {
    stack_t s = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    MUST(sigaltstack(&s, NULL) == 0);
    handle(SIGALRM, where, SA_ONSTACK);
    struct itimerval tick = {{0, 0}, {0, 5000}};
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    struct timespec t = {1, 0}, left = {0, 0};
    seen = 0;
    SHOW(syscall(SYS_nanosleep, &t, &left));
    say("seen %d, on the alternate stack %d, left %ld", seen, on_alternate, left.tv_nsec);
    MUST(sigaltstack(NULL, &old) == 0);
    say("flags %d size %ld", old.ss_flags, (long)old.ss_size);
    t.tv_sec = 0, t.tv_nsec = 1000000;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
}

static void as_files(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, 0);
    MUST(fd >= 0);
    SHOW(raise(SIGUSR1));
    struct signalfd_siginfo info;
    SHOW(read(fd, &info, sizeof info));
    say("signal %u pid %u", info.ssi_signo, info.ssi_pid);
    SHOW(syscall(SYS_signalfd, -1, &set, 8));
    MUST(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    handle(SIGUSR1, note, 0);
    SHOW(syscall(SYS_tkill, gettid(), SIGUSR1));
    SHOW(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
    siginfo_t queued = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    SHOW(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &queued));
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec spec = {{0, 2000000}, {0, 2000000}};
    seen = 0;
    SHOW(timer_settime(timer, 0, &spec, NULL));
    while (seen < 3) pause();
    SHOW(timer_gettime(timer, &spec));
    say("left %ld", spec.it_value.tv_nsec);
    SHOW(timer_getoverrun(timer));
    SHOW(timer_delete(timer));
}

// A handler that interrupts pure computation.
static void computing(void) {
    handle(SIGALRM, note, SA_RESTART);
    struct itimerval tick = {{0, 1000}, {0, 1000}};
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    seen = 0;
    unsigned long sum = 0;
    while (seen < 5) {
        for (int i = 0; i < 1000; i++) sum = sum * 31 + i;
        getppid();
    }
    tick.it_value.tv_usec = tick.it_interval.tv_usec = 0;
    MUST(setitimer(ITIMER_REAL, &tick, NULL) == 0);
    say("%lx", sum);
}

int main(void) {
    interrupted(0);
    interrupted(SA_RESTART | 0);
    queued();
    suspended();
    stack();
    as_files();
    computing();
    return 0;
}
