/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a firmware for SEV-SNP and TDX tells QEMU, in the formats of OVMF: a
 * table of GUIDs that ends 32 bytes before the image's end, and what it points
 * to.  A guest of another type has no use for it.
 *
 * For both, the launch gives the guest the image and all of the low window.
 */
#include "layout.h"

#define FROM_END(sym)   (IMAGE_RAM + IMAGE_SIZE - (sym))

    .section .metadata, "a"

/* --- SEV-SNP: pages that the launch adds besides the image --------------- */

#define SNP_SEC_MEM         1
#define SNP_DESC_SECRETS    2
#define SNP_DESC_CPUID      3
#define SNP_DESC_HASHES     0x10

    .macro  snp_desc start, end, type
    .long   \start, \end - \start, \type
    .endm

    .balign 16
snp_metadata:
    .ascii  "ASEV"
    .long   snp_metadata_end - snp_metadata
    .long   1                       /* version */
    .long   (snp_metadata_end - snp_descs) / 12
snp_descs:
    snp_desc 0,                      SNP_SECRETS,         SNP_SEC_MEM
    snp_desc SNP_SECRETS,            SNP_SECRETS + 0x1000, SNP_DESC_SECRETS
    snp_desc SNP_CPUID,              SNP_CPUID + 0x1000,  SNP_DESC_CPUID
    snp_desc SNP_HASHES,             SNP_HASHES + 0x1000, SNP_DESC_HASHES
    snp_desc (SNP_HASHES + 0x1000),  WINDOW_END,          SNP_SEC_MEM
snp_metadata_end:

/* --- TDX: sections ---------------------------------------------------------- */

#define TDVF_BFV            0
#define TDVF_CFV            1
#define TDVF_TD_HOB         2
#define TDVF_TEMP_MEM       3
#define TDVF_MR_EXTEND      1

    .macro  tdvf_section data, data_size, start, size, type, attributes
    .long   \data, \data_size
    .quad   \start, \size
    .long   \type, \attributes
    .endm

    .balign 16
tdvf_metadata:
    .ascii  "TDVF"
    .long   tdvf_metadata_end - tdvf_metadata
    .long   1                       /* version */
    .long   (tdvf_metadata_end - tdvf_sections) / 32
tdvf_sections:
    /*
     * Code and its variables; here, the two halves of the image.  One page has
     * content that lies elsewhere in the file.
     */
    tdvf_section RESET_SEGMENT, (TD_MOVED - RESET_SEGMENT), \
                 (IMAGE_ROM + RESET_SEGMENT), (TD_MOVED - RESET_SEGMENT), \
                 TDVF_BFV, TDVF_MR_EXTEND
    tdvf_section 0, 0x1000, (IMAGE_ROM + TD_MOVED), 0x1000, TDVF_BFV, 0
    tdvf_section (TD_MOVED + 0x1000), (IMAGE_SIZE - TD_MOVED - 0x1000), \
                 (IMAGE_ROM + TD_MOVED + 0x1000), \
                 (IMAGE_SIZE - TD_MOVED - 0x1000), TDVF_BFV, TDVF_MR_EXTEND
    tdvf_section 0, RESET_SEGMENT, IMAGE_ROM, RESET_SEGMENT, TDVF_CFV, 0
    tdvf_section 0, 0, 0, TD_HOB, TDVF_TEMP_MEM, 0
    tdvf_section 0, 0, TD_HOB, TD_HOB_SIZE, TDVF_TD_HOB, 0
    tdvf_section 0, 0, (TD_HOB + TD_HOB_SIZE), \
                 (WINDOW_END - TD_HOB - TD_HOB_SIZE), TDVF_TEMP_MEM, 0
tdvf_metadata_end:

/* --- the table: data, length of the entry, GUID ------------------------------- */

#define TABLE_SIZE          110

    /* A GUID: three little-endian numbers, then bytes */
    .macro  guid a, b, c, d, e
    .long   0x\a
    .short  0x\b, 0x\c
    .byte   (0x\d >> 8) & 0xff, 0x\d & 0xff
    .byte   (0x\e >> 40) & 0xff, (0x\e >> 32) & 0xff, (0x\e >> 24) & 0xff
    .byte   (0x\e >> 16) & 0xff, (0x\e >> 8) & 0xff, 0x\e & 0xff
    .endm

    /* The section starts at 0x1fd00, and 32 bytes follow the table. */
    .org    0x2e0 - TABLE_SIZE
table:
    /* Where the other vCPUs of an SEV-ES guest start */
    .long   IMAGE_ROM + start16 - IMAGE_RAM
    .short  22
    guid    00f771de, 1a7e, 4fcb, 890e, 68c77e2fb44e
    /* Where hashes of kernel, initrd and command line go */
    .long   SNP_HASHES, 0x400
    .short  26
    guid    7255371f, 3a3b, 4b04, 927b, 1da6efa8d454
    .long   FROM_END(snp_metadata)
    .short  22
    guid    dc886566, 984a, 4798, a75e, 5585a7bf67cc
    .long   FROM_END(tdvf_metadata)
    .short  22
    guid    e47a6535, 984a, 4798, 865e, 4685a7bf8ec2
    /* The last one is about the table. */
    .short  table_end - table
    guid    96b582de, 1fb2, 45f7, baea, a366c55a082d
table_end:
    .if     table_end - table != TABLE_SIZE
    .error  "TABLE_SIZE is wrong"
    .endif

    .section .note.GNU-stack, "", @progbits
