/* A small stack machine: indirect branches, as interpreters in the guest have them. */
#include "../elapsed.h"

enum { PUSH, ADD, MUL, DUP, SWAP, DEC, JNZ, DROP, MASK, HALT };

static uint64_t interpret(const int *code, uint64_t count)
{
    uint64_t stack[16], *top = stack;
    int at = 0;
    static const void *const labels[] = { &&push, &&add, &&mul, &&dup, &&swap, &&dec, &&jnz, &&drop, &&mask, &&halt };
#define NEXT goto *labels[code[at++]]
    *top = 1;
    *++top = count;
    NEXT;
push: *++top = code[at++]; NEXT;
add:  top--; *top += top[1]; NEXT;
mul:  top--; *top *= top[1]; NEXT;
dup:  top++; *top = top[-1]; NEXT;
swap: { uint64_t t = *top; *top = top[-1]; top[-1] = t; } NEXT;
dec:  --*top; NEXT;
jnz:  at = *top ? code[at] : at + 1; NEXT;
drop: top--; NEXT;
mask: *top &= 0xffffff; NEXT;
halt: return *top;
}

int main(void)
{
    static const int code[] = { SWAP, PUSH, 31, MUL, PUSH, 7, ADD, MASK, DUP, DROP, SWAP, DEC, JNZ, 0, DROP, HALT };
    double start = now();
    return report("dispatch", start, interpret(code, 4000000));
}
