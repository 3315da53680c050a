// covers: add_key bpf cachestat fchmodat2 file_getattr file_setattr futex_requeue futex_wait
// covers: futex_waitv futex_wake getxattrat keyctl landlock_create_ruleset landlock_add_rule
// covers: landlock_restrict_self listxattrat lsm_get_self_attr lsm_list_modules
// covers: lsm_set_self_attr open_by_handle_at perf_event_open process_mrelease removexattrat
// covers: request_key setxattrat
// Calls that few programs make, by number: the headers may be older.
#include "guest.h"
#include <linux/futex.h>

int main(void) {
    close(open("file", O_CREAT | O_RDWR, 0600));
    int fd = open("file", O_RDWR);
    struct {
        uint64_t value;
        const void *address;
        uint32_t flags, reserved;
    } wait = {1, &fd, 2, 0};
    static uint32_t word;
    struct timespec limit = {0, 1000000};
    SHOW(syscall(449, &wait, 1, 0, &limit, CLOCK_MONOTONIC));
    SHOW(syscall(455, &word, 1, 0xffffffff, 0x82, &limit, CLOCK_MONOTONIC));
    SHOW(syscall(454, &word, 0xffffffff, 1, 0x82));
    SHOW(syscall(456, NULL, 0, 0, 0));
    uint64_t range[2] = {0, 0}, stat[5] = {0};
    SHOW(syscall(451, fd, range, stat, 0));
    SHOW(syscall(452, AT_FDCWD, "file", 0640, 0));
    struct {
        uint64_t value;
        uint32_t size, flags;
    } attribute = {(uint64_t)(uintptr_t) "v", 1, 0};
    char list[64];
    SHOW(syscall(463, AT_FDCWD, "file", 0, "user.a", &attribute, sizeof attribute));
    attribute.value = (uint64_t)(uintptr_t)list, attribute.size = sizeof list;
    SHOW(syscall(464, AT_FDCWD, "file", 0, "user.a", &attribute, sizeof attribute));
    SHOW(syscall(465, AT_FDCWD, "file", 0, list, sizeof list));
    SHOW(syscall(466, AT_FDCWD, "file", 0, "user.a"));
    char attributes[64] = {0};
    SHOW(syscall(468, AT_FDCWD, "file", attributes, 24, 0));
    SHOW(syscall(469, AT_FDCWD, "none", attributes, 24, 0));
    uint32_t size = sizeof attributes;
    uint64_t ids[16];
    SHOW(syscall(459, 0, attributes, &size, 0));
    SHOW(syscall(460, 0, attributes, 0, 0));
    size = sizeof ids;
    SHOW(syscall(461, ids, &size, 0));
    SHOW(syscall(SYS_add_key, "user", "rr-run", "secret", 6, -2));
    SHOW(syscall(SYS_request_key, "user", "rr-run-none", NULL, 0));
    SHOW(syscall(SYS_keyctl, 0, -2, 0));
    SHOW(syscall(SYS_bpf, 999, NULL, 0));
    SHOW(syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0));
    SHOW(syscall(SYS_process_mrelease, -1, 0));
    SHOW(syscall(SYS_open_by_handle_at, -1, NULL, 0));
    SHOW(syscall(444, NULL, 0, 1));
    SHOW(syscall(445, -1, 1, NULL, 0));
    SHOW(syscall(446, -1, 0));
    return 0;
}
