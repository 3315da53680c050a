// Signals that come just when a call ends, to a thread that makes no other call.
// covers: timer_create timer_settime timer_delete rt_sigaction rt_sigreturn
#include "guest.h"

static volatile sig_atomic_t came;
static void handler(int sig) { came += sig == SIGALRM; }

int main(void) {
    enum { ROUNDS = 4000 };
    timer_t timer;
    struct sigaction action = {.sa_handler = handler};
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct itimerspec once = {.it_value = {.tv_nsec = 1000 + i % 9 * 1000}};
        int before = came;
        MUST(timer_settime(timer, 0, &once, NULL) == 0);
        while (came == before) {
        }
    }
    timer_delete(timer);
    say("%d of %d came, at %lld", came, ROUNDS, now_ns());
    return 0;
}
