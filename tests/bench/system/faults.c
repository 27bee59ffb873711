/* Page faults: memory mapped, touched, given back; protections changed. */
#include "../elapsed.h"
#include <sys/mman.h>

#define PAGES 512

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (int turn = 0; turn < 120; turn++) {
        volatile char *m = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED)
            return 1;
        for (int i = 0; i < PAGES; i++)
            m[i * 4096] = (char)i;
        mprotect((void *)m, PAGES * 2048, PROT_READ);
        for (int i = 0; i < PAGES; i++)
            sum += (unsigned char)m[i * 4096];
        mprotect((void *)m, PAGES * 2048, PROT_READ | PROT_WRITE);
        m[0] = 1;
        munmap((void *)m, PAGES * 4096);
    }
    return report("faults", start, sum);
}
