// Starts more children than rr-run follows at once: what it can't follow fails as it does at a limit
// of the system's, and once the children are gone there is room again.
#include "guest.h"

static long started(long count, int end) {
    for (long i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            say("after %ld: %s", i, strerrorname_np(errno));
            return i;
        }
        if (pid == 0) {
            char byte;
            _exit(read(end, &byte, 1) != 0);
        }
    }
    return count;
}

int main(int argc, char **argv) {
    MUST(argc == 2);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    for (int round = 0; round < 2; round++) {
        int ends[2];
        MUST(pipe(ends) == 0);
        // The children are this one's, so that they hold no end to write to.
        pid_t first = fork();
        if (first == 0) {
            close(ends[1]);
            long count = started(atol(argv[1]), ends[0]);
            pid_t more = vfork();
            if (more == 0) _exit(0);
            say("vfork: %s", more < 0 ? strerrorname_np(errno) : "works");
            say("%ld children", count);
            // They end when the last end to write to is closed.
            kill(getppid(), SIGUSR1);
            int status;
            for (long i = 0; i < count; i++) MUST(wait(&status) > 0 && status == 0);
            _exit(0);
        }
        MUST(first > 0);
        close(ends[0]);
        int signal;
        MUST(sigwait(&set, &signal) == 0);
        close(ends[1]);
        int status;
        MUST(waitpid(first, &status, 0) == first && status == 0);
    }
    return 0;
}
