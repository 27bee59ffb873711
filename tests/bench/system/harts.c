/* The same work once by one thread, then by two at once, which meet at an atomic counter: with -smp 2 a row says how
 * much more two harts do than one. */
#include "../elapsed.h"
#include <pthread.h>

static uint64_t counter;

static void *work(void *result)
{
    uint64_t seed = 88172645463325252ull, sum = 0;
    for (int i = 0; i < 100000000; i++) {
        sum += next_random(&seed) >> 7;
        if ((i & 1023) == 0)
            __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
    }
    *(uint64_t *)result = sum;
    return 0;
}

int main(void)
{
    uint64_t one, sums[2];
    double begin = now();
    work(&one);
    double alone = now() - begin, start = now();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], 0, work, &sums[i]))
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    printf("ROW what two harts do against one: %.2f\n", 2 * alone / (now() - start));
    return report("harts", start, one == sums[0] && one == sums[1] ? counter : 0);
}
