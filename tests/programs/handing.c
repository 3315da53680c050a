// Two threads hand over by a flag for which they spin, with work between.
#include "guest.h"
#include <stdatomic.h>

enum { ROUNDS = 6 };
static atomic_int flag;

static unsigned long work(unsigned long x) {
    for (long i = 0; i < 20000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static void *other(void *arg) {
    unsigned long x = 1;
    for (int i = 0; i < ROUNDS; i++) {
        while (atomic_load(&flag) != 2 * i + 1) {}
        x = work(x);
        atomic_store(&flag, 2 * i + 2);
    }
    *(unsigned long *)arg = x;
    return NULL;
}

int main(void) {
    pthread_t thread;
    unsigned long x = 2, y;
    MUST(pthread_create(&thread, NULL, other, &y) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        x = work(x);
        atomic_store(&flag, 2 * i + 1);
        while (atomic_load(&flag) != 2 * i + 2) {}
    }
    pthread_join(thread, NULL);
    say("%d rounds: %lx %lx", ROUNDS, x, y);
    return 0;
}
