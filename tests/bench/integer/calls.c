/* Recursive calls and returns. */
#include "../elapsed.h"

static __attribute__((noinline)) uint64_t fibonacci(uint64_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

int main(void)
{
    double start = now();
    return report("calls", start, fibonacci(37));
}
