/* Streams: read, scale, add over arrays of 8 MiB. */
#include "../elapsed.h"

#define N (1 << 20)
static uint64_t a[N], b[N], c[N];

int main(void)
{
    for (int i = 0; i < N; i++)
        a[i] = i, b[i] = 2 * i;
    double start = now();
    for (int turn = 0; turn < 12; turn++) {
        for (int i = 0; i < N; i++)
            c[i] = a[i];
        for (int i = 0; i < N; i++)
            b[i] = 3 * c[i];
        for (int i = 0; i < N; i++)
            a[i] = b[i] + c[i];
    }
    return report("stream", start, a[N - 1]);
}
