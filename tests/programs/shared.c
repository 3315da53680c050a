// Memory that several processes reach, each in another way; the argument says which.
#include "guest.h"
#include <sys/shm.h>
#include <sys/uio.h>

// Two processes count in turns and at the same time; what each sees depends on when it looks.
static void race(volatile long *mine, volatile const long *other, const char *who) {
    long seen = 0, changes = 0;
    for (int i = 0; i < 200; i++) {
        if (mine) mine[0]++;
        long now = other[0];
        changes += now != seen;
        seen = now;
        if (i % 10 == 0) sched_yield();
        if (i % 50 == 0) usleep(100);
    }
    say("%s saw %ld changes, last %ld", who, changes, seen);
}

static int file_of_a_page(const char *name) {
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    char page[4096] = {0};
    snprintf(page + 100, 100, "made at %lld", now_ns());
    MUST(write(fd, page, sizeof page) == sizeof page);
    return fd;
}

// One process maps a file to write, the other to read only, by a descriptor of its own.
static void reader(void) {
    int fd = file_of_a_page("counter");
    pid_t pid = fork();
    if (pid == 0) {
        int own = open("counter", O_RDONLY);
        const char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, own, 0);
        MUST(p != MAP_FAILED);
        say("%s", p + 100);
        race(NULL, (const long *)p, "reader");
        _exit(0);
    }
    long *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    long none = 0;
    race(p, &none, "writer");
    waitpid(pid, NULL, 0);
    say("in the end %ld", p[0]);
}

// Mapped to be read only, and made writable later.
static void protected(void) {
    int fd = file_of_a_page("counters");
    long *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    long *q = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED && q != MAP_FAILED);
    pid_t pid = fork();
    SHOW(mprotect(p, 4096, PROT_READ | PROT_WRITE));
    SHOW(mprotect(q, 4096, PROT_READ | PROT_WRITE));
    if (pid == 0) {
        race(p, p + 1, "child");
        race(q, q + 1, "child");
        _exit(0);
    }
    race(p + 1, p, "parent");
    race(q + 1, q, "parent");
    waitpid(pid, NULL, 0);
    say("in the end %ld %ld %ld %ld", p[0], p[1], q[0], q[1]);
}

static char memory[3][64];
static const char constant[4096] __attribute__((aligned(4096))) = "constant";

static void say_memory(const char *who) {
    say("%s: '%s' '%s' '%s' '%s'", who, memory[0], memory[1], memory[2], constant);
}

// Writes the memory of a process, by every call that can.
static void write_memory(pid_t pid) {
    char text[64], path[64];
    int len = snprintf(text, sizeof text, "written at %lld", now_ns()) + 1;
    struct iovec from[2] = {{text, 7}, {text + 7, len - 7}};
    struct iovec to[2] = {{memory[0], 3}, {memory[0] + 3, len - 3}};
    SHOW(process_vm_writev(pid, from, 2, to, 2, 0));
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    MUST(fd >= 0);
    SHOW(lseek(fd, (off_t)(uintptr_t)memory[1], SEEK_SET) != 0);
    SHOW(write(fd, text, 8));
    SHOW(writev(fd, (struct iovec[]){{text + 8, 2}, {text + 10, len - 10}}, 2));
    SHOW(pwrite(fd, text, len, (off_t)(uintptr_t)memory[2]));
    // A debugger's way: pages that are not writable.
    SHOW(pwrite(fd, "CONSTANT", 8, (off_t)(uintptr_t)constant));
    SHOW(pwrite(fd, text, 1, 8));
    char back[64] = "";
    SHOW(pread(fd, back, len, (off_t)(uintptr_t)memory[1]));
    say("%s", back);
    close(fd);
}

static void written(void) {
    say_memory("before");
    write_memory(getpid());
    say_memory("after");
    int fd = open("/proc/self/mem", O_RDWR);
    SHOW(pwrite(fd, "itself", 7, (off_t)(uintptr_t)memory[0]));
    close(fd);
    say_memory("after that");
}

// The child waits in a call while its memory is written.
static void child_written(void) {
    int go[2], done[2];
    MUST(pipe(go) == 0 && pipe(done) == 0);
    pid_t pid = fork();
    char byte;
    if (pid == 0) {
        char *later = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        MUST(write(done[1], &later, sizeof later) == sizeof later);
        for (int i = 0; i < 5; i++) {
            MUST(read(go[0], &byte, 1) == 1);
            say_memory("child");
            say("mapped: %s", later);
            MUST(write(done[1], &byte, 1) == 1);
        }
        _exit(0);
    }
    char *later;
    MUST(read(done[0], &later, sizeof later) == sizeof later);
    for (int i = 0; i < 5; i++) {
        write_memory(pid);
        char text[64];
        struct iovec from = {text, snprintf(text, sizeof text, "now %lld", now_ns()) + 1};
        struct iovec to = {later, from.iov_len}, back = {text, from.iov_len};
        SHOW(process_vm_writev(pid, &from, 1, &to, 1, 0));
        SHOW(process_vm_readv(pid, &back, 1, &to, 1, 0));
        MUST(write(go[1], "x", 1) == 1);
        MUST(read(done[0], &byte, 1) == 1);
    }
    SHOW(waitpid(pid, NULL, 0) == pid);
    say_memory("parent");
    // Killed before it has seen what was written.
    pid = fork();
    if (pid == 0) {
        read(go[0], &byte, 1);
        _exit(0);
    }
    usleep(1000);
    write_memory(pid);
    SHOW(kill(pid, SIGKILL));
    SHOW(waitpid(pid, NULL, 0) == pid);
}

// A segment larger than what one record can hold would be; only parts of it are touched.
static void segment(void) {
    size_t size = 5ul << 30;
    int id = shmget(IPC_PRIVATE, size, IPC_CREAT | SHM_NORESERVE | 0600);
    MUST(id >= 0);
    char *p = shmat(id, NULL, 0);
    MUST(p != (char *)-1);
    for (size_t at = 0; at + 64 <= size; at += size / 7) snprintf(p + at, 64, "%zu at %lld", at, now_ns());
    SHOW(shmdt(p));
    pid_t pid = fork();
    long *q = shmat(id, NULL, 0);
    MUST(q != (long *)-1);
    if (pid == 0) {
        for (size_t at = 0; at + 64 <= size; at += size / 7) say("%s", (char *)q + at);
        say("end: %d", ((char *)q)[size - 1]);
        race(q + 1000, q + 1001, "child");
        _exit(0);
    }
    race(q + 1001, q + 1000, "parent");
    waitpid(pid, NULL, 0);
    SHOW(shmctl(id, IPC_RMID, NULL));
    say("in the end %ld %ld", q[1000], q[1001]);
}

// A shared mapping of a file of the system, which nobody of the tree writes.
static void constants(void) {
    int fd = open("/bin/sh", O_RDONLY);
    const char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    MUST(p != MAP_FAILED);
    say("%lx", hash(p, 4096));
}

// A file that was there before.
static void older(const char *name) {
    int fd = open(name, O_RDWR);
    MUST(fd >= 0);
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(p != MAP_FAILED);
    say("%.5s", p);
}

static void *waits(void *arg) {
    for (;;) usleep(20);
    return arg;
}

// Processes that end while their other threads want to go on.
static void ends(void) {
    enum { CHILDREN = 20, THREADS = 4 };
    volatile long *sum = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(sum != MAP_FAILED);
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            pthread_t threads[THREADS];
            for (int j = 0; j < THREADS; j++) pthread_create(&threads[j], NULL, waits, NULL);
            usleep(300);
            *sum += i;
            exit(i);
        }
    }
    int status;
    for (int i = 0; i < CHILDREN; i++) MUST(wait(&status) > 0);
    say("sum %ld", *sum);
}

// A file that is mapped to be read, and changed by every call that writes one.
static void by_write(void) {
    const char *name = "mapped";
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    MUST(ftruncate(fd, 8192) == 0);
    const char *p = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0);
    MUST(p != MAP_FAILED);
    char text[64];
    int len = snprintf(text, sizeof text, "%lld", now_ns());
    SHOW(pwrite(fd, text, len, 100) == len);
    say("pwrite: %s", p + 100);
    MUST(lseek(fd, 300, SEEK_SET) == 300);
    SHOW(write(fd, text, len) == len);
    say("write: %s", p + 300);
    struct iovec parts[] = {{"a", 1}, {NULL, 0}, {text, len}, {"z", 1}};
    SHOW(writev(fd, parts, 4) == len + 2);
    SHOW(pwritev(fd, parts, 4, 4090) == len + 2);
    SHOW(pwritev2(fd, parts, 4, 500, 0) == len + 2);
    say("writev: %s %.20s %s", p + 300 + len, p + 4090, p + 500);
    // Another process, with a descriptor of its own, behind the end.
    if (fork() == 0) {
        int own = open(name, O_WRONLY | O_APPEND);
        len = snprintf(text, sizeof text, "%lld", now_ns());
        SHOW(write(own, text, len) == len);
        SHOW(pwrite(own, text, len, 0) == len);
        _exit(0);
    }
    int status;
    MUST(wait(&status) > 0);
    say("appended: %s", p + 8192);
    // Bytes that the kernel moves.
    int from = open("other", O_CREAT | O_RDWR | O_TRUNC, 0600);
    len = snprintf(text, sizeof text, "%lld", now_ns());
    MUST(write(from, text, len) == len);
    off_t at = 0, to = 1000;
    if (copy_file_range(from, &at, fd, &to, len, 0) < 0) MUST(pwrite(fd, text, len, 1000) == len);
    say("copied: %s", p + 1000);
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 400));
    say("punched: '%s' '%s'", p + 100, p + 500);
    SHOW(ftruncate(fd, 510));
    SHOW(ftruncate(fd, 8192));
    say("cut: '%s' '%s'", p + 500, p + 1000);
    // Mapped again, and by a private mapping.
    MUST(munmap((void *)p, 65536) == 0);
    SHOW(pwrite(fd, text, len, 200) == len);
    p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    const char *q = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    MUST(p != MAP_FAILED && q != MAP_FAILED);
    say("again: %s %s %s %s", p + 200, p + 500, q + 200, q + 500);
}

// A file that is made anew under its name, and mostly by its number.
static void remade(void) {
    for (int i = 0; i < 3; i++) {
        int fd = open("remade", O_CREAT | O_RDWR, 0600);
        MUST(ftruncate(fd, 4096) == 0);
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        MUST(p != MAP_FAILED);
        say("%d", p[0]);
        p[0] = 1;
        munmap(p, 4096);
        close(fd);
        unlink("remade");
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "reader") == 0) reader();
    if (strcmp(what, "protected") == 0) protected();
    if (strcmp(what, "written") == 0) written();
    if (strcmp(what, "child_written") == 0) child_written();
    if (strcmp(what, "segment") == 0) segment();
    if (strcmp(what, "ends") == 0) ends();
    if (strcmp(what, "by_write") == 0) by_write();
    if (strcmp(what, "remade") == 0) remade();
    if (strcmp(what, "constants") == 0) constants();
    if (strcmp(what, "older") == 0) older(argv[2]);
    say("done");
    return 0;
}
