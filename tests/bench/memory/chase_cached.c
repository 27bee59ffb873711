/* Dependent loads that hit the host's first and second cache: the latency of the soft TLB. */
#include "../elapsed.h"

static uint64_t cell[1 << 16];

static uint64_t chase(uint64_t cells, int steps)
{
    uint64_t seed = 88172645463325252ull, at = 0;
    for (uint64_t i = 0; i < cells; i++)
        cell[i] = i;
    for (uint64_t i = cells - 1; i > 0; i--) {
        uint64_t k = next_random(&seed) % i, t = cell[i];
        cell[i] = cell[k];
        cell[k] = t;
    }
    for (int i = 0; i < steps; i++)
        at = cell[at];
    return at;
}

int main(void)
{
    double start = now();
    uint64_t sum = chase(1 << 11, 30000000);
    double then = now();
    printf("ROW chase_cached: first cache, ns each: %.2f\n", (then - start) / 30e6 * 1e9);
    sum += chase(1 << 16, 20000000);
    printf("ROW chase_cached: second cache, ns each: %.2f\n", (now() - then) / 20e6 * 1e9);
    return report("chase_cached", start, sum);
}
