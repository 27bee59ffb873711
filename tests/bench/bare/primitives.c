/*
 * What the glue of an emulator costs: nanoseconds for each of the things that a guest does beside computing. Bare metal on
 * `virt` (-bios none); starts in M-mode, runs in S-mode under Sv39. Prints a line `PRIMITIVE name ns` for each and ends
 * the emulator through the test device.
 */
#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000)
#define TEST ((volatile uint32_t *)0x100000)
#define READ(csr) ({ uint64_t v_; __asm__ volatile("csrr %0, " #csr : "=r"(v_)); v_; })
#define WRITE(csr, value) __asm__ volatile("csrw " #csr ", %0" ::"r"((uint64_t)(value)) : "memory")
#define TEN(x) { x x x x x x x x x x }
/* The clock of `virt` runs at 10 MHz. */
#define NS_PER_TICK 100

enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128, ALL = V | R | W | X | A | D };
enum { FAR_PAGES = 8192 };

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t middle[512] __attribute__((aligned(4096)));
static uint64_t leaves[FAR_PAGES] __attribute__((aligned(4096)));
static uint32_t code[64] __attribute__((aligned(4096)));

static void put(char c)
{
    while (!(UART[5] & 0x20))
        ;
    UART[0] = (uint8_t)c;
}
static void print(const char *s)
{
    while (*s)
        put(*s++);
}
static void number(uint64_t n)
{
    char digits[24];
    int i = 0;
    do
        digits[i++] = (char)('0' + n % 10);
    while (n /= 10);
    while (i)
        put(digits[--i]);
}
static uint64_t now(void)
{
    return READ(time);
}
/* Prints tenths of a nanosecond as a decimal fraction. */
static void report(const char *name, uint64_t ticks, uint64_t count)
{
    uint64_t tenths = ticks * NS_PER_TICK * 10 / count;
    print("PRIMITIVE ");
    print(name);
    put(' ');
    number(tenths / 10);
    put('.');
    number(tenths % 10);
    put('\n');
}

/* S-mode traps: an ebreak is passed over, a timer interrupt is put off for ever. */
__asm__(".text\n.align 4\n.globl strap\nstrap:\n"
        "csrw sscratch, t0\n csrr t0, scause\n bltz t0, 1f\n"
        "csrr t0, sepc\n addi t0, t0, 4\n csrw sepc, t0\n csrr t0, sscratch\n sret\n"
        "1: li t0, -1\n csrw 0x14d, t0\n csrr t0, sscratch\n sret\n");
extern char strap[];

static __attribute__((noinline)) uint64_t callee(uint64_t x)
{
    __asm__ volatile("" : "+r"(x));
    return x + 1;
}
static __attribute__((noinline)) uint64_t one(uint64_t x) { __asm__ volatile("" : "+r"(x)); return x + 1; }
static __attribute__((noinline)) uint64_t two(uint64_t x) { __asm__ volatile("" : "+r"(x)); return x + 2; }
static __attribute__((noinline)) uint64_t three(uint64_t x) { __asm__ volatile("" : "+r"(x)); return x + 3; }

static void registers(void)
{
    uint64_t t = now(), n = 2000000, sum = 0;
    for (uint64_t i = 0; i < n; i++)
        TEN(sum += READ(sstatus);)
    __asm__ volatile("" ::"r"(sum));
    report("csrr", now() - t, 10 * n);
    t = now();
    for (uint64_t i = 0; i < n; i++)
        TEN(WRITE(sscratch, i); sum ^= READ(sscratch);)
    __asm__ volatile("" ::"r"(sum));
    report("csrw_csrr", now() - t, 10 * n);
    t = now(), n = 300000;
    for (uint64_t i = 0; i < n; i++)
        __asm__ volatile(".option push\n.option norvc\nebreak\n.option pop" ::: "memory");
    report("trap_sret", now() - t, n);
}

static void spaces(void)
{
    uint64_t satp = READ(satp), other = satp | 1ull << 44, n = 200000;
    volatile uint64_t *cell = leaves;
    uint64_t t = now();
    for (uint64_t i = 0; i < n; i++) {
        WRITE(satp, other);
        (void)*cell;
        WRITE(satp, satp);
        (void)*cell;
    }
    report("satp_switch", now() - t, 2 * n);
    t = now();
    for (int turn = 0; turn < 40; turn++)
        for (uint64_t i = 0; i < FAR_PAGES; i++)
            (void)*(volatile uint64_t *)(0x2000000000 + i * 4096 + (i & 63) * 8);
    report("tlb_fill", now() - t, 40 * FAR_PAGES);
    t = now();
    for (uint64_t i = 0; i < n; i++) {
        __asm__ volatile("sfence.vma %0, zero" ::"r"(0x2000000000) : "memory");
        (void)*(volatile uint64_t *)0x2000000000;
    }
    report("sfence_page", now() - t, n);
}

static void atomics(void)
{
    static uint64_t cell;
    uint64_t t = now(), n = 2000000, v, failed;
    for (uint64_t i = 0; i < n; i++)
        __asm__ volatile("amoadd.d %0, %2, (%1)" : "=r"(v) : "r"(&cell), "r"(i) : "memory");
    report("amo", now() - t, n);
    t = now(), n = 1000000;
    for (uint64_t i = 0; i < n; i++)
        __asm__ volatile("1: lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                         : "=&r"(v), "=&r"(failed) : "r"(&cell) : "memory");
    report("lr_sc", now() - t, n);
}

static void jumps(void)
{
    static uint64_t (*const volatile table[4])(uint64_t) = { one, two, three, two };
    uint64_t t = now(), n = 10000000, x = 0;
    for (uint64_t i = 0; i < n; i++)
        x = callee(x);
    report("call_return", now() - t, n);
    t = now(), n = 5000000;
    for (uint64_t i = 0; i < n; i++)
        x = table[i & 3](x);
    report("indirect_call", now() - t, n);
    __asm__ volatile("" ::"r"(x));
}

static void devices(void)
{
    uint64_t t = now(), n = 300000;
    for (uint64_t i = 0; i < n; i++)
        (void)UART[5];
    report("mmio_read", now() - t, n);
    WRITE(sie, 32);
    t = now(), n = 100000;
    for (uint64_t i = 0; i < n; i++) {
        WRITE(0x14d, 0);
        __asm__ volatile("csrsi sstatus, 2\n nop\n csrci sstatus, 2" ::: "memory");
    }
    report("timer_interrupt", now() - t, n);
    n = 500;
    uint64_t late = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t due = now() + 2000;
        WRITE(0x14d, due);
        __asm__ volatile("wfi");
        while (now() < due)
            ;
        late += now() - due;
        WRITE(0x14d, -1ull);
    }
    report("wfi_wake_up", late, n);
}

static void written_code(void)
{
    uint64_t n = 100000, wrong = 0, t = now();
    for (uint64_t i = 0; i < n; i++) {
        uint32_t k = i & 0x7ff;
        *(volatile uint32_t *)&code[1] = 0x8067;
        *(volatile uint32_t *)&code[0] = k << 20 | 0x513;
        __asm__ volatile("fence.i" ::: "memory");
        wrong += ((uint64_t(*)(void))code)() != k;
    }
    report("written_line", now() - t, n);
    print(wrong ? "PRIMITIVES WRONG\n" : "PRIMITIVES DONE\n");
    *TEST = wrong ? 0x13333 : 0x5555;
}

void supervisor(void)
{
    WRITE(satp, 8ull << 60 | (uint64_t)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    registers();
    spaces();
    atomics();
    jumps();
    devices();
    written_code();
    for (;;)
        ;
}

void machine(void)
{
    root[0] = 0 << 10 | ALL;
    root[2] = (uint64_t)0x80000 << 10 | ALL;
    root[0x2000000000 >> 30 & 511] = (uint64_t)middle >> 2 | V;
    for (uint64_t i = 0; i < FAR_PAGES; i++)
        leaves[i] = (0x84000 + i) << 10 | ALL;
    for (uint64_t i = 0; i < FAR_PAGES / 512; i++)
        middle[i] = (uint64_t)(leaves + 512 * i) >> 2 | V;
    /* A processor without physical memory protection traps at the first of these, and goes on behind them. */
    __asm__ volatile("la t0, 1f\n csrw mtvec, t0\n li t0, -1\n csrw pmpaddr0, t0\n li t0, 31\n csrw pmpcfg0, t0\n"
                     ".align 2\n 1:" ::: "t0", "memory");
    WRITE(medeleg, 8);
    WRITE(mideleg, 0x222);
    WRITE(mcounteren, 7);
    WRITE(0x30a, READ(0x30a) | 1ull << 63);
    WRITE(0x14d, -1ull);
    WRITE(stvec, (uint64_t)strap);
    WRITE(mepc, (uint64_t)supervisor);
    WRITE(mstatus, (READ(mstatus) & ~(3ull << 11)) | 1ull << 11);
    __asm__ volatile("mret");
}

__asm__(".section .start,\"ax\"\n.globl _start\n_start: la sp, stack_end\n csrr t0, mhartid\n bnez t0, 1f\n j machine\n1: wfi\n j 1b\n"
        ".bss\n.align 4\n.space 16384\nstack_end:\n.text\n");
