// Closes every descriptor but its output, in all known ways, and goes on.
#include "guest.h"
#include <dirent.h>
#include <sys/resource.h>

static void *close_more(void *unused) {
    closefrom(4);
    return unused;
}

int main(void) {
    SHOW(close(0));
    SHOW(syscall(SYS_close_range, 3, ~0u, 0));
    closefrom(3);
    for (int fd = 3; fd < 4096; fd++) close(fd);
    DIR *dir = opendir("/proc/self/fd");
    MUST(dir);
    for (struct dirent *e; (e = readdir(dir));) say("open: %s", e->d_name);
    closedir(dir);
    int out = fcntl(1, F_DUPFD, 500);
    for (int fd = 3; fd < 1000; fd++) {
        if (fd != out) dup2(out, fd);
    }
    say("pid %d at %lld", getpid(), now_ns());
    if (fork() == 0) {
        syscall(SYS_close_range, 0, 999, 0);
        _exit(9);
    }
    int status;
    wait(&status);
    say("child %x", status);
    struct rlimit few = {4, 4};
    SHOW(setrlimit(RLIMIT_NOFILE, &few));
    SHOW(open("/etc/passwd", O_RDONLY));
    syscall(SYS_close_range, 2, ~0u, 0);
    SHOW(open("/etc/passwd", O_RDONLY));
    SHOW(open("/etc/passwd", O_RDONLY));
    pthread_t thread;
    SHOW(pthread_create(&thread, NULL, close_more, NULL));
    pthread_join(thread, NULL);
    say("done");
    return 0;
}
