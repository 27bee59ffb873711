/* Several harts at once: atomics of all widths, locks, and what they do to each other's code and mappings. */
#include "bare.h"

#define code ((volatile uint32_t *)pages[0])

static volatile uint64_t done_by[MAX_HARTS];
static uint64_t cell[8] __attribute__((aligned(64)));

/* --- counters: whatever all harts add must be there in the end --------------------------------------------------------- */

#define AMO(op, at, value)                                                                                          \
    ({                                                                                                              \
        uint64_t old_;                                                                                              \
        __asm__ volatile("amo" #op " %0, %2, (%1)" : "=r"(old_) : "r"(at), "r"((uint64_t)(value)) : "memory");      \
        old_;                                                                                                       \
    })
/* Zacas, which older assemblers do not know: width 2 to 4 is 4 to 16 bytes. */
#define AMO_RAW(funct5, width, old, at, value) \
    __asm__ volatile(".insn r 0x2f, " #width ", " #funct5 " << 2, %0, %1, %2" : "+r"(old) : "r"(at), "r"(value) : "memory")

static void lr_sc_w(void *at)
{
    uint64_t v, failed;
    __asm__ volatile("1: lr.w %0, (%2)\n addiw %0, %0, 1\n sc.w %1, %0, (%2)\n bnez %1, 1b"
                     : "=&r"(v), "=&r"(failed) : "r"(at) : "memory");
}
static void lr_sc_d(void *at)
{
    uint64_t v, failed;
    __asm__ volatile("1: lr.d.aq %0, (%2)\n addi %0, %0, 1\n sc.d.rl %1, %0, (%2)\n bnez %1, 1b"
                     : "=&r"(v), "=&r"(failed) : "r"(at) : "memory");
}
static void amoadd_w(void *at) { AMO(add.w, at, 1); }
static void amoadd_d(void *at) { AMO(add.d.aqrl, at, 1); }
static void amocas_w(void *at)
{
    uint64_t expected, found;
    do {
        found = expected = (int64_t)*(volatile int32_t *)at;
        AMO_RAW(5, 2, found, at, expected + 1);
    } while (found != expected);
}
static void amocas_d(void *at)
{
    uint64_t expected, found;
    do {
        found = expected = *(volatile uint64_t *)at;
        AMO_RAW(5, 3, found, at, expected + 1);
    } while (found != expected);
}
/* Sixteen bytes: both words count, and must be found the same. */
static void amocas_q(void *at)
{
    register uint64_t low __asm__("a2"), high __asm__("a3"), new_low __asm__("a4"), new_high __asm__("a5");
    uint64_t was_low, was_high;
    do {
        low = was_low = ((volatile uint64_t *)at)[0];
        high = was_high = ((volatile uint64_t *)at)[1];
        new_low = low + 1;
        new_high = low + 1;
        __asm__ volatile(".insn r 0x2f, 4, 5 << 2, a2, %2, a4"
                         : "+r"(low), "+r"(high) : "r"(at), "r"(new_low), "r"(new_high) : "memory");
        if (low == was_low && high == was_high)
            check("the other word", high, low);
    } while (low != was_low || high != was_high);
}

/* Every hart counts up the same cell for a while; beside it, each stores to a byte of its own. */
static void counted(uint64_t hart, void (*add)(void *), int bytes)
{
    volatile uint8_t *own = (uint8_t *)cell + (bytes == 16 ? 16 : 8) + hart;
    uint64_t mine = 0, end = now() + 60 * MILLISECOND;
    if (hart == 0)
        for (int i = 0; i < 8; i++)
            cell[i] = 0;
    barrier();
    while (going(hart, end)) {
        for (int i = 0; i < 100; i++, mine++) {
            *own = (uint8_t)mine;
            add(cell);
            check("my byte", *own, (uint8_t)mine);
        }
    }
    done_by[hart] = mine;
    barrier();
    if (hart == 0) {
        uint64_t all = 0;
        for (uint64_t h = 0; h < count; h++)
            all += done_by[h];
        times = all;
        check("count", cell[0], bytes >= 8 ? all : all & ((1ull << 8 * bytes) - 1));
    }
}
#define COUNTER(name, bytes) \
    static void count_##name(uint64_t hart) { counted(hart, name, bytes); }
COUNTER(lr_sc_w, 4)
COUNTER(lr_sc_d, 8)
COUNTER(amoadd_w, 4)
COUNTER(amoadd_d, 8)
COUNTER(amocas_w, 4)
COUNTER(amocas_d, 8)
COUNTER(amocas_q, 16)

/* Each hart has a bit that nobody else may change. */
static void bits(uint64_t hart)
{
    uint64_t bit = 1ull << (hart * 9), end = now() + 60 * MILLISECOND;
    while (going(hart, end)) {
        AMO(or.d, &cell[0], bit);
        check("set", AMO(xor.d, &cell[0], bit) & bit, bit);
        check("cleared", AMO(or.d, &cell[0], bit) & bit, 0);
        check("set again", AMO(and.d, &cell[0], ~bit) & bit, bit);
        AMO(or.w, &cell[1], 1u << hart);
        check("set, 32 bits", AMO(and.w, &cell[1], ~(1u << hart)) >> hart & 1, 1);
        check("cleared, 32 bits", AMO(xor.w, &cell[1], 0) >> hart & 1, 0);
    }
}
/* What is swapped in comes out once. */
static void swapped(uint64_t hart)
{
    uint64_t in = 0, out = 0, end = now() + 60 * MILLISECOND;
    if (hart == 0)
        cell[0] = cell[1] = 0;
    barrier();
    for (uint64_t n = 1; going(hart, end); n++) {
        in += 2 * n;
        out += AMO(swap.d, &cell[0], n) + AMO(swap.w, &cell[1], n & 0x3fffffff);
    }
    done_by[hart] = in - out;
    barrier();
    if (hart == 0) {
        uint64_t left = 0;
        for (uint64_t h = 0; h < count; h++)
            left += done_by[h];
        check("what is left", left, cell[0] + cell[1]);
    }
}
/* The greatest and the least of what all have offered; they never go back. */
static void extremes(uint64_t hart)
{
    uint64_t end = now() + 60 * MILLISECOND, n = 0;
    int64_t last[4] = { 0 };
    if (hart == 0)
        for (int i = 0; i < 8; i++)
            cell[i] = 0;
    barrier();
    while (going(hart, end)) {
        n += 1 + hart;
        int64_t max = AMO(max.d, &cell[0], n), min = AMO(min.w, &cell[1], -n);
        int64_t maxu = AMO(maxu.w, &cell[2], n), minu = ~AMO(minu.d, &cell[3], cell[3] ? ~n : ~0ul);
        if (max < last[0] || min > last[1] || maxu < last[2])
            tell("went back", max, last[0]);
        last[0] = max, last[1] = min, last[2] = maxu, last[3] = minu;
    }
    done_by[hart] = n;
    barrier();
    if (hart == 0) {
        uint64_t most = 0;
        for (uint64_t h = 0; h < count; h++)
            most = done_by[h] > most ? done_by[h] : most;
        check("max", cell[0], most);
        check("min", (uint64_t)(int32_t)cell[1], -most);
        check("maxu", (uint32_t)cell[2], most);
    }
}
/* When a conditional store must fail. */
static void reservations(uint64_t hart)
{
    uint64_t mine[2] = { 5, 6 }, v, first, second, elsewhere;
    for (int i = 0; i < 1000; i++) {
        __asm__ volatile("lr.d %0, (%4)\n sc.d %1, %0, (%4)\n sc.d %2, %0, (%4)\n lr.d %0, (%4)\n sc.d %3, zero, (%5)"
                         : "=&r"(v), "=&r"(first), "=&r"(second), "=&r"(elsewhere) : "r"(&mine[0]), "r"(&mine[1]) : "memory");
        check("value", v, 5);
        check("second store", second != 0, 1);
        check("store elsewhere", (elsewhere != 0) + mine[1], 1 + 6);
        __asm__ volatile("lr.d %0, (%3)\n sc.d %1, zero, (%2)"
                         : "=&r"(v), "=&r"(first) : "r"(&mine[0]), "r"(&mine[1]) : "memory");
        check("reservation of another place", (first != 0) + mine[0], 1 + 5);
    }
}

/* --- locks: four words that must always be the same ------------------------------------------------------------------------ */

static volatile uint32_t lock_word, next_ticket, served, wants[2], turn;

static void swap_lock(uint64_t hart)
{
    WAIT_WHILE(AMO(swap.w.aq, &lock_word, 1));
}
static void swap_unlock(uint64_t hart) { AMO(swap.w.rl, &lock_word, 0); }
static void lr_sc_lock(uint64_t hart)
{
    uint64_t v;
    __asm__ volatile("1: lr.w.aq %0, (%1)\n bnez %0, 1b\n sc.w %0, %2, (%1)\n bnez %0, 1b"
                     : "=&r"(v) : "r"(&lock_word), "r"(1) : "memory");
}
static void store_unlock(uint64_t hart)
{
    FENCE(rw, w);
    lock_word = 0;
}
static void ticket_lock(uint64_t hart)
{
    uint32_t mine = (uint32_t)AMO(add.w, &next_ticket, 1);
    WAIT_WHILE(served != mine);
    FENCE(r, rw);
}
static void ticket_unlock(uint64_t hart)
{
    FENCE(rw, w);
    served = served + 1;
}
static void cas_lock(uint64_t hart)
{
    uint64_t found;
    do {
        found = 0;
        AMO_RAW(5, 2, found, &lock_word, 1ul);
    } while (found);
    FENCE(r, rw);
}
/* Peterson's, of loads and stores alone, for two harts: it needs that a store is seen before a later load is made. */
static void peterson_lock(uint64_t hart)
{
    wants[hart] = 1;
    FENCE(w, w);
    turn = 1 - hart;
    FENCE(rw, rw);
    WAIT_WHILE(wants[1 - hart] && turn == 1 - hart);
    FENCE(r, rw);
}
static void peterson_unlock(uint64_t hart)
{
    FENCE(rw, w);
    wants[hart] = 0;
}

static void locked(uint64_t hart, void (*lock)(uint64_t), void (*unlock)(uint64_t), uint64_t most)
{
    static volatile uint64_t shared[4];
    uint64_t mine = 0, end = now() + 80 * MILLISECOND;
    if (hart == 0) {
        lock_word = next_ticket = served = wants[0] = wants[1] = 0;
        for (int i = 0; i < 4; i++)
            shared[i] = 0;
    }
    barrier();
    while (going(hart, end)) {
        if (hart >= most)
            continue;
        lock(hart);
        uint64_t a = shared[0], b = shared[3];
        shared[0] = a + 1;
        check("alone", b, a);
        shared[1] = shared[1] + 1;
        shared[2] = a + 1;
        check("alone still", shared[1], a + 1);
        shared[3] = shared[2];
        unlock(hart);
        mine++;
    }
    done_by[hart] = mine;
    barrier();
    if (hart == 0) {
        uint64_t all = 0;
        for (uint64_t h = 0; h < count; h++)
            all += done_by[h];
        times = all;
        check("count", shared[3], all);
    }
}
static void lock_by_swap(uint64_t hart) { locked(hart, swap_lock, swap_unlock, MAX_HARTS); }
static void lock_by_lr_sc(uint64_t hart) { locked(hart, lr_sc_lock, store_unlock, MAX_HARTS); }
static void lock_by_ticket(uint64_t hart) { locked(hart, ticket_lock, ticket_unlock, MAX_HARTS); }
static void lock_by_cas(uint64_t hart) { locked(hart, cas_lock, store_unlock, MAX_HARTS); }
static void lock_by_peterson(uint64_t hart) { locked(hart, peterson_lock, peterson_unlock, 2); }

/* --- code ------------------------------------------------------------------------------------------------------------------ */

/* `value` must be between `from` and `to`, counted modulo 2048. */
static void between(const char *what, uint64_t value, uint64_t from, uint64_t to)
{
    if (((value - from) & 0x7ff) > to - from)
        tell(what, value, from & 0x7ff);
}
static volatile uint64_t writing, written;

/* Hart 0 writes code and has the others fence; they call it all the time. */
static void code_by_remote_fence(uint64_t hart)
{
    uint64_t end = now() + 1500 * MILLISECOND, k = 0;
    if (hart == 0) {
        writing = written = 0;
        put_function(code, 0);
    }
    barrier();
    FENCE_I();
    while (going(hart, end)) {
        if (hart == 0) {
            writing = ++k;
            FENCE(w, w);
            code[0] = li_a0(k);
            FENCE(w, w);
            FENCE_I();
            remote(SYNC_CODE, 0);
            written = k;
            check("my own", call((void *)code), k & 0x7ff);
            times = k;
            stop |= k == 100000;
        } else {
            uint64_t from = written;
            FENCE(r, rw);
            uint64_t value = call((void *)code);
            FENCE(rw, rw);
            between("value", value, from, writing);
        }
    }
}
/* Hart 0 writes code and says so; the others fence for themselves and call it once. */
static void code_by_own_fence(uint64_t hart)
{
    uint64_t end = now() + 1500 * MILLISECOND, k = 0, idle = 0;
    if (hart == 0)
        written = 0;
    done_by[hart] = 0;
    barrier();
    while (going(hart, end)) {
        if (hart == 0) {
            k++;
            put_function(code + k * 6 % 1000, k);
            FENCE(rw, w);
            written = k;
            times = k;
            for (uint64_t h = 1; h < count; h++)
                WAIT_WHILE(done_by[h] != k);
            FENCE(rw, rw);
            stop |= k == 100000;
        } else if (written != k) {
            k = written;
            FENCE(r, rw);
            FENCE_I();
            check("value", call((void *)(code + k * 6 % 1000)), k & 0x7ff);
            FENCE(rw, w);
            done_by[hart] = k;
        } else {
            wait(&idle);
        }
    }
}
/* Every hart writes a function of its own; all lie in one page, and in one line. */
static void code_side_by_side(uint64_t hart)
{
    volatile uint32_t *own = code + 2 * hart;
    uint64_t end = now() + 200 * MILLISECOND;
    for (uint64_t k = hart; going(hart, end); k += 3) {
        put_function(own, k);
        FENCE_I();
        check("value", call((void *)own), k & 0x7ff);
        check("value again", call((void *)own), k & 0x7ff);
        /* From time to time nobody may have run code of this page for long. */
        if (k % 64 < 3)
            for (int i = 0; i < 50; i++)
                own[512] = (uint32_t)i;
    }
}
/* One aligned word is replaced while others run it, without any fence: they see the old one or the new one. */
static void code_without_fence(uint64_t hart)
{
    uint64_t end = now() + 200 * MILLISECOND, k = 0;
    if (hart == 0) {
        put_function(code, 1);
        put_function(code + 4, 2);
    }
    barrier();
    FENCE_I();
    while (going(hart, end)) {
        if (hart == 0) {
            code[0] = k++ & 1 ? li_a0(1) : 0x0100006f; /* j 16 */
            for (volatile int i = 0; i < 20; i++)
                ;
        } else {
            uint64_t value = call((void *)code);
            if (value != 1 && value != 2)
                tell("neither", value, 1);
        }
    }
}
/* The others are caught in a loop of one instruction, which hart 0 opens. */
static void loop_opened(uint64_t hart)
{
    uint64_t end = now() + 300 * MILLISECOND;
    do {
        if (hart == 0) {
            code[0] = li_a0(3);
            code[1] = 0x6f; /* j . */
            code[2] = RET;
        }
        barrier();
        FENCE_I();
        if (hart == 0) {
            for (volatile int i = 0; i < 200; i++)
                ;
            code[1] = addi(A0, A0, 4);
            remote(SYNC_CODE, 0);
            times++;
        } else {
            check("value", call((void *)code), 7);
        }
        barrier();
        going(hart, end);
        barrier();
    } while (!stop);
}

/* --- mappings --------------------------------------------------------------------------------------------------------------- */

enum { POISON = 0x600d, SHOWN = 1 };

/* Hart 0 maps one page after the other at the same address; what has been unmapped is spoilt, which nobody may see. */
static void remapped(uint64_t hart, uint64_t request, int running)
{
    uint64_t end = now() + 250 * MILLISECOND, k = 0;
    if (hart == 0) {
        writing = written = 0;
        put_function((volatile uint32_t *)pages[1], 0);
        *(volatile uint64_t *)(pages[1] + 64) = 0;
        map(SHOWN, pages[1], ALL);
    }
    barrier();
    SFENCE();
    FENCE_I();
    while (going(hart, end)) {
        if (hart == 0) {
            uint8_t *old = pages[1 + (k & 3)], *next = pages[1 + (++k & 3)];
            put_function((volatile uint32_t *)next, k);
            *(volatile uint64_t *)(next + 64) = k;
            FENCE(rw, rw);
            remote(SYNC_CODE, 0);
            writing = k;
            FENCE(w, w);
            map(SHOWN, next, ALL);
            FENCE(rw, rw);
            SFENCE_PAGE(window(SHOWN));
            remote(request, window(SHOWN));
            written = k;
            FENCE(w, w);
            *(volatile uint64_t *)(old + 64) = POISON << 12;
            put_function((volatile uint32_t *)old, k + 1024);
            times = k;
        } else {
            uint64_t from = written;
            FENCE(r, rw);
            uint64_t value = running ? call((void *)window(SHOWN)) : load(window(SHOWN) + 64) & 0xffffff;
            FENCE(rw, rw);
            if (running)
                between("code", value, from, writing);
            else if (value < from || value > writing)
                tell("data", value, from);
        }
    }
}
static void data_remapped(uint64_t hart) { remapped(hart, SYNC_PAGE, 0); }
static void code_remapped(uint64_t hart) { remapped(hart, SYNC_ALL, 1); }

/* The others store into a page all the time. Once they have fenced, nothing may come any more: neither to a page that has been
 * replaced by another one, nor to one that may not be written now. */
static void stores_end(uint64_t hart, int protect)
{
    uint64_t end = now() + 250 * MILLISECOND, k = 0;
    if (hart == 0)
        map(SHOWN, pages[1], DATA);
    barrier();
    SFENCE();
    while (going(hart, end)) {
        if (hart == 0) {
            volatile uint64_t *old = (volatile uint64_t *)pages[1 + (protect ? 0 : k & 1)];
            k++;
            map(SHOWN, pages[1 + (protect ? 0 : k & 1)], protect ? DATA & ~W : DATA);
            FENCE(rw, rw);
            remote(k & 2 ? SYNC_PAGE : SYNC_ALL, window(SHOWN));
            uint64_t seen[MAX_HARTS];
            for (uint64_t h = 1; h < count; h++)
                seen[h] = old[h];
            for (volatile int i = 0; i < 300; i++)
                ;
            for (uint64_t h = 1; h < count; h++)
                check("stored later", old[h], seen[h]);
            if (protect)
                map(SHOWN, pages[1], DATA);
            for (volatile int i = 0; i < 100; i++)
                ;
            times = k;
        } else {
            store(window(SHOWN) + 8 * hart, ++k);
            if (me()->cause) {
                check("cause", me()->cause, STORE_FAULT);
                SFENCE_PAGE(window(SHOWN));
            }
        }
    }
}
static void stores_to_replaced(uint64_t hart) { stores_end(hart, 0); }
static void stores_to_protected(uint64_t hart) { stores_end(hart, 1); }

static const struct test tests[] = {
    { "count: lr.w, sc.w", count_lr_sc_w },
    { "count: lr.d, sc.d", count_lr_sc_d },
    { "count: amoadd.w", count_amoadd_w },
    { "count: amoadd.d", count_amoadd_d },
    { "count: amocas.w", count_amocas_w },
    { "count: amocas.d", count_amocas_d },
    { "count: amocas.q", count_amocas_q },
    { "bits: amoor, amoand, amoxor", bits },
    { "amoswap", swapped },
    { "amomax, amomin, amomaxu, amominu", extremes },
    { "reservations", reservations },
    { "lock by amoswap", lock_by_swap },
    { "lock by lr and sc", lock_by_lr_sc },
    { "lock by tickets", lock_by_ticket },
    { "lock by amocas", lock_by_cas },
    { "lock of loads and stores", lock_by_peterson },
    { "code written, fenced by interrupt", code_by_remote_fence },
    { "code written, fenced by who calls it", code_by_own_fence },
    { "code of all harts in one page", code_side_by_side },
    { "one word of code replaced without fence", code_without_fence },
    { "a loop that another hart opens", loop_opened },
    { "a page of data remapped while it is read", data_remapped },
    { "a page of code remapped while it runs", code_remapped },
    { "a page replaced while it is written", stores_to_replaced },
    { "a page protected while it is written", stores_to_protected },
};
static const size_t test_count = sizeof tests / sizeof *tests;
