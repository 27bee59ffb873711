/* qsort of strings: unpredictable branches, calls through a pointer, byte loads. */
#include "../elapsed.h"
#include <stdlib.h>
#include <string.h>

#define WORDS 400000
static char words[WORDS][16];
static char *order[WORDS];

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void)
{
    uint64_t seed = 2463534242ull, sum = 0;
    for (int i = 0; i < WORDS; i++) {
        for (int k = 0; k < 12; k++)
            words[i][k] = 'a' + next_random(&seed) % 26;
        order[i] = words[i];
    }
    double start = now();
    qsort(order, WORDS, sizeof *order, compare);
    for (int i = 0; i < WORDS; i++)
        sum = sum * 31 + (unsigned char)order[i][3];
    return report("sort", start, sum);
}
