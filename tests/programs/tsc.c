// Reads the time stamp counter directly.
#include "guest.h"
#include <x86intrin.h>

int main(void) {
    unsigned aux;
    say("rdtsc %llx", __rdtsc());
    say("rdtscp %llx", __rdtscp(&aux));
    unsigned long long h = 0;
    for (int i = 0; i < 2000; i++) h = h * 31 + __rdtsc();
    say("2,000 times: %llx", h);
    return 0;
}
