/*
 * Litmus tests of the memory model (RVWMO; the RISC-V ISA manual, volume I, chapter 17 and appendix A). A row is a name, whether its outcome is
 * forbidden or allowed, up to four harts' instructions, and the outcome: a condition over what they have loaded. Cells
 * x, y and z begin as 0. A hart's loads go to r0 and r1; p1r0 is r0 of the second hart; x, y, z are what is left.
 *
 * Each row runs again and again for a while, on fresh cells each time, all harts beginning at once. Forbidden outcomes must never be
 * seen; how often an allowed one is seen is printed beside the row, and how often all harts began together.
 */
#include "bare.h"

/* Instructions. A cell is x, y or z, a value 1 or 2 (`one`, `two`), a register r0 or r1. */
#define ST(cell, value) "sd %[" #value "], 0(%[" #cell "])\n"
#define ST_W(cell, value) "sw %[" #value "], 0(%[" #cell "])\n"
#define LD(reg, cell) "ld %[" #reg "], 0(%[" #cell "])\n"
#define LD_W(reg, cell) "lw %[" #reg "], 0(%[" #cell "])\n"
#define F(before, after) "fence " #before "," #after "\n"
#define F_TSO "fence.tso\n"
#define ST_RL(cell, value) "amoswap.d.rl zero, %[" #value "], (%[" #cell "])\n"
#define ST_AQRL(cell, value) "amoswap.d.aqrl zero, %[" #value "], (%[" #cell "])\n"
#define LD_AQ(reg, cell) "lr.d.aq %[" #reg "], (%[" #cell "])\n"
#define LD_AMO_AQ(reg, cell) "amoor.d.aq %[" #reg "], zero, (%[" #cell "])\n"
#define SWAP(reg, cell, value) "amoswap.d %[" #reg "], %[" #value "], (%[" #cell "])\n"
#define ADD(reg, cell, value) "amoadd.d %[" #reg "], %[" #value "], (%[" #cell "])\n"
/* Dependencies on what has been loaded: of an address, of a value, of a jump. */
#define LD_ADDR(reg, cell, on) "xor t0, %[" #on "], %[" #on "]\n add t0, t0, %[" #cell "]\n ld %[" #reg "], 0(t0)\n"
#define ST_DATA(cell, value, on) "xor t0, %[" #on "], %[" #on "]\n add t0, t0, %[" #value "]\n sd t0, 0(%[" #cell "])\n"
#define ST_ADDR(cell, value, on) "xor t0, %[" #on "], %[" #on "]\n add t0, t0, %[" #cell "]\n sd %[" #value "], 0(t0)\n"
#define ST_CTRL(cell, value, on) "beqz %[" #on "], 9f\n9: sd %[" #value "], 0(%[" #cell "])\n"
#define NOBODY ""

enum { ALLOWED, FORBIDDEN };

#define TESTS(T)                                                                                                                         \
    /* One location. */                                                                                                                  \
    T(CoRR, FORBIDDEN, ST(x, one), LD(r0, x) LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)                                           \
    T(CoRR_two_writers, FORBIDDEN, ST(x, one), ST(x, two), LD(r0, x) LD(r1, x), LD(r0, x) LD(r1, x),                                      \
      p2r0 == 1 && p2r1 == 2 && p3r0 == 2 && p3r1 == 1)                                                                                  \
    T(CoWR, FORBIDDEN, ST(x, one) LD(r0, x), ST(x, two), NOBODY, NOBODY, (p0r0 == 0) || (p0r0 == 2 && x == 1))                            \
    T(CoRW, FORBIDDEN, LD(r0, x) ST(x, one), ST(x, two), NOBODY, NOBODY, p0r0 == 1 || (p0r0 == 2 && x == 2))                              \
    T(CoWW, FORBIDDEN, ST(x, one) ST(x, two), NOBODY, NOBODY, NOBODY, x != 2)                                                            \
    T(swap_atomic, FORBIDDEN, SWAP(r0, x, one), SWAP(r0, x, two), NOBODY, NOBODY, (p0r0 == 0) == (p1r0 == 0))                             \
    T(add_atomic, FORBIDDEN, ADD(r0, x, one), ADD(r0, x, two), ADD(r0, x, one), ADD(r0, x, two), x != 6)                                  \
    T(halves_of_a_word, FORBIDDEN, ST(x, one) ST(x, both), LD_W(r0, x) LD(r1, x), NOBODY, NOBODY, (p1r0 == 1 && p1r1 == 0))                \
    /* Message passing. */                                                                                                               \
    T(MP, ALLOWED, ST(x, one) ST(y, one), LD(r0, y) LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)                                    \
    T(MP_fences, FORBIDDEN, ST(x, one) F(w, w) ST(y, one), LD(r0, y) F(r, r) LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)            \
    T(MP_fences_rw, FORBIDDEN, ST(x, one) F(rw, rw) ST(y, one), LD(r0, y) F(rw, rw) LD(r1, x), NOBODY, NOBODY,                             \
      p1r0 == 1 && p1r1 == 0)                                                                                                            \
    T(MP_fence_tso, FORBIDDEN, ST(x, one) F_TSO ST(y, one), LD(r0, y) F_TSO LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)             \
    T(MP_address, FORBIDDEN, ST(x, one) F(w, w) ST(y, one), LD(r0, y) LD_ADDR(r1, x, r0), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)          \
    T(MP_rl_aq, FORBIDDEN, ST(x, one) ST_RL(y, one), LD_AQ(r0, y) LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)                       \
    T(MP_rl_amo_aq, FORBIDDEN, ST(x, one) ST_RL(y, one), LD_AMO_AQ(r0, y) LD(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)               \
    T(MP_words, FORBIDDEN, ST_W(x, one) F(w, w) ST_W(y, one), LD_W(r0, y) F(r, r) LD_W(r1, x), NOBODY, NOBODY, p1r0 == 1 && p1r1 == 0)     \
    /* Store buffering: this one is to be seen, or the harts do not run at once. */                                                       \
    T(SB, ALLOWED, ST(x, one) LD(r0, y), ST(y, one) LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)                                    \
    T(SB_fence_one_side, ALLOWED, ST(x, one) F(rw, rw) LD(r0, y), ST(y, one) LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)            \
    T(SB_fences, FORBIDDEN, ST(x, one) F(rw, rw) LD(r0, y), ST(y, one) F(rw, rw) LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)        \
    T(SB_fences_w_r, FORBIDDEN, ST(x, one) F(w, r) LD(r0, y), ST(y, one) F(w, r) LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)        \
    T(SB_fence_tso, ALLOWED, ST(x, one) F_TSO LD(r0, y), ST(y, one) F_TSO LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)               \
    T(SB_rl_aq, FORBIDDEN, ST_RL(x, one) LD_AQ(r0, y), ST_RL(y, one) LD_AQ(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)                 \
    T(SB_aqrl, FORBIDDEN, ST_AQRL(x, one) LD(r0, y), ST_AQRL(y, one) LD(r0, x), NOBODY, NOBODY, p0r0 == 0 && p1r0 == 0)                    \
    T(SB_forwarded, FORBIDDEN, ST(x, one) LD(r0, x) F(rw, rw) LD(r1, y), ST(y, one) LD(r0, y) F(rw, rw) LD(r1, x), NOBODY, NOBODY,         \
      p0r1 == 0 && p1r1 == 0)                                                                                                            \
    T(R_fences, FORBIDDEN, ST(x, one) F(rw, rw) ST(y, one), ST(y, two) F(rw, rw) LD(r0, x), NOBODY, NOBODY, y == 2 && p1r0 == 0)           \
    /* Load buffering. */                                                                                                                \
    T(LB, ALLOWED, LD(r0, x) ST(y, one), LD(r0, y) ST(x, one), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)                                    \
    T(LB_fences, FORBIDDEN, LD(r0, x) F(r, w) ST(y, one), LD(r0, y) F(r, w) ST(x, one), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)            \
    T(LB_data, FORBIDDEN, LD(r0, x) ST_DATA(y, one, r0), LD(r0, y) ST_DATA(x, one, r0), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)            \
    T(LB_address, FORBIDDEN, LD(r0, x) ST_ADDR(y, one, r0), LD(r0, y) ST_ADDR(x, one, r0), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)         \
    T(LB_control, FORBIDDEN, LD(r0, x) ST_CTRL(y, one, r0), LD(r0, y) ST_CTRL(x, one, r0), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)         \
    T(LB_aq_rl, FORBIDDEN, LD_AQ(r0, x) ST(y, one), LD(r0, y) ST_RL(x, one), NOBODY, NOBODY, p0r0 == 1 && p1r0 == 1)                       \
    /* Stores in two orders. */                                                                                                          \
    T(two_plus_two_W, ALLOWED, ST(x, one) ST(y, two), ST(y, one) ST(x, two), NOBODY, NOBODY, x == 1 && y == 1)                             \
    T(two_plus_two_W_fences, FORBIDDEN, ST(x, one) F(w, w) ST(y, two), ST(y, one) F(w, w) ST(x, two), NOBODY, NOBODY, x == 1 && y == 1)    \
    T(two_plus_two_W_rl, FORBIDDEN, ST(x, one) ST_RL(y, two), ST(y, one) ST_RL(x, two), NOBODY, NOBODY, x == 1 && y == 1)                  \
    T(S_fences, FORBIDDEN, ST(x, two) F(w, w) ST(y, one), LD(r0, y) F(r, w) ST(x, one), NOBODY, NOBODY, p1r0 == 1 && x == 2)               \
    T(S_data, FORBIDDEN, ST(x, two) F(w, w) ST(y, one), LD(r0, y) ST_DATA(x, one, r0), NOBODY, NOBODY, p1r0 == 1 && x == 2)                \
    /* What one hart has seen, all must see. */                                                                                          \
    T(IRIW, ALLOWED, ST(x, one), ST(y, one), LD(r0, x) LD(r1, y), LD(r0, y) LD(r1, x),                                                    \
      p2r0 == 1 && p2r1 == 0 && p3r0 == 1 && p3r1 == 0)                                                                                  \
    T(IRIW_fences, FORBIDDEN, ST(x, one), ST(y, one), LD(r0, x) F(r, r) LD(r1, y), LD(r0, y) F(r, r) LD(r1, x),                            \
      p2r0 == 1 && p2r1 == 0 && p3r0 == 1 && p3r1 == 0)                                                                                  \
    T(IRIW_address, FORBIDDEN, ST(x, one), ST(y, one), LD(r0, x) LD_ADDR(r1, y, r0), LD(r0, y) LD_ADDR(r1, x, r0),                         \
      p2r0 == 1 && p2r1 == 0 && p3r0 == 1 && p3r1 == 0)                                                                                  \
    T(IRIW_aq, FORBIDDEN, ST_RL(x, one), ST_RL(y, one), LD_AQ(r0, x) LD(r1, y), LD_AQ(r0, y) LD(r1, x),                                    \
      p2r0 == 1 && p2r1 == 0 && p3r0 == 1 && p3r1 == 0)                                                                                  \
    T(WRC_data_address, FORBIDDEN, ST(x, one), LD(r0, x) ST_DATA(y, one, r0), LD(r0, y) LD_ADDR(r1, x, r0), NOBODY,                        \
      p1r0 == 1 && p2r0 == 1 && p2r1 == 0)                                                                                               \
    T(ISA2_fences, FORBIDDEN, ST(x, one) F(w, w) ST(y, one), LD(r0, y) F(rw, w) ST(z, one), LD(r0, z) F(r, r) LD(r1, x), NOBODY,           \
      p1r0 == 1 && p2r0 == 1 && p2r1 == 0)                                                                                               \
    T(RWC_fences, FORBIDDEN, ST(x, one), LD(r0, x) F(r, r) LD(r1, y), ST(y, one) F(rw, rw) LD(r0, x), NOBODY,                              \
      p1r0 == 1 && p1r1 == 0 && p2r0 == 0)                                                                                               \
    T(three_SB_fences, FORBIDDEN, ST(x, one) F(w, r) LD(r0, y), ST(y, one) F(w, r) LD(r0, z), ST(z, one) F(w, r) LD(r0, x), NOBODY,        \
      p0r0 == 0 && p1r0 == 0 && p2r0 == 0)

/* --- how they are run ------------------------------------------------------------------------------------------------------ */

/* Instances of a test that follow each other without a meeting of all harts. */
enum { INSTANCES = 256, LINE = 64, HARTS = 4 };
static uint8_t cells[3][INSTANCES][LINE] __attribute__((aligned(64)));
static uint64_t loaded[HARTS][INSTANCES][2];
/* Whether the hart began it together with the others. */
static uint8_t met[HARTS][INSTANCES];
static volatile uint64_t here[INSTANCES];

typedef void (*part)(void *x, void *y, void *z, uint64_t *r);
struct litmus {
    int forbidden;
    part parts[HARTS];
    int (*outcome)(uint64_t r[HARTS][2], uint64_t x, uint64_t y, uint64_t z);
};

static void run_litmus(uint64_t hart, const struct litmus *test)
{
    uint64_t end = now() + 80 * MILLISECOND, wanted = 0, mine = hart < HARTS && test->parts[hart];
    for (int h = 0; h < HARTS; h++)
        wanted += test->parts[h] != 0;
    if (count < wanted)
        return;
    do {
        if (hart == 0)
            for (int i = 0; i < INSTANCES; i++) {
                here[i] = 0;
                for (int c = 0; c < 3; c++)
                    *(uint64_t *)cells[c][i] = 0;
            }
        barrier();
        for (int i = 0; mine && i < INSTANCES; i++) {
            /* All have the cells in their caches: then a store takes longer than a load, which is what shows orders that differ. */
            for (int c = 0; c < 3; c++)
                (void)*(volatile uint64_t *)cells[c][i];
            /* The harts wait for each other, and begin at moments that differ by a little, each time by another amount. */
            uint64_t turns = 0;
            __atomic_fetch_add(&here[i], 1, __ATOMIC_RELAXED);
            while (here[i] < wanted)
                wait(&turns);
            met[hart][i] = turns < ASLEEP;
            for (volatile int late = i >> 2 * hart & 3; late; late--)
                ;
            test->parts[hart](cells[0][i], cells[1][i], cells[2][i], loaded[hart][i]);
        }
        barrier();
        if (hart == 0) {
            for (int i = 0; i < INSTANCES; i++) {
                uint64_t r[HARTS][2], together = 1;
                for (int h = 0; h < HARTS; h++) {
                    r[h][0] = loaded[h][i][0], r[h][1] = loaded[h][i][1];
                    together &= met[h][i] || !test->parts[h];
                }
                times += together;
                seen += test->outcome(r, *(uint64_t *)cells[0][i], *(uint64_t *)cells[1][i], *(uint64_t *)cells[2][i]);
            }
            going(0, end);
        }
        barrier();
    } while (!stop);
    if (hart == 0 && test->forbidden)
        check("forbidden outcomes", seen, 0);
}

/* Of a row: a function for each hart, one that looks at the outcome, the row itself, and what runs it. */
#define PART(name, hart, code)                                                                                              \
    static void name##_##hart(void *x, void *y, void *z, uint64_t *r)                                                       \
    {                                                                                                                       \
        uint64_t r0 = 0, r1 = 0;                                                                                            \
        __asm__ volatile(code : [r0] "+&r"(r0), [r1] "+&r"(r1)                                                              \
                         : [x] "r"(x), [y] "r"(y), [z] "r"(z), [one] "r"(1ul), [two] "r"(2ul), [both] "r"(1ul << 32 | 1)    \
                         : "memory", "t0");                                                                                 \
        r[0] = r0, r[1] = r1;                                                                                               \
    }
#define DEFINE(name, verdict, a, b, c, d, outcome)                                                                          \
    PART(name, 0, a) PART(name, 1, b) PART(name, 2, c) PART(name, 3, d)                                                     \
    static int name##_outcome(uint64_t r[HARTS][2], uint64_t x, uint64_t y, uint64_t z)                                        \
    {                                                                                                                       \
        uint64_t p0r0 = r[0][0], p0r1 = r[0][1], p1r0 = r[1][0], p1r1 = r[1][1];                                            \
        uint64_t p2r0 = r[2][0], p2r1 = r[2][1], p3r0 = r[3][0], p3r1 = r[3][1];                                            \
        (void)p0r0, (void)p0r1, (void)p1r0, (void)p1r1, (void)p2r0, (void)p2r1, (void)p3r0, (void)p3r1;                     \
        (void)x, (void)y, (void)z;                                                                                          \
        return outcome;                                                                                                     \
    }                                                                                                                       \
    static const struct litmus name = {                                                                                     \
        verdict, { sizeof a > 1 ? name##_0 : 0, sizeof b > 1 ? name##_1 : 0, sizeof c > 1 ? name##_2 : 0,                   \
                   sizeof d > 1 ? name##_3 : 0 }, name##_outcome                                                               \
    };                                                                                                                      \
    static void run_##name(uint64_t hart) { run_litmus(hart, &name); }
TESTS(DEFINE)

#define ROW(name, ...) { #name, run_##name },
static const struct test tests[] = { TESTS(ROW) };
static const size_t test_count = sizeof tests / sizeof *tests;
