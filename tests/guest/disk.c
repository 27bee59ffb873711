/*
 * A disk at work, past the page cache, with the kernel's asynchronous I/O.
 *   disk bench DEVICE             rates: a line `DISK NAME REQUESTS SECONDS` for each kind of work
 *   disk verify DEVICE SECONDS    random writes, reads and discards, each compared with what should be there
 *   disk acknowledge DEVICE       writes a number into random blocks for ever; `ACK BLOCK NUMBER` once it is flushed
 */
#define _GNU_SOURCE
#include "../bench/elapsed.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 4096
#define DEPTH 32
#define LONGEST (256 << 10)

static aio_context_t context;
static int device;
static uint64_t size;
static char *buffers[DEPTH];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void submit(int slot, int is_write, uint64_t offset, size_t length)
{
    static struct iocb requests[DEPTH];
    struct iocb *request = &requests[slot];
    memset(request, 0, sizeof *request);
    request->aio_data = slot;
    request->aio_lio_opcode = is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    request->aio_fildes = device;
    request->aio_buf = (uintptr_t)buffers[slot];
    request->aio_nbytes = length;
    request->aio_offset = offset;
    if (syscall(SYS_io_submit, context, 1, &request) != 1)
        fail("io_submit");
}

/* Waits for a request; returns its slot. */
static int finish(void)
{
    struct io_event event;
    while (syscall(SYS_io_getevents, context, 1, 1, &event, 0) != 1)
        ;
    struct iocb *request = (struct iocb *)(uintptr_t)event.obj;
    if (event.res != (int64_t)request->aio_nbytes) {
        printf("a request of %llu bytes at %llu gave %lld\n", (unsigned long long)request->aio_nbytes,
               (unsigned long long)request->aio_offset, (long long)event.res);
        exit(1);
    }
    return (int)event.data;
}

static void rate(const char *name, int is_write, int is_random, size_t length, int depth, int count)
{
    uint64_t state = 88172645463325252u, places = size / length, next = 0;
    printf("START %s\n", name);
    fflush(stdout);
    double start = now();
    int begun = 0, done = 0;
    for (; begun < depth; begun++)
        submit(begun, is_write, (is_random ? next_random(&state) : next++) % places * length, length);
    for (; done < count; done++) {
        int slot = finish();
        if (begun < count) {
            submit(slot, is_write, (is_random ? next_random(&state) : next++) % places * length, length);
            begun++;
        }
    }
    printf("DISK %s %d %.4f\n", name, count, now() - start);
    fflush(stdout);
}

static int bench(void)
{
    rate("sequential-read-128K", 0, 0, 128 << 10, 4, 2000);
    rate("sequential-write-128K", 1, 0, 128 << 10, 4, 1500);
    rate("random-read-4K", 0, 1, BLOCK, 1, 8000);
    rate("random-read-4K-deep", 0, 1, BLOCK, 16, 20000);
    rate("random-write-4K", 1, 1, BLOCK, 1, 8000);
    rate("random-write-4K-deep", 1, 1, BLOCK, 16, 20000);
    return 0;
}

static void fill(char *bytes, uint64_t block, uint32_t version)
{
    uint64_t state = block * 0x9e3779b97f4a7c15u + version + 1;
    for (int n = 0; n < BLOCK / 8; n++)
        ((uint64_t *)bytes)[n] = version ? next_random(&state) : 0;
}

/* Whether a block holds what its version says, and which byte does not. */
static void check(const char *bytes, uint64_t block, uint32_t version)
{
    static char expected[BLOCK];
    fill(expected, block, version);
    if (memcmp(bytes, expected, BLOCK)) {
        printf("block %llu is not what version %u wrote\n", (unsigned long long)block, version);
        exit(1);
    }
}

static int verify(double seconds)
{
    uint64_t blocks = size / BLOCK, state = (uint64_t)(now() * 1e9) | 1, count = 0;
    uint32_t *versions = calloc(blocks, sizeof *versions);
    char *busy = calloc(blocks, 1);
    struct { uint64_t block; int blocks, is_write; } slots[DEPTH];
    for (uint64_t n = 0; n < size; n += LONGEST)
        if (pwrite(device, memset(buffers[0], 0, LONGEST), LONGEST, n) != LONGEST)
            fail("write");
    double end = now() + seconds;
    int under_way = 0, free_slots[DEPTH], free_count = DEPTH;
    for (int n = 0; n < DEPTH; n++)
        free_slots[n] = n;
    while (under_way || now() < end) {
        while (free_count && now() < end) {
            uint64_t block = next_random(&state) % blocks;
            int length = 1 + next_random(&state) % (next_random(&state) % 8 ? 4 : LONGEST / BLOCK), clear = 1;
            for (int n = 0; n < length; n++)
                clear &= block + n < blocks && !busy[block + n];
            if (!clear)
                break;
            int slot = free_slots[--free_count];
            memset(busy + block, 1, length);
            slots[slot].block = block;
            slots[slot].blocks = length;
            slots[slot].is_write = next_random(&state) & 1;
            for (int n = 0; slots[slot].is_write && n < length; n++)
                fill(buffers[slot] + n * BLOCK, block + n, ++versions[block + n]);
            submit(slot, slots[slot].is_write, block * BLOCK, (size_t)length * BLOCK);
            under_way++;
        }
        if (!under_way)
            continue;
        int slot = finish();
        for (int n = 0; n < slots[slot].blocks; n++) {
            uint64_t block = slots[slot].block + n;
            if (!slots[slot].is_write)
                check(buffers[slot] + n * BLOCK, block, versions[block]);
            busy[block] = 0;
        }
        free_slots[free_count++] = slot;
        under_way--;
        if (++count % 4096 == 0 && fdatasync(device))
            fail("fdatasync");
    }
    for (uint64_t block = 0; block < blocks; block++) {
        if (pread(device, buffers[0], BLOCK, block * BLOCK) != BLOCK)
            fail("read");
        check(buffers[0], block, versions[block]);
    }
    printf("VERIFIED %llu requests\n", (unsigned long long)count);
    return 0;
}

static void acknowledge(void)
{
    uint64_t blocks = size / BLOCK, state = (uint64_t)(now() * 1e9) | 1;
    for (uint64_t number = 1;; number++) {
        uint64_t block = next_random(&state) % blocks;
        for (int n = 0; n < BLOCK / 8; n++)
            ((uint64_t *)buffers[0])[n] = number;
        if (pwrite(device, buffers[0], BLOCK, block * BLOCK) != BLOCK || fdatasync(device))
            fail("write");
        printf("ACK %llu %llu\n", (unsigned long long)block, (unsigned long long)number);
        fflush(stdout);
    }
}

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    device = open(words[2], O_RDWR | O_DIRECT);
    if (device < 0 || ioctl(device, BLKGETSIZE64, &size) || syscall(SYS_io_setup, DEPTH, &context))
        fail(words[2]);
    for (int n = 0; n < DEPTH; n++)
        if (!(buffers[n] = aligned_alloc(BLOCK, LONGEST)))
            return 2;
    if (!strcmp(words[1], "bench"))
        return bench();
    if (!strcmp(words[1], "verify") && count > 3)
        return verify(atof(words[3]));
    if (!strcmp(words[1], "acknowledge"))
        acknowledge();
    return 2;
}
