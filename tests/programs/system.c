// covers: exit_group uname sysinfo getuid geteuid getgid getegid getgroups getresuid getresgid setuid setgid
// covers: setreuid setregid setresuid setresgid setfsuid setfsgid setgroups getrlimit setrlimit
// covers: prlimit64 getpriority setpriority sched_getaffinity sched_setaffinity sched_getparam
// covers: sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max
// covers: sched_get_priority_min sched_rr_get_interval sched_getattr sched_setattr ioprio_get
// covers: ioprio_set capget capset personality arch_prctl prctl sysfs ustat inotify_init
// covers: inotify_init1 inotify_add_watch inotify_rm_watch fanotify_init fanotify_mark semget semop
// covers: semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend
// covers: mq_timedreceive mq_notify mq_getsetattr name_to_handle_at kcmp seccomp ptrace
// covers: set_thread_area get_thread_area lookup_dcookie sync unshare
#include "guest.h"
#include <mqueue.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static void identity(void) {
    struct utsname name;
    MUST(uname(&name) == 0);
    say("%s %s %s", name.sysname, name.release, name.nodename);
    struct sysinfo info;
    MUST(sysinfo(&info) == 0);
    say("uptime %ld free %lu procs %d", info.uptime, info.freeram, info.procs);
    say("cpus %d %ld", get_nprocs(), sysconf(_SC_NPROCESSORS_CONF));
    say("ids %d %d %d %d", getuid(), geteuid(), getgid(), getegid());
    uid_t a, b, c;
    SHOW(getresuid(&a, &b, &c));
    SHOW(getresgid(&a, &b, &c));
    gid_t groups[64];
    int n = SHOW(getgroups(64, groups));
    SHOW(syscall(SYS_setgroups, n, groups));
    SHOW(syscall(SYS_setuid, getuid()));
    SHOW(syscall(SYS_setgid, getgid()));
    SHOW(syscall(SYS_setreuid, -1, -1));
    SHOW(syscall(SYS_setregid, -1, -1));
    SHOW(syscall(SYS_setresuid, -1, -1, -1));
    SHOW(syscall(SYS_setresgid, -1, -1, -1));
    SHOW(setfsuid(getuid()));
    SHOW(setfsgid(getgid()));
    unsigned header[2] = {0x20080522, 0}, data[6];
    SHOW(syscall(SYS_capget, header, data));
    SHOW(syscall(SYS_capset, header, data));
    SHOW(syscall(SYS_personality, 0xffffffff) >= 0);
    unsigned long fs;
    SHOW(syscall(SYS_arch_prctl, 0x1003, &fs));
    SHOW(fs == (unsigned long)pthread_self());
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(syscall(SYS_sysfs, 3));
    char u[64];
    SHOW(syscall(SYS_ustat, 0, u));
}

static void limits(void) {
    struct rlimit l;
    MUST(getrlimit(RLIMIT_NOFILE, &l) == 0);
    say("files %ld %ld", (long)l.rlim_cur, (long)l.rlim_max);
    l.rlim_cur = 64;
    SHOW(syscall(SYS_setrlimit, RLIMIT_NOFILE, &l));
    SHOW(syscall(SYS_getrlimit, RLIMIT_NOFILE, &l));
    say("files %ld", (long)l.rlim_cur);
    SHOW(syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &l));
    say("stack %ld", (long)l.rlim_cur);
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 1));
    cpu_set_t set;
    SHOW(sched_getaffinity(0, sizeof set, &set));
    say("cpus %d", CPU_COUNT(&set));
    SHOW(sched_setaffinity(0, sizeof set, &set));
    struct sched_param param = {0};
    SHOW(sched_getparam(0, &param));
    SHOW(sched_setparam(0, &param));
    SHOW(sched_getscheduler(0));
    SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
    SHOW(sched_get_priority_max(SCHED_FIFO));
    SHOW(sched_get_priority_min(SCHED_FIFO));
    struct timespec t;
    SHOW(sched_rr_get_interval(0, &t));
    char attr[56] = {56};
    SHOW(syscall(SYS_sched_getattr, 0, attr, sizeof attr, 0));
    SHOW(syscall(SYS_sched_setattr, 0, attr, 0));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 0));
}

static void watches(void) {
    int fd = inotify_init1(IN_NONBLOCK);
    int watch = SHOW(inotify_add_watch(fd, ".", IN_CREATE | IN_MODIFY | IN_DELETE));
    close(open("watched", O_CREAT | O_WRONLY, 0600));
    unlink("watched");
    char events[1024] __attribute__((aligned(8)));
    ssize_t n = read(fd, events, sizeof events);
    for (ssize_t at = 0; at < n;) {
        struct inotify_event *e = (void *)(events + at);
        say("event %x of %s", e->mask, e->len ? e->name : "");
        at += sizeof *e + e->len;
    }
    SHOW(inotify_rm_watch(fd, watch));
    SHOW(syscall(SYS_inotify_init));
    SHOW(syscall(SYS_fanotify_init, 0xffff, 0));
    SHOW(syscall(SYS_fanotify_mark, -1, 0, 0, 0, 0));
}

static void queues(void) {
    int sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    struct sembuf up = {0, 2, 0}, down = {0, -1, IPC_NOWAIT};
    SHOW(syscall(SYS_semop, sem, &up, 1));
    for (int i = 0; i < 3; i++) SHOW(semop(sem, &down, 1));
    struct timespec t = {0, 1000000};
    down.sem_flg = 0;
    SHOW(semtimedop(sem, &down, 1, &t));
    SHOW(semctl(sem, 0, GETVAL));
    SHOW(semctl(sem, 0, IPC_RMID));
    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    struct {
        long type;
        char text[32];
    } message = {7, ""};
    snprintf(message.text, 32, "queued %lld", now_ns());
    SHOW(msgsnd(queue, &message, 32, 0));
    memset(&message, 0, sizeof message);
    SHOW(msgrcv(queue, &message, 32, 0, 0));
    say("type %ld: %s", message.type, message.text);
    SHOW(msgctl(queue, IPC_RMID, NULL));
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 32};
    char name[32], text[32];
    snprintf(name, sizeof name, "/rr-run-%d", getpid());
    mqd_t mq = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attr);
    if (mq == -1) {
        say("no message queues");
    } else {
        SHOW(mq_send(mq, "posted", 7, 3));
        unsigned priority;
        SHOW(mq_receive(mq, text, sizeof text, &priority));
        say("%s with %u", text, priority);
        SHOW(mq_getattr(mq, &attr));
        SHOW(mq_notify(mq, NULL));
    }
    SHOW(mq_unlink(name));
}

static void rest(void) {
    char handle[256] = {128};
    int mount;
    SHOW(syscall(SYS_name_to_handle_at, AT_FDCWD, ".", handle, &mount, 0) <= 0);
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), 0, 1, 1) >= -1);
    SHOW(syscall(SYS_seccomp, 2, 0, "\0\0\0"));
    SHOW(syscall(SYS_ptrace, 77, 0, 0, 0));
    SHOW(syscall(SYS_set_thread_area, NULL));
    SHOW(syscall(SYS_get_thread_area, NULL));
    SHOW(syscall(SYS_lookup_dcookie, 0, NULL, 0));
    SHOW(syscall(SYS_unshare, 0));
    SHOW(syscall(SYS_sync));
}

int main(void) {
    identity();
    limits();
    watches();
    queues();
    rest();
    return 0;
}
