// Random numbers that come from the processor, without a call.
#include "guest.h"

int main(void) {
    unsigned long value;
    unsigned char got = 0;
    while (!got) __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(got));
    say("random %lx", value);
    return 0;
}
