// cc: -static
// A statically linked program: it can't be recorded.
#include "guest.h"

int main(int argc, char **argv) {
    say("static %s", argc > 1 ? argv[1] : "");
    return argc > 2 ? 5 : 0;
}
