/* A guest that writes code and runs it, again and again: fence.i, stores into translated pages. Each result is checked. */
#include "../elapsed.h"
#include <sys/mman.h>

int main(void)
{
    uint32_t *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    double start = now();
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        uint32_t k = i & 0x7ff, at = (i * 16) & 0x3ff;
        code[at] = k << 20 | 0x513;     /* li a0, k */
        code[at + 1] = 0x8067;          /* ret */
        __asm__ volatile("fence.i" ::: "memory");
        uint32_t got = ((uint32_t(*)(void))(code + at))();
        if (got != k)
            return 2;
        sum += got;
    }
    return report("written_code", start, sum);
}
