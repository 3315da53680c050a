// Threads in numbers: `in_turn N` starts and joins one after the other, `at_once N` has all of them
// alive together.
#include "guest.h"
#include <semaphore.h>
#include <sys/random.h>

static void *nothing(void *arg) { return arg; }

static void in_turn(long count) {
    pthread_t thread;
    for (long i = 0; i < count; i++) {
        MUST(pthread_create(&thread, NULL, nothing, NULL) == 0);
        MUST(pthread_join(thread, NULL) == 0);
    }
}

static void *random_number(void *arg) {
    MUST(getrandom(arg, sizeof(unsigned long), 0) == sizeof(unsigned long));
    return NULL;
}

// Another thread's stream of randomness is another one, whatever its number.
static void streams(void) {
    unsigned long numbers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&threads[i], NULL, random_number, &numbers[i]) == 0);
    for (int i = 0; i < 3; i++) MUST(pthread_join(threads[i], NULL) == 0);
    MUST(numbers[0] != numbers[1] && numbers[1] != numbers[2]);
    say("random %lx %lx %lx", numbers[0], numbers[1], numbers[2]);
}

static void *waits(void *arg) {
    while (sem_wait(arg) != 0) {
    }
    return NULL;
}

static void at_once(long count) {
    pthread_attr_t attr;
    MUST(pthread_attr_init(&attr) == 0);
    MUST(pthread_attr_setstacksize(&attr, 32768) == 0);
    pthread_t *threads = calloc(count, sizeof *threads);
    sem_t *ends = calloc(count, sizeof *ends);
    for (long i = 0; i < count; i++) {
        MUST(sem_init(&ends[i], 0, 0) == 0);
        int error = pthread_create(&threads[i], &attr, waits, &ends[i]);
        if (error) {
            say("thread %ld: %s", i, strerrorname_np(error));
            _exit(1);
        }
    }
    for (long i = 0; i < count; i++) {
        sem_post(&ends[i]);
        MUST(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int argc, char **argv) {
    MUST(argc == 3);
    unsigned long first;
    random_number(&first);
    if (strcmp(argv[1], "in_turn") == 0)
        in_turn(atol(argv[2]));
    else
        at_once(atol(argv[2]));
    streams();
    say("%s threads", argv[2]);
    return 0;
}
