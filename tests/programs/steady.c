// Writes lines for a while beside a busy thread, to be killed at any moment.
#include "guest.h"

static void *beside(void *arg) {
    char byte;
    int fd = open("/dev/urandom", O_RDONLY);
    for (;;) MUST(read(fd, &byte, 1) == 1 && usleep(500) == 0);
    return arg;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, beside, NULL);
    for (int i = 0; i < 100000; i++) {
        say("line %d at %lld", i, now_ns());
        if (i % 3 == 0) usleep(200);
    }
    return 0;
}
