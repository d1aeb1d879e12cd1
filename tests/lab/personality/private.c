/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Content of private pages; see personality.h.
 *
 * A KVM_X86_SW_PROTECTED_VM has no call that fills a private page, and nobody
 * in the host can map one.  But every guest can write to its own memory: so a
 * vCPU of ours, which the VMM does not know, copies from a slot of ours.  It
 * runs a few instructions in long mode, with all memory mapped one to one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "personality.h"

#define SLOT_ID         0x7f00
#define VCPU_ID         1000
#define PHYS_BITS_MAX   40          /* two tables of 1 GiB pages */
#define WINDOW_SIZE     0x20000
/* In our slot */
#define PML4            0
#define PDPT            0x1000      /* and one behind it */
#define CODE            0x3000
#define BUFFER          0x10000
#define BUFFER_SIZE     0x10000

#define PTE_TABLE       3ul         /* present, writable */
#define PTE_PAGE        0x83ul      /* and large */
#define CPUID_ENTRIES   128

static char *window;
static uint64_t window_gpa;
static int helper_fd;
static struct kvm_run *helper_run;

/* rep movsq; out %al, $0x80 */
static const uint8_t code[] = { 0xf3, 0x48, 0xa5, 0xe6, 0x80 };

static uint64_t *table(uint64_t at)
{
    return (uint64_t *)(window + at);
}

/* KVM checks CR3 against what CPUID says. */
static int set_cpuid(unsigned *phys_bits)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_ENTRIES *
                                  sizeof(struct kvm_cpuid_entry2));
    long ret;

    *phys_bits = 36;
    c->nent = CPUID_ENTRIES;
    ret = raw_ioctl(vm.kvm_fd, KVM_GET_SUPPORTED_CPUID, c);
    for (unsigned i = 0; ret == 0 && i < c->nent; i++) {
        if (c->entries[i].function == 0x80000008) {
            *phys_bits = c->entries[i].eax & 0xff;
        }
    }
    if (ret == 0) {
        ret = raw_ioctl(helper_fd, KVM_SET_CPUID2, c);
    }
    free(c);
    return ret;
}

static int make_window(unsigned phys_bits)
{
    unsigned bits = phys_bits < PHYS_BITS_MAX ? phys_bits : PHYS_BITS_MAX;
    struct kvm_userspace_memory_region r = {
        .slot = SLOT_ID,
        .memory_size = WINDOW_SIZE,
    };

    /* At the end of what a guest can have, where the VMM has nothing */
    window_gpa = (1ul << bits) - (4ul << 20);
    window = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window == MAP_FAILED) {
        return -errno;
    }
    for (unsigned i = 0; i < 2; i++) {
        table(PML4)[i] = window_gpa + PDPT + i * PAGE_SIZE + PTE_TABLE;
    }
    for (uint64_t i = 0; i < 1024; i++) {
        table(PDPT)[i] = (i << 30) + PTE_PAGE;
    }
    memcpy(window + CODE, code, sizeof(code));
    r.guest_phys_addr = window_gpa;
    r.userspace_addr = (uint64_t)window;
    return raw_ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static int set_long_mode(void)
{
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
    struct kvm_segment s = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1,
        .l = 1, .g = 1,
    };
    struct kvm_sregs sregs;
    long ret = raw_ioctl(helper_fd, KVM_GET_SREGS, &sregs);

    if (ret < 0) {
        return ret;
    }
    sregs.cs = s;
    s.type = 3;
    s.l = 0;
    s.db = 1;
    s.selector = 16;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = s;
    sregs.cr0 = 0x80010033;             /* paging, protection, caches */
    sregs.cr3 = window_gpa + PML4;
    sregs.cr4 = 0x20;                   /* PAE */
    sregs.efer = 0x500;                 /* LME, LMA */
    ret = raw_ioctl(helper_fd, KVM_SET_SREGS, &sregs);
    return ret < 0 ? ret : raw_ioctl(helper_fd, KVM_SET_MP_STATE, &mp);
}

/* When it is needed: before, the VM is not set up yet. */
static int make_helper(void)
{
    unsigned long id = vm.vcpu_id_limit ? vm.vcpu_id_limit : VCPU_ID;
    unsigned phys_bits;
    long size = raw_ioctl(vm.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    int ret = raw_ioctl(vm.fd, KVM_CREATE_VCPU, (void *)id);

    if (ret < 0) {
        return ret;
    }
    helper_fd = ret;
    helper_run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      helper_fd, 0);
    if (helper_run == MAP_FAILED) {
        helper_run = NULL;
        return -errno;
    }
    ret = set_cpuid(&phys_bits);
    if (ret == 0) {
        ret = make_window(phys_bits);
    }
    return ret < 0 ? ret : set_long_mode();
}

/* Copy the first @size bytes of the buffer to @gpa. */
static int copy(uint64_t gpa, uint64_t size)
{
    struct kvm_regs regs = {
        .rip = window_gpa + CODE,
        .rsi = window_gpa + BUFFER,
        .rdi = gpa,
        .rcx = size / 8,
        .rflags = 2,
    };
    unsigned tries = 0;
    long ret = raw_ioctl(helper_fd, KVM_SET_REGS, &regs);

    while (ret == 0) {
        ret = raw_ioctl(helper_fd, KVM_RUN, NULL);
        if (ret == 0 && helper_run->exit_reason == KVM_EXIT_IO) {
            return 0;
        }
        /* A signal for the thread, or a fault that raced a conversion. */
        if (ret == -EINTR || ret == -EAGAIN ||
            (ret == -EFAULT && ++tries < 1000 &&
             helper_run->exit_reason == KVM_EXIT_MEMORY_FAULT)) {
            ret = 0;
            continue;
        }
        return complain(EIO, "cannot write to gpa 0x%lx: exit %u, %s", gpa,
                        helper_run->exit_reason,
                        ret < 0 ? strerror(-ret) : "no error");
    }
    return ret;
}

static int ready(void)
{
    static int ret = 1;

    if (ret > 0) {
        ret = make_helper();
        if (ret < 0) {
            complain(0, "no vCPU to write to private memory with: %s",
                     strerror(-ret));
        }
    }
    return ret;
}

int private_write(uint64_t gpa, const void *data, uint64_t size)
{
    int ret = ready();

    for (uint64_t at = 0; ret == 0 && at < size; at += BUFFER_SIZE) {
        uint64_t n = size - at < BUFFER_SIZE ? size - at : BUFFER_SIZE;

        memcpy(window + BUFFER, (const char *)data + at, n);
        ret = copy(gpa + at, n);
    }
    return ret;
}

int private_fill(uint64_t gpa, uint64_t size, const void *page)
{
    int ret = ready();

    for (uint64_t at = 0; ret == 0 && at < BUFFER_SIZE; at += PAGE_SIZE) {
        memcpy(window + BUFFER + at, page, PAGE_SIZE);
    }
    for (uint64_t at = 0; ret == 0 && at < size; at += BUFFER_SIZE) {
        ret = copy(gpa + at,
                   size - at < BUFFER_SIZE ? size - at : BUFFER_SIZE);
    }
    return ret;
}

const void *private_garbage(void)
{
    static uint64_t page[PAGE_SIZE / 8];
    uint64_t x = 0x9e3779b97f4a7c15;

    for (unsigned i = 0; !page[0] && i < PAGE_SIZE / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        page[PAGE_SIZE / 8 - 1 - i] = x;
    }
    return page;
}

int source_read(uint64_t address, void *data, uint64_t size)
{
    struct iovec local = { data, size };
    struct iovec remote = { (void *)address, size };

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
           (ssize_t)size ? 0 : -EFAULT;
}

int source_write(uint64_t address, const void *data, uint64_t size)
{
    struct iovec local = { (void *)data, size };
    struct iovec remote = { (void *)address, size };

    return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) ==
           (ssize_t)size ? 0 : -EFAULT;
}
