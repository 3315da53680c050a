// What the guests share. They print what they see: times, pids, addresses and random numbers
// included, because a replay that prints the same must have them from its log.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Writes one line at once, without stdio's buffer, so that lines of several processes keep
// their order.
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...) {
    char line[8192];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (len > (int)sizeof line - 2) len = sizeof line - 2;
    line[len++] = '\n';
    for (int at = 0; at < len;) {
        ssize_t n = write(1, line + at, len - at);
        if (n < 0 && errno != EINTR) _exit(99);
        if (n > 0) at += n;
    }
}

// Shows the result of a call, with errno's name if it failed.
__attribute__((unused)) static long show_(const char *what, long result) {
    int saved = errno;
    if (result == -1)
        say("%s = -1 %s", what, strerrorname_np(saved));
    else
        say("%s = %ld", what, result);
    errno = saved;
    return result;
}
#define SHOW(call) show_(#call, (long)(call))

// Ends the program if something that must hold does not.
#define MUST(condition)                                                                  \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            say("%s:%d: not so: %s (errno %s)", __FILE_NAME__, __LINE__, #condition,          \
                strerrorname_np(errno));                                                 \
            _exit(98);                                                                   \
        }                                                                                \
    } while (0)

__attribute__((unused)) static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

__attribute__((unused)) static void sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR) {
    }
}

__attribute__((unused)) static unsigned long hash(const void *data, size_t len) {
    unsigned long h = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++) h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3;
    return h;
}
