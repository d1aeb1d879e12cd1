/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI configuration space of bus 0, and the edu device; see payload.h. */
#include "payload.h"

#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_COMMAND         0x04
#define PCI_BAR0            0x10
#define COMMAND_MEMORY      0x2
#define COMMAND_MASTER      0x4
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

static void pci_select(unsigned slot, unsigned reg)
{
    outl(PCI_ADDRESS, 0x80000000u | slot << 11 | (reg & 0xfc));
}

uint8_t pci_read8(unsigned slot, unsigned reg)
{
    pci_select(slot, reg);
    return inb(PCI_DATA + (reg & 3));
}

void pci_write8(unsigned slot, unsigned reg, uint8_t v)
{
    pci_select(slot, reg);
    outb(PCI_DATA + (reg & 3), v);
}

uint32_t pci_read32(unsigned slot, unsigned reg)
{
    pci_select(slot, reg);
    return inl(PCI_DATA);
}

void pci_write32(unsigned slot, unsigned reg, uint32_t v)
{
    pci_select(slot, reg);
    outl(PCI_DATA, v);
}

void set_pam(uint8_t v)
{
    pci_write8(HOST_BRIDGE, Q35_PAM0, v & 0x30);
    for (unsigned i = 1; i < 7; i++) {
        pci_write8(HOST_BRIDGE, Q35_PAM0 + i, v);
    }
}

bool edu_open(unsigned n, Edu *edu)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (pci_read32(slot, 0) != EDU_DEVICE || n--) {
            continue;
        }
        edu->slot = slot;
        edu->bar = EDU_BARS + slot * EDU_BAR_SIZE;
        pci_write32(slot, PCI_BAR0, edu->bar);
        pci_write8(slot, PCI_COMMAND, COMMAND_MEMORY | COMMAND_MASTER);
        return *(volatile uint32_t *)edu->bar == EDU_ID;
    }
    return false;
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
