// covers: io_uring_setup io_uring_enter io_uring_register userfaultfd io_setup io_destroy io_submit
// covers: io_cancel io_getevents io_pgetevents
// Calls that rr-run refuses, as an old kernel would: programs fall back.
#include "guest.h"

int main(void) {
    char params[256] = {0};
    say("io_uring_setup %d", (int)syscall(SYS_io_uring_setup, 8, params));
    say("errno %s", strerrorname_np(errno));
    say("io_uring_enter %ld", syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0));
    say("io_uring_register %ld", syscall(SYS_io_uring_register, -1, 0, NULL, 0));
    say("userfaultfd %d", syscall(SYS_userfaultfd, 1) < 0 && errno == ENOSYS);
    unsigned long context = 0;
    say("io_setup %d", syscall(SYS_io_setup, 1, &context) < 0);
    syscall(SYS_io_destroy, 77), syscall(SYS_io_submit, 77, 0, NULL);
    syscall(SYS_io_cancel, 77, NULL, NULL), syscall(SYS_io_getevents, 77, 0, 0, NULL, NULL);
    syscall(SYS_io_pgetevents, 77, 0, 0, NULL, NULL, NULL);
    return 0;
}
