/* A register machine behind one switch: unpredictable indirect branches through a table, bounds checks. */
#include "../elapsed.h"

int main(void)
{
    uint32_t code[512];
    uint64_t seed = 88172645463325252ull, r[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    for (int i = 0; i < 512; i++)
        code[i] = (uint32_t)(next_random(&seed) >> 20);
    double start = now();
    for (int turn = 0; turn < 60000; turn++)
        for (int i = 0; i < 512; i++) {
            uint32_t w = code[i];
            uint64_t *d = &r[w >> 4 & 7], s = r[w >> 7 & 7], t = r[w >> 10 & 7];
            switch (w & 15) {
            case 0: *d = s + t; break;
            case 1: *d = s - t; break;
            case 2: *d = s ^ t; break;
            case 3: *d = s & (t | 0xff); break;
            case 4: *d = s | t; break;
            case 5: *d = s << (t & 15); break;
            case 6: *d = s >> (t & 31); break;
            case 7: *d = s * (t | 1); break;
            case 8: *d = s < t ? s : t; break;
            case 9: *d = (int64_t)s < (int64_t)t; break;
            case 10: if (s & 1) i++; break;
            case 11: *d = ~s; break;
            case 12: *d = s + w; break;
            case 13: *d = s / (t | 1); break;
            case 14: *d = (uint32_t)s; break;
            default: *d = t; break;
            }
        }
    return report("switch", start, r[0] ^ r[1] ^ r[2] ^ r[3] ^ r[4] ^ r[5] ^ r[6] ^ r[7]);
}
