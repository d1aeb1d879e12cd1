/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk and a disk of virtio-scsi, both modern; see devices.h. */
#include "devices.h"

/* The registers lie in BAR 4 where QEMU has them: common ones, notification */
#define BAR             0xfe200000ul
#define FEATURE_SELECT  (BAR + 0x08)
#define FEATURES        (BAR + 0x0c)
#define STATUS          (BAR + 0x14)
#define QUEUE_SELECT    (BAR + 0x16)
#define QUEUE_SIZE      (BAR + 0x18)
#define QUEUE_ENABLE    (BAR + 0x1c)
#define QUEUE_RINGS     (BAR + 0x20)    /* descriptors, available, used */
#define NOTIFY(queue)   (BAR + 0x3000 + 4 * (queue))

#define STATUS_DRIVER   0x03            /* acknowledge, driver */
#define STATUS_FEATURES 0x08
#define STATUS_OK       0x04
#define STATUS_RESET    0x40            /* the device wants to be reset */
#define FEATURES_HIGH   0x03u           /* version 1, access platform */

#define SIZE            256             /* of the rings: a page for each */
#define MAX_PARTS       250u            /* of the data */
#define ANSWER          64              /* where in its page */
#define DESC_NEXT       1
#define DESC_WRITE      2               /* the device writes */
#define BLK_REQUEST     16u             /* bytes */
#define TYPE_READ       0
#define TYPE_WRITE      1

#define SCSI_QUEUE      2               /* the first one for requests */
#define SCSI_READ       0x28
#define SCSI_WRITE      0x2a
#define SCSI_REQUEST    51u             /* bytes */
#define SCSI_RESPONSE   108u
#define SCSI_UNANSWERED 0xff

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} Desc;

static volatile Desc *desc;
static volatile uint16_t *avail;        /* flags, index, ring */
static volatile uint16_t *used;         /* flags, index, ... */
static uint64_t page;                   /* has header and answer, unless */
static uint64_t header_page, answer_page;   /* these are not 0 */
static uint16_t queue;

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
    page = mem + 3 * PAGE;
}

static bool start_device(uint32_t id, uint16_t queue_index, uint64_t mem)
{
    unsigned fn = pci_find(id, 0);

    if (fn == PCI_NONE) {
        return false;
    }
    queue = queue_index;
    pci_enable(fn, 4, BAR);
    write_status(0);
    write_status(STATUS_DRIVER);
    mmio_write(FEATURE_SELECT, 0);
    mmio_write(FEATURES, 0);
    mmio_write(FEATURE_SELECT, 1);
    mmio_write(FEATURES, FEATURES_HIGH);
    write_status(STATUS_DRIVER | STATUS_FEATURES);
    write16(QUEUE_SELECT, queue);
    write16(QUEUE_SIZE, SIZE);
    set_rings(mem);
    write16(QUEUE_ENABLE, 1);
    write_status(STATUS_DRIVER | STATUS_FEATURES | STATUS_OK);
    return read_status() == (STATUS_DRIVER | STATUS_FEATURES | STATUS_OK);
}

static void kick(void)
{
    write16(NOTIFY(queue), 0);
}

static void control_at(uint64_t header_gpa, uint64_t answer_gpa)
{
    header_page = header_gpa;
    answer_page = answer_gpa;
}

static uint64_t header(void)
{
    return header_page ? header_page : page;
}

static uint64_t answer(void)
{
    return (answer_page ? answer_page : page) + ANSWER;
}

/* Descriptor 0 is the first of the request.  True: the device is done. */
static bool serve(void)
{
    uint16_t index = avail[1];

    avail[2 + index % SIZE] = 0;
    asm volatile("mfence" : : : "memory");
    avail[1] = index + 1;
    kick();
    for (unsigned i = 0; i < DEVICE_WAIT; i++) {
        if (used[1] == (uint16_t)(index + 1)) {
            return true;
        }
        if (read_status() & STATUS_RESET) {
            break;
        }
        relax();
    }
    return false;
}

static bool blk_start(uint64_t mem)
{
    return start_device(0x10421af4, 0, mem);
}

static DiskAnswer blk_io(bool write, uint32_t sector, uint64_t gpa,
                         uint32_t bytes)
{
    volatile uint8_t *status = (volatile uint8_t *)answer();
    uint32_t part = bytes / SECTOR > MAX_PARTS ? bytes : SECTOR;
    uint16_t flags = DESC_NEXT | (write ? 0 : DESC_WRITE), n = 1;

    *(volatile uint32_t *)header() = write ? TYPE_WRITE : TYPE_READ;
    store(header() + 8, sector);
    *status = 0xff;
    desc[0] = (Desc) { header(), BLK_REQUEST, DESC_NEXT, 1 };
    /* Many parts: it takes the device longer to look at the header. */
    for (uint32_t done = 0; done < bytes; done += part, n++) {
        desc[n] = (Desc) { gpa + done, part, flags, n + 1 };
    }
    desc[n] = (Desc) { answer(), 1, DESC_WRITE, 0 };
    return !serve() ? DISK_SILENT : *status == 0 ? DISK_DONE : DISK_ERROR;
}

/* One command with data from or to @gpa; @bytes 0: none */
static DiskAnswer scsi_command(const uint8_t cdb[10], bool write, uint64_t gpa,
                               uint32_t bytes)
{
    volatile uint8_t *request = (volatile uint8_t *)header();
    /* Status, response; in front of them sizes of no interest */
    volatile uint8_t *status = (volatile uint8_t *)answer() + 10;
    Desc data = { gpa, bytes, write ? DESC_NEXT : DESC_WRITE, 2 };
    Desc response = { answer(), SCSI_RESPONSE, DESC_WRITE, 0 };

    for (unsigned i = 0; i < SCSI_REQUEST; i++) {
        request[i] = 0;
    }
    request[0] = 1;             /* target 0, LUN 0 */
    for (unsigned i = 0; i < 10; i++) {
        request[19 + i] = cdb[i];
    }
    status[0] = status[1] = SCSI_UNANSWERED;
    /* The device reads from all buffers in front of those it writes to. */
    desc[0] = (Desc) { header(), SCSI_REQUEST, DESC_NEXT, 1 };
    if (bytes && write) {
        desc[1] = data;
        desc[2] = response;
    } else {
        desc[1] = response;
        if (bytes) {
            desc[1].flags |= DESC_NEXT;
            desc[1].next = 2;
            desc[2] = data;
            desc[2].next = 0;
        }
    }
    return !serve() ? DISK_SILENT
                    : status[0] == 0 && status[1] == 0 ? DISK_DONE : DISK_ERROR;
}

/* The first command is answered with "there was a reset". */
static bool scsi_start(uint64_t mem)
{
    static const uint8_t test_unit_ready[10];
    bool ok = start_device(0x10481af4, SCSI_QUEUE, mem);

    if (ok && !header_page && !answer_page) {
        scsi_command(test_unit_ready, false, 0, 0);
    }
    return ok;
}

static DiskAnswer scsi_io(bool write, uint32_t sector, uint64_t gpa,
                          uint32_t bytes)
{
    const uint8_t cdb[10] = {
        write ? SCSI_WRITE : SCSI_READ, 0,
        sector >> 24, sector >> 16, sector >> 8, sector, 0,
        bytes / SECTOR >> 8, bytes / SECTOR, 0
    };

    return scsi_command(cdb, write, gpa, bytes);
}

const Disk disk_virtio = {
    .name = "virtio",
    .start = blk_start,
    .io = blk_io,
    .kick = kick,
    .control_at = control_at,
    .ring_pages = 3,
    .may_give_up = true,
};

const Disk disk_scsi = {
    .name = "scsi",
    .start = scsi_start,
    .io = scsi_io,
    .kick = kick,
    .control_at = control_at,
    .ring_pages = 3,
    .may_give_up = true,
};
