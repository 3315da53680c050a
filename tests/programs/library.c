// A program and, without PROGRAM, its own library: what both print depends on where each lies.
#include "guest.h"

struct seen {
    void *code, *data, *heap;
    unsigned long random;
};
struct seen look(int pid);

#ifndef PROGRAM
// Runs before the shim: files that wait under other names take the places of running ones.
__attribute__((constructor)) static void replace(void) {
    rename("replaced.next", "replaced");
    rename("lib/next", "lib/libown.so.1.2");
}

static int counted;
struct seen look(int pid) {
    FILE *random = fopen("/dev/urandom", "r");
    struct seen seen = {(void *)look, &counted, malloc(pid), 0};
    MUST(fread(&seen.random, sizeof seen.random, 1, random) == 1);
    return seen;
}
#else
int main(void) {
    int local;
    struct seen seen = look(getpid());
    say("%d at %lld: %p %p %p %lx; %p %p", getpid(), now_ns(), seen.code, seen.data, seen.heap,
        seen.random, (void *)main, (void *)&local);
    return 0;
}
#endif
