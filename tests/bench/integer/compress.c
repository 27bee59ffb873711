/* Compression: hash chains, byte comparisons, a bit buffer; then the way back. */
#include "../elapsed.h"
#include <string.h>

#define SIZE (1 << 20)
static unsigned char text[SIZE], packed[2 * SIZE], again[SIZE];
static int head[1 << 14];

static size_t pack(void)
{
    size_t out = 0;
    memset(head, -1, sizeof head);
    for (int at = 0; at < SIZE;) {
        int best = 0, from = 0;
        if (at + 4 <= SIZE) {
            uint32_t w;
            memcpy(&w, text + at, 4);
            unsigned h = (w * 2654435761u) >> 18;
            from = head[h];
            head[h] = at;
            if (from >= 0 && at - from < 65536)
                while (best < 255 && at + best < SIZE && text[from + best] == text[at + best])
                    best++;
        }
        if (best >= 4) {
            packed[out++] = (unsigned char)best;
            packed[out++] = (unsigned char)(at - from);
            packed[out++] = (unsigned char)((at - from) >> 8);
            at += best;
        } else {
            packed[out++] = 0;
            packed[out++] = text[at++];
        }
    }
    return out;
}

static void unpack(size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        unsigned len = packed[i++];
        if (len == 0) {
            again[at++] = packed[i++];
        } else {
            size_t back = packed[i] | packed[i + 1] << 8;
            i += 2;
            while (len--) {
                again[at] = again[at - back];
                at++;
            }
        }
    }
}

int main(void)
{
    uint64_t seed = 88172645463325252ull;
    for (int i = 0; i < SIZE; i++)
        text[i] = "etaoin shrdlu,.\n"[next_random(&seed) >> (i & 64 ? 60 : 62)];
    double start = now();
    size_t n = 0;
    for (int turn = 0; turn < 6; turn++) {
        n = pack();
        unpack(n);
    }
    return report("compress", start, n + (memcmp(text, again, SIZE) == 0));
}
