// covers: fork vfork clone clone3 execve execveat wait4 waitid getpid getppid kill pidfd_open
// covers: pidfd_send_signal pidfd_getfd setpgid getpgid getpgrp setsid getsid prctl
#include "guest.h"
#include <linux/sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>

extern char **environ;

static void ended(const char *what, pid_t pid) {
    int status;
    struct rusage usage;
    pid_t got = wait4(pid, &status, 0, &usage);
    say("%s: pid %d waited %d status %x", what, pid, got, status);
}

static int sent[2];
static void child_of(const char *what) {
    char text[128];
    // The C library knows the child's id from memory, not from a call.
    pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    pthread_mutex_lock(&mutex);
    int len = snprintf(text, sizeof text, "child %d of %d by %s at %lld, owner %d", getpid(),
                       getppid(), what, now_ns(), mutex.__data.__owner);
    MUST(write(sent[1], text, len) == len);
}
static void heard(void) {
    char text[256];
    ssize_t n = read(sent[0], text, sizeof text);
    say("heard: %.*s", (int)n, text);
}

static void forks(void) {
    MUST(pipe2(sent, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        child_of("fork");
        _exit(11);
    }
    heard();
    ended("fork", pid);
    pid = syscall(SYS_fork);
    if (pid == 0) {
        child_of("raw fork");
        raise(SIGTERM);
    }
    heard();
    ended("raw fork", pid);
    pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        child_of("clone");
        _exit(12);
    }
    heard();
    ended("clone", pid);
    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd,
                              .exit_signal = SIGCHLD};
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        child_of("clone3");
        for (;;) pause();
    }
    heard();
    say("pidfd %d", pidfd);
    SHOW(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
    siginfo_t info = {0};
    SHOW(waitid(P_PIDFD, pidfd, &info, WEXITED));
    say("waitid: pid %d code %d status %d", info.si_pid, info.si_code, info.si_status);
    pid = vfork();
    if (pid == 0) {
        char *argv[] = {"sh", "-c", "echo vforked $$ $0 $PPID; exit 13", NULL};
        execve("/bin/sh", argv, environ);
        _exit(127);
    }
    ended("vfork", pid);
    pid = vfork();
    if (pid == 0) {
        execl("/does/not/exist", "x", NULL);
        _exit(errno);
    }
    ended("vfork, no such program", pid);
}

static void spawns(void) {
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    char *argv[] = {"sh", "-c", "echo spawned $$ >&2; kill -9 $$", NULL};
    MUST(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ) == 0);
    ended("posix_spawn", pid);
    char *none[] = {NULL}, *only[] = {"ONLY=this", NULL};
    char *env[] = {"/usr/bin/env", NULL};
    pid = fork();
    if (pid == 0) execve("/usr/bin/env", env, none);
    ended("exec with an empty environment", pid);
    pid = fork();
    if (pid == 0) execve("/usr/bin/env", env, only);
    ended("exec with another environment", pid);
    pid = fork();
    if (pid == 0) {
        int fd = open("/bin/sh", O_PATH | O_CLOEXEC);
        char *sh[] = {"sh", "-c", "echo by execveat", NULL};
        syscall(SYS_execveat, fd, "", sh, environ, AT_EMPTY_PATH);
        _exit(126);
    }
    ended("execveat", pid);
    fflush(stdout);
    SHOW(system("echo from a shell $((6 * 7)); exit 5"));
    FILE *p = popen("date +%N; echo $$", "r");
    char line[64];
    while (fgets(line, sizeof line, p)) say("popen: %.*s", (int)strcspn(line, "\n"), line);
    SHOW(pclose(p));
}

static void waiting(void) {
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            sleep_ms((4 - i) * 4);
            _exit(i);
        }
    }
    SHOW(waitpid(-1, NULL, WNOHANG));
    int status;
    for (;;) {
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0) break;
        say("any child: %d status %x", pid, status);
    }
    SHOW(waitpid(-1, &status, 0));
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(1);
    }
    SHOW(waitpid(pid, &status, WUNTRACED));
    say("stopped %x", status);
    int pidfd = SHOW(syscall(SYS_pidfd_open, pid, 0));
    SHOW(syscall(SYS_pidfd_getfd, pidfd, 1, 0));
    SHOW(kill(pid, SIGCONT));
    ended("continued", pid);
    SHOW(kill(pid, 0));
    siginfo_t info = {0};
    pid = fork();
    if (pid == 0) _exit(21);
    SHOW(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    say("status %d", info.si_status);
    ended("seen before", pid);
}

// An orphan that outlives its parent and still writes to stdout.
static void orphan(void) {
    int fds[2];
    MUST(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            close(fds[0]);
            pid_t parent = getppid();
            for (int i = 0; i < 20 && getppid() == parent; i++) sleep_ms(1);
            say("orphan %d speaks", getpid());
            _exit(0);
        }
        _exit(0);
    }
    close(fds[1]);
    ended("parent of an orphan", pid);
    char byte;
    SHOW(read(fds[0], &byte, 1));
}

static volatile int children_seen;
static void on_child(int signal) {
    (void)signal;
    int status, saved = errno;
    while (waitpid(-1, &status, WNOHANG) > 0) children_seen++;
    errno = saved;
}

static void by_signal(void) {
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGCHLD, &action, NULL) == 0);
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            sleep_ms(i);
            _exit(i);
        }
    while (children_seen < 3) {
        // A signal between the test and the pause would be lost: sleep shortly.
        sleep_ms(1);
    }
    say("all seen");
    signal(SIGCHLD, SIG_DFL);
}

int main(void) {
    say("pid %d parent %d group %d session %d", getpid(), getppid(), getpgrp(), getsid(0));
    SHOW(getpgid(0));
    forks();
    spawns();
    waiting();
    orphan();
    by_signal();
    pid_t pid = fork();
    if (pid == 0) {
        SHOW(setsid());
        SHOW(syscall(SYS_getpgrp));
        SHOW(setpgid(0, 0));
        SHOW(prctl(PR_SET_NAME, "renamed"));
        char name[32];
        SHOW(prctl(PR_GET_NAME, name));
        say("name %s", name);
        SHOW(prctl(PR_SET_PDEATHSIG, SIGKILL));
        char *argv[] = {"sh", "-c", "exit 0", NULL};
        execvp("sh", argv);
    }
    ended("last", pid);
    return 0;
}
