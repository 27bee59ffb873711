/*
 * A driver of the educational device in user space: `edu 0000:00:01.0 intx|msi`.
 *
 * It has the device compute a factorial and copy a page's beginning into its buffer and back to another place, and waits for
 * the interrupt of each: by the pin, which uio_pci_generic hands on, or as a message, which it has written into its own
 * memory. It says "edu: done" when all of it has been as it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    IDENTIFICATION = 0x00,
    LIVENESS = 0x04,
    FACTORIAL = 0x08,
    STATUS = 0x20,
    INTERRUPT_STATUS = 0x24,
    INTERRUPT_ACKNOWLEDGE = 0x64,
    DMA_SOURCE = 0x80,
    DMA_DESTINATION = 0x88,
    DMA_COUNT = 0x90,
    DMA_COMMAND = 0x98,
};
enum { STATUS_INTERRUPT = 0x80, FACTORIAL_READY = 1, DMA_READY = 0x100 };
enum { DMA_START = 1, DMA_FROM_DEVICE = 2, DMA_INTERRUPT = 4 };
enum { BUFFER = 0x40000, LENGTH = 1000, AWAY = 2048 };

/* Registers of the configuration space, and what they mean. */
enum { COMMAND = 0x04, MEMORY = 2, BUS_MASTER = 4, NO_PIN = 0x400, CAPABILITIES = 0x34, MSI = 5 };
enum { MESSAGE = 0x5a5a, MAILBOX = 4000 };

static volatile uint8_t *registers;
static int config, event, is_pin;
static uint8_t *page;

static void check(int good, const char *what)
{
    if (!good) {
        printf("edu: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static uint32_t get(uint64_t at) { return *(volatile uint32_t *)(registers + at); }
static void set(uint64_t at, uint32_t value) { *(volatile uint32_t *)(registers + at) = value; }
static void set64(uint64_t at, uint64_t value) { *(volatile uint64_t *)(registers + at) = value; }

static uint16_t get_config(off_t at)
{
    uint16_t value;
    check(pread(config, &value, sizeof value, at) == sizeof value, "reading the configuration");
    return value;
}

static void set_config(off_t at, uint32_t value, size_t size)
{
    check(pwrite(config, &value, size, at) == (ssize_t)size, "writing the configuration");
}

/* A message is a write to memory: here to a word of the page. */
static volatile uint32_t *mailbox(void) { return (volatile uint32_t *)(page + MAILBOX); }

static int arrived(void)
{
    if (is_pin) {
        uint32_t count;
        struct pollfd wait = {.fd = event, .events = POLLIN};
        return poll(&wait, 1, 10000) == 1 && read(event, &count, sizeof count) == sizeof count;
    }
    for (int n = 0; n < 1000 && *mailbox() == 0; n++)
        usleep(1000);
    return *mailbox() == MESSAGE;
}

/* Waits for the interrupt that has this reason, and acknowledges it. */
static void interrupted(uint32_t reason)
{
    check(arrived(), "no interrupt");
    check(get(INTERRUPT_STATUS) == reason, "another interrupt");
    set(INTERRUPT_ACKNOWLEDGE, reason);
    check(get(INTERRUPT_STATUS) == 0, "the interrupt stays");
    *mailbox() = 0;
    /* The kernel keeps the pin off until the driver has dealt with it. */
    if (is_pin)
        set_config(COMMAND, get_config(COMMAND) & ~NO_PIN, 2);
}

static uint64_t physical(void)
{
    uint64_t entry = 0;
    int map = open("/proc/self/pagemap", O_RDONLY);
    off_t at = (uintptr_t)page / 4096 * sizeof entry;
    check(map >= 0 && pread(map, &entry, sizeof entry, at) == sizeof entry && entry >> 63, "no page");
    close(map);
    return (entry & ((1ull << 55) - 1)) * 4096;
}

static void transfer(uint64_t from, uint64_t to, uint32_t command)
{
    set64(DMA_SOURCE, from);
    set64(DMA_DESTINATION, to);
    set64(DMA_COUNT, LENGTH);
    set64(DMA_COMMAND, command | DMA_START | DMA_INTERRUPT);
    interrupted(DMA_READY);
}

/* Has messages written to the mailbox (PCI 3.0, 6.8.1). */
static void use_messages(void)
{
    off_t at = get_config(CAPABILITIES) & 0xff;
    while (at && (get_config(at) & 0xff) != MSI)
        at = get_config(at) >> 8;
    check(at != 0, "no messages");
    uint64_t address = physical() + MAILBOX;
    set_config(at + 4, address, 4);
    set_config(at + 8, address >> 32, 4);
    set_config(at + 12, MESSAGE, 2);
    set_config(at + 2, get_config(at + 2) | 1, 2);
}

int main(int count, char **arguments)
{
    char path[100];
    check(count == 3, "usage: edu DEVICE intx|msi");
    is_pin = strcmp(arguments[2], "intx") == 0;
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
    check(page != MAP_FAILED, "no memory");

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/config", arguments[1]);
    config = open(path, O_RDWR);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource0", arguments[1]);
    int window = open(path, O_RDWR);
    check(config >= 0 && window >= 0, "no device");
    void *mapped = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, window, 0);
    check(mapped != MAP_FAILED, "the registers cannot be mapped");
    registers = mapped;
    set_config(COMMAND, get_config(COMMAND) | MEMORY | BUS_MASTER, 2);
    if (is_pin) {
        event = open("/dev/uio0", O_RDWR);
        check(event >= 0, "no uio");
    } else {
        use_messages();
    }

    check(get(IDENTIFICATION) == 0x010000ed, "another device");
    set(LIVENESS, 0x12345678);
    check(get(LIVENESS) == ~0x12345678u, "not alive");

    set(STATUS, STATUS_INTERRUPT);
    set(FACTORIAL, 10);
    interrupted(FACTORIAL_READY);
    check(get(FACTORIAL) == 3628800, "a wrong factorial");
    printf("edu: 10! = %u by %s\n", get(FACTORIAL), arguments[2]);

    for (int n = 0; n < LENGTH; n++)
        page[n] = n * 7 + 1;
    uint64_t address = physical();
    transfer(address, BUFFER + 16, 0);
    transfer(BUFFER + 16, address + AWAY, DMA_FROM_DEVICE);
    check(memcmp(page, page + AWAY, LENGTH) == 0, "what came back is not what went out");
    check(page[AWAY - 1] == 0 && page[AWAY + LENGTH] == 0, "more came back than went out");
    printf("edu: done\n");
    return 0;
}
