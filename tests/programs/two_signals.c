// Two processes send signals to a third one that sets its mask all the time: each waits until its
// signal was handled before it sends the next.
// covers: kill rt_sigprocmask
#include "guest.h"
#include <poll.h>

enum { ROUNDS = 400 };

static int told[2][2];

static void handle(int sig) {
    MUST(write(told[sig == SIGUSR2][1], "x", 1) == 1);
}

static int sender(int which, pid_t to) {
    for (int i = 0; i < ROUNDS; i++) {
        MUST(kill(to, which ? SIGUSR2 : SIGUSR1) == 0);
        struct pollfd fd = {told[which][0], POLLIN, 0};
        char byte;
        if (poll(&fd, 1, 10000) != 1 || read(told[which][0], &byte, 1) != 1)
            return 1;
    }
    return 0;
}

int main(void) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
    pid_t self = getpid();
    for (int which = 0; which < 2; which++) {
        MUST(pipe(told[which]) == 0);
        if (fork() == 0)
            _exit(sender(which, self));
    }
    sigset_t both, none;
    sigemptyset(&none);
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    for (int left = 2; left > 0;) {
        int status;
        MUST(sigprocmask(SIG_BLOCK, &both, NULL) == 0);
        MUST(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended > 0) {
            left--;
            say("%s", status == 0 ? "all came" : "one was lost");
        }
    }
    return 0;
}
