// Shows arguments and environment, but for what belongs to the machine.
#include "guest.h"

extern char **environ;

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) say("argument %d: %s", i, i ? argv[i] : strrchr(argv[0], '/'));
    int count = 0;
    for (char **e = environ; *e; e++, count++) {
        if (strncmp(*e, "RR_", 3) == 0 || strncmp(*e, "LD_", 3) == 0 ||
            strncmp(*e, "SHOWN", 5) == 0)
            say("%s", *e);
    }
    say("under rr-run: %s", getenv("RUNNING_UNDER_RR_RUN") ? "yes" : "no");
    say("stack at %p, program at %p, libc at %p", (void *)&count, (void *)main, (void *)printf);
    char text[1000] = "";
    ssize_t n = read(0, text, sizeof text);
    say("stdin: %ld %.*s", (long)n, (int)n, text);
    return 0;
}
