// Sets a handler for SIGSYS, blocks the signal, and raises it: all as without rr-run.
#include "guest.h"

static volatile int seen;
static void handler(int signal) {
    say("handler of signal %d", signal);
    seen++;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler}, old;
    SHOW(sigaction(SIGSYS, &action, NULL));
    SHOW(raise(SIGSYS));
    sigset_t all, before, pending;
    sigfillset(&all);
    SHOW(sigprocmask(SIG_BLOCK, &all, &before));
    SHOW(raise(SIGSYS));
    SHOW(raise(SIGUSR1));
    MUST(sigpending(&pending) == 0);
    say("pending: SIGSYS %d SIGUSR1 %d", sigismember(&pending, SIGSYS), sigismember(&pending, SIGUSR1));
    MUST(sigprocmask(SIG_BLOCK, NULL, &all) == 0);
    say("blocked: SIGSYS %d", sigismember(&all, SIGSYS));
    signal(SIGUSR1, SIG_IGN);
    SHOW(sigprocmask(SIG_SETMASK, &before, NULL));
    say("seen %d", seen);
    MUST(sigaction(SIGSYS, NULL, &old) == 0);
    say("handler kept %d", old.sa_handler == handler);
    signal(SIGSYS, SIG_IGN);
    SHOW(raise(SIGSYS));
    say("pid %d", getpid());
    signal(SIGSYS, SIG_DFL);
    raise(SIGSYS);
    return 1;
}
