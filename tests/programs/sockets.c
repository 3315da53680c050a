// covers: socket bind listen connect accept accept4 getsockname getpeername socketpair sendto
// covers: recvfrom sendmsg recvmsg sendmmsg recvmmsg setsockopt getsockopt shutdown
#include "guest.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <sys/un.h>

static void fill(char *text, size_t size, const char *what) {
    snprintf(text, size, "%s at %lld from %d", what, now_ns(), getpid());
}

static void *serve(void *listener) {
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        int s = i ? accept4((int)(long)listener, NULL, NULL, SOCK_CLOEXEC)
                  : syscall(SYS_accept, (int)(long)listener, &peer, &len);
        MUST(s >= 0);
        if (!i) say("accepted %d from port %d", s, ntohs(peer.sin_port));
        char text[128];
        for (int k = 0; k < 3; k++) {
            fill(text, sizeof text, "served");
            MUST(send(s, text, strlen(text), 0) > 0);
            sleep_ms(2);
        }
        ssize_t n = recv(s, text, sizeof text, 0);
        say("server got %.*s", (int)n, text);
        shutdown(s, SHUT_RDWR);
        close(s);
    }
    return NULL;
}

static void tcp(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    SHOW(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(bind(listener, (void *)&at, sizeof at) == 0);
    socklen_t len = sizeof at;
    MUST(getsockname(listener, (void *)&at, &len) == 0);
    say("port %d", ntohs(at.sin_port));
    MUST(listen(listener, 5) == 0);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, serve, (void *)(long)listener) == 0);
    for (int i = 0; i < 2; i++) {
        int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        SHOW(connect(c, (void *)&at, sizeof at));
        SHOW(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        int size = 0;
        len = sizeof size;
        SHOW(getsockopt(c, SOL_SOCKET, SO_RCVBUF, &size, &len));
        say("buffer %d", size);
        struct sockaddr_in me, peer;
        len = sizeof me;
        MUST(getsockname(c, (void *)&me, &len) == 0);
        len = sizeof peer;
        MUST(getpeername(c, (void *)&peer, &len) == 0);
        say("from %d to %d", ntohs(me.sin_port), ntohs(peer.sin_port));
        char text[64];
        size_t total = 0;
        while (total < 60) {
            ssize_t n = recvfrom(c, text, sizeof text, 0, NULL, NULL);
            MUST(n > 0);
            say("client got %.*s", (int)n, text);
            total += n;
        }
        fill(text, sizeof text, "client");
        SHOW(sendto(c, text, strlen(text), MSG_NOSIGNAL, NULL, 0));
        while (recv(c, text, sizeof text, 0) > 0) {
        }
        close(c);
    }
    pthread_join(thread, NULL);
    close(listener);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&at, sizeof at));
    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(c, (void *)&at, sizeof at));
    SHOW(accept(c, NULL, NULL));
}

static void udp(void) {
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    MUST(bind(a, (void *)&at, sizeof at) == 0 && getsockname(a, (void *)&at, &len) == 0);
    char text[64], small[8];
    fill(text, sizeof text, "datagram");
    SHOW(sendto(b, text, strlen(text), 0, (void *)&at, sizeof at));
    struct sockaddr_in from;
    len = sizeof from;
    long n = recvfrom(a, small, sizeof small, MSG_TRUNC, (void *)&from, &len);
    say("got %ld of which %.8s, port %d", n, small, ntohs(from.sin_port));
    SHOW(connect(b, (void *)&at, sizeof at));
    struct mmsghdr many[3] = {0};
    struct iovec iov[3];
    char texts[3][64];
    for (int i = 0; i < 3; i++) {
        fill(texts[i], sizeof texts[i], "batch");
        iov[i] = (struct iovec){texts[i], strlen(texts[i])};
        many[i].msg_hdr.msg_iov = &iov[i];
        many[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(sendmmsg(b, many, 3, 0));
    say("lengths %u %u %u", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    struct sockaddr_in names[3];
    for (int i = 0; i < 3; i++) {
        memset(texts[i], 0, sizeof texts[i]);
        iov[i].iov_len = sizeof texts[i];
        many[i].msg_hdr.msg_name = &names[i];
        many[i].msg_hdr.msg_namelen = sizeof names[i];
    }
    int got = SHOW(recvmmsg(a, many, 3, MSG_WAITFORONE, NULL));
    for (int i = 0; i < got; i++)
        say("%u bytes from %d: %s", many[i].msg_len, ntohs(names[i].sin_port), texts[i]);
    SHOW(recvfrom(a, text, sizeof text, MSG_DONTWAIT, NULL, NULL));
}

// More parts than one record has room for: those of the first messages are moved.
static void many_parts(void) {
    enum { MESSAGES = 6, PARTS = 700 };
    static char out[MESSAGES][PARTS], in[MESSAGES][PARTS];
    static struct iovec from[MESSAGES][PARTS], to[MESSAGES][PARTS];
    struct mmsghdr sent[MESSAGES] = {0}, got[MESSAGES] = {0};
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    long long now = now_ns();
    for (int i = 0; i < MESSAGES; i++) {
        for (int k = 0; k < PARTS; k++) {
            out[i][k] = (char)(now * (i + 3) >> k % 40);
            from[i][k] = (struct iovec){&out[i][k], 1};
            to[i][k] = (struct iovec){&in[i][k], 1};
        }
        sent[i].msg_hdr = (struct msghdr){.msg_iov = from[i], .msg_iovlen = PARTS};
        got[i].msg_hdr = (struct msghdr){.msg_iov = to[i], .msg_iovlen = PARTS};
    }
    for (int done = 0; done < MESSAGES;) {
        int n = sendmmsg(pair[0], sent + done, MESSAGES - done, 0);
        MUST(n > 0);
        done += n;
    }
    for (int done = 0; done < MESSAGES;) {
        int n = recvmmsg(pair[1], got + done, MESSAGES - done, MSG_DONTWAIT, NULL);
        MUST(n > 0);
        done += n;
    }
    MUST(memcmp(in, out, sizeof in) == 0);
    say("many parts %lx", hash(in, sizeof in));
    MUST(write(pair[0], out, PARTS) == PARTS);
    memset(in, 0, sizeof in);
    SHOW(readv(pair[1], to[0], PARTS));
    say("by readv %lx", hash(in, sizeof in));
}

// Sends a file descriptor and credentials over a pair of sockets.
static void rights(void) {
    int pair[2], file[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(file) == 0);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    char text[64];
    fill(text, sizeof text, "with rights");
    struct iovec iov = {text, strlen(text)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), file, sizeof file);
    SHOW(sendmsg(pair[0], &message, 0));
    char in[128] = "";
    iov = (struct iovec){in, sizeof in};
    memset(&control, 0, sizeof control);
    message.msg_controllen = sizeof control;
    SHOW(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC));
    say("%s, control of %ld, flags %x", in, (long)message.msg_controllen, message.msg_flags);
    int got[2];
    memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    say("descriptors %d %d", got[0], got[1]);
    MUST(write(got[1], text, 5) == 5);
    memset(in, 0, sizeof in);
    SHOW(read(file[0], in, sizeof in));
    say("through the passed pipe: %s", in);
    struct ucred who;
    socklen_t len = sizeof who;
    SHOW(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &len));
    say("peer %d", who.pid);
    SHOW(shutdown(pair[0], SHUT_WR));
    SHOW(recv(pair[1], in, sizeof in, 0));
}

static void local(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int s = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    SHOW(bind(s, (void *)&at, sizeof at));
    SHOW(listen(s, 1));
    SHOW(connect(c, (void *)&at, sizeof at));
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    SHOW(accept(s, (void *)&peer, &len));
    say("peer's name of %d", len);
    SHOW(send(c, "packet", 6, 0));
    SHOW(bind(c, (void *)&at, sizeof at));
}

int main(void) {
    tcp();
    udp();
    rights();
    many_parts();
    local();
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET};
    SHOW(getaddrinfo("localhost", "80", &hints, &found));
    SHOW(socket(AF_INET, 77, 0));
    SHOW(getsockname(0, NULL, NULL));
    return 0;
}
