/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the payload lives in guest memory; read by C, assembler and linker.
 *
 * Everything here, from the page tables to the top of the stack, has one state
 * for good: shared, as KVM's emulator reads instructions through the host
 * mapping, or private in an SEV-SNP or TDX guest, where the launch fills it and
 * nothing needs that emulator.  Only what lies above WINDOW_END is converted.
 */
#ifndef PAYLOAD_LAYOUT_H
#define PAYLOAD_LAYOUT_H

#define IMAGE_SIZE      0x20000         /* the flat image */
#define IMAGE_ROM       0xfffe0000      /* where -bios puts it */
#define RESET_SEGMENT   0x10000         /* in it: what 16-bit code can reach */
#define PAGE_TABLES     0x10000         /* PML4, PDPT, one PD per GiB */
#define MAPPED_GIB      10              /* identity mapped, 2 MiB pages */
#define RESET_RECORD    0x8000          /* EAX at reset; 1: JMP was skipped */
/* What the launch of an SEV-SNP or TDX guest fills; see metadata.S. */
#define SNP_SECRETS     0x9000
#define SNP_CPUID       0xa000
#define SNP_HASHES      0xb000
#define TD_HOB          0x9000
#define TD_HOB_SIZE     0x2000
#define TD_MOVED        0x1e000         /* in the image; padding in the file */
#define IMAGE_RAM       0x20000         /* the copy that runs */
#define AP_ENTRY        IMAGE_RAM       /* where the other vCPUs start */
#define BSS_END         0x70000
#define AP_STACKS       0x70000         /* of the other vCPUs, from 1 on */
#define AP_STACK_SIZE   0x2800
#define VCPUS_MAX       4
#define STACK_TOP       0x80000
#define WINDOW_END      0xa0000         /* the low shared window */

#define SEL_CODE32      0x08
#define SEL_DATA        0x10
#define SEL_CODE64      0x18

#endif
