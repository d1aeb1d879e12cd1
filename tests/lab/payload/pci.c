/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI configuration space, and the edu device; see payload.h. */
#include "payload.h"

#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_COMMAND         0x04
#define PCI_BAR0            0x10
#define PCI_BUS_NUMBERS     0x18
#define PCI_MEMORY_WINDOW   0x20
#define BUS_1               256             /* its first function */
#define COMMAND_ALL         0x7             /* I/O, memory, bus master */
#define Q35_PAM0            0x90            /* seven registers */
#define EDU_DEVICE          0x11e81234u     /* device and vendor */
#define EDU_ID              0x010000edu
#define EDU_BARS            0xfd000000ul    /* nothing else is there */
#define EDU_BAR_SIZE        0x100000ul
#define EDU_SRC             0x80
#define EDU_DST             0x88
#define EDU_COUNT           0x90
#define EDU_COMMAND         0x98
#define EDU_BUFFER          0x40000
#define EDU_RUN             0x1
#define EDU_TO_MEMORY       0x2

static void pci_select(unsigned fn, unsigned reg)
{
    outl(PCI_ADDRESS, 0x80000000u | fn << 8 | (reg & 0xfc));
}

uint8_t pci_read8(unsigned fn, unsigned reg)
{
    pci_select(fn, reg);
    return inb(PCI_DATA + (reg & 3));
}

void pci_write8(unsigned fn, unsigned reg, uint8_t v)
{
    pci_select(fn, reg);
    outb(PCI_DATA + (reg & 3), v);
}

uint32_t pci_read32(unsigned fn, unsigned reg)
{
    pci_select(fn, reg);
    return inl(PCI_DATA);
}

void pci_write32(unsigned fn, unsigned reg, uint32_t v)
{
    pci_select(fn, reg);
    outl(PCI_DATA, v);
}

unsigned pci_find(uint32_t id, unsigned n)
{
    for (unsigned fn = 0; fn < 256; fn++) {
        if (pci_read32(fn, 0) == id && n-- == 0) {
            return fn;
        }
    }
    return PCI_NONE;
}

void pci_enable(unsigned fn, unsigned bar, uint32_t at)
{
    pci_write32(fn, PCI_BAR0 + 4 * bar, at);
    pci_write8(fn, PCI_COMMAND, COMMAND_ALL);
}

void pci_decode(unsigned fn, bool on)
{
    pci_write8(fn, PCI_COMMAND, on ? COMMAND_ALL : COMMAND_ALL & ~0x2);
}

void set_pam(uint8_t v)
{
    pci_write8(HOST_BRIDGE, Q35_PAM0, v & 0x30);
    for (unsigned i = 1; i < 7; i++) {
        pci_write8(HOST_BRIDGE, Q35_PAM0 + i, v);
    }
}

static bool edu_open_at(unsigned fn, Edu *edu)
{
    edu->bar = EDU_BARS + (fn >> 3) * EDU_BAR_SIZE;
    pci_enable(fn, 0, edu->bar);
    return *(volatile uint32_t *)edu->bar == EDU_ID;
}

bool edu_open(unsigned n, Edu *edu)
{
    unsigned fn = pci_find(EDU_DEVICE, n);

    return fn != PCI_NONE && edu_open_at(fn, edu);
}

bool edu_open_behind(unsigned port, Edu *edu)
{
    uint64_t window = (EDU_BARS + (BUS_1 >> 3) * EDU_BAR_SIZE) >> 16;

    pci_write32(port, PCI_BUS_NUMBERS, 0x00010100);
    pci_write32(port, PCI_MEMORY_WINDOW, window << 16 | window);
    pci_write8(port, PCI_COMMAND, COMMAND_ALL);
    return pci_read32(BUS_1, 0) == EDU_DEVICE && edu_open_at(BUS_1, edu);
}

void edu_start(const Edu *edu, uint64_t gpa, bool to_memory)
{
    store(edu->bar + EDU_SRC, to_memory ? EDU_BUFFER : gpa);
    store(edu->bar + EDU_DST, to_memory ? gpa : EDU_BUFFER);
    store(edu->bar + EDU_COUNT, PAGE);
    store(edu->bar + EDU_COMMAND, EDU_RUN | (to_memory ? EDU_TO_MEMORY : 0));
}

bool edu_busy(const Edu *edu)
{
    return load(edu->bar + EDU_COMMAND) & EDU_RUN;
}

void edu_dma(const Edu *edu, uint64_t gpa, bool to_memory)
{
    edu_start(edu, gpa, to_memory);
    while (edu_busy(edu)) {
        relax();
    }
}
