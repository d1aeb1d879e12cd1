/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-balloon, through its legacy interface. */
#include "payload.h"

#define BALLOON_DEVICE  0x10021af4      /* device and vendor, legacy */
#define IO_BASE         0xc000

/* Legacy virtio registers in BAR 0 */
#define GUEST_FEATURES  (IO_BASE + 0x04)
#define QUEUE_PFN       (IO_BASE + 0x08)
#define QUEUE_SIZE      (IO_BASE + 0x0c)
#define QUEUE_SELECT    (IO_BASE + 0x0e)
#define QUEUE_NOTIFY    (IO_BASE + 0x10)
#define STATUS          (IO_BASE + 0x12)

#define FEATURE_REPORTING   5
#define QUEUE_INFLATE       0
#define QUEUE_REPORTING     3           /* behind inflate, deflate, stats */

#define RINGS       (40 * MIB)          /* of all queues; stays shared */
#define RING_SPACE  0x10000
#define PFNS        (39 * MIB)          /* the list that is inflated */
#define PAGES       (32 * MIB)          /* what goes into the balloon */

#define DESC_WRITE  2
#define NO_INTERRUPT 1

static uint64_t ring(unsigned queue)
{
    return RINGS + queue * RING_SPACE;
}

static uint16_t queue_size(unsigned queue)
{
    uint16_t size;

    outw(QUEUE_SELECT, queue);
    asm volatile("inw %1, %0" : "=a"(size) : "Nd"((uint16_t)QUEUE_SIZE));
    return size;
}

static uint64_t avail_ring(unsigned queue)
{
    return ring(queue) + 16 * queue_size(queue);
}

static uint64_t used_ring(unsigned queue)
{
    uint64_t end = avail_ring(queue) + 6 + 2 * queue_size(queue);

    return (end + PAGE - 1) & ~(PAGE - 1);
}

static void setup(void)
{
    unsigned fn = pci_find(BALLOON_DEVICE, 0);

    check(fn != PCI_NONE, "there is no balloon");
    pci_enable(fn, 0, IO_BASE | 1);
    outb(STATUS, 0);
    outb(STATUS, 3);                    /* acknowledge, driver */
    outl(GUEST_FEATURES, 1u << FEATURE_REPORTING);
    for (unsigned q = QUEUE_INFLATE; q <= QUEUE_REPORTING; q += 3) {
        for (uint64_t i = 0; i < RING_SPACE; i += 8) {
            store(ring(q) + i, 0);
        }
        check(queue_size(q), "queue %u is not there", q);
        outl(QUEUE_PFN, ring(q) >> 12);
    }
    outb(STATUS, 7);                    /* driver ok */
}

/* Give the device one buffer and wait until it comes back. */
static bool send(unsigned queue, uint64_t gpa, uint32_t size, bool writable)
{
    volatile uint16_t *avail = (volatile uint16_t *)avail_ring(queue);
    volatile uint16_t *used = (volatile uint16_t *)used_ring(queue);
    uint16_t n = avail[1];

    store(ring(queue), gpa);
    store(ring(queue) + 8, size | (uint64_t)(writable ? DESC_WRITE : 0) << 32);
    avail[0] = NO_INTERRUPT;
    avail[2 + n % queue_size(queue)] = 0;
    avail[1] = n + 1;
    outw(QUEUE_NOTIFY, queue);
    for (unsigned i = 0; i < 100000 && used[1] != avail[1]; i++) {
        relax();
    }
    return used[1] == avail[1];
}

/*
 * Pages in the balloon keep their state and content: in-place memory cannot be
 * discarded, so the device is there and does nothing.
 */
static void balloon(void)
{
    uint64_t before, after;

    step_begin();
    setup();
    fill(PAGES, 64, 1);
    check_convert(PAGES, 32, true, 0);
    step_end("a balloon driver is up");

    step_begin();
    before = word_number(ask("memory"), "gmem", 0);
    for (unsigned i = 0; i < 64; i++) {
        *(volatile uint32_t *)(PFNS + 4 * i) = (PAGES >> 12) + i;
    }
    check(send(QUEUE_INFLATE, PFNS, 64 * 4, false), "no answer");
    check_state(PAGES, 64, "P32S32");
    verify(PAGES, 64, 1);
    host_verify(PAGES + 32 * PAGE, 32, 1);
    step_end("private and shared pages in the balloon: nothing is lost");

    step_begin();
    /* Shared pages only: the device cannot map others, and is broken then. */
    check(send(QUEUE_REPORTING, PAGES + 32 * PAGE, 32 * PAGE, true),
          "no answer");
    check_state(PAGES, 64, "P32S32");
    verify(PAGES, 64, 1);
    after = word_number(ask("memory"), "gmem", 0);
    check(after >= before, "%lu KiB were given back", before - after);
    step_end("free page reporting: nothing is lost");
}

const PayloadTest tests_balloon[] = {
    { "balloon", balloon },
    { }
};
