/* A byte to and fro between two processes: the address space changes at every step. */
#include "../elapsed.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return 1;
    double start = now();
    uint64_t sum = 0;
    pid_t child = fork();
    if (child == 0) {
        char c;
        while (read(there[0], &c, 1) == 1 && c != 'q')
            if (write(back[1], &c, 1) != 1)
                _exit(1);
        _exit(0);
    }
    for (int i = 0; i < 20000; i++) {
        char c = 'p';
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            return 1;
        sum += c == 'p';
    }
    if (write(there[1], "q", 1) != 1)
        return 1;
    waitpid(child, 0, 0);
    return report("pipe", start, sum);
}
