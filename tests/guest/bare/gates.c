/* Exactness under speed, on one hart: code that changes, and the pages that it lies in. */
#include "bare.h"

#define code ((volatile uint32_t *)pages[0])

/* `li a0, k; ret`, written, fenced and called, each time with another k. */
static void rewritten(uint64_t hart)
{
    for (uint64_t i = 0; i < 100000; i++) {
        put_function(code, i);
        FENCE_I();
        check("value", call((void *)code), i & 0x7ff);
    }
}
/* The same at another place of the page each time, so that translations come and go side by side. */
static void rewritten_in_turn(uint64_t hart)
{
    for (uint64_t i = 0; i < 20000; i++) {
        volatile uint32_t *at = code + i * 6 % 1000;
        put_function(at, i);
        FENCE_I();
        check("value", call((void *)at), i & 0x7ff);
    }
}
/* Written at one address, called at another one. */
static void written_by_an_alias(uint64_t hart)
{
    map(1, pages[0], ALL);
    SFENCE();
    for (uint64_t i = 0; i < 20000; i++) {
        put_function(code, i);
        FENCE_I();
        check("value", call((void *)window(1)), i & 0x7ff);
    }
}
/* A whole page is copied over another one by loads and stores of eight bytes. */
static void copied_over(uint64_t hart)
{
    for (uint64_t i = 0; i < 500; i++) {
        for (int at = 0; at < 512; at += 2)
            ((volatile uint64_t *)pages[1])[at] = (uint64_t)RET << 32 | li_a0(i + at);
        for (int at = 0; at < 512; at++)
            ((volatile uint64_t *)pages[0])[at] = ((volatile uint64_t *)pages[1])[at];
        FENCE_I();
        for (int at = 0; at < 512; at += 62)
            check("value", call(pages[0] + 8 * at), (i + at) & 0x7ff);
    }
}

/* A function that counts in a word of its own page: auipc t1, 0; ld a0, 64(t1); addi a0, a0, 1; sd a0, 64(t1); ret. */
static const uint32_t counter[] = { 0x317, 0x04033503, 0x00150513, 0x04a33023, RET };
static void data_beside_code(uint64_t hart)
{
    volatile uint64_t *word = (volatile uint64_t *)pages[0] + 8;
    for (int i = 0; i < 5; i++)
        code[i] = counter[i];
    *word = 0;
    FENCE_I();
    for (uint64_t i = 1; i <= 100000; i++) {
        check("count", call((void *)code), i);
        word[1 + i % 100] = i;
        if (i % 1000 == 0) {
            code[2] = addi(A0, A0, 2);
            FENCE_I();
            check("other step", call((void *)code), i + 2);
            code[2] = addi(A0, A0, 1);
            FENCE_I();
            *word = i;
        }
    }
    check("word", *word, 100000);
}

/* Runs the code, which stores `what` (a1) at `where` (a2) and counts in a0. */
static uint64_t run_storing(uint32_t what, volatile uint32_t *where)
{
    register uint64_t a1 __asm__("a1") = what, a2 __asm__("a2") = (uint64_t)where;
    register uint64_t a0 __asm__("a0") = 0, to __asm__("t1") = (uint64_t)code;
    __asm__ volatile("jalr ra, 0(%1)" : "+r"(a0), "+r"(to), "+r"(a1), "+r"(a2)::"memory", "ra", "t0");
    return a0;
}
enum { STORE = 0x00b62023, SYNC = 0x100f };
static void overwrites_itself(uint64_t hart)
{
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t k = i & 0xff;
        uint32_t program[] = { addi(A0, A0, 1), STORE, SYNC, addi(A0, A0, 2), addi(A0, A0, 4), RET };
        for (int at = 0; at < 6; at++)
            code[at] = program[at];
        FENCE_I();
        /* The next instruction, one later, the store itself, and one that has been executed. */
        check("next", run_storing(addi(A0, A0, k), &code[3]), 5 + k);
        check("after the next", run_storing(addi(A0, A0, k), &code[4]), 1 + k + k);
        check("the one before", run_storing(addi(A0, A0, k), &code[0]), 1 + k + k);
        check("again", run_storing(addi(A0, A0, k), &code[0]), 3 * k);
        check("itself", run_storing(addi(A0, A0, 9), &code[1]), 3 * k);
        check("itself, then", run_storing(0, 0), 9 + 3 * k);
    }
}
/* A loop whose body is replaced from inside in its turns: 1 + 2 + 3 + ... */
static void overwrites_its_loop(uint64_t hart)
{
    static const uint32_t program[] = {
        0x00000513, /* 0: li a0, 0 */
        0x00050513, /* 4: addi a0, a0, 0, replaced */
        0x00158593, /* 8: addi a1, a1, 1 */
        0x01459693, /* c: slli a3, a1, 20 */
        0x00d766b3, /* 10: or a3, a4, a3 */
        0x00d62023, /* 14: sw a3, 0(a2) */
        0x0000100f, /* 18: fence.i */
        0xfef594e3, /* 1c: bne a1, a5, 4 */
        RET,
    };
    for (uint64_t i = 0; i < 200; i++) {
        for (int at = 0; at < 9; at++)
            code[at] = program[at];
        FENCE_I();
        register uint64_t a0 __asm__("a0"), a1 __asm__("a1") = 0, a2 __asm__("a2") = (uint64_t)&code[1];
        register uint64_t a4 __asm__("a4") = addi(A0, A0, 0), a5 __asm__("a5") = 100 + i, to __asm__("t1") = (uint64_t)code;
        __asm__ volatile("jalr ra, 0(%[to])"
                         : "=r"(a0), "+r"(a1), [to] "+r"(to) : "r"(a2), "r"(a4), "r"(a5) : "memory", "ra", "t0", "a3");
        check("sum", a0, (99 + i) * (100 + i) / 2);
    }
}
/* An instruction that is jumped to from its own page, where jumps are tied together. */
static void tied_jumps(uint64_t hart)
{
    code[0] = 0x1000006f; /* j 100 */
    for (uint64_t i = 0; i < 20000; i++) {
        put_function(&code[64], i);
        FENCE_I();
        check("value", call((void *)code), i & 0x7ff);
    }
}
/* A jump is replaced, and then what it went to: it must not come back. */
static void jump_replaced(uint64_t hart)
{
    for (uint64_t i = 0; i < 20000; i++) {
        put_function(&code[64], i);
        code[0] = 0x1000006f; /* j 100 */
        FENCE_I();
        for (int turn = 0; turn < 3; turn++)
            check("by the jump", call((void *)code), i & 0x7ff);
        put_function(code, i + 1);
        FENCE_I();
        put_function(&code[64], i + 2);
        FENCE_I();
        check("without it", call((void *)code), (i + 1) & 0x7ff);
    }
}
/* One half of an instruction is replaced, and it becomes two short ones. */
static void halves(uint64_t hart)
{
    volatile uint16_t *half = (volatile uint16_t *)code;
    for (uint64_t i = 0; i < 20000; i++) {
        put_function(code, i);
        FENCE_I();
        check("whole", call((void *)code), i & 0x7ff);
        half[1] = (uint16_t)((i & 0x7f) << 4); /* the immediate */
        FENCE_I();
        check("immediate", call((void *)code), i & 0x7f);
        half[0] = 0x4515; /* c.li a0, 5 */
        half[1] = 0x0505; /* c.addi a0, 1 */
        FENCE_I();
        check("two", call((void *)code), 6);
    }
}
/* An instruction across two pages; each half comes from elsewhere in turn. */
static void across_pages(uint64_t hart)
{
    for (int which = 0; which < 2; which++) {
        volatile uint16_t *low = (volatile uint16_t *)(pages[2 + which] + 4094);
        volatile uint16_t *high = (volatile uint16_t *)pages[4 + which];
        uint32_t word = li_a0(0x100 << which);
        *low = (uint16_t)word;
        high[0] = (uint16_t)(word >> 16);
        high[1] = 0x8082; /* c.ret */
    }
    FENCE_I();
    for (uint64_t i = 0; i < 5000; i++) {
        map(2, pages[2 + (i & 1)], ALL);
        map(3, pages[4 + (i >> 1 & 1)], ALL);
        SFENCE_PAGE(window(2));
        SFENCE_PAGE(window(3));
        check("value", call((void *)(window(2) + 4094)), 0x100 << (i >> 1 & 1));
        uint32_t word = li_a0(i & 0x7f);
        volatile uint16_t *high = (volatile uint16_t *)pages[4 + (i >> 1 & 1)];
        uint16_t old = *high;
        *high = (uint16_t)(word >> 16);
        FENCE_I();
        check("written", call((void *)(window(2) + 4094)), i & 0x7f);
        *high = old;
        FENCE_I();
    }
}

/* --- mappings ----------------------------------------------------------------------------------------------------------- */

static void two_pages(void)
{
    put_function((volatile uint32_t *)pages[6], 6);
    put_function((volatile uint32_t *)pages[7], 7);
    FENCE_I();
}
static void remapped(uint64_t hart)
{
    two_pages();
    for (uint64_t i = 0; i < 20000; i++) {
        map(4, pages[6 + (i & 1)], ALL | (i & 8 ? G : 0));
        if (i & 4)
            SFENCE_PAGE(window(4));
        else
            SFENCE();
        check("code", call((void *)window(4)), 6 + (i & 1));
        check("data", (uint32_t)load(window(4)), li_a0(6 + (i & 1)));
    }
}
/* Each right is taken away and given back. */
static void permissions(uint64_t hart)
{
    two_pages();
    for (uint64_t i = 0; i < 3000; i++) {
        static const uint64_t rights[] = { ALL, ALL & ~X, DATA & ~W, ALL & ~W, V | X | A, 0, ALL | U, ALL & ~A, ALL & ~D };
        uint64_t flags = rights[i % 9];
        map(5, pages[6], flags);
        SFENCE_PAGE(window(5));
        uint64_t there = (flags & V) && (flags & A) && !(flags & U);
        for (int turn = 0; turn < 3; turn++) {
            uint64_t runs = there && (flags & X), reads = there && (flags & R), writes = there && (flags & W) && (flags & D);
            check("value", call((void *)window(5)), runs ? 6 : 0);
            check("fetch", me()->cause, runs ? 0 : FETCH_FAULT);
            load(window(5) + 8);
            check("load", me()->cause, reads ? 0 : LOAD_FAULT);
            store(window(5) + 8, i);
            check("store", me()->cause, writes ? 0 : STORE_FAULT);
        }
        /* MXR makes code readable; SUM lets us at the pages of users, but not run them. */
        if (flags == (V | X | A)) {
            __asm__ volatile("csrs sstatus, %0" ::"r"(1ull << 19) : "memory");
            check("with MXR", (uint32_t)load(window(5)), li_a0(6));
            __asm__ volatile("csrc sstatus, %0" ::"r"(1ull << 19) : "memory");
            load(window(5));
            check("without MXR", me()->cause, LOAD_FAULT);
        }
        if (flags & U) {
            __asm__ volatile("csrs sstatus, %0" ::"r"(1ull << 18) : "memory");
            check("with SUM", (uint32_t)load(window(5)), li_a0(6));
            call((void *)window(5));
            check("fetch with SUM", me()->cause, FETCH_FAULT);
            __asm__ volatile("csrc sstatus, %0" ::"r"(1ull << 18) : "memory");
            load(window(5));
            check("without SUM", me()->cause, LOAD_FAULT);
        }
    }
}
/* Two page tables take turns: each with an ASID of its own, then with the same one, which is fenced. */
static uint64_t other_root[512] PAGE_ALIGNED, other_middle[512] PAGE_ALIGNED, other_leaves[512] PAGE_ALIGNED;
static void address_spaces(uint64_t hart)
{
    two_pages();
    uint64_t global = 0, home = READ(satp);
    for (int i = 0; i < 512; i++)
        other_root[i] = root[i];
    other_root[WINDOW >> 30 & 511] = leaf(other_middle, V);
    other_middle[0] = leaf(other_leaves, V);
    map(6, pages[6], ALL);
    other_leaves[6] = leaf(pages[7], ALL);
    SFENCE();
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t own = i % 5000 < 2500, second = i & 1, asid = own ? 1 + second : 3;
        if (i % 10000 == 0) {
            /* What a kernel maps for itself is global, or is not. */
            global ^= G;
            for (int at = 0; at < 3; at += 2)
                root[at] = other_root[at] = (root[at] & ~(uint64_t)G) | global;
            SFENCE();
        }
        if (!own)
            SFENCE_ASID(asid);
        WRITE(satp, SV39 | asid << 44 | (uint64_t)(second ? other_root : root) >> 12);
        check("code", call((void *)window(6)), 6 + second);
        check("data", (uint32_t)load(window(6)), li_a0(6 + second));
        if (i % 100 == 99) {
            /* In this space alone the page becomes another one, for a moment. */
            volatile uint64_t *entry = second ? &other_leaves[6] : &leaves[6];
            uint64_t before = *entry;
            *entry = leaf(pages[6 + !second], ALL);
            __asm__ volatile("sfence.vma %0, %1" ::"r"(window(6)), "r"(asid) : "memory");
            check("changed", call((void *)window(6)), 6 + !second);
            *entry = before;
            __asm__ volatile("sfence.vma %0, %1" ::"r"(window(6)), "r"(asid) : "memory");
        }
    }
    WRITE(satp, home);
    for (int at = 0; at < 3; at += 2)
        root[at] &= ~(uint64_t)G;
    SFENCE();
}
/* The table that maps the window is replaced: fenced, or for an ASID that has not been used yet. */
static void tables_replaced(uint64_t hart)
{
    uint64_t home = READ(satp);
    two_pages();
    for (int page = 6; page < 10; page += 3) {
        map(page, pages[6 + (page == 9)], ALL);
        other_leaves[page] = leaf(pages[6 + (page == 6)], ALL);
    }
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t second = i & 1, asid = 100 + (i & ~(uint64_t)3) + ((i ^ i >> 1) & 1);
        *(volatile uint64_t *)middle = leaf(second ? other_leaves : leaves, V);
        WRITE(satp, SV39 | asid << 44 | (uint64_t)root >> 12);
        if ((i & 6) == 6)
            SFENCE_ASID(asid);
        else if (i & 2)
            SFENCE();
        check("code", call((void *)window(6)), 6 + second);
        check("data", (uint32_t)load(window(9)), li_a0(7 - second));
    }
    *(volatile uint64_t *)middle = leaf(leaves, V);
    WRITE(satp, home);
    SFENCE();
}
/* A large page becomes small ones and large again. */
static uint8_t large[2][2 << 20] __attribute__((aligned(2 << 20)));
static void large_pages(uint64_t hart)
{
    for (int i = 0; i < 2; i++)
        for (int at = 0; at < 512; at++)
            put_function((volatile uint32_t *)(large[i] + 4096 * at), 512 * i + at);
    FENCE_I();
    for (int at = 0; at < 512; at++)
        other_leaves[at] = leaf(large[at & 1] + 4096 * at, ALL);
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t kind = i % 3, at = i * 7 % 512, va = WINDOW + (2 << 20) + 4096 * at;
        middle[1] = kind == 2 ? leaf(other_leaves, V) : leaf(large[kind], ALL);
        if (i & 1)
            SFENCE();
        else
            for (uint64_t page = 0; page < 512; page++)
                SFENCE_PAGE(WINDOW + (2 << 20) + 4096 * page);
        for (int turn = 0; turn < 4; turn++, va ^= 4096, at ^= 1) {
            check("code", call((void *)va), 512 * (kind == 2 ? at & 1 : kind) + at);
            check("data", (uint32_t)load(va), li_a0(512 * (kind == 2 ? at & 1 : kind) + at));
        }
    }
    middle[1] = 0;
    SFENCE();
}
/* Jumps from page to page of a large page, whose pages become small ones, of which one is another, or none; and what they lead to is
   written anew. */
static void jump(uint8_t *from, int64_t to) /* even, less than 1 MiB */
{
    uint32_t n = (uint32_t)to;
    *(volatile uint32_t *)from = (n >> 20 & 1) << 31 | (n >> 1 & 0x3ff) << 21 | (n >> 11 & 1) << 20 | (n >> 12 & 0xff) << 12 | 0x6f;
}
static void jumps_in_large_pages(uint64_t hart)
{
    enum { BETWEEN = 255 };
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t on = i * 7 % BETWEEN, back = on + BETWEEN, here = WINDOW + (2 << 20);
        uint64_t from = i & 1 ? back : on, to = i & 1 ? on : back;
        for (int k = 0; k < 2; k++) {
            jump(large[k] + 4096 * from, 4096 * (int64_t)(to - from));
            put_function((volatile uint32_t *)(large[k] + 4096 * to), i + k);
        }
        FENCE_I();
        middle[1] = leaf(large[0], ALL);
        SFENCE();
        for (int turn = 0; turn < 3; turn++)
            check("in a large page", call((void *)(here + 4096 * from)), i & 0x7ff);
        put_function((volatile uint32_t *)(large[0] + 4096 * to), i + 5);
        FENCE_I();
        check("written", call((void *)(here + 4096 * from)), (i + 5) & 0x7ff);
        if (i & 2)
            SFENCE();
        for (int at = 0; at < 512; at++)
            other_leaves[at] = leaf(large[0] + 4096 * at, ALL);
        other_leaves[to] = i & 4 ? leaf(large[1] + 4096 * to, ALL) : 0;
        middle[1] = leaf(other_leaves, V);
        SFENCE_PAGE(here + 4096 * to);
        check("in small ones", call((void *)(here + 4096 * from)), i & 4 ? (i + 1) & 0x7ff : 0);
        check("fetch", me()->cause, i & 4 ? 0 : FETCH_FAULT);
    }
    middle[1] = 0;
    SFENCE();
}
/* Jumps between pages that are mapped one by one: where one leads, another page is mapped, or none, or what stands there is written anew; and so is the jump.
   In turn with pages 2 MiB further on, which are others. */
static void jumps_between_pages(uint64_t hart)
{
    enum { FURTHER = 2 << 20 };
    two_pages();
    for (int at = 0; at < 512; at++)
        other_leaves[at] = 0;
    other_leaves[12] = leaf(pages[9], ALL);
    middle[1] = leaf(other_leaves, V);
    map(12, pages[8], ALL);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t which = i & 1, to = i >> 4 & 1 ? 13 : 11, flags = i % 7 == 6 ? DATA : ALL | (i & 8 ? G : 0);
        int64_t distance = 4096 * ((int64_t)to - 12);
        if (i % 16 == 0) {
            jump(pages[8] + 64, distance - 64 + (i & 32 ? 0 : 8));
            jump(pages[9] + 64, distance - 64);
            for (int k = 0; k < 2; k++) {
                put_function((volatile uint32_t *)pages[6 + k], 6 + k);
                put_function((volatile uint32_t *)(pages[6 + k] + 8), 8 + k);
            }
            FENCE_I();
        }
        map(to, pages[6 + which], flags);
        other_leaves[to] = leaf(pages[7 - which], ALL);
        if (i & 4) {
            SFENCE_PAGE(window(to));
            SFENCE_PAGE(window(to) + FURTHER);
        } else {
            SFENCE();
        }
        uint64_t value = (i & 32 ? 6 : 8) + which;
        for (int turn = 0; turn < 3; turn++) {
            check("value", call((void *)(window(12) + 64)), flags == DATA ? 0 : value);
            check("fetch", me()->cause, flags == DATA ? FETCH_FAULT : 0);
            if (i % 3 == 0)
                check("further on", call((void *)(window(12) + FURTHER + 64)), 7 - which);
        }
        if (i % 5 == 0 && flags != DATA) {
            put_function((volatile uint32_t *)(pages[6 + which] + (i & 32 ? 0 : 8)), i);
            FENCE_I();
            check("written", call((void *)(window(12) + 64)), i & 0x7ff);
            put_function((volatile uint32_t *)(pages[6 + which] + (i & 32 ? 0 : 8)), value);
            FENCE_I();
        }
    }
    middle[1] = 0;
    SFENCE();
}
/* A page of code becomes one of data, is written all over, and becomes code again. */
static void page_reused(uint64_t hart)
{
    for (uint64_t i = 0; i < 2000; i++) {
        volatile uint64_t *word = (volatile uint64_t *)pages[8];
        put_function((volatile uint32_t *)pages[8], i);
        map(7, pages[8], V | X | R | A);
        SFENCE_PAGE(window(7));
        FENCE_I();
        check("code", call((void *)window(7)), i & 0x7ff);
        map(7, pages[8], DATA);
        SFENCE_PAGE(window(7));
        for (int at = 0; at < 100; at++)
            ((volatile uint64_t *)window(7))[at] = i + at;
        for (int at = 0; at < 100; at++)
            check("data", word[at], i + at);
    }
}

/* A function calls another one, which has the caller's page replaced before it returns: behind the call there is other code then.
   Then the same without a fence, and at last the callee returns elsewhere. */
static uint64_t between;
__attribute__((noinline)) static void replaced_by_the_callee(void)
{
    if (between & 2)
        SFENCE_PAGE(window(8));
    if (between & 4)
        map(8, pages[6 + (between & 1)], ALL);
    if (between & 8)
        SFENCE();
    else
        SFENCE_PAGE(window(8));
}
static void returns(uint64_t hart)
{
    for (int which = 0; which < 2; which++) {
        volatile uint32_t *at = (volatile uint32_t *)pages[6 + which];
        uint32_t program[] = {
            addi(2, 2, -16),            /* addi sp, sp, -16 */
            0x00113423,                 /* sd ra, 8(sp) */
            0x000380e7,                 /* jalr ra, 0(t2) */
            li_a0(100 + which),
            0x00813083,                 /* ld ra, 8(sp) */
            addi(2, 2, 16),
            RET,
        };
        for (int i = 0; i < 7; i++)
            at[i] = program[i];
    }
    FENCE_I();
    map(8, pages[6], ALL);
    SFENCE_PAGE(window(8));
    uint64_t now = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        between = i;
        register const void *callee __asm__("t2") = (void *)replaced_by_the_callee;
        register uint64_t value __asm__("a0");
        register uint64_t to __asm__("t1") = window(8);
        __asm__ volatile("jalr ra, 0(%[to])"
                         : "=r"(value), [to] "+r"(to), "+r"(callee)
                         :
                         : "memory", "ra", "t0", "t3", "t4", "t5", "t6", "a1", "a2", "a3", "a4", "a5", "a6", "a7");
        if (i & 4)
            now = i & 1;
        check("behind the call", value, 100 + now);
    }
    /* A return to where another call came from, at the same depth, and to itself a while. */
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t n;
        __asm__ volatile("li %[n], 3\n jal t0, 2f\n1: j 3f\n"
                         "2: la ra, 4f\n ret\n"
                         "4: addi %[n], %[n], -1\n beqz %[n], 5f\n ret\n"
                         "5: mv ra, t0\n ret\n3:\n"
                         : [n] "=&r"(n)::"ra", "t0");
        check("turns", n, 0);
    }
}

/* Loops that begin with an access, which now and then lies in two pages, and go on with what it has loaded. */
static uint8_t words[3 * 4096 + 16] PAGE_ALIGNED;
static void loops_across_pages(uint64_t hart)
{
    enum { COUNT = 3 * 4096 / 8 };
    uint8_t *first = words + 4;
    for (uint64_t round = 0; round < 2000; round++) {
        uint8_t *to = first, *end = first + 8 * COUNT;
        uint64_t n = round, sum = 0, x;
        __asm__ volatile("1: sd %[n], 0(%[to])\n addi %[n], %[n], 3\n addi %[to], %[to], 8\n bltu %[to], %[end], 1b\n"
                         : [to] "+r"(to), [n] "+r"(n)
                         : [end] "r"(end)
                         : "memory");
        to = first;
        __asm__ volatile("1: ld %[x], 0(%[to])\n addi %[x], %[x], 1\n add %[sum], %[sum], %[x]\n"
                         "addi %[to], %[to], 8\n bltu %[to], %[end], 1b\n"
                         : [to] "+r"(to), [sum] "+r"(sum), [x] "=&r"(x)
                         : [end] "r"(end)
                         : "memory");
        check("sum", sum, COUNT * (round + 1) + 3 * (COUNT * (COUNT - 1) / 2));
        check("last", x, round + 3 * (COUNT - 1) + 1);
    }
}

/* A loop in two pages, of which the second one becomes another in turn, is written anew, or may not be executed. It begins so that an instruction
   lies in both, or not; and loads from one page, or from two. */
static void put_half(uint64_t at, uint16_t half, uint8_t *second)
{
    *(volatile uint16_t *)((at < 4096 ? pages[9] : second - 4096) + at) = half;
}
static void put_loop(uint64_t at, uint8_t *second, uint32_t step)
{
    uint32_t program[] = {
        addi(A0, A0, 1),
        addi(11, 11, -1),     /* addi a1, a1, -1 */
        addi(A0, A0, 2),
        addi(A0, A0, step),   /* from here on in the second page */
        0x00063683,           /* ld a3, 0(a2) */
        0x00863703,           /* ld a4, 8(a2) */
        0x00d50533,           /* add a0, a0, a3 */
        0x00e50533,           /* add a0, a0, a4 */
        0xfe0590e3,           /* bnez a1, -32 */
        RET,
    };
    for (int i = 0; i < 10; i++, at += 4) {
        put_half(at, (uint16_t)program[i], second);
        put_half(at + 2, (uint16_t)(program[i] >> 16), second);
    }
}
static void loops_in_two_pages(uint64_t hart)
{
    for (uint64_t at = 4084; at >= 4082; at -= 2) {
        for (int which = 0; which < 2; which++)
            put_loop(at, pages[10 + which], 3 + which);
        FENCE_I();
        map(10, pages[9], ALL);
        for (uint64_t round = 0; round < 60; round++) {
            uint64_t which = round & 1, step = 3 + which, turns = round == 0 ? 800000 : 8000;
            map(11, pages[10 + which], ALL);
            SFENCE_PAGE(window(11));
            if (round % 5 == 4) {
                step += round;
                put_loop(at, pages[10 + which], step);
                FENCE_I();
            }
            volatile uint64_t *data = (volatile uint64_t *)(words + 4096 - 8 * (round % 3));
            data[0] = round;
            data[1] = 1;
            register uint64_t a0 __asm__("a0") = 0, a1 __asm__("a1") = turns, a2 __asm__("a2") = (uint64_t)data;
            register uint64_t to __asm__("t1") = window(10) + at;
            __asm__ volatile("jalr ra, 0(%[to])"
                             : "+r"(a0), "+r"(a1), [to] "+r"(to) : "r"(a2) : "memory", "ra", "t0", "a3", "a4");
            check("sum", a0, turns * (3 + step + round + 1));
            if (round % 5 == 4) {
                put_loop(at, pages[10 + which], 3 + which);
                FENCE_I();
            }
            if (round % 7 == 6) {
                map(11, pages[10 + which], DATA);
                SFENCE_PAGE(window(11));
                call((void *)(window(10) + at));
                check("fetch", me()->cause, FETCH_FAULT);
            }
        }
    }
}

/* Loops that look things up in a table, which lies in one page for a while and then in two. */
static uint8_t table[4 * 4096] PAGE_ALIGNED;
static NOINLINE uint64_t look_up(const uint8_t *from, uint64_t seed)
{
    uint64_t sum = 0;
    for (int i = 0; i < 1000; i++) {
        seed = seed * 5 + 1 + (sum & 1);
        sum += from[seed & 255] + from[512 + (seed >> 8 & 255)] + ((const uint16_t *)from)[256 + (seed >> 16 & 63)];
    }
    return sum;
}
static uint64_t entry(uint64_t at)
{
    return at * 7 & 0xff;
}
static void tables(uint64_t hart)
{
    for (uint64_t i = 0; i < sizeof table; i++)
        table[i] = entry(i);
    for (uint64_t round = 0; round < 1200; round++) {
        uint64_t at = (round / 200 * 1000 + round % 7 * 2) % (sizeof table - 1024), seed = round, sum = 0;
        for (int i = 0; i < 1000; i++) {
            seed = seed * 5 + 1 + (sum & 1);
            uint64_t pair = at + 512 + 2 * (seed >> 16 & 63);
            sum += entry(at + (seed & 255)) + entry(at + 512 + (seed >> 8 & 255)) + entry(pair) + (entry(pair + 1) << 8);
        }
        check("sum", look_up(table + at, round), sum);
    }
}

/* Operations whose float flags are known, among programs that ask for the flags all the time: those that the guest has not got
 * may be watched for then, and have to be there all the same. */
#define FLOAT(text) __asm__ volatile(".option push\n.option arch, +d\n" text "\n.option pop\n" ::"r"(x), "r"(y) : "memory", "t0")
#define TWO_DOUBLES "fmv.d.x ft0, %0\nfmv.d.x ft1, %1\n"
enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16, NONE = 0 };
static const struct {
    const char *what;
    uint8_t op, flags;
    uint64_t x, y;
} operations[] = {
    { "1 / 3", 0, NX, 0x3ff0000000000000, 0x4008000000000000 },
    { "1 / 2", 0, NONE, 0x3ff0000000000000, 0x4000000000000000 },
    { "1 / 0", 0, DZ, 0x3ff0000000000000, 0 },
    { "0 / 0", 0, NV, 0, 0 },
    { "the largest squared", 1, OF | NX, 0x7fefffffffffffff, 0x7fefffffffffffff },
    { "the least squared", 1, UF | NX, 1, 1 },
    { "a half of the least normal", 1, NONE, 0x0010000000000000, 0x3fe0000000000000 },
    { "a half of what is odd", 1, UF | NX, 0x0010000000000001, 0x3fe0000000000000 },
    { "infinity times zero", 1, NV, 0x7ff0000000000000, 0 },
    { "a quiet NaN", 1, NONE, 0x7ff8000000000000, 0x3ff0000000000000 },
    { "a signaling NaN", 1, NV, 0x7ff0000000000001, 0x3ff0000000000000 },
    { "less than a NaN", 2, NV, 0x3ff0000000000000, 0x7ff8000000000000 },
    { "equal to a NaN", 3, NONE, 0x3ff0000000000000, 0x7ff8000000000000 },
    { "quietly less than a NaN", 4, NONE, 0x3ff0000000000000, 0x7ff8000000000000 },
    { "an integer of 1.5", 5, NX, 0x3ff8000000000000, 0 },
    { "an integer of infinity", 5, NV, 0x7ff0000000000000, 0 },
    { "infinity times zero plus a NaN", 6, NV, 0x7ff0000000000000, 0 },
    { "the root of -1", 7, NV, 0xbff0000000000000, 0 },
    { "the root of 2", 7, NX, 0x4000000000000000, 0 },
};
static NOINLINE void operate(int op, uint64_t x, uint64_t y)
{
    switch (op) {
    case 0: FLOAT(TWO_DOUBLES "fdiv.d ft2, ft0, ft1"); break;
    case 1: FLOAT(TWO_DOUBLES "fmul.d ft2, ft0, ft1"); break;
    case 2: FLOAT(TWO_DOUBLES "flt.d t0, ft0, ft1"); break;
    case 3: FLOAT(TWO_DOUBLES "feq.d t0, ft0, ft1"); break;
    case 4: FLOAT(TWO_DOUBLES "csrr t0, 1\nflt.d zero, ft0, ft1\ncsrw 1, t0"); break;
    case 5: FLOAT(TWO_DOUBLES "fcvt.l.d t0, ft0"); break;
    case 6: FLOAT(TWO_DOUBLES "fdiv.d ft2, ft1, ft1\ncsrci 1, 16\nfmadd.d ft2, ft0, ft1, ft2"); break;
    default: FLOAT(TWO_DOUBLES "fsqrt.d ft2, ft0"); break;
    }
}
/* Asks for the flags for a while, and makes the comparisons around which compilers do that. */
static NOINLINE void ask(uint64_t flags, uint64_t end)
{
    uint64_t x = 0x3ff0000000000000, y = 0x4000000000000000;
    do
        for (int i = 0; i < 100; i++) {
            check("flags that stay", READ(0x001), flags);
            FLOAT(TWO_DOUBLES "csrr t0, 1\nflt.d zero, ft0, ft1\ncsrw 1, t0");
        }
    while (now() < end);
}
static void float_flags(uint64_t hart)
{
    WRITE(sstatus, READ(sstatus) | 1 << 13);
    for (uint64_t before = 0; before < 32; before++)
        for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
            WRITE(0x001, before);
            ask(before, now() + 10000);
            operate(operations[i].op, operations[i].x, operations[i].y);
            uint64_t after = before | operations[i].flags;
            check(operations[i].what, READ(0x001), after);
            ask(after, 0);
            WRITE(0x001, 0);
            check("none", READ(0x001), 0);
            operate(operations[i].op, operations[i].x, operations[i].y);
            check(operations[i].what, READ(0x001), operations[i].flags);
        }
}

/* Accesses of one base on both sides of a page's end, while the second page changes: the first store is made whatever becomes of the others. */
static uint64_t both_sides(uint64_t at, uint64_t what)
{
    uint64_t value;
    __asm__ volatile(TRY("", "sd %[what], 0(%[at])\n sd %[what], 8(%[at])\n ld %[value], 8(%[at])\n sd %[value], 16(%[at])")
                     : [value] "=&r"(value) : [at] "r"(at), [what] "r"(what) : "memory", "t0");
    return value;
}
static void groups_across_pages(uint64_t hart)
{
    volatile uint64_t *low = (volatile uint64_t *)(pages[9] + 4088), *high = (volatile uint64_t *)pages[10];
    map(9, pages[9], DATA);
    for (uint64_t i = 1; i < 4000; i++) {
        static const uint64_t rights[] = { DATA, DATA & ~W, DATA, 0, DATA & ~D, DATA };
        uint64_t flags = rights[i / 8 % 6], goes = (flags & W) && (flags & D);
        map(10, pages[10], flags);
        SFENCE();
        high[0] = high[1] = 0;
        check("value", both_sides(window(9) + 4088, i), goes ? i : 0);
        check("cause", me()->cause, goes ? 0 : STORE_FAULT);
        check("first", *low, i);
        check("second", high[0], goes ? i : 0);
        check("third", high[1], goes ? i : 0);
        check("in one page", both_sides(window(9) + 8 * (i & 255), i), i);
    }
}

/*
 * A loop over many registers that becomes hot, and then walks to a page that is not there: when its load traps, the registers are what
 * they were then, wherever the emulator had them. `r` is what they hold: r[0] is loaded from (t0), r[1] counts down to the walk.
 */
enum { LOOP_REGISTERS = 20 };
#define LOOP_NAMES(x) x(0, s2) x(1, s3) x(2, s4) x(3, s5) x(4, s6) x(5, s7) x(6, s8) x(7, s9) x(8, s10) x(9, s11) x(10, t1) x(11, t2) \
    x(12, t3) x(13, t4) x(14, t5) x(15, t6) x(16, a2) x(17, a3) x(18, a4) x(19, a5)
static uint64_t until_fault(uint64_t *r, uint64_t at)
{
    register uint64_t *registers __asm__("a0") = r;
    register uint64_t from __asm__("a1") = at;
#define TAKE(n, name) "ld " #name ", 8*" #n "(a0)\n"
#define GIVE(n, name) "sd " #name ", 8*" #n "(a0)\n"
    __asm__ volatile("la t0, 2f\n sd t0, 0(tp)\n sd zero, 8(tp)\n li a6, 0\n" LOOP_NAMES(TAKE)
                     "1: add s4, s4, s2\n mv a7, s5\n mv s5, s6\n mv s6, s7\n mv s7, a7\n xor s8, s8, s4\n slli t1, s8, 7\n"
                     "srli t2, s8, 57\n or t2, t1, t2\n mul t3, t2, s5\n addi a2, a2, 1\n"
                     "ld s2, 0(a1)\n"
                     "sub t4, t3, s2\n sltu t5, t4, t3\n add t6, t6, t5\n andi a7, t4, 1\n beqz a7, 3f\n addi a3, a3, 3\n xor a4, a4, t4\n"
                     "3: add s9, s9, s10\n add s10, s10, s11\n addw s11, s11, a2\n mulhu a5, t3, t4\n mul s10, t3, t4\n add a1, a1, a6\n addi s3, s3, -1\n"
                     "bnez s3, 1b\n li a6, 8\n j 1b\n"
                     "2: sd zero, 0(tp)\n" LOOP_NAMES(GIVE)
                     : "+r"(from)
                     : "r"(registers)
                     : "memory", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4",
                       "s5", "s6", "s7", "s8", "s9", "s10", "s11");
    return from;
}
/* What it does, up to the trap. */
static uint64_t until_fault_by_c(uint64_t *r, uint64_t at, uint64_t end)
{
    for (uint64_t step = 0;;) {
        r[2] += r[0];
        uint64_t first = r[3];
        r[3] = r[4], r[4] = r[5], r[5] = first;
        r[6] ^= r[2];
        r[10] = r[6] << 7;
        r[11] = r[10] | r[6] >> 57;
        r[12] = r[11] * r[3];
        r[16]++;
        if (at >= end)
            return at;
        r[0] = *(volatile uint64_t *)at;
        r[13] = r[12] - r[0];
        r[14] = r[13] < r[12];
        r[15] += r[14];
        if (r[13] & 1)
            r[17] += 3, r[18] ^= r[13];
        r[7] += r[8];
        r[8] += r[9];
        r[9] = (int32_t)(r[9] + r[16]);
        r[19] = (unsigned __int128)r[12] * r[13] >> 64;
        r[8] = r[12] * r[13];
        at += step;
        if (--r[1] == 0)
            step = 8;
    }
}
static void registers_at_a_fault(uint64_t hart)
{
    static uint64_t is[LOOP_REGISTERS], should[LOOP_REGISTERS];
    if (hart != 0)
        return;
    map(11, pages[11], DATA);
    map(12, pages[12], 0);
    SFENCE();
    for (uint64_t i = 0; i < 512; i++)
        ((volatile uint64_t *)pages[11])[i] = i * 0x9e3779b97f4a7c15ull;
    for (uint64_t round = 0; round < 12; round++) {
        for (uint64_t i = 0; i < LOOP_REGISTERS; i++)
            is[i] = should[i] = (i + 1) * (round + 7) * 0xbf58476d1ce4e5b9ull;
        is[1] = should[1] = round ? 2000 * round * round : 800000;
        uint64_t from = until_fault(is, window(11) + 8 * round), end = window(12);
        check("cause", me()->cause, LOAD_FAULT);
        check("address", from, until_fault_by_c(should, window(11) + 8 * round, end));
        for (uint64_t i = 0; i < LOOP_REGISTERS; i++)
            check("register", is[i], should[i]);
    }
}

static const struct test tests[] = {
    { "written, fenced, called, 100000 times", rewritten },
    { "written at many places of a page", rewritten_in_turn },
    { "written by another address", written_by_an_alias },
    { "a page of code copied over another", copied_over },
    { "data beside code", data_beside_code },
    { "code that overwrites itself in its block", overwrites_itself },
    { "code that overwrites its loop", overwrites_its_loop },
    { "jumps that are tied together", tied_jumps },
    { "a jump that is replaced", jump_replaced },
    { "halves of instructions", halves },
    { "an instruction across pages", across_pages },
    { "a page of code remapped", remapped },
    { "permissions changed", permissions },
    { "address spaces, ASIDs used again", address_spaces },
    { "tables replaced", tables_replaced },
    { "returns into a page that has been replaced", returns },
    { "large pages and small ones", large_pages },
    { "jumps in large pages", jumps_in_large_pages },
    { "jumps between pages", jumps_between_pages },
    { "code becomes data becomes code", page_reused },
    { "loops that begin with an access across pages", loops_across_pages },
    { "loops in two pages", loops_in_two_pages },
    { "a table in one page, and in two", tables },
    { "groups of accesses across pages", groups_across_pages },
    { "registers of a hot loop at a fault", registers_at_a_fault },
    { "float flags, often asked for", float_flags },
};
static const size_t test_count = sizeof tests / sizeof *tests;
