/* The Mandelbrot set in double precision: multiplications, additions, comparisons in registers. */
#include "../elapsed.h"

int main(void)
{
    double start = now();
    uint64_t inside = 0;
    for (int y = 0; y < 700; y++)
        for (int x = 0; x < 700; x++) {
            double cr = x / 280.0 - 2.0, ci = y / 280.0 - 1.25, zr = 0, zi = 0;
            int n = 0;
            while (n < 300 && zr * zr + zi * zi < 4) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
                n++;
            }
            inside += n;
        }
    return report("mandelbrot", start, inside);
}
