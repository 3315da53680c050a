// A program and, without PROGRAM, its own library: what both print depends on where each lies.
#include "guest.h"

struct seen {
    void *code, *data, *heap;
    unsigned long random;
};
struct seen look(int pid);

#ifndef PROGRAM
// Runs while the loader relocates, before the shim's constructor: files that wait under other
// names take the places of running ones. No function of the C library can be called yet.
static void move(const char *from, const char *to) {
    long ret = SYS_rename;
    __asm__ volatile("syscall" : "+a"(ret) : "D"(from), "S"(to) : "rcx", "r11", "memory");
}
static int moved(void) { return 0; }
static int (*replace(void))(void) {
    move("replaced.next", "replaced");
    move("lib/next", "lib/libown.so.1.2");
    return moved;
}
int is_moved(void) __attribute__((ifunc("replace")));
int (*const resolved_early)(void) = is_moved;

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
