/* Short loops of integer arithmetic, multiplication and division. */
#include "../elapsed.h"

int main(void)
{
    double start = now();
    uint64_t sum = 0;
    for (uint64_t first = 1; first < 1000000; first++) {
        uint64_t n = first;
        while (n != 1) {
            n = n & 1 ? 3 * n + 1 : n / 2;
            sum++;
        }
        sum += first * first % 7;
    }
    return report("loops", start, sum);
}
