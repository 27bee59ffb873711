/* Copies and fills of the C library, in the caches and beyond. */
#include "../elapsed.h"
#include <stdlib.h>
#include <string.h>

int main(void)
{
    static const size_t sizes[] = { 64, 1000, 16 << 10, 256 << 10, 8 << 20 };
    char *a = malloc(8 << 20), *b = malloc(8 << 20);
    if (!a || !b)
        return 1;
    memset(a, 1, 8 << 20);
    memset(b, 2, 8 << 20);
    double start = now();
    uint64_t sum = 0;
    for (unsigned s = 0; s < 5; s++)
        for (size_t done = 0; done < (96u << 20); done += sizes[s]) {
            memcpy(b, a, sizes[s]);
            memset(a, (int)done, sizes[s] / 2);
            sum += (unsigned char)b[sizes[s] / 3];
        }
    return report("copy", start, sum);
}
