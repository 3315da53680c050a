// cc: -static
/* What a program that the shim can't enter may reach: each kind of socket, by each way. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *made(long ret)
{
    return ret >= 0 ? "made" : ret == -EACCES ? "refused" : "?";
}

/* A call of a 32-bit program: seccomp sees another architecture. */
static long call_32(long nr, long a, long b, long c)
{
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return ret;
}

static long ret_of(long ret)
{
    return ret == -1 ? -errno : ret;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("unix %s\n", made(ret_of(socket(AF_UNIX, SOCK_STREAM, 0))));
    printf("netlink %s\n", made(ret_of(socket(AF_NETLINK, SOCK_RAW, 0))));
    printf("inet %s\n", made(ret_of(socket(AF_INET, SOCK_STREAM, 0))));
    printf("inet6 %s\n", made(ret_of(socket(AF_INET6, SOCK_DGRAM, 0))));
    long narrow = call_32(359, AF_INET, SOCK_STREAM, 0);
    printf("narrow %s\n", narrow == -ENOSYS ? "refused" : made(narrow));
    if (fork() == 0)
        return printf("child %s\n", made(ret_of(socket(AF_INET, SOCK_STREAM, 0)))) < 0;
    wait(NULL);
    return 0;
}
