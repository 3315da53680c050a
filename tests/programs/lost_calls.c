// A signal that comes while a system call begins: SIGSYS itself, which is what dispatches calls.
// covers: tgkill getppid
#include "guest.h"

static volatile long came;
static void handler(int sig) { came += sig == SIGSYS; }

// The number comes from memory: only a number in the code makes a site that becomes a jump.
static volatile long number = SYS_getppid;
static long raw_getppid(void) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    MUST(sigaction(SIGSYS, &action, NULL) == 0);
    int parent = getpid(), above = getppid();
    int child = fork();
    if (child == 0) {
        while (syscall(SYS_tgkill, parent, parent, SIGSYS) == 0 && getppid() == parent) {
        }
        _exit(0);
    }
    long wrong = 0;
    for (int i = 0; i < 30000; i++) wrong += raw_getppid() != above;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    say("%ld calls were lost; signals came: %ld; at %lld", wrong, came, now_ns());
    return 0;
}
