/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio disk with the modern interface; see devices.h. */
#include "devices.h"

/* The registers lie in BAR 4 where QEMU has them: common ones, notification */
#define BAR             0xfe200000ul
#define FEATURE_SELECT  (BAR + 0x08)
#define FEATURES        (BAR + 0x0c)
#define STATUS          (BAR + 0x14)
#define QUEUE_SIZE      (BAR + 0x18)
#define QUEUE_ENABLE    (BAR + 0x1c)
#define QUEUE_RINGS     (BAR + 0x20)    /* descriptors, available, used */
#define NOTIFY          (BAR + 0x3000)

#define STATUS_DRIVER   0x03            /* acknowledge, driver */
#define STATUS_FEATURES 0x08
#define STATUS_OK       0x04
#define STATUS_RESET    0x40            /* the device wants to be reset */
#define FEATURES_HIGH   0x03u           /* version 1, access platform */

#define SIZE            64              /* of the rings: a page for each */
#define DESC_NEXT       1
#define DESC_WRITE      2               /* the device writes */
#define TYPE_READ       0
#define TYPE_WRITE      1

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} Desc;

static volatile Desc *desc;
static volatile uint16_t *avail;        /* flags, index, ring */
static volatile uint16_t *used;         /* flags, index, ... */
static uint64_t header;                 /* type, sector; then the status */

static uint8_t read_status(void)
{
    return *(volatile uint8_t *)STATUS;
}

static void write_status(uint8_t v)
{
    *(volatile uint8_t *)STATUS = v;
}

static void write16(uint64_t reg, uint16_t v)
{
    *(volatile uint16_t *)reg = v;
}

static void set_rings(uint64_t mem)
{
    for (unsigned i = 0; i < 3; i++) {
        uint64_t at = mem + i * PAGE;

        mmio_write(QUEUE_RINGS + 8 * i, at);
        mmio_write(QUEUE_RINGS + 8 * i + 4, at >> 32);
        for (unsigned k = 0; k < PAGE; k += 8) {
            store(at + k, 0);
        }
    }
    desc = (volatile Desc *)mem;
    avail = (volatile uint16_t *)(mem + PAGE);
    used = (volatile uint16_t *)(mem + 2 * PAGE);
    header = mem + 3 * PAGE;
}

static bool start(uint64_t mem)
{
    unsigned fn = pci_find(0x10421af4, 0);

    if (fn == PCI_NONE) {
        return false;
    }
    pci_enable(fn, 4, BAR);
    write_status(0);
    write_status(STATUS_DRIVER);
    mmio_write(FEATURE_SELECT, 0);
    mmio_write(FEATURES, 0);
    mmio_write(FEATURE_SELECT, 1);
    mmio_write(FEATURES, FEATURES_HIGH);
    write_status(STATUS_DRIVER | STATUS_FEATURES);
    write16(QUEUE_SIZE, SIZE);
    set_rings(mem);
    write16(QUEUE_ENABLE, 1);
    write_status(STATUS_DRIVER | STATUS_FEATURES | STATUS_OK);
    return read_status() == (STATUS_DRIVER | STATUS_FEATURES | STATUS_OK);
}

static void kick(void)
{
    write16(NOTIFY, 0);
}

static DiskAnswer io(bool write, uint32_t sector, uint64_t gpa, uint32_t bytes)
{
    volatile uint8_t *status = (volatile uint8_t *)(header + 16);
    uint16_t index = avail[1];

    *(volatile uint32_t *)header = write ? TYPE_WRITE : TYPE_READ;
    store(header + 8, sector);
    *status = 0xff;
    desc[0] = (Desc) { header, 16, DESC_NEXT, 1 };
    desc[1] = (Desc) { gpa, bytes, DESC_NEXT | (write ? 0 : DESC_WRITE), 2 };
    desc[2] = (Desc) { header + 16, 1, DESC_WRITE, 0 };
    avail[2 + index % SIZE] = 0;
    asm volatile("mfence" : : : "memory");
    avail[1] = index + 1;
    kick();
    for (unsigned i = 0; i < DEVICE_WAIT; i++) {
        if (used[1] == (uint16_t)(index + 1)) {
            return *status == 0 ? DISK_DONE : DISK_ERROR;
        }
        if (read_status() & STATUS_RESET) {
            break;
        }
        relax();
    }
    return DISK_SILENT;
}

const Disk disk_virtio = {
    .name = "virtio",
    .start = start,
    .io = io,
    .kick = kick,
    .ring_pages = 3,
    .may_give_up = true,
};
