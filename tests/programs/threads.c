// covers: clone3 exit futex set_robust_list get_robust_list set_tid_address sched_yield gettid
// covers: rseq membarrier
#include "guest.h"
#include <linux/futex.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { COUNT = 6 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static __thread int local;
static char order[4096];
static size_t order_len;

static void noted(int who) {
    pthread_mutex_lock(&mutex);
    if (order_len < sizeof order - 1) order[order_len++] = 'a' + who;
    pthread_mutex_unlock(&mutex);
}

static void *worker(void *arg) {
    int me = (int)(long)arg;
    pthread_setspecific(key, (void *)(long)(me + 1));
    local = me;
    for (int i = 0; i < 30; i++) {
        noted(me);
        if (i % 7 == me) sleep_ms(1);
        if (i % 5 == 0) sched_yield();
        free(malloc(10000 * (me + 1)));
    }
    MUST(local == me);
    return (void *)(long)(gettid());
}

static void destroyed(void *value) { say("destructor of %ld in %d", (long)value, gettid()); }

static void racing(void) {
    pthread_t threads[COUNT];
    MUST(pthread_key_create(&key, destroyed) == 0);
    for (long i = 0; i < COUNT; i++) MUST(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    for (int i = 0; i < COUNT; i++) {
        void *result;
        MUST(pthread_join(threads[i], &result) == 0);
        say("thread %d was %ld", i, (long)result);
    }
    order[order_len] = 0;
    say("order %s", order);
}

static int turn;
static void *ping(void *arg) {
    int me = (int)(long)arg;
    for (int i = 0; i < 20; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me) pthread_cond_wait(&cond, &mutex);
        turn = 1 - me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void conditions(void) {
    pthread_t a, b;
    pthread_create(&a, NULL, ping, (void *)0);
    pthread_create(&b, NULL, ping, (void *)1);
    pthread_join(a, NULL), pthread_join(b, NULL);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 3000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    say("timed wait %d", pthread_cond_timedwait(&cond, &mutex, &until));
    pthread_mutex_unlock(&mutex);
}

// Locks made of atomics alone: no call tells who was first.
static atomic_int spin, entries;
static char spun[4096];
static void *spinner(void *arg) {
    for (int i = 0; i < 40; i++) {
        while (atomic_exchange(&spin, 1)) sched_yield();
        int at = entries++;
        if (at < 4000) spun[at] = 'A' + (int)(long)arg;
        if (i % 9 == 0) write(open("/dev/null", O_WRONLY | O_CLOEXEC), "x", 1);
        atomic_store(&spin, 0);
        if (i % 10 == 0) sleep_ms(1);
    }
    return NULL;
}
static void spinning(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, spinner, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    say("spun %s", spun);
}

static sem_t gone;
static void *detached(void *arg) {
    sleep_ms((long)arg);
    say("detached %ld ends", (long)arg);
    sem_post(&gone);
    return NULL;
}

static void *cancelled(void *arg) {
    for (;;) sleep_ms(1);
    return arg;
}

static void kinds(void) {
    sem_init(&gone, 0, 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    // The smallest stack a thread may have.
    MUST(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) == 0);
    pthread_t thread;
    for (long i = 1; i <= 3; i++) MUST(pthread_create(&thread, &attr, detached, (void *)i) == 0);
    for (int i = 0; i < 3; i++) sem_wait(&gone);
    pthread_create(&thread, NULL, cancelled, NULL);
    sleep_ms(3);
    SHOW(pthread_cancel(thread));
    void *result;
    pthread_join(thread, &result);
    say("cancelled %d", result == PTHREAD_CANCELED);
}

static void *waits_on(void *word) {
    long n = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    say("woken %ld", n);
    return NULL;
}

static void futexes(void) {
    static int word;
    struct timespec t = {0, 2000000};
    SHOW(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    SHOW(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, waits_on, &word);
    while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0) sleep_ms(1);
    pthread_join(thread, NULL);
    void *head;
    size_t len;
    SHOW(syscall(SYS_get_robust_list, 0, &head, &len));
    SHOW(syscall(SYS_membarrier, 0, 0, 0) >= 0);
}

// glibc's reader-writer lock and barrier, and a robust mutex whose owner ended.
static pthread_mutex_t robust;
static pthread_barrier_t barrier;
static void *owner(void *arg) {
    (void)arg;
    pthread_mutex_lock(&robust);
    pthread_barrier_wait(&barrier);
    return NULL;
}
static void robustness(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, owner, NULL);
    pthread_barrier_wait(&barrier);
    int result = pthread_mutex_lock(&robust);
    say("lock of an ended owner: %s", strerrorname_np(result));
    pthread_mutex_consistent(&robust);
    pthread_mutex_unlock(&robust);
    pthread_join(thread, NULL);
}

int main(void) {
    racing();
    conditions();
    spinning();
    kinds();
    futexes();
    robustness();
    return 0;
}
