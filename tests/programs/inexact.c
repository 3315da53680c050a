// A signal that comes while the program makes no call: how far it had come is printed.
#include "guest.h"

static volatile sig_atomic_t came;
static volatile unsigned long turns;

static void on_alarm(int number) {
    (void)number;
    came = 1;
}

int main(void) {
    signal(SIGALRM, on_alarm);
    struct itimerval once = {.it_value = {.tv_usec = 50000}};
    MUST(setitimer(ITIMER_REAL, &once, NULL) == 0);
    while (!came) turns++;
    say("turns %lu", turns);
    return 0;
}
