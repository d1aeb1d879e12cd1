/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the payload lives in guest memory; read by C, assembler and linker.
 *
 * The emulated host has no NRIP-save: KVM reads the instruction it skips
 * through the host mapping.  So everything here, from the page tables to the
 * top of the stack, has to stay shared; only what lies above WINDOW_END is
 * ever converted to private.
 */
#ifndef PAYLOAD_LAYOUT_H
#define PAYLOAD_LAYOUT_H

#define IMAGE_SIZE      0x10000         /* the flat image: one segment */
#define IMAGE_ROM       0xffff0000      /* where -bios puts it */
#define PAGE_TABLES     0x10000         /* PML4, PDPT, one PD per GiB */
#define MAPPED_GIB      10              /* identity mapped, 2 MiB pages */
#define RESET_RECORD    0x8000          /* EAX at reset; 1: JMP was skipped */
#define IMAGE_RAM       0x20000         /* the copy that runs */
#define AP_ENTRY        0x2e000         /* where a second vCPU starts */
#define BSS_END         0x70000
#define AP_STACK_TOP    0x78000         /* of the second vCPU */
#define STACK_TOP       0x80000
#define WINDOW_END      0xa0000         /* the low shared window */

#define SEL_CODE32      0x08
#define SEL_DATA        0x10
#define SEL_CODE64      0x18

#endif
