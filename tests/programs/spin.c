// A thread that waits for another without any call: only a preemption lets the other run.
#include "guest.h"
#include <stdatomic.h>

static atomic_int ready;
static atomic_long turns;

static void *slow(void *arg) {
    (void)arg;
    say("slow thread runs");
    ready = 1;
    return NULL;
}

int main(void) {
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        ready = 0;
        MUST(pthread_create(&thread, NULL, slow, NULL) == 0);
        while (!ready) turns++;
        pthread_join(thread, NULL);
        say("seen");
    }
    return 0;
}
