/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk on port 0 of q35's AHCI controller; see devices.h. */
#include "devices.h"

#define ABAR            0xfe000000ul
#define GHC             0x04
#define GHC_AE          0x80000000u
#define PORT(reg)       (ABAR + 0x100 + (reg))
#define CLB             0x00
#define CLBU            0x04
#define FB              0x08
#define FBU             0x0c
#define IS              0x10
#define IS_TFES         0x40000000u     /* a request has failed */
#define CMD             0x18
#define CMD_ST          0x0001u
#define CMD_FRE         0x0010u
#define CMD_RUNNING     0xc000u         /* list and FIS engines */
#define SERR            0x30
#define CI              0x38

#define HEADER_WRITE    0x40u
#define HEADER_FIS_LEN  5u              /* in 32-bit words */
#define FIS_COMMAND     0x8027u         /* host to device, a command */
#define READ_DMA_EXT    0x25u
#define WRITE_DMA_EXT   0x35u
#define READ_PIO_EXT    0x24u           /* by way of a buffer of the disk */
#define WRITE_PIO_EXT   0x34u
#define DEVICE_LBA      0x40u
#define PRDT            0x80            /* in the command table */

static uint64_t list, table;

/*
 * Also clears what a request that failed has left behind.  Not while one is in
 * flight: QEMU's AHCI uses what it has unmapped then.
 */
static void restart(void)
{
    mmio_write(PORT(CMD), 0);
    for (unsigned i = 0; mmio_read(PORT(CMD)) & CMD_RUNNING; i++) {
        if (i == DEVICE_WAIT) {
            return;
        }
        relax();
    }
    mmio_write(PORT(SERR), ~0u);
    mmio_write(PORT(IS), ~0u);
    mmio_write(PORT(CMD), CMD_FRE | CMD_ST);
}

static bool start(uint64_t mem)
{
    unsigned fn = pci_find(0x29228086, 0);

    if (fn == PCI_NONE) {
        return false;
    }
    pci_enable(fn, 5, ABAR);
    list = mem;
    table = mem + 2 * PAGE;
    mmio_write(ABAR + GHC, GHC_AE);
    mmio_write(PORT(CMD), 0);
    mmio_write(PORT(CLB), list);
    mmio_write(PORT(CLBU), list >> 32);
    mmio_write(PORT(FB), mem + PAGE);
    mmio_write(PORT(FBU), (mem + PAGE) >> 32);
    restart();
    return true;
}

static DiskAnswer request(unsigned command, bool write, uint32_t sector,
                          uint64_t gpa, uint32_t bytes)
{
    volatile uint32_t *header = (volatile uint32_t *)list;
    volatile uint32_t *fis = (volatile uint32_t *)table;
    volatile uint32_t *prd = (volatile uint32_t *)(table + PRDT);

    uint32_t first = param("prds", 1) > 1 && bytes > PAGE ? PAGE : bytes;

    header[0] = HEADER_FIS_LEN | (write ? HEADER_WRITE : 0) |
                (first < bytes ? 2u : 1u) << 16;
    header[1] = 0;
    header[2] = table;
    header[3] = table >> 32;
    fis[0] = FIS_COMMAND | command << 16;
    fis[1] = (sector & 0xffffff) | DEVICE_LBA << 24;
    fis[2] = sector >> 24;
    fis[3] = bytes / SECTOR;
    prd[0] = gpa;
    prd[1] = gpa >> 32;
    prd[2] = 0;
    prd[3] = first - 1;
    gpa += first;
    prd[4] = gpa;
    prd[5] = gpa >> 32;
    prd[6] = 0;
    prd[7] = bytes - first - 1;
    mmio_write(PORT(CI), 1);
    for (unsigned i = 0; i < DEVICE_WAIT; i++) {
        if (mmio_read(PORT(IS)) & IS_TFES) {
            restart();
            return DISK_ERROR;
        }
        if (!(mmio_read(PORT(CI)) & 1)) {
            return DISK_DONE;
        }
        /* Each look takes QEMU's lock, and a page that flips needs it, too. */
        for (unsigned k = 0; k < 20; k++) {
            relax();
        }
    }
    return DISK_SILENT;
}

static DiskAnswer io(bool write, uint32_t sector, uint64_t gpa, uint32_t bytes)
{
    return request(write ? WRITE_DMA_EXT : READ_DMA_EXT, write, sector, gpa,
                   bytes);
}

static DiskAnswer io_pio(bool write, uint32_t sector, uint64_t gpa,
                         uint32_t bytes)
{
    return request(write ? WRITE_PIO_EXT : READ_PIO_EXT, write, sector, gpa,
                   bytes);
}

static void kick(void)
{
    mmio_write(PORT(CI), 1);
}

const Disk disk_ahci = {
    .name = "ahci",
    .start = start,
    .io = io,
    .kick = kick,
    .ring_pages = 1,
};

const Disk disk_ahci_pio = {
    .name = "pio",
    .start = start,
    .io = io_pio,
    .kick = kick,
    .ring_pages = 1,
};
