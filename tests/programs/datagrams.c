/* Datagrams with addresses, several at once; and sockets that know no addresses of the internet. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct sockaddr_in to(const char *ip, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &address.sin_addr);
    return address;
}

static void send_both(int fd, struct sockaddr_in *first, struct sockaddr_in *second)
{
    char text[2][4] = {"one", "two"};
    struct iovec parts[2] = {{text[0], 3}, {text[1], 3}};
    struct mmsghdr messages[2] = {
        {.msg_hdr = {.msg_name = first, .msg_namelen = sizeof *first, .msg_iov = &parts[0], .msg_iovlen = 1}},
        {.msg_hdr = {.msg_name = second, .msg_namelen = sizeof *second, .msg_iov = &parts[1], .msg_iovlen = 1}},
    };
    errno = 0;
    int sent = sendmmsg(fd, messages, 2, 0);
    printf("sent %d, %u bytes and %u: %s\n", sent, messages[0].msg_len, messages[1].msg_len, strerror(errno));
}

int main(void)
{
    int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in own = to("127.0.0.1", 0), away = to("192.0.2.7", 9999);
    socklen_t len = sizeof own;
    bind(receiver, (struct sockaddr *)&own, sizeof own);
    getsockname(receiver, (struct sockaddr *)&own, &len);
    send_both(sender, &own, &own);
    send_both(sender, &own, &away);
    send_both(sender, &away, &own);
    char text[8];
    for (int i = 0; i < 3; i++)
        printf("got %.*s\n", (int)recv(receiver, text, sizeof text, 0), text);
    errno = 0;
    printf("packets %s\n", socket(AF_PACKET, SOCK_DGRAM, 0) < 0 ? strerror(errno) : "made");
    return 0;
}
