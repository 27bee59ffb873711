/* A fast Fourier transform, forth and back: butterflies, sines by recurrence, strided memory. */
#include "../elapsed.h"
#include <math.h>

#define LOG 15
#define N (1 << LOG)
static double re[N], im[N];

static void transform(double sign)
{
    for (unsigned i = 0, j = 0; i < N; i++) {
        if (i < j) {
            double t = re[i]; re[i] = re[j]; re[j] = t;
            t = im[i]; im[i] = im[j]; im[j] = t;
        }
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
    }
    for (int len = 2; len <= N; len <<= 1) {
        double angle = sign * 2 * M_PI / len, wr = cos(angle), wi = sin(angle);
        for (int i = 0; i < N; i += len) {
            double ur = 1, ui = 0;
            for (int k = 0; k < len / 2; k++) {
                int p = i + k, q = p + len / 2;
                double tr = re[q] * ur - im[q] * ui, ti = re[q] * ui + im[q] * ur;
                re[q] = re[p] - tr; im[q] = im[p] - ti;
                re[p] += tr; im[p] += ti;
                double n = ur * wr - ui * wi;
                ui = ur * wi + ui * wr;
                ur = n;
            }
        }
    }
}

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (int i = 0; i < N; i++)
        re[i] = i % 97, im[i] = 0;
    for (int turn = 0; turn < 24; turn++) {
        transform(1);
        transform(-1);
        for (int i = 0; i < N; i++)
            re[i] /= N, im[i] /= N;
    }
    for (int i = 0; i < N; i++)
        sum += (uint64_t)llround(re[i]);
    return report("fft", start, sum);
}
