/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reset vector to long mode.
 *
 * Up to the jump into the copy, addresses are written as "symbol - IMAGE_RAM"
 * (offset in the image): the code still runs in the ROM at IMAGE_ROM, and
 * there is no stack.
 */
#include "layout.h"
#include "personality.h"

#define ROM(sym) ((sym) - IMAGE_RAM + IMAGE_ROM)

    .section .reset, "ax"
    .code16
reset:
    jmp     start16
    /* A vCPU that comes here has skipped its first instruction. */
    jmp     skipped16

    .section .start, "ax"
    .code16
skipped16:
    movl    $1, RESET_RECORD + 4
    jmp     1f
    .globl  start16
start16:
    movl    $0, RESET_RECORD + 4
1:
    movl    %eax, RESET_RECORD
    cli
    cld
    lgdtl   %cs:(gdt_pointer - IMAGE_RAM - RESET_SEGMENT)
    movl    %cr0, %eax
    orl     $1, %eax
    movl    %eax, %cr0
    ljmpl   $SEL_CODE32, $ROM(start32)

    .code32
start32:
    movl    $SEL_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    %eax, %fs
    movl    %eax, %gs

    /*
     * In an SEV-SNP or TDX guest the launch has made the low window private,
     * and it is to stay so.  Otherwise nobody answers at this port.
     */
    movl    $OP_WHO, %eax
    movl    $PERSONALITY_PORT, %edx
    outl    %eax, %dx
    andl    $~0xff, %eax
    cmpl    $OP_WHO_MAGIC, %eax
    je      1f

    /*
     * Where memory starts private (one page for each state, as in plain
     * QEMU), make the low window shared before anything is stored in it.
     * Only KVM knows the hypercall: elsewhere VMMCALL would be #UD.
     */
    movl    $0x40000000, %eax
    cpuid
    cmpl    $0x4b4d564b, %ebx       /* "KVMK" */
    jne     1f
    cmpl    $0x564b4d56, %ecx       /* "VMKV" */
    jne     1f
    movl    $12, %eax               /* KVM_HC_MAP_GPA_RANGE */
    xorl    %ebx, %ebx
    movl    $(WINDOW_END >> 12), %ecx
    xorl    %edx, %edx              /* to shared, 4 KiB pages */
    vmmcall
1:
    movl    $IMAGE_ROM, %esi
    movl    $IMAGE_RAM, %edi
    movl    $(IMAGE_SIZE / 4), %ecx
    rep     movsl

    xorl    %eax, %eax
    movl    $bss_start, %edi
    movl    $bss_end, %ecx
    subl    %edi, %ecx
    rep     stosb

    movl    $PAGE_TABLES, %edi
    movl    $((2 + MAPPED_GIB) * 1024), %ecx
    rep     stosl
    movl    $(PAGE_TABLES + 0x1000 + 3), PAGE_TABLES
    movl    $(PAGE_TABLES + 0x1000), %edi
    movl    $(PAGE_TABLES + 0x2000 + 3), %eax
    movl    $MAPPED_GIB, %ecx
2:  movl    %eax, (%edi)
    addl    $0x1000, %eax
    addl    $8, %edi
    loop    2b
    movl    $(PAGE_TABLES + 0x2000), %edi
    movl    $0x83, %eax             /* present, writable, 2 MiB */
    xorl    %edx, %edx
    movl    $(MAPPED_GIB * 512), %ecx
3:  movl    %eax, (%edi)
    movl    %edx, 4(%edi)
    addl    $0x200000, %eax
    adcl    $0, %edx
    addl    $8, %edi
    loop    3b

    movl    %cr4, %eax
    orl     $0x20, %eax             /* PAE */
    movl    %eax, %cr4
    movl    $PAGE_TABLES, %eax
    movl    %eax, %cr3
    movl    $0xc0000080, %ecx       /* EFER.LME */
    rdmsr
    orl     $0x100, %eax
    wrmsr
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    ljmpl   $SEL_CODE64, $start64

    .code64
start64:
    lgdt    gdt_pointer_ram
    movl    $SEL_DATA, %eax
    movl    %eax, %ss
    movl    $STACK_TOP, %esp
    xorl    %ebp, %ebp
    call    payload_main
4:  hlt
    jmp     4b

    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff      /* 32-bit code, flat */
    .quad   0x00cf93000000ffff      /* data, flat */
    .quad   0x00af9b000000ffff      /* 64-bit code */
gdt_end:
gdt_pointer:
    .word   gdt_end - gdt - 1
    .long   ROM(gdt)
    .balign 8
gdt_pointer_ram:
    .word   gdt_end - gdt - 1
    .quad   gdt

/*
 * One entry per exception, 16 bytes each, so that idt_init() finds entry N
 * at exception_entries + 16 * N.  All end in exception_report(), which does
 * not return: an exception is always a bug of the payload or of the host.
 */
    .balign 16
    .globl  exception_entries
exception_entries:
    .set    vector, 0
    .rept   32
    .balign 16
    .if     !((vector == 8) || ((vector >= 10) && (vector <= 14)) || \
              (vector == 17) || (vector == 21) || (vector == 29) || \
              (vector == 30))
    pushq   $0                      /* no error code: fill the slot */
    .endif
    pushq   $vector
    jmp     exception_common
    .set    vector, vector + 1
    .endr

exception_common:
    movq    (%rsp), %rdi            /* vector */
    movq    8(%rsp), %rsi           /* error code */
    movq    16(%rsp), %rdx          /* rip */
    movq    %cr2, %rcx
    andq    $-16, %rsp
    call    exception_report
5:  hlt
    jmp     5b

/*
 * The other vCPUs, by INIT and SIPI; the first one has made the page tables.
 */
    .section .ap, "ax"
    .code16
ap_start16:
    cli
    movw    %cs, %ax
    movw    %ax, %ds
    lgdtl   ap_gdt_pointer - AP_ENTRY
    movl    %cr0, %eax
    orl     $1, %eax
    movl    %eax, %cr0
    ljmpl   $SEL_CODE32, $ap_start32

    .code32
ap_start32:
    movl    $SEL_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    %cr4, %eax
    orl     $0x20, %eax             /* PAE */
    movl    %eax, %cr4
    movl    $PAGE_TABLES, %eax
    movl    %eax, %cr3
    movl    $0xc0000080, %ecx       /* EFER.LME */
    rdmsr
    orl     $0x100, %eax
    wrmsr
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    ljmpl   $SEL_CODE64, $ap_start64

    .code64
ap_start64:
    movl    $1, %eax
    cpuid
    shrl    $24, %ebx               /* its APIC ID, from 1 */
    movl    %ebx, %edi
    imull   $AP_STACK_SIZE, %ebx, %esp
    addl    $AP_STACKS, %esp
    xorl    %ebp, %ebp
    call    ap_main
6:  hlt
    jmp     6b

    /* Within reach of 16-bit code. */
    .balign 8
ap_gdt_pointer:
    .word   gdt_end - gdt - 1
    .long   gdt

    .section .note.GNU-stack, "", @progbits
