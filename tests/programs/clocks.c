// covers: clock_gettime clock_getres gettimeofday time getcpu clock_settime clock_adjtime adjtimex
// covers: settimeofday times getrusage getrandom
#include "guest.h"
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <x86intrin.h>

static void clocks(void) {
    clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
                       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_TAI,
                       CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct timespec t, raw;
        MUST(clock_gettime(ids[i], &t) == 0);
        MUST(syscall(SYS_clock_gettime, ids[i], &raw) == 0);
        say("clock %d: %ld.%09ld, raw %ld.%09ld", ids[i], t.tv_sec, t.tv_nsec, raw.tv_sec, raw.tv_nsec);
    }
    struct timespec t;
    SHOW(clock_gettime(777, &t));
    MUST(clock_getres(CLOCK_MONOTONIC, &t) == 0);
    say("resolution %ld", t.tv_nsec);
    SHOW(syscall(SYS_clock_getres, CLOCK_REALTIME, &t));
    struct timeval tv;
    struct timezone zone;
    MUST(gettimeofday(&tv, &zone) == 0);
    say("%ld.%06ld", tv.tv_sec, (long)tv.tv_usec);
    MUST(syscall(SYS_gettimeofday, &tv, NULL) == 0);
    say("%ld.%06ld", tv.tv_sec, (long)tv.tv_usec);
    say("%ld %ld", time(NULL), syscall(SYS_time, NULL));
    long long last = now_ns();
    unsigned long h = 0;
    for (int i = 0; i < 100000; i++) {
        long long t = now_ns();
        MUST(t >= last);
        h = h * 31 + t;
        last = t;
    }
    say("100,000 times: %lx", h);
    struct tms tms;
    say("times %ld", times(&tms));
    struct rusage usage;
    SHOW(getrusage(RUSAGE_SELF, &usage));
    say("user %ld us", (long)usage.ru_utime.tv_usec);
    struct timex tx = {0};
    say("adjtimex %d", syscall(SYS_adjtimex, &tx) >= 0);
    say("clock_adjtime %d", clock_adjtime(CLOCK_REALTIME, &tx) >= 0);
    t.tv_nsec = -1;
    SHOW(syscall(SYS_clock_settime, CLOCK_REALTIME, &t));
    tv.tv_usec = -1;
    SHOW(syscall(SYS_settimeofday, &tv, NULL));
    unsigned cpu, node;
    SHOW(syscall(SYS_getcpu, &cpu, &node, NULL));
    say("cpu %u node %u, %d", cpu, node, sched_getcpu());
}

static void *random_too(void *arg) {
    unsigned long a;
    MUST(getrandom(&a, sizeof a, 0) == sizeof a);
    say("thread: %lx", a);
    return arg;
}

static void randomness(void) {
    unsigned char bytes[300];
    MUST(getrandom(bytes, sizeof bytes, 0) == (long)sizeof bytes);
    say("getrandom %lx", hash(bytes, sizeof bytes));
    MUST(syscall(SYS_getrandom, bytes, 16, GRND_NONBLOCK) == 16);
    say("raw %lx", hash(bytes, 16));
    MUST(getentropy(bytes, 256) == 0);
    say("getentropy %lx", hash(bytes, 256));
    SHOW(getentropy(bytes, 257));
    say("arc4random %x %x", arc4random(), arc4random_uniform(1000));
    arc4random_buf(bytes, 40);
    say("%lx", hash(bytes, 40));
    const char *names[] = {"/dev/urandom", "/dev/random"};
    for (int i = 0; i < 2; i++) {
        int fd = open(names[i], O_RDONLY);
        MUST(read(fd, bytes, 64) == 64);
        say("%s %lx", names[i], hash(bytes, 64));
        close(fd);
    }
    FILE *f = fopen("/dev/urandom", "r");
    MUST(fread(bytes, 1, 100, f) == 100);
    say("stdio %lx", hash(bytes, 100));
    fclose(f);
    char uuid[64] = "";
    int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY);
    MUST(read(fd, uuid, 37) == 37);
    say("uuid %s", uuid);
    pthread_t thread;
    pthread_create(&thread, NULL, random_too, NULL);
    pthread_join(thread, NULL);
    if (fork() == 0) {
        random_too(NULL);
        _exit(0);
    }
    wait(NULL);
    random_too(NULL);
    // The 16 bytes the kernel gives a program at its start.
    say("AT_RANDOM %lx", hash((void *)*(unsigned long *)({
            static unsigned long at;
            FILE *auxv = fopen("/proc/self/auxv", "r");
            unsigned long pair[2];
            while (fread(pair, 16, 1, auxv) && pair[0] != 25) {
            }
            fclose(auxv);
            at = pair[1];
            &at;
        }), 16));
}

int main(void) {
    clocks();
    randomness();
    return 0;
}
