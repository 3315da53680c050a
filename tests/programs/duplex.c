// Writes more to stdout than a pipe holds, while another thread reads stdin: its peer may write
// all before it reads anything.
// covers: write read
#include "guest.h"

static void *reads(void *arg) {
    (void)arg;
    char buffer[65536];
    uint64_t sum = 0, total = 0;
    for (ssize_t n; (n = read(0, buffer, sizeof buffer)) > 0; total += n)
        for (ssize_t i = 0; i < n; i++) sum = sum * 31 + buffer[i];
    say("read %lu bytes, sum %lx, at %lld", total, sum, now_ns());
    return NULL;
}

static void *talks(void *arg) {
    for (int i = 0; i < 50; i++) say("line %d of thread %ld", i, (long)arg);
    return NULL;
}

int main(void) {
    enum { BYTES = 1 << 20, TALKERS = 3 };
    pthread_t reader, talkers[TALKERS];
    pthread_create(&reader, NULL, reads, NULL);
    for (long i = 0; i < TALKERS; i++) pthread_create(&talkers[i], NULL, talks, (void *)i);
    char *much = malloc(BYTES);
    for (int i = 0; i < BYTES; i++) much[i] = i % 64 == 63 ? '\n' : 'a' + i / 64 % 26;
    MUST(write(1, much, BYTES) == BYTES);
    pthread_join(reader, NULL);
    for (int i = 0; i < TALKERS; i++) pthread_join(talkers[i], NULL);
    say("done");
    return 0;
}
