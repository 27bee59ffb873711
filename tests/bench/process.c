/* fork, copy on write, exit, wait; and a pipe between two processes: address spaces change all the time. */
#include "elapsed.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char pages[64 * 4096];

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (int i = 0; i < 150; i++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            for (unsigned at = 0; at < sizeof pages; at += 4096)
                pages[at]++;
            _exit(i & 7);
        }
        int status;
        waitpid(child, &status, 0);
        sum += WEXITSTATUS(status);
    }
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return 1;
    pid_t child = fork();
    if (child == 0) {
        char c;
        while (read(there[0], &c, 1) == 1 && c != 'q')
            if (write(back[1], &c, 1) != 1)
                _exit(1);
        _exit(0);
    }
    for (int i = 0; i < 3000; i++) {
        char c = 'p';
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            return 1;
        sum += c == 'p';
    }
    if (write(there[1], "q", 1) != 1)
        return 1;
    waitpid(child, NULL, 0);
    return report("process", start, sum);
}
