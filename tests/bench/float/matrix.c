/* A product of matrices, double then single precision: loads, fused multiply-add, stores. */
#include "../elapsed.h"

#define N 224
static double a[N][N], b[N][N], c[N][N];
static float d[N][N], e[N][N], f[N][N];

int main(void)
{
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            d[i][k] = a[i][k] = i - k * 0.5;
            e[i][k] = b[i][k] = i * 0.25 + k;
        }
    double start = now();
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    c[i][j] = __builtin_fma(a[i][k], b[k][j], c[i][j]);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                float sum = turn;
                for (int k = 0; k < N; k++)
                    sum += d[i][k] * e[j][k];
                f[i][j] = sum;
            }
    }
    return report("matrix", start, (uint64_t)(int64_t)c[17][42] + (uint64_t)(int64_t)f[42][17]);
}
