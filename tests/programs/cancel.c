// cc: -fexceptions -Wno-unused-result
// covers: tgkill
// Threads that are cancelled while they wait, each in another function of the C library.
#include "guest.h"
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/uio.h>

static int pipe_[2], pair[2], full[2], epoll;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem, in_place;
static FILE *stream;

static void pushed(void *name) { say("  cleaned up: %s", (char *)name); }
static void unwound(const char **name) { say("  unwound: %s", *name); }
static void unlocks(void *m) { pthread_mutex_unlock(m); }

static void waits_read(void) { char b; read(pipe_[0], &b, 1); }
static void waits_readv(void) {
    char b;
    readv(pipe_[0], &(struct iovec){&b, 1}, 1);
}
static void waits_recv(void) { char b; recv(pair[0], &b, 1, 0); }
static void waits_recvfrom(void) { char b; recvfrom(pair[0], &b, 1, 0, NULL, NULL); }
static void waits_recvmsg(void) {
    char b;
    struct iovec v = {&b, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    recvmsg(pair[0], &m, 0);
}
static void waits_write(void) { write(full[1], "x", 1); }
static void waits_poll(void) { poll(&(struct pollfd){pipe_[0], POLLIN, 0}, 1, -1); }
static void waits_epoll(void) { struct epoll_event e; epoll_wait(epoll, &e, 1, -1); }
static void waits_fgetc(void) { fgetc(stream); }
static void waits_sleep(void) { sleep(1000); }
static void waits_cond(void) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlocks, &mutex);
    for (;;) pthread_cond_wait(&cond, &mutex);
    pthread_cleanup_pop(1);
}
static void waits_sem(void) { sem_wait(&sem); }

static const struct {
    const char *name;
    void (*wait)(void);
} ways[] = {
    {"read", waits_read},         {"readv", waits_readv}, {"recv", waits_recv},
    {"recvfrom", waits_recvfrom}, {"recvmsg", waits_recvmsg}, {"write", waits_write},
    {"poll", waits_poll},         {"epoll", waits_epoll}, {"fgetc", waits_fgetc},
    {"sleep", waits_sleep},       {"cond", waits_cond},   {"sem", waits_sem},
};

static void *waiter(void *arg) {
    long i = (long)arg;
    const char *name __attribute__((cleanup(unwound))) = ways[i].name;
    pthread_cleanup_push(pushed, (void *)name);
    sem_post(&in_place);
    ways[i].wait();
    say("  not cancelled: %s", name);
    pthread_cleanup_pop(0);
    return NULL;
}

// A request that stands is obeyed at the next cancellation point, and nowhere before.
static void *later(void *arg) {
    int old;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    sem_post(&in_place);
    char byte;
    MUST(read(pair[0], &byte, 1) == 1);
    say("  was not disturbed: %c", byte);
    pthread_setcancelstate(old, NULL);
    getpid();
    lseek(pipe_[0], 0, SEEK_CUR);
    *(char *)arg = 'r';
    read(pair[0], &byte, 1);
    *(char *)arg = 'x';
    return NULL;
}

static void join(pthread_t thread, const char *name) {
    void *result;
    MUST(pthread_join(thread, &result) == 0);
    say("%s: %s", name, result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
}

int main(void) {
    MUST(pipe(pipe_) == 0 && pipe(full) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    MUST(sem_init(&sem, 0, 0) == 0 && sem_init(&in_place, 0, 0) == 0);
    MUST((epoll = epoll_create1(0)) >= 0 && (stream = fdopen(pipe_[0], "r")));
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_[0], &(struct epoll_event){.events = EPOLLIN}) == 0);
    char block[4096] = {0};
    MUST(fcntl(full[1], F_SETFL, O_NONBLOCK) == 0);
    while (write(full[1], block, sizeof block) > 0) {
    }
    MUST(fcntl(full[1], F_SETFL, 0) == 0);
    pthread_t thread;
    for (long i = 0; i < (long)(sizeof ways / sizeof *ways); i++) {
        // Some are found waiting, some on their way.
        MUST(pthread_create(&thread, NULL, waiter, (void *)i) == 0 && sem_wait(&in_place) == 0);
        sleep_ms(i % 3);
        MUST(pthread_cancel(thread) == 0);
        join(thread, ways[i].name);
    }
    char reached = '-';
    MUST(pthread_create(&thread, NULL, later, &reached) == 0 && sem_wait(&in_place) == 0);
    sleep_ms(2);
    MUST(pthread_cancel(thread) == 0);
    sleep_ms(2);
    MUST(write(pair[1], "y", 1) == 1);
    join(thread, "later");
    say("reached %c", reached);
    return 0;
}
