/* Double precision: the Mandelbrot set, and a matrix product with fused multiply-add. */
#include "elapsed.h"

#define N 256
static double a[N][N], b[N][N], c[N][N];

int main(void)
{
    double start = now();
    uint64_t inside = 0;
    for (int y = 0; y < 600; y++) {
        for (int x = 0; x < 600; x++) {
            double cr = x / 240.0 - 2.0, ci = y / 240.0 - 1.25, zr = 0, zi = 0;
            int n = 0;
            while (n < 200 && zr * zr + zi * zi < 4) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
                n++;
            }
            inside += n;
        }
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            a[i][k] = i - k * 0.5;
            b[i][k] = i * 0.25 + k;
        }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                c[i][j] = __builtin_fma(a[i][k], b[k][j], c[i][j]);
    return report("float", start, inside + (uint64_t)(int64_t)c[17][42]);
}
