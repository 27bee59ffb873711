/* The C library's functions: polynomials, tables, conversions between floats and integers. */
#include "../elapsed.h"
#include <math.h>

int main(void)
{
    double start = now(), sum = 0;
    for (int i = 1; i < 1600000; i++) {
        double t = i * 1e-3;
        sum += sin(t) + exp(-t * 0.01) * log(t + 1) + pow(t, 0.3) + floor(t * 1.7);
    }
    return report("functions", start, (uint64_t)(int64_t)(sum * 1e3));
}
