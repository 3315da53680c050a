// Bounds a loop by the lower half of the time stamp counter.
#include "guest.h"

static inline unsigned lower(void) {
    unsigned low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low;
}

int main(void) {
    unsigned start = lower();
    long n = 0;
    while (lower() - start < 3000000) n++;
    say("%ld times", n);
    return 0;
}
