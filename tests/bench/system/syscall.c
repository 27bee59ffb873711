/* System calls: traps into the kernel and back. */
#include "../elapsed.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (int i = 0; i < 800000; i++)
        sum += syscall(SYS_getppid) > 0;
    return report("syscall", start, sum);
}
