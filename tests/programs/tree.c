// Processes with threads that write lines to the file "lines". With a seed each thread writes the
// same lines in every run, only their order in the file differs.
#include "guest.h"
#include <sys/random.h>

#define THREADS 3
#define CHILDREN 3
#define DEPTH 2

static int out, count;
// The process as rr-run names it: 1, 1.1, 1.1.1 ...
static char name[32] = "1";

static void *work(void *arg) {
    for (int i = 0; i < count; i++) {
        unsigned char random[200];
        MUST(getrandom(random, sizeof random, 0) == sizeof random);
        char line[512];
        int len = snprintf(line, sizeof line, "%s %ld %d ", name, (long)arg, i);
        for (size_t j = 0; j < sizeof random; j++) len += sprintf(line + len, "%02x", random[j]);
        line[len++] = '\n';
        MUST(write(out, line, len) == len);
        if (i % 5 == 0) usleep(200);
    }
    return NULL;
}

static void grow(int depth) {
    for (int i = 1; i <= CHILDREN && depth < DEPTH; i++) {
        if (fork() == 0) {
            snprintf(name + strlen(name), 3, ".%d", i);
            // Only the first has children of its own.
            grow(i == 1 ? depth + 1 : DEPTH);
            _exit(0);
        }
    }
    pthread_t threads[THREADS];
    for (long i = 1; i < THREADS; i++) MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    work((void *)0);
    for (int i = 1; i < THREADS; i++) pthread_join(threads[i], NULL);
    while (wait(NULL) > 0) {
    }
}

int main(int argc, char **argv) {
    count = argc > 1 ? atoi(argv[1]) : 0;
    out = open("lines", O_CREAT | O_WRONLY | O_APPEND, 0600);
    MUST(out >= 0);
    grow(0);
    return 0;
}
