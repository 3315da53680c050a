// With a seed every run makes the same calls with the same results: one that was killed can be
// compared with one that was not.
#include "guest.h"

int main(int argc, char **argv) {
    int fd = open("/dev/urandom", O_RDONLY);
    for (int i = 0, count = argc > 1 ? atoi(argv[1]) : 0; i < count; i++) {
        unsigned long random[2];
        MUST(read(fd, random, sizeof random) == sizeof random);
        say("line %d: %lx %lx", i, random[0], random[1]);
        if (i % 3 == 0) usleep(200);
    }
    return 0;
}
