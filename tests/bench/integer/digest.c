/* SHA-256 (FIPS 180-4) over 8 MiB: rotations and additions in long straight blocks. */
#include "../elapsed.h"
#include <string.h>

static uint32_t constants[64], state[8];

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* Section 4.2.2 and 5.3.3 by definition: fractions of the cube and square roots of the first primes. */
static uint32_t root_fraction(int prime, int cube)
{
    unsigned __int128 low = 0, high = (unsigned __int128)1 << 40;
    unsigned __int128 want = (unsigned __int128)prime << (cube ? 96 : 64);
    while (high - low > 1) {
        unsigned __int128 middle = (low + high) / 2;
        unsigned __int128 power = cube ? middle * middle * middle : middle * middle;
        if (power <= want)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void initialise(void)
{
    int found = 0;
    for (int n = 2; found < 64; n++) {
        int prime = 1;
        for (int d = 2; d * d <= n; d++)
            prime &= n % d != 0;
        if (!prime)
            continue;
        if (found < 8)
            state[found] = root_fraction(n, 0);
        constants[found++] = root_fraction(n, 1);
    }
}

static void block(const uint8_t *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t t1 = v[7] + s1 + choice + constants[i] + w[i];
        uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + s0 + majority;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

int main(void)
{
    static uint8_t data[65536];
    initialise();
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = i * 7 + (i >> 8);
    double start = now();
    for (int round = 0; round < 128; round++)
        for (unsigned at = 0; at < sizeof data; at += 64)
            block(data + at);
    return report("digest", start, state[0]);
}
