/* Five bodies under gravity: square roots, divisions, short vectors in memory. */
#include "../elapsed.h"
#include <math.h>

static double x[5][3] = { {0, 0, 0}, {4.84, -1.16, -0.10}, {8.34, 4.12, -0.40}, {12.89, -15.11, -0.22}, {15.37, -25.91, 0.17} };
static double v[5][3] = { {0, 0, 0}, {0.6, 2.8, -0.02}, {-1.01, 1.8, 0.008}, {1.08, 0.86, -0.01}, {0.97, 0.59, -0.03} };
static const double mass[5] = { 39.47, 0.037, 0.011, 0.0017, 0.002 };

int main(void)
{
    double start = now();
    for (int step = 0; step < 1000000; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double d[3], s = 0;
                for (int k = 0; k < 3; k++) {
                    d[k] = x[i][k] - x[j][k];
                    s += d[k] * d[k];
                }
                double f = 0.001 / (s * sqrt(s));
                for (int k = 0; k < 3; k++) {
                    v[i][k] -= d[k] * mass[j] * f;
                    v[j][k] += d[k] * mass[i] * f;
                }
            }
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++)
                x[i][k] += 0.001 * v[i][k];
    }
    return report("nbody", start, (uint64_t)(int64_t)(x[1][0] * 1e6));
}
