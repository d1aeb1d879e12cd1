/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An 82574L that gathers a frame; see devices.h. */
#include "devices.h"

#define BAR             0xfe200000ul
#define REG(x)          (BAR + (x))
#define TCTL            0x0400
#define TCTL_ALL        0x000au         /* enable, pad */
#define TDBAL           0x3800          /* low, high, length, head, tail */
#define TDBAH           0x3804
#define TDLEN           0x3808
#define TDH             0x3810
#define TDT             0x3818
#define GPTC            0x4080          /* good frames; reading it clears it */

#define DESCRIPTORS     (GATHER_PAGES * PAGE / 16)
#define END_OF_PACKET   (0x01ul << 24)
#define ADD_FCS         (0x02ul << 24)
#define CONTEXT         (0x20ul << 24)  /* data is not in it */

bool gather_start(uint64_t mem, const GatherPiece piece[3])
{
    volatile uint64_t *ring = (volatile uint64_t *)mem;
    unsigned fn = pci_find(0x10d38086, 0), last = DESCRIPTORS - 2;

    if (fn == PCI_NONE) {
        return false;
    }
    pci_enable(fn, 0, BAR);
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        ring[2 * i] = 0;
        ring[2 * i + 1] = CONTEXT;
    }
    for (unsigned i = 0; i < 3; i++) {
        unsigned at = i < 2 ? i : last;

        ring[2 * at] = piece[i].gpa;
        ring[2 * at + 1] = piece[i].bytes | ADD_FCS |
                           (i < 2 ? 0 : END_OF_PACKET);
    }
    mmio_write(REG(TDBAL), mem);
    mmio_write(REG(TDBAH), mem >> 32);
    mmio_write(REG(TDLEN), DESCRIPTORS * 16);
    mmio_write(REG(TCTL), TCTL_ALL);
    return true;
}

unsigned gather_send(void)
{
    mmio_read(REG(GPTC));
    mmio_write(REG(TDH), 0);
    /* It is done with all of the ring when this returns. */
    mmio_write(REG(TDT), DESCRIPTORS - 1);
    if (!check(mmio_read(REG(TDH)) == DESCRIPTORS - 1,
               "the device stopped at descriptor %u", mmio_read(REG(TDH)))) {
        return 0;
    }
    return mmio_read(REG(GPTC));
}
