/* Many small processes: each runs a program that ends at once. */
#include "../elapsed.h"
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc > 1)
        return argv[1][0] & 7;
    double start = now();
    uint64_t sum = 0;
    for (int i = 0; i < 400; i++) {
        char word[2] = { (char)('0' + i % 8), 0 }, *words[] = { argv[0], word, 0 };
        pid_t child;
        int status;
        if (posix_spawn(&child, argv[0], 0, 0, words, 0) || waitpid(child, &status, 0) != child)
            return 1;
        sum += WEXITSTATUS(status);
    }
    return report("processes", start, sum);
}
