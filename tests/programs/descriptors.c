// Output through descriptors of any number, over dup, fcntl, fork, vfork and exec; and the bytes of
// random devices, however they are read and whoever has opened them. `descriptors` says what it
// does; `descriptors write FD...` writes a line to each.
#include "guest.h"
#include <spawn.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

extern char **environ;

static void to(int fd, const char *what) {
    char line[128];
    int len = snprintf(line, sizeof line, "%s through %d\n", what, fd);
    MUST(write(fd, line, len) == len);
}

static void ended(pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0) == pid);
    MUST(status == 0);
}

static char self[4096];

static void output(int most) {
    int far[] = {255, 256, 300, 1023, most};
    int count = sizeof far / sizeof *far;
    for (int i = 0; i < count; i++) {
        MUST(dup2(1, far[i]) == far[i]);
        to(far[i], "dup2");
    }
    int by = fcntl(2, F_DUPFD, 400);
    MUST(by >= 400);
    to(by, "F_DUPFD of stderr");
    MUST(fcntl(by, F_DUPFD_CLOEXEC, 500) >= 500);
    MUST(dup3(far[2], 700, O_CLOEXEC) == 700);
    to(700, "dup3 of a copy");
    pid_t pid = fork();
    if (pid == 0) {
        to(most, "child");
        MUST(dup2(most, 800) == 800);
        to(800, "child's own");
        char *argv[] = {self, "write", "255", "256", "300", "800", NULL};
        execv(self, argv);
        _exit(1);
    }
    ended(pid);
    // What a child that shares memory does to its descriptors is not its parent's.
    posix_spawn_file_actions_t actions;
    MUST(posix_spawn_file_actions_init(&actions) == 0);
    MUST(posix_spawn_file_actions_adddup2(&actions, most, 600) == 0);
    char *argv[] = {self, "write", "600", "1023", NULL};
    MUST(posix_spawn(&pid, self, &actions, NULL, argv, environ) == 0);
    ended(pid);
    MUST(write(600, "x", 1) == -1 && errno == EBADF);
    int null = open("/dev/null", O_WRONLY);
    MUST(dup2(null, 300) == 300);
    MUST(write(300, "unseen\n", 7) == 7);
    close(null);
    MUST(close(1023) == 0);
    MUST(open("/dev/null", O_WRONLY) < 1023);
    MUST(close_range(200, 254, 0) == 0);
    to(255, "not closed");
    // Closed by an exec, and something else behind it.
    char *only[] = {self, "write", "256", NULL};
    MUST(posix_spawn(&pid, self, NULL, NULL, only, environ) == 0);
    ended(pid);
}

static void show(const char *what, const unsigned char *bytes, size_t len) {
    char text[129] = "";
    for (size_t i = 0; i < len && i < 64; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    say("%s: %s", what, text);
}

static void reads(const char *what, int fd) {
    unsigned char a[32] = {0}, b[16] = {0};
    struct iovec parts[] = {{a, 5}, {b, 16}, {NULL, 0}, {a + 8, 24}};
    MUST(read(fd, a, 16) == 16);
    show(what, a, 16);
    MUST(pread(fd, a, 16, 100) == 16);
    show("pread", a, 16);
    MUST(readv(fd, parts, 4) == 45);
    show("readv", a, 32);
    show("and", b, 16);
    MUST(preadv(fd, parts, 2, 7) == 21);
    show("preadv", b, 16);
    MUST(preadv2(fd, parts, 2, -1, 0) == 21);
    show("preadv2", b, 16);
    // A failed read takes as much from the seed on replay.
    SHOW(syscall(SYS_read, fd, 16, 16));
    SHOW(syscall(SYS_readv, fd, parts, 1025));
    MUST(read(fd, a, 16) == 16);
    show("after", a, 16);
}

static void randomness(int most) {
    int fd = open("/dev/urandom", O_RDONLY);
    MUST(fd >= 0);
    reads("urandom", fd);
    MUST(dup2(fd, most) == most);
    reads("far away", most);
    int dir = open("/dev", O_PATH | O_DIRECTORY);
    int random = openat(dir, "random", O_RDONLY);
    MUST(random >= 0);
    reads("random", random);
    pid_t pid = fork();
    if (pid == 0) {
        reads("child", fd);
        char here[16], there[16];
        snprintf(here, sizeof here, "%d", fd);
        snprintf(there, sizeof there, "%d", most);
        char *argv[] = {self, "read", here, there, NULL};
        execv(self, argv);
        _exit(1);
    }
    ended(pid);
    // Bytes that the kernel would move unseen are read instead.
    fflush(stdout);
    MUST(system("cat </dev/urandom | head -c 16 | od -An -tx1; od -An -N16 -tx1 /dev/urandom") == 0);
    unsigned char a[16];
    int file = open("moved", O_RDWR | O_CREAT | O_TRUNC, 0600);
    MUST(file >= 0);
    ssize_t moved = sendfile(file, fd, NULL, 16);
    if (moved > 0) {
        MUST(pread(file, a, moved, 0) == moved);
        show("moved", a, moved);
    }
    close(file);
    unlink("moved");
}

int main(int argc, char **argv) {
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    MUST(len > 0);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[1], "write") == 0)
            to(atoi(argv[i]), "after exec");
        else
            reads("after exec", atoi(argv[i]));
    }
    if (argc > 2) return 0;
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int most = limit.rlim_max > 200000 ? 200000 : (int)limit.rlim_max - 1;
    if (argc > 1 && strcmp(argv[1], "random") == 0)
        randomness(most);
    else
        output(most);
    say("done");
    return 0;
}
