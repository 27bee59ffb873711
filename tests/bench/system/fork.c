/* fork, copy on write, exit, wait; every fourth child runs a program. */
#include "../elapsed.h"
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char pages[64 * 4096];

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child"))
        return 3;
    double start = now();
    uint64_t sum = 0;
    for (int i = 0; i < 400; i++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            for (unsigned at = 0; at < sizeof pages; at += 4096)
                pages[at]++;
            if (i % 4 == 0)
                execl(argv[0], argv[0], "child", (char *)0);
            _exit(i & 7);
        }
        int status;
        waitpid(child, &status, 0);
        sum += WEXITSTATUS(status);
    }
    return report("fork", start, sum);
}
