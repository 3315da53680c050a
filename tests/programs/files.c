// covers: open openat creat read write pread64 pwrite64 readv writev preadv pwritev preadv2
// covers: pwritev2 lseek close fsync fdatasync ftruncate truncate fallocate rename renameat
// covers: renameat2 link linkat symlink symlinkat unlink unlinkat readlink readlinkat mkdir mkdirat
// covers: rmdir chdir fchdir getcwd chmod fchmod fchmodat chown fchown lchown fchownat umask
// covers: access faccessat faccessat2 stat fstat lstat newfstatat statx statfs fstatfs utimensat
// covers: utime utimes futimesat mknod mknodat flock fcntl sync_file_range copy_file_range
// covers: fadvise64 readahead syncfs openat2 close_range dup dup2 dup3 getdents64 getdents
// covers: setxattr getxattr listxattr removexattr fsetxattr fgetxattr flistxattr fremovexattr
// covers: lsetxattr lgetxattr llistxattr lremovexattr
#include "guest.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

static void show_stat(const char *name) {
    struct stat s;
    MUST(lstat(name, &s) == 0);
    say("%s: mode %o size %ld links %ld ino %ld mtime %ld.%09ld", name, s.st_mode, s.st_size,
        (long)s.st_nlink, (long)s.st_ino, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
}

static void vectors(int fd) {
    char a[3], b[5];
    struct iovec out[] = {{"one", 3}, {"", 0}, {"three", 5}};
    SHOW(pwritev(fd, out, 3, 10));
    SHOW(pwritev2(fd, out, 3, 20, 0));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(writev(fd, out, 3));
    struct iovec in[] = {{a, sizeof a}, {b, sizeof b}};
    SHOW(preadv(fd, in, 2, 10));
    say("%.3s %.5s", a, b);
    SHOW(preadv2(fd, in, 2, 22, 0));
    say("%.3s %.5s", a, b);
    SHOW(lseek(fd, 5, SEEK_SET));
    memset(a, 0, 3), memset(b, 0, 5);
    SHOW(readv(fd, in, 2));
    say("%02x %02x", a[0], b[4]);
}

static void directories(void) {
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    int d = open("d", O_RDONLY | O_DIRECTORY);
    MUST(d >= 0);
    SHOW(mkdirat(d, "e", 0700));
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d-%ld", i, random() % 1000);
        int f = openat(d, name, O_CREAT | O_WRONLY, 0600);
        MUST(f >= 0);
        close(f);
    }
    DIR *dir = opendir("d");
    MUST(dir);
    for (struct dirent *e; (e = readdir(dir));) say("%s %d %ld", e->d_name, e->d_type, (long)e->d_ino);
    closedir(dir);
    char old[4096];
    int raw = open("d", O_RDONLY);
    say("getdents %ld", syscall(SYS_getdents, raw, old, sizeof old));
    say("%lx", hash(old, 200));
    SHOW(chdir("d"));
    char cwd[4096];
    say("%s", strrchr(getcwd(cwd, sizeof cwd), '/'));
    SHOW(fchdir(raw));
    SHOW(syscall(SYS_chdir, ".."));
    SHOW(syscall(SYS_rmdir, "d/e"));
    SHOW(rmdir("d"));
    SHOW(rmdir("nothing"));
    close(d), close(raw);
}

static void names(void) {
    int f = creat("a", 0644);
    MUST(f >= 0);
    MUST(write(f, "content", 7) == 7);
    SHOW(close(f));
    SHOW(close(f));
    SHOW(link("a", "b"));
    SHOW(linkat(AT_FDCWD, "a", AT_FDCWD, "c", 0));
    SHOW(symlink("a", "s"));
    SHOW(symlinkat("b", AT_FDCWD, "t"));
    char target[64];
    long n = SHOW(readlink("s", target, sizeof target));
    say("%.*s", (int)n, target);
    n = SHOW(readlinkat(AT_FDCWD, "t", target, sizeof target));
    say("%.*s", (int)n, target);
    show_stat("a"), show_stat("s");
    SHOW(syscall(SYS_rename, "b", "b2"));
    SHOW(syscall(SYS_renameat, AT_FDCWD, "c", AT_FDCWD, "c2"));
    SHOW(renameat2(AT_FDCWD, "b2", AT_FDCWD, "c2", RENAME_EXCHANGE));
    SHOW(renameat2(AT_FDCWD, "b2", AT_FDCWD, "c2", RENAME_NOREPLACE));
    SHOW(syscall(SYS_chmod, "a", 0600));
    SHOW(fchmodat(AT_FDCWD, "a", 0640, 0));
    SHOW(syscall(SYS_chown, "a", -1, -1));
    SHOW(lchown("s", -1, -1));
    SHOW(fchownat(AT_FDCWD, "a", -1, -1, 0));
    SHOW(syscall(SYS_access, "a", R_OK));
    SHOW(access("none", R_OK));
    SHOW(syscall(SYS_faccessat, AT_FDCWD, "a", W_OK));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "a", X_OK, 0));
    struct timespec times[2] = {{1, 2}, {3, 4}};
    SHOW(utimensat(AT_FDCWD, "a", times, 0));
    show_stat("a");
    struct timeval tv[2] = {{5, 6}, {7, 8}};
    SHOW(syscall(SYS_utimes, "a", tv));
    SHOW(syscall(SYS_futimesat, AT_FDCWD, "a", tv));
    struct utimbuf ut = {9, 10};
    SHOW(syscall(SYS_utime, "a", &ut));
    show_stat("a");
    SHOW(syscall(SYS_mknod, "fifo", S_IFIFO | 0600, 0));
    SHOW(syscall(SYS_mknodat, AT_FDCWD, "fifo2", S_IFIFO | 0600, 0));
    SHOW(truncate("a", 3));
    struct stat s;
    SHOW(syscall(SYS_stat, "a", &s));
    say("size %ld", s.st_size);
    SHOW(syscall(SYS_lstat, "s", &s));
    SHOW(syscall(SYS_fstat, 1, &s));
    struct statx x;
    SHOW(statx(AT_FDCWD, "a", 0, STATX_ALL, &x));
    say("size %lld btime %lld", x.stx_size, x.stx_btime.tv_sec);
    SHOW(unlink("s"));
    SHOW(unlinkat(AT_FDCWD, "t", 0));
    SHOW(unlink("t"));
}

static void attributes(int fd) {
    char value[64];
    SHOW(setxattr("a", "user.one", "1", 1, 0));
    SHOW(lsetxattr("a", "user.two", "22", 2, 0));
    SHOW(fsetxattr(fd, "user.three", "333", 3, 0));
    SHOW(getxattr("a", "user.one", value, sizeof value));
    SHOW(lgetxattr("a", "user.two", value, sizeof value));
    SHOW(fgetxattr(fd, "user.three", value, sizeof value));
    SHOW(getxattr("a", "user.none", value, sizeof value));
    SHOW(listxattr("a", value, sizeof value));
    SHOW(llistxattr("a", value, sizeof value));
    SHOW(flistxattr(fd, value, sizeof value));
    SHOW(removexattr("a", "user.one"));
    SHOW(lremovexattr("a", "user.two"));
    SHOW(fremovexattr(fd, "user.three"));
}

static void descriptors(void) {
    int f = open("a", O_RDWR | O_CLOEXEC);
    MUST(f >= 0);
    SHOW(fcntl(f, F_GETFD));
    SHOW(fcntl(f, F_GETFL));
    SHOW(fcntl(f, F_SETFL, O_APPEND | O_NONBLOCK));
    SHOW(fcntl(f, F_GETFL));
    SHOW(fcntl(f, F_DUPFD, 100));
    SHOW(fcntl(f, F_DUPFD_CLOEXEC, 100));
    SHOW(dup(f));
    SHOW(dup2(f, 150));
    SHOW(dup2(f, f));
    SHOW(dup3(f, 151, O_CLOEXEC));
    SHOW(dup3(f, f, O_CLOEXEC));
    SHOW(dup2(f, 100000000));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 2};
    SHOW(fcntl(f, F_SETLK, &lock));
    lock.l_type = F_RDLCK;
    SHOW(fcntl(f, F_GETLK, &lock));
    say("lock type %d", lock.l_type);
    SHOW(fcntl(f, F_OFD_SETLK, &lock));
    SHOW(flock(f, LOCK_EX | LOCK_NB));
    SHOW(fsync(f));
    SHOW(fdatasync(f));
    SHOW(sync_file_range(f, 0, 0, SYNC_FILE_RANGE_WRITE));
    SHOW(syncfs(f));
    SHOW(posix_fadvise(f, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(readahead(f, 0, 4096));
    SHOW(fallocate(f, 0, 0, 100));
    SHOW(ftruncate(f, 64));
    SHOW(fchmod(f, 0600));
    SHOW(fchown(f, -1, -1));
    attributes(f);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    SHOW(syscall(SYS_openat2, AT_FDCWD, "a", &how, sizeof how));
    SHOW(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how));
    SHOW(syscall(SYS_close_range, 100, 200, 0));
    SHOW(fcntl(150, F_GETFD));
    int out = open("copy", O_CREAT | O_RDWR, 0600);
    loff_t from = 0;
    SHOW(copy_file_range(f, &from, out, NULL, 32, 0));
    say("at %ld", (long)from);
    struct statfs fs;
    SHOW(syscall(SYS_statfs, ".", &fs));
    say("free %ld", (long)fs.f_bfree);
    SHOW(syscall(SYS_fstatfs, f, &fs));
    close(f), close(out);
}

int main(void) {
    srandom(now_ns());
    say("umask %o", umask(022));
    int fd = syscall(SYS_open, "file", O_CREAT | O_RDWR, 0644);
    MUST(fd >= 0);
    char text[100];
    int len = snprintf(text, sizeof text, "written at %lld", now_ns());
    SHOW(write(fd, text, len));
    SHOW(pwrite(fd, "W", 1, 0));
    SHOW(lseek(fd, 2, SEEK_SET));
    char back[100] = "";
    SHOW(read(fd, back, sizeof back));
    SHOW(read(fd, back, sizeof back));
    say("%s", back);
    SHOW(pread(fd, back, 5, 0));
    vectors(fd);
    close(fd);
    names();
    descriptors();
    directories();
    char unread[256];
    int self = open("/proc/self/stat", O_RDONLY);
    ssize_t n = read(self, unread, sizeof unread - 1);
    say("%.*s", (int)n, unread);
    return 0;
}
