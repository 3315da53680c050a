/* order FILE: the wall clock by two calls. Where FILE is there already, by more of the first kind. */
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double by_gettimeofday(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return now.tv_sec + now.tv_usec / 1e6;
}

static double by_clock_gettime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double first = by_gettimeofday(), later = first;
    if (argc > 1 && access(argv[1], F_OK) == 0) {
        usleep(50000);
        later = by_gettimeofday();
    } else if (argc > 1) {
        fclose(fopen(argv[1], "w"));
    }
    double other = by_clock_gettime();
    printf("%s, %s\n", later > first ? "later" : "same", other < later - 2e-6 ? "backwards" : "onwards");
    return 0;
}
