/* Straight-line code that runs once: what a translator takes for code that it has never seen. The code is written first,
 * which is not counted: sums, shifts, loads, stores and branches not taken, one in eight. A row gives the slowest of four runs, for
 * translators that let code wait until it runs again. */
#include "../elapsed.h"
#include <sys/mman.h>

enum { INSNS = 400000 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1103515245 + 12345;
    return *state >> 8;
}

int main(void)
{
    static uint64_t data[64];
    uint32_t *code = mmap(0, INSNS * 4 + 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    uint32_t state = 1;
    for (uint32_t i = 0; i < INSNS; i++) {
        /* Registers a1 to a5; a0 is the data. */
        uint32_t rd = 11 + next(&state) % 5, rs = 11 + next(&state) % 5, n = next(&state) % 64;
        switch (i % 8 == 7 ? 7 : next(&state) % 6) {
        case 0: code[i] = n << 20 | rs << 15 | rd << 7 | 0x13; break;                       /* addi */
        case 1: code[i] = rd << 20 | rs << 15 | rd << 7 | 0x33; break;                      /* add */
        case 2: code[i] = rd << 20 | rs << 15 | 4 << 12 | rd << 7 | 0x33; break;            /* xor */
        case 3: code[i] = 8 * n << 20 | 10 << 15 | 3 << 12 | rd << 7 | 3; break;            /* ld */
        case 4: code[i] = 8 * n >> 5 << 25 | rs << 20 | 10 << 15 | 3 << 12 | (8 * n & 31) << 7 | 0x23; break; /* sd */
        case 5: code[i] = (n & 31) << 20 | rs << 15 | 1 << 12 | rd << 7 | 0x13; break;      /* slli */
        default: code[i] = rd << 20 | rd << 15 | 1 << 12 | 8 << 7 | 0x63; break;            /* bne rd, rd, +8 */
        }
    }
    code[INSNS] = 0x8067; /* ret */
    __asm__ volatile("fence.i" ::: "memory");
    double first = 0, slowest = 0;
    for (int run = 0; run < 4; run++) {
        double start = now();
        ((void (*)(uint64_t *))code)(data);
        double took = now() - start;
        first = run ? first : took;
        slowest = took > slowest ? took : slowest;
    }
    printf("ROW cold_code, slowest run, ns per instruction: %.1f\n", slowest * 1e9 / INSNS);
    return report("cold_code", now() - first, data[7]);
}
