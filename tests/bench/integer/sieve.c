/* Byte stores with a stride: the soft TLB's hit path. */
#include "../elapsed.h"
#include <string.h>

#define LIMIT 4000000
static unsigned char composite[LIMIT];

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (int round = 0; round < 10; round++) {
        memset(composite, 0, sizeof composite);
        for (uint64_t i = 2; i < LIMIT; i++) {
            if (composite[i])
                continue;
            sum += i;
            for (uint64_t k = i * i; k < LIMIT; k += i)
                composite[k] = 1;
        }
    }
    return report("sieve", start, sum);
}
