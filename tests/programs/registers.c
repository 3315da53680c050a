// cc: -O2
// Raw calls: the guest's registers, flags, red zone and vector state live through them.
#include "guest.h"
#include <cpuid.h>

// A call with every other register, the flags and 128 bytes below the stack pointer checked.
// Returns the call's result, or the number of the check that failed, negated and less 10,000.
__attribute__((naked, noinline)) static long raw(long nr, long a, long b, long c) {
    (void)nr, (void)a, (void)b, (void)c;
    __asm__("push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
            "mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
            "mov $0x1111111111111111, %rbx\n mov $0x2222222222222222, %rbp\n"
            "mov $0x3333333333333333, %r12\n mov $0x4444444444444444, %r13\n"
            "mov $0x5555555555555555, %r14\n mov $0x6666666666666666, %r15\n"
            "mov $0x7777777777777777, %r8\n mov $0x8888888888888888, %r9\n"
            "mov $0x9999999999999999, %r10\n"
            "movq $0xaaaa, -8(%rsp)\n movq $0xbbbb, -64(%rsp)\n movq $0xcccc, -128(%rsp)\n"
            "std\n stc\n"
            "syscall\n"
            "jnc 1f\n cld\n"
            "cmpq $0xaaaa, -8(%rsp)\n jne 2f\n cmpq $0xbbbb, -64(%rsp)\n jne 2f\n"
            "cmpq $0xcccc, -128(%rsp)\n jne 2f\n"
            "mov $0x1111111111111111, %rcx\n cmp %rcx, %rbx\n jne 3f\n"
            "mov $0x2222222222222222, %rcx\n cmp %rcx, %rbp\n jne 3f\n"
            "mov $0x3333333333333333, %rcx\n cmp %rcx, %r12\n jne 3f\n"
            "mov $0x4444444444444444, %rcx\n cmp %rcx, %r13\n jne 3f\n"
            "mov $0x5555555555555555, %rcx\n cmp %rcx, %r14\n jne 3f\n"
            "mov $0x6666666666666666, %rcx\n cmp %rcx, %r15\n jne 3f\n"
            "mov $0x7777777777777777, %rcx\n cmp %rcx, %r8\n jne 4f\n"
            "mov $0x8888888888888888, %rcx\n cmp %rcx, %r9\n jne 4f\n"
            "mov $0x9999999999999999, %rcx\n cmp %rcx, %r10\n jne 4f\n"
            "jmp 9f\n"
            "1: cld\n mov $-10001, %rax\n jmp 9f\n"
            "2: mov $-10002, %rax\n jmp 9f\n"
            "3: mov $-10003, %rax\n jmp 9f\n"
            "4: mov $-10004, %rax\n"
            "9: pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
}

typedef unsigned char Vector __attribute__((vector_size(64)));

// Fills all vector registers, calls, and compares them: `kind` 0 xmm, 1 ymm, 2 zmm.
#define ALL(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
static unsigned char in[32][64] __attribute__((aligned(64))), out[32][64] __attribute__((aligned(64)));
#define LOAD_X(i) "movdqa " #i "*64(%%rsi), %%xmm" #i "\n"
#define STORE_X(i) "movdqa %%xmm" #i ", " #i "*64(%%rdi)\n"
#define LOAD_Y(i) "vmovdqa " #i "*64(%%rsi), %%ymm" #i "\n"
#define STORE_Y(i) "vmovdqa %%ymm" #i ", " #i "*64(%%rdi)\n"
#define LOAD_Z(i) "vmovdqa64 " #i "*64(%%rsi), %%zmm" #i "\n"
#define STORE_Z(i) "vmovdqa64 %%zmm" #i ", " #i "*64(%%rdi)\n"
#define AROUND(load, store)                                                                  \
    __asm__ volatile(load "mov $39, %%eax\n syscall\n" store                                   \
                     :                                                                         \
                     : "S"(in), "D"(out)                                                       \
                     : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",  \
                       "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",      \
                       "xmm13", "xmm14", "xmm15")

static void vectors(const char *name, int kind, size_t bytes) {
    for (int i = 0; i < 32; i++)
        for (int k = 0; k < 64; k++) in[i][k] = i * 7 + k;
    memset(out, 0, sizeof out);
    if (kind == 0) AROUND(ALL(LOAD_X), ALL(STORE_X));
    if (kind == 1) AROUND(ALL(LOAD_Y), ALL(STORE_Y));
    if (kind == 2) AROUND(ALL(LOAD_Z), ALL(STORE_Z));
    int bad = 0;
    for (int i = 0; i < 16; i++) bad += memcmp(in[i], out[i], bytes) != 0;
    say("%s: %d of 16 changed", name, bad);
}

static void control_words(void) {
    unsigned mxcsr, rounding = 0x1f80 | 0x6000, after;
    unsigned short x87 = 0x0f7f, x87_after;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("ldmxcsr %0" ::"m"(rounding));
    __asm__ volatile("fldcw %0" ::"m"(x87));
    raw(SYS_getpid, 0, 0, 0);
    getppid();
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    __asm__ volatile("stmxcsr %0" : "=m"(after));
    __asm__ volatile("fnstcw %0" : "=m"(x87_after));
    say("mxcsr %x, x87 %x", after & 0xffc0, x87_after);
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("fninit");
}

static volatile int handled;
static void on_signal(int signal) {
    (void)signal;
    handled++;
    Vector v;
    memset(&v, 0xee, sizeof v);
    __asm__ volatile("" ::"m"(v));
}

int main(void) {
    say("getpid %d", raw(SYS_getpid, 0, 0, 0) == getpid());
    say("write %ld", raw(SYS_write, 1, (long)"raw write\n", 10));
    char byte[8];
    say("read of a bad descriptor %ld", raw(SYS_read, 900, (long)byte, 8));
    struct timespec t;
    say("clock %ld", raw(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0));
    say("sleep %ld", raw(SYS_nanosleep, (long)&(struct timespec){0, 1000000}, 0, 0));
    say("yield %ld", raw(SYS_sched_yield, 0, 0, 0));
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mprotect %ld", raw(SYS_mprotect, (long)page, 4096, PROT_READ | PROT_WRITE));
    say("no such call %ld", raw(1000, 1, 2, 3));
    say("negative %ld", raw(-1, 1, 2, 3));
    vectors("xmm", 0, 16);
    unsigned a, b, c, d;
    __cpuid(1, a, b, c, d);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) vectors("ymm", 1, 32);
    if (__builtin_cpu_supports("avx512f")) vectors("zmm", 2, 64);
    control_words();
    signal(SIGALRM, on_signal);
    struct itimerval tick = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &tick, NULL);
    for (int i = 0; i < 3000; i++) {
        MUST(raw(SYS_getpid, 0, 0, 0) == getpid());
        MUST(raw(SYS_getppid, 0, 0, 0) == getppid());
    }
    tick.it_value.tv_usec = tick.it_interval.tv_usec = 0;
    setitimer(ITIMER_REAL, &tick, NULL);
    say("under signals: %d", handled >= 0);
    return 0;
}
