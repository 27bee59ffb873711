/* Dependent loads over 32 MiB in random order: TLB misses of host and guest. */
#include "../elapsed.h"
#include <stdlib.h>

#define CELLS (4u << 20)

int main(void)
{
    uint64_t seed = 88172645463325252ull;
    uint64_t *cell = malloc(CELLS * sizeof *cell);
    if (!cell)
        return 1;
    for (uint64_t i = 0; i < CELLS; i++)
        cell[i] = i;
    /* Sattolo's shuffle: one cycle through all cells. */
    for (uint64_t i = CELLS - 1; i > 0; i--) {
        uint64_t k = next_random(&seed) % i;
        uint64_t t = cell[i];
        cell[i] = cell[k];
        cell[k] = t;
    }
    double start = now();
    uint64_t at = 0;
    for (int i = 0; i < 4000000; i++)
        at = cell[at];
    return report("chase", start, at);
}
