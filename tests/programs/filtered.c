// covers: seccomp
// Installs a seccomp filter that kills the process at any call it has no use for. "threads" and
// "exec" allow what these need, but of clone3 and execve only the call that is made here.
#include "guest.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/prctl.h>

#define LOAD BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ON(number, what)                                            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##number, 0, 1),        \
        BPF_STMT(BPF_RET | BPF_K, what)
#define ALLOW(number) ON(number, SECCOMP_RET_ALLOW)
#define REFUSE(number) ON(number, SECCOMP_RET_ERRNO | ENOSYS)
#define ELSE(what) BPF_STMT(BPF_RET | BPF_K, what)

static void install(struct sock_filter *filter, unsigned short len) {
    struct sock_fprog program = {len, filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}
#define INSTALL(filter) install(filter, sizeof filter / sizeof *filter)

static void *thread(void *arg) {
    say("thread runs");
    return arg;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "threads")) {
        // clone is refused: a thread made by clone3 must be one here too.
        struct sock_filter filter[] = {LOAD, REFUSE(clone), ELSE(SECCOMP_RET_ALLOW)};
        INSTALL(filter);
        pthread_t made;
        say("clone3 %d", pthread_create(&made, NULL, thread, NULL));
        pthread_join(made, NULL);
        char *words[] = {"sh", "-c", "exit 3", NULL}, *none[] = {NULL};
        pid_t child = 0;
        say("spawned %d", posix_spawn(&child, "/bin/sh", NULL, NULL, words, none));
        int status = 0;
        waitpid(child, &status, 0);
        say("child %d", WEXITSTATUS(status));
        return 0;
    }
    if (!strcmp(what, "no-clone3")) {
        struct sock_filter filter[] = {LOAD, REFUSE(clone3), ELSE(SECCOMP_RET_ALLOW)};
        INSTALL(filter);
        struct clone_args args = {.exit_signal = SIGCHLD};
        for (unsigned long long flags = 0; flags <= CLONE_VM; flags += CLONE_VM) {
            args.flags = flags ? CLONE_VM | CLONE_VFORK : 0;
            SHOW(syscall(SYS_clone3, &args, sizeof args));
        }
        return 0;
    }
    if (!strcmp(what, "exec")) {
        struct sock_filter filter[] = {LOAD, REFUSE(execveat), ELSE(SECCOMP_RET_ALLOW)};
        INSTALL(filter);
        execl("/bin/echo", "echo", "executed", NULL);
        return 1;
    }
    int mapped = -1;
    if (!strcmp(what, "maps")) {
        mapped = open("mapped", O_CREAT | O_RDWR, 0600);
        MUST(ftruncate(mapped, 4096) == 0);
        MUST(mmap(NULL, 4096, PROT_READ, MAP_SHARED, mapped, 0) != MAP_FAILED);
    }
    struct sock_filter filter[] = {
        LOAD,          ALLOW(read),           ALLOW(write), ALLOW(exit_group),
        ALLOW(rt_sigreturn), ELSE(SECCOMP_RET_KILL_PROCESS),
    };
    INSTALL(filter);
    char byte;
    for (int i = 0; i < 100; i++) {
        ssize_t n = read(0, &byte, 1);
        if (n != 1) break;
        say("read %c", byte);
    }
    if (mapped >= 0) SHOW(write(mapped, "text", 4));
    syscall(SYS_exit_group, 5);
}
