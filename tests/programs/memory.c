// covers: mmap munmap mprotect mremap brk madvise msync mincore mlock munlock mlock2 mlockall
// covers: munlockall memfd_create remap_file_pages pkey_alloc pkey_free pkey_mprotect
// covers: process_vm_readv process_vm_writev process_madvise get_mempolicy set_mempolicy mbind
// covers: migrate_pages move_pages set_mempolicy_home_node mseal map_shadow_stack memfd_secret
// covers: shmget shmat shmdt shmctl
#include "guest.h"
#include <sys/shm.h>
#include <sys/uio.h>

#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

// Addresses are printed too: those of a replay are those of the recording.
static void *map(size_t len, int prot, int flags, int fd, off_t at) {
    void *p = mmap(NULL, len, prot, flags, fd, at);
    say("mmap of %lx: %p", (long)len, p);
    return p;
}

static void anonymous(void) {
    char *p = map(65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(p, "kept");
    char *q = mremap(p, 65536, 1 << 20, MREMAP_MAYMOVE);
    say("moved to %p: %s", (void *)q, q);
    SHOW(mprotect(q, 4096, PROT_READ));
    SHOW(madvise(q + 8192, 8192, MADV_DONTNEED));
    SHOW(mlock(q, 4096));
    SHOW(munlock(q, 4096));
    SHOW(syscall(SYS_mlock2, q, 4096, 0));
    unsigned char resident[4];
    SHOW(mincore(q, 16384, resident));
    SHOW(munmap(q, 1 << 20));
    SHOW(munmap((void *)1, 4096));
    say("fixed %p", mmap((void *)0x10000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    say("again %p", mmap((void *)0x10000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    say("brk %p", sbrk(0));
    void *before = sbrk(200000);
    MUST(before != (void *)-1);
    say("brk %p", sbrk(0));
    sbrk(-100000);
    say("brk %p", sbrk(0));
    for (size_t size = 10; size < 10000000; size *= 10) say("malloc %p", malloc(size));
}

// What another mapping or a write() does to a shared mapping is not part of a recording.
static void files(void) {
    int fd = open("mapped", O_CREAT | O_RDWR, 0600);
    char page[4096];
    memset(page, 'a', sizeof page);
    int len = snprintf(page, sizeof page, "made at %lld", now_ns());
    MUST(write(fd, page, sizeof page) == sizeof page);
    char *private = map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    say("%.*s / %.*s", len, private, len, shared);
    memcpy(shared, "MADE", 4);
    SHOW(msync(shared, 4096, MS_SYNC));
    char back[8] = "";
    SHOW(pread(fd, back, 4, 0));
    say("%s %.4s", back, shared);
    SHOW(munmap(shared, 4096));
    int exe = open("/proc/self/exe", O_RDONLY);
    char *elf = map(4096, PROT_READ, MAP_PRIVATE, exe, 0);
    say("%.3s", elf + 1);
    close(exe);
    // As the loader reserves a library's place: far more than the file has.
    char *beyond = map(1 << 20, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    say("%.1s", beyond);
    close(fd);
    int memory = memfd_create("name", MFD_CLOEXEC);
    SHOW(ftruncate(memory, 8192));
    char *m = map(8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    snprintf(m, 100, "in memory at %lld", now_ns());
    char text[64] = "";
    SHOW(pread(memory, text, 60, 0));
    say("%s", text);
    SHOW(syscall(SYS_remap_file_pages, m, 4096, 0, 1, 0));
}

// Memory shared with a child: what it wrote is seen after it has been waited for.
static void with_child(void) {
    long *p = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        p[0] = now_ns();
        p[1] = getpid();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    say("shared: %ld %ld", p[0], p[1]);
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    MUST(id >= 0);
    long *s = shmat(id, NULL, 0);
    SHOW(shmctl(id, IPC_RMID, NULL));
    s[0] = 42;
    say("segment: %ld", s[0]);
    SHOW(shmdt(s));
}

static void rest(void) {
    char a[16] = "from here", b[16] = "";
    struct iovec from = {a, 10}, to = {b, 10};
    SHOW(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
    say("%s", b);
    SHOW(process_vm_writev(getpid(), &from, 1, &to, 1, 0));
    SHOW(syscall(SYS_mlockall, 0));
    SHOW(munlockall());
    int key = syscall(SYS_pkey_alloc, 0, 0);
    say("key %d", key < 0);
    SHOW(syscall(SYS_pkey_free, 77));
    SHOW(syscall(SYS_pkey_mprotect, 0, 0, 0, 77));
    int mode;
    SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0));
    SHOW(syscall(SYS_set_mempolicy, 0, NULL, 0));
    SHOW(syscall(SYS_mbind, 0, 0, 0, NULL, 0, 0));
    SHOW(syscall(SYS_migrate_pages, 0, 0, NULL, NULL));
    SHOW(syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0));
    SHOW(syscall(SYS_process_madvise, -1, NULL, 0, 0, 0));
    SHOW(syscall(SYS_set_mempolicy_home_node, 0, 0, 0, 0));
    SHOW(syscall(SYS_mseal, 0, 0, 1));
    SHOW(syscall(SYS_map_shadow_stack, 0, 0, 77));
    SHOW(syscall(SYS_memfd_secret, 0x1000));
}

int main(void) {
    anonymous();
    files();
    with_child();
    rest();
    return 0;
}
