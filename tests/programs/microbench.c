// cc: -O2
// Performs one operation many times, for scripts/bench, which measures from outside: a replay
// answers the clock from its log.
#include "guest.h"
#include <sys/random.h>

// A call to the kernel made here, not in libc: through a trap.
__attribute__((noinline)) static long raw4(long nr, long a, long b, long c, long d) {
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

static int fds[2], file;
static char buffer[4096];

static void clock_(long n) {
    struct timespec t;
    while (n--) clock_gettime(CLOCK_MONOTONIC, &t);
}
static void random_(long n) {
    while (n--) MUST(getrandom(buffer, 16, 0) == 16);
}
static void pair(long n, size_t size) {
    while (n--) {
        MUST(write(fds[0], buffer, size) == (ssize_t)size);
        MUST(read(fds[1], buffer, size) == (ssize_t)size);
    }
}
static void pair_64(long n) { pair(n, 64); }
static void pair_4k(long n) { pair(n, 4096); }
static void file_64(long n) {
    while (n--) MUST(pread(file, buffer, 64, 0) == 64);
}
static void file_64_trap(long n) {
    while (n--) MUST(raw4(SYS_pread64, file, (long)buffer, 64, 0) == 64);
}
static void file_4k(long n) {
    while (n--) MUST(pread(file, buffer, 4096, 0) == 4096);
}
static void file_write(long n) {
    while (n--) MUST(pwrite(file, buffer, 64, 8192) == 64);
}
static void file_write_4k(long n) {
    while (n--) MUST(pwrite(file, buffer, 4096, 8192) == 4096);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static long handovers;
static void take_turns(int me) {
    for (long i = 0; i < handovers; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me) pthread_cond_wait(&cond, &mutex);
        turn = 1 - me;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
}
static void *other(void *unused) {
    take_turns(1);
    return unused;
}
static void handover(long n) {
    handovers = n / 2;
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    take_turns(0);
    pthread_join(thread, NULL);
}
static void fork_exec(long n) {
    while (n--) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", NULL);
            _exit(127);
        }
        waitpid(pid, NULL, 0);
    }
}

static const struct {
    const char *name;
    void (*run)(long);
    long count;
} OPERATIONS[] = {
    {"nothing", NULL, 0},
    {"clock_gettime", clock_, 2000000},
    {"getrandom of 16 bytes", random_, 100000},
    {"socketpair write+read 64", pair_64, 50000},
    {"socketpair write+read 4096", pair_4k, 50000},
    {"file read 64", file_64, 100000},
    {"file read 64 by a trap", file_64_trap, 20000},
    {"file read 4096", file_4k, 50000},
    {"file write 64", file_write, 50000},
    {"file write 4096", file_write_4k, 50000},
    {"futex handover", handover, 4000},
    {"fork+exec+wait", fork_exec, 60},
};

// Run with the number of one operation; without, lists them as `number count name`.
int main(int argc, char **argv) {
    if (argc < 2) {
        for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++)
            printf("%zu %ld %s\n", i, OPERATIONS[i].count, OPERATIONS[i].name);
        return 0;
    }
    size_t i = atol(argv[1]);
    MUST(i < sizeof OPERATIONS / sizeof *OPERATIONS);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    char name[] = "/tmp/rr-run-bench-XXXXXX";
    file = mkstemp(name);
    unlink(name);
    MUST(pwrite(file, buffer, 4096, 0) == 4096 && pwrite(file, buffer, 4096, 8192) == 4096);
    if (OPERATIONS[i].run) OPERATIONS[i].run(OPERATIONS[i].count);
    return 0;
}
