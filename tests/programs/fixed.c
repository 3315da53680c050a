// cc: -static
// A statically linked program: it can't be recorded.
#include "guest.h"

// Two programs that are linked dynamically, at the same time.
static void start(void) {
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            execl("/bin/sh", "sh", "-c", "for i in 1 2 3; do /bin/echo $i; done", NULL);
            _exit(1);
        }
    }
    int status;
    while (wait(&status) > 0) MUST(status == 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "starts") == 0) start();
    say("static %s", argc > 1 ? argv[1] : "");
    return argc > 2 ? 5 : 0;
}
