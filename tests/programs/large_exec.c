// Executes itself, and a script, with more arguments and variables than any buffer of a fixed size
// would hold: after fork, vfork and posix_spawn.
#include "guest.h"
#include <spawn.h>

extern char **environ;

enum { STRINGS = 30000 };

static char **many(const char *first, const char *prefix) {
    char **all = calloc(STRINGS + 2, sizeof *all);
    int n = 0;
    if (first) all[n++] = strdup(first);
    for (int i = 0; i < STRINGS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s%05d=%d", prefix, i, i * 7);
        all[n++] = strdup(text);
    }
    return all;
}

static void ended(const char *what, pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0) == pid);
    say("%s: status %x", what, status);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        int variables = 0, others = 0;
        for (char **at = environ; *at; at++)
            if (strncmp(*at, "V", 1) == 0) variables++;
        for (int i = 2; i < argc; i++)
            if (strncmp(argv[i], "A", 1) == 0) others++;
        say("child: %d variables, last %s, %d arguments, last %s", variables,
            getenv("V29999") ? getenv("V29999") : "none", others, argv[argc - 1]);
        return 7;
    }
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    MUST(len > 0);
    self[len] = 0;
    char **env = many(NULL, "V"), **args = many("script", "A");
    char *child[] = {"child", "child", "one", NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execve(self, child, env);
        _exit(errno);
    }
    ended("fork", pid);
    for (int i = 0; i < 2; i++) {
        pid = vfork();
        if (pid == 0) {
            execve(self, child, env);
            _exit(errno);
        }
        ended("vfork", pid);
    }
    MUST(posix_spawn(&pid, self, NULL, NULL, child, env) == 0);
    ended("posix_spawn", pid);
    // A failed exec gives back what it had taken.
    for (int i = 0; i < 3; i++) SHOW(execve("/does/not/exist", child, env));
    int fd = open("script", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0755);
    MUST(fd >= 0);
    dprintf(fd, "#!%s child\n", self);
    close(fd);
    pid = fork();
    if (pid == 0) {
        execve("./script", args, env);
        _exit(errno);
    }
    ended("script", pid);
    // What the kernel refuses natively is refused alike.
    SHOW(syscall(SYS_execve, self, child, 8));
    size_t room = (size_t)2 << 20;
    char **endless = malloc((room + 1) * sizeof *endless);
    for (size_t i = 0; i < room; i++) endless[i] = "x";
    endless[room] = NULL;
    SHOW(execve(self, child, endless));
    SHOW(execve(self, endless, env));
    say("done");
    return 0;
}
