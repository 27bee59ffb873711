/*
 * files FILE SECONDS: random writes, reads, truncations, holes and mappings of one file, each compared with a copy in memory;
 * now and then the file is synchronised, its pages are given back and all of it is read from the disk again.
 */
#define _GNU_SOURCE
#include "../bench/elapsed.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LONGEST (1 << 20)

static char expected[LONGEST], buffer[LONGEST];
static size_t size;
static int file;
static uint64_t state;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static size_t below(size_t end)
{
    return next_random(&state) % end;
}

/* So many bytes from here on are what they should be. */
static void check(const char *found, size_t offset, size_t length, const char *how)
{
    for (size_t n = 0; n < length; n++)
        if (found[n] != expected[offset + n]) {
            printf("%s: byte %zu is %d, not %d\n", how, offset + n, found[n], expected[offset + n]);
            exit(1);
        }
}

static void fill(char *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++)
        bytes[n] = (char)next_random(&state);
}

static void resize(size_t to)
{
    if (to > size)
        memset(expected + size, 0, to - size);
    size = to;
}

static void write_some(size_t offset, size_t length)
{
    fill(buffer, length);
    if (pwrite(file, buffer, length, offset) != (ssize_t)length)
        fail("pwrite");
    if (offset + length > size)
        resize(offset + length);
    memcpy(expected + offset, buffer, length);
}

static void read_some(size_t offset, size_t length)
{
    ssize_t there = offset < size ? (ssize_t)(size - offset < length ? size - offset : length) : 0;
    if (pread(file, buffer, length, offset) != there)
        fail("pread");
    check(buffer, offset, there, "read");
}

static void map_some(size_t offset, size_t length, int is_write)
{
    if (offset + length > size)
        return;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        fail("mmap");
    check(map + offset, offset, length, "mapping");
    if (is_write) {
        fill(map + offset, length);
        memcpy(expected + offset, map + offset, length);
    }
    munmap(map, size);
}

static void punch(size_t offset, size_t length)
{
    if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length))
        fail("fallocate");
    if (offset < size)
        memset(expected + offset, 0, size - offset < length ? size - offset : length);
}

/* All of it, from the disk. */
static void read_again(const char *path)
{
    if (fsync(file) || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) || close(file))
        fail("fsync");
    if ((file = open(path, O_RDWR)) < 0)
        fail(path);
    read_some(0, LONGEST);
}

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    if ((file = open(words[1], O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0)
        fail(words[1]);
    state = (uint64_t)(now() * 1e9) | 1;
    uint64_t operations = 0;
    for (double end = now() + atof(words[2]); now() < end; operations++) {
        size_t offset = below(LONGEST - 1), length = 1 + below(LONGEST - offset);
        if (below(4))
            length = 1 + length % 9000;
        switch (below(8)) {
        case 0: case 1: write_some(offset, length); break;
        case 2: case 3: read_some(offset, length); break;
        case 4: map_some(offset, length, 1); break;
        case 5: map_some(offset, length, 0); break;
        case 6: punch(offset, length); break;
        default:
            if (ftruncate(file, offset))
                fail("ftruncate");
            resize(offset);
        }
        if (operations % 64 == 63)
            read_again(words[1]);
    }
    read_again(words[1]);
    printf("FILES %llu operations\n", (unsigned long long)operations);
    return 0;
}
