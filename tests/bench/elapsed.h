/* What every benchmark program shares: it prints one line, `BENCH name seconds checksum`. */
#ifndef ELAPSED_H
#define ELAPSED_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline int report(const char *name, double start, uint64_t checksum)
{
    printf("BENCH %s %.3f %llu\n", name, now() - start, (unsigned long long)checksum);
    return 0;
}

/* A 64-bit xorshift generator: the same numbers everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#endif
