/*
 * What the bare-metal test programs share. They run on `virt` without firmware (-bios none), on every hart that there is.
 *
 *   _start -> machine (a stack, traps, PMP; once: page tables) -> mret -> supervisor (Sv39): the table `tests`, row by row
 *
 * A row is a name and a function that every hart calls at the same time. What is wrong is told by `check`. The last line is
 * ALL RIGHT, or WRONG, and the test device ends the emulator.
 *
 * Memory is mapped one to one by large pages. A window of 512 small pages at WINDOW is the tests' own. Harts interrupt each other
 * in M-mode, as firmware does: see `remote`.
 */
#ifndef BARE_H
#define BARE_H

#include <stddef.h>
#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000)
#define TEST ((volatile uint32_t *)0x100000)
#define MSIP ((volatile uint32_t *)0x2000000)
#define READ(csr) ({ uint64_t v_; __asm__ volatile("csrr %0, " #csr : "=r"(v_)::"memory"); v_; })
#define WRITE(csr, value) __asm__ volatile("csrw " #csr ", %0" ::"r"((uint64_t)(value)) : "memory")
#define FENCE_I() __asm__ volatile("fence.i" ::: "memory")
#define FENCE(before, after) __asm__ volatile("fence " #before "," #after ::: "memory")
#define SFENCE() __asm__ volatile("sfence.vma" ::: "memory")
#define SFENCE_PAGE(va) __asm__ volatile("sfence.vma %0, zero" ::"r"(va) : "memory")
#define SFENCE_ASID(asid) __asm__ volatile("sfence.vma zero, %0" ::"r"((uint64_t)(asid)) : "memory")
#define NOINLINE __attribute__((noinline))
#define PAGE_ALIGNED __attribute__((aligned(4096)))

/* The clock of `virt` runs at 10 MHz. */
#define MILLISECOND 10000ull

enum { MAX_HARTS = 8, STACK = 8192, PAGES = 512 };
enum { V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128, DATA = V | R | W | A | D, ALL = DATA | X };
enum { FETCH_FAULT = 12, LOAD_FAULT = 13, STORE_FAULT = 15 };
#define WINDOW 0x2000000000ull
#define SV39 (8ull << 60)

/* What a hart asks of another one. */
enum { SYNC_CODE = 1, SYNC_ALL = 2, SYNC_PAGE = 4 };

/* tp points to it, always. The first two are used by `call` and its like. */
struct hart {
    uint64_t resume; /* where to go on after a trap */
    uint64_t cause;  /* of the last trap; 0: none */
    uint64_t id;
    uint64_t request, page, done;
    uint8_t pad[16];
};

struct test {
    const char *name;
    void (*run)(uint64_t hart);
};

static struct hart harts[MAX_HARTS] __attribute__((aligned(64), used));
static uint8_t stacks[MAX_HARTS * STACK] __attribute__((aligned(16), used));
static uint64_t root[512] PAGE_ALIGNED, middle[512] PAGE_ALIGNED, leaves[512] PAGE_ALIGNED;
/* What the window's pages may be mapped to. */
static uint8_t pages[16][4096] __attribute__((aligned(4096), used));
static volatile uint64_t count, ready, wrong;
/* For rows that run for a time: see `going`. `times` is printed beside the row, and how many of them were `seen`. */
static volatile uint64_t stop, times, seen;

static inline struct hart *me(void)
{
    struct hart *h;
    __asm__ volatile("mv %0, tp" : "=r"(h));
    return h;
}
static inline uint64_t now(void)
{
    return READ(time);
}

/* --- what is printed ------------------------------------------------------------------------------------------------ */

static void print(const char *s)
{
    while (*s) {
        while (!(UART[5] & 0x20))
            ;
        UART[0] = (uint8_t)*s++;
    }
}
static void number(uint64_t n, uint64_t base)
{
    char digits[24] = { 0 };
    int i = 22;
    do
        digits[i--] = "0123456789abcdef"[n % base];
    while (n /= base);
    print(digits + i + 1);
}
/* The first few wrongs are told. Harts may mix their words. */
static NOINLINE void tell(const char *what, uint64_t got, uint64_t wanted)
{
    if (__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED) < 5) {
        print("  wrong: ");
        print(what);
        print(" got 0x");
        number(got, 16);
        print(" wanted 0x");
        number(wanted, 16);
        print("\n");
    }
}
static inline void check(const char *what, uint64_t got, uint64_t wanted)
{
    if (got != wanted)
        tell(what, got, wanted);
}

/* --- harts ---------------------------------------------------------------------------------------------------------- */

/* Passes the time of a loop that waits for another hart: after a while it sleeps for 5 microseconds and gives the host's processor to
 * whoever needs it, or a busy host would make each meeting of two harts take as long as its time slices. */
enum { ASLEEP = 2000 };
static inline void wait(uint64_t *turns)
{
    if (++*turns % ASLEEP)
        return;
    WRITE(0x14d, now() + 50); /* stimecmp */
    __asm__ volatile("wfi" ::: "memory");
    WRITE(0x14d, -1ull);
}
#define WAIT_WHILE(condition) \
    for (uint64_t turns_ = 0; condition; wait(&turns_))

/* Waits until all harts are here. */
static void barrier(void)
{
    static volatile uint64_t arrived, phase;
    uint64_t mine = phase;
    FENCE(rw, rw);
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == count) {
        arrived = 0;
        FENCE(rw, rw);
        phase = mine + 1;
    } else {
        WAIT_WHILE(phase == mine);
    }
    FENCE(rw, rw);
}
/* Whether to go on; hart 0 says when it is over. */
static inline int going(uint64_t hart, uint64_t end)
{
    if (hart == 0 && now() >= end)
        stop = 1;
    return !stop;
}
/* Has every other hart do something (SYNC_...), and waits until they have done it. One hart at a time. */
static void remote(uint64_t request, uint64_t page)
{
    for (uint64_t h = 0; h < count; h++)
        if (&harts[h] != me()) {
            harts[h].request = request;
            harts[h].page = page;
            harts[h].done = 0;
            FENCE(rw, rw);
            MSIP[h] = 1;
        }
    for (uint64_t h = 0; h < count; h++)
        WAIT_WHILE(&harts[h] != me() && !*(volatile uint64_t *)&harts[h].done);
    FENCE(rw, rw);
}

static void die(const char *what, uint64_t cause, uint64_t at)
{
    print(what);
    print(" cause 0x");
    number(cause, 16);
    print(" at 0x");
    number(at, 16);
    print("\nWRONG\n");
    *TEST = 0x13333;
    for (;;)
        ;
}
__attribute__((interrupt("machine"), aligned(4), used)) static void machine_trap(void)
{
    struct hart *h = me();
    if (READ(mcause) != (1ull << 63 | 3))
        die("machine trap", READ(mcause), READ(mepc));
    MSIP[h->id] = 0;
    FENCE(iorw, iorw);
    if (h->request & SYNC_CODE)
        FENCE_I();
    if (h->request & SYNC_ALL)
        SFENCE();
    if (h->request & SYNC_PAGE)
        SFENCE_PAGE(h->page);
    FENCE(rw, rw);
    *(volatile uint64_t *)&h->done = 1;
}
__attribute__((interrupt("supervisor"), aligned(4), used)) static void supervisor_trap(void)
{
    struct hart *h = me();
    h->cause = READ(scause);
    if (!h->resume)
        die("trap", h->cause, READ(sepc));
    WRITE(sepc, h->resume);
    h->resume = 0;
}

/* --- accesses that may trap: then `me()->cause` says how, and the value is 0 ------------------------------------------- */

#define TRY(before, code)                                                                  \
    "la t0, 1f\n sd t0, 0(tp)\n sd zero, 8(tp)\n li %[value], 0\n" before code "\n1: sd zero, 0(tp)\n"

static inline uint64_t call(const void *code)
{
    register uint64_t value __asm__("a0");
    register const void *to __asm__("t1") = code;
    __asm__ volatile(TRY("", "jalr ra, 0(%[to])")
                     : [value] "=&r"(value), [to] "+r"(to)
                     :
                     : "memory", "ra", "t0", "t2", "t3", "t4", "t5", "t6", "a1", "a2", "a3", "a4", "a5", "a6", "a7");
    return value;
}
static inline uint64_t load(uint64_t va)
{
    uint64_t value;
    __asm__ volatile(TRY("", "ld %[value], 0(%[va])") : [value] "=&r"(value) : [va] "r"(va) : "memory", "t0");
    return value;
}
static inline void store(uint64_t va, uint64_t what)
{
    uint64_t value;
    __asm__ volatile(TRY("", "sd %[what], 0(%[va])") : [value] "=&r"(value) : [va] "r"(va), [what] "r"(what) : "memory", "t0");
}

/* --- code that is written --------------------------------------------------------------------------------------------- */

static inline uint32_t addi(int rd, int rs, uint32_t imm)
{
    return (imm & 0xfff) << 20 | (uint32_t)rs << 15 | (uint32_t)rd << 7 | 0x13;
}
enum { RET = 0x8067, A0 = 10 };
static inline uint32_t li_a0(uint64_t value) /* of 11 bits */
{
    return addi(A0, 0, value & 0x7ff);
}
/* A function that returns `value`. */
static inline void put_function(volatile uint32_t *at, uint64_t value)
{
    at[0] = li_a0(value);
    at[1] = RET;
}

/* --- mappings ----------------------------------------------------------------------------------------------------------- */

static inline uint64_t window(int page)
{
    return WINDOW + 4096ull * page;
}
static inline uint64_t leaf(const void *physical, uint64_t flags)
{
    return (uint64_t)physical >> 2 | flags;
}
/* Maps a page of the window; the fence is the caller's. */
static inline void map(int page, const void *physical, uint64_t flags)
{
    *(volatile uint64_t *)&leaves[page] = leaf(physical, flags);
}

/* --- the beginning ------------------------------------------------------------------------------------------------------ */

static const struct test tests[];
static const size_t test_count;

__attribute__((used)) static void supervisor(uint64_t hart)
{
    WRITE(satp, SV39 | (uint64_t)root >> 12);
    SFENCE();
    for (size_t i = 0; i < test_count; i++) {
        const struct test *t = &tests[i];
        uint64_t begin = now(), before = wrong;
        if (hart == 0)
            stop = times = seen = 0;
        barrier();
        t->run(hart);
        barrier();
        if (hart == 0) {
            print(wrong == before ? "ok    " : "WRONG ");
            print(t->name);
            print(" (");
            number((now() - begin) / MILLISECOND, 10);
            print(" ms");
            if (times) {
                print(", ");
                number(times, 10);
                print(" times");
            }
            if (seen) {
                print(", seen ");
                number(seen, 10);
            }
            print(")\n");
        }
        barrier();
    }
    if (hart == 0) {
        print(wrong ? "WRONG\n" : "ALL RIGHT\n");
        *TEST = wrong ? 0x13333 : 0x5555;
    }
    for (;;)
        __asm__ volatile("wfi");
}

/* Harts that are not there have no bit to set. */
static uint64_t harts_there(void)
{
    uint64_t n = 1;
    for (; n < MAX_HARTS; n++) {
        MSIP[n] = 1;
        if (!MSIP[n])
            break;
        MSIP[n] = 0;
    }
    return n;
}

__attribute__((used)) static void machine(uint64_t hart)
{
    struct hart *h = &harts[hart];
    h->id = hart;
    __asm__ volatile("mv tp, %0" ::"r"(h));
    if (hart == 0) {
        root[0] = leaf(0, ALL);
        root[2] = leaf((void *)0x80000000, ALL);
        root[WINDOW >> 30 & 511] = leaf(middle, V);
        middle[0] = leaf(leaves, V);
        count = harts_there();
        FENCE(rw, rw);
        ready = 1;
    }
    while (!ready)
        ;
    FENCE(rw, rw);
    WRITE(pmpaddr0, -1ull);
    WRITE(pmpcfg0, 31);
    WRITE(medeleg, 0xb1ff);
    WRITE(mcounteren, 7);
    WRITE(0x30a, READ(0x30a) & ~(1ull << 61)); /* menvcfg: A and D are the software's */
    WRITE(mtvec, machine_trap);
    WRITE(0x30a, READ(0x30a) | 1ull << 63); /* and so is stimecmp */
    WRITE(0x14d, -1ull);
    WRITE(mideleg, 32);
    WRITE(sie, 32);
    WRITE(mie, READ(mie) | 8);
    WRITE(stvec, supervisor_trap);
    WRITE(mepc, supervisor);
    WRITE(mstatus, (READ(mstatus) & ~(3ull << 11)) | 1ull << 11);
    register uint64_t a0 __asm__("a0") = hart;
    __asm__ volatile("mret" ::"r"(a0));
}

__asm__(".section .start,\"ax\"\n.globl _start\n_start:\n"
        ".option push\n.option norelax\n la gp, __global_pointer$\n.option pop\n"
        "csrr a0, mhartid\n addi t0, a0, 1\n slli t0, t0, 13\n la sp, stacks\n add sp, sp, t0\n j machine\n.text\n");

#endif
