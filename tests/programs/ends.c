// Ends in the way its argument says.
#include "guest.h"
#include <sys/resource.h>

static void *leave(void *how) {
    sleep_ms(3);
    say("thread leaves");
    if (!strcmp(how, "thread_exits_process")) exit(7);
    if (!strcmp(how, "thread_aborts")) abort();
    return NULL;
}

int main(int argc, char **argv) {
    MUST(argc == 2);
    const char *how = argv[1];
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    say("%s at %lld", how, now_ns());
    if (!strcmp(how, "returns")) return 3;
    if (!strcmp(how, "_exit")) _exit(4);
    if (!strcmp(how, "raw_exit")) syscall(SYS_exit, 5);
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "segv")) *(volatile int *)16 = 1;
    if (!strcmp(how, "ill")) __builtin_trap();
    if (!strcmp(how, "fpe")) raise(SIGFPE);
    if (!strcmp(how, "term")) kill(getpid(), SIGTERM);
    if (!strcmp(how, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(how, "pipe")) {
        int fds[2];
        MUST(pipe(fds) == 0);
        close(fds[0]);
        MUST(write(fds[1], "x", 1) == 1);
    }
    if (!strcmp(how, "main_leaves_first")) {
        pthread_t thread;
        pthread_create(&thread, NULL, leave, (void *)how);
        pthread_exit(NULL);
    }
    if (!strncmp(how, "thread_", 7)) {
        pthread_t thread;
        pthread_create(&thread, NULL, leave, (void *)how);
        for (;;) pause();
    }
    return 97;
}
