/* How late the guest wakes up: after sleeps of a millisecond, and when a timer of its own is due every two. */
#include "../elapsed.h"
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TIMES = 300 };

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
static int less(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
static void rows(const char *what, int64_t *late)
{
    qsort(late, TIMES, sizeof *late, less);
    printf("ROW %s: late, median, us: %.1f\n", what, late[TIMES / 2] / 1e3);
    printf("ROW %s: late, 95 of 100 are under, us: %.1f\n", what, late[TIMES * 95 / 100] / 1e3);
}

int main(void)
{
    static int64_t late[TIMES];
    double start = now();
    for (int i = 0; i < TIMES; i++) {
        int64_t due = nanoseconds() + 1000000;
        struct timespec until = { due / 1000000000, due % 1000000000 };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
        late[i] = nanoseconds() - due;
    }
    rows("clock_nanosleep", late);

    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    int64_t due = nanoseconds() + 2000000;
    struct itimerspec every = { { 0, 2000000 }, { due / 1000000000, due % 1000000000 } };
    if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, 0))
        return 1;
    for (int i = 0; i < TIMES; i++) {
        uint64_t expired;
        if (read(timer, &expired, sizeof expired) != sizeof expired)
            return 2;
        due += 2000000 * (int64_t)(expired - 1);
        late[i] = nanoseconds() - due;
        due += 2000000;
    }
    rows("timerfd", late);
    return report("timer", start, 0);
}
