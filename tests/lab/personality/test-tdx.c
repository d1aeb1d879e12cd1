/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VMM that breaks rules of TDX; see test.c. */
#include "test.h"

static long tdx(int fd, unsigned id, void *data)
{
    struct kvm_tdx_cmd cmd = { .id = id, .data = (uint64_t)data };

    return call(fd, KVM_MEMORY_ENCRYPT_OP, &cmd);
}

static long tdx_add(uint64_t gpa, void *from)
{
    struct kvm_tdx_init_mem_region r = {
        .source_addr = (uint64_t)from, .gpa = gpa, .nr_pages = 1,
    };

    return tdx(vcpu_fd, KVM_TDX_INIT_MEM_REGION, &r);
}

static void tdx_init(void)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 },
    };
    struct kvm_tdx_init_vm init = { 0 };

    create_vm(KVM_X86_TDX_VM);
    must(call(vm_fd, KVM_ENABLE_CAP, &cap), "split irqchip");
    must(tdx(vm_fd, KVM_TDX_INIT_VM, &init), "INIT_VM");
    create_vcpu();
    add_memory();
}

/* Ready for TDX_INIT_MEM_REGION */
static void tdx_begin(void)
{
    tdx_init();
    must(tdx(vcpu_fd, KVM_TDX_INIT_VCPU, NULL), "INIT_VCPU");
}

static long good_tdx(void)
{
    tdx_begin();
    must(convert(PAGE(2), true), "to private");
    must(tdx_add(PAGE(2), source()), "page");
    return tdx(vm_fd, KVM_TDX_FINALIZE_VM, NULL);
}

static long tdx_no_split_irqchip(void)
{
    struct kvm_tdx_init_vm init = { 0 };

    create_vm(KVM_X86_TDX_VM);
    must(tdx(vm_fd, KVM_TDX_INIT_VM, &init), "INIT_VM");
    return call(vm_fd, KVM_CREATE_VCPU, NULL);
}

static long tdx_vcpu_early(void)
{
    create_vm(KVM_X86_TDX_VM);
    return call(vm_fd, KVM_CREATE_VCPU, NULL);
}

static long tdx_page_early(void)
{
    tdx_init();
    must(convert(PAGE(2), true), "to private");
    return tdx_add(PAGE(2), source());
}

static long tdx_not_private(void)
{
    tdx_begin();
    return tdx_add(PAGE(2), source());
}

static long tdx_twice(void)
{
    tdx_begin();
    must(convert(PAGE(2), true), "to private");
    must(tdx_add(PAGE(2), source()), "page");
    return tdx_add(PAGE(2), source());
}

static long tdx_no_source(void)
{
    tdx_begin();
    must(convert(PAGE(2), true), "to private");
    return tdx_add(PAGE(2), NULL);
}

static long tdx_own_source(void)
{
    tdx_begin();
    ram[PAGE(2)] = 1;
    must(convert(PAGE(2), true), "to private");
    return tdx_add(PAGE(2), ram + PAGE(2));
}

static long tdx_late(void)
{
    tdx_begin();
    must(tdx(vm_fd, KVM_TDX_FINALIZE_VM, NULL), "FINALIZE_VM");
    must(convert(PAGE(2), true), "to private");
    return tdx_add(PAGE(2), source());
}

/* D18: the firmware's copy is thrown away, and it is the firmware itself. */
static long tdx_freed(void)
{
    good_tdx();
    return free_pages(0, RAM_SIZE);
}

static long tdx_finalize_early(void)
{
    tdx_init();
    return tdx(vm_fd, KVM_TDX_FINALIZE_VM, NULL);
}

static long tdx_run_early(void)
{
    tdx_begin();
    return call(vcpu_fd, KVM_RUN, NULL);
}

static long tdx_registers(void)
{
    struct kvm_regs regs;

    tdx_begin();
    return call(vcpu_fd, KVM_GET_REGS, &regs);
}

const Case tdx_cases[] = {
    { "good-tdx", good_tdx, 0, NULL, BOTH },
    { "good-tdx-in-pieces", good_tdx, 0, NULL, BOTH, "chunk=1" },
    { "tdx-vcpu-early", tdx_vcpu_early, -EIO, "before TDX_INIT_VM", BOTH },
    { "tdx-no-split-irqchip", tdx_no_split_irqchip, -EINVAL, "split irqchip",
      BOTH },
    { "tdx-page-early", tdx_page_early, -EINVAL, "before TDX_INIT_VCPU", BOTH },
    { "tdx-not-private", tdx_not_private, -EINVAL, "is not private", BOTH },
    { "tdx-twice", tdx_twice, -EIO, "has been added already", BOTH },
    { "tdx-no-source", tdx_no_source, -EINVAL, "without a source", DUAL },
    { "tdx-no-source", tdx_no_source, 0, NULL, IN_PLACE },
    { "tdx-own-source", tdx_own_source, -EFAULT, "is it private already",
      IN_PLACE },
    { "tdx-late", tdx_late, -EINVAL, "after TDX_FINALIZE_VM", BOTH },
    { "tdx-freed", tdx_freed, 0, "is freed", BOTH },
    { "tdx-finalize-early", tdx_finalize_early, -EINVAL, "before TDX_INIT_VCPU",
      BOTH },
    { "tdx-run-early", tdx_run_early, -EINVAL, "before the launch", BOTH },
    { "tdx-registers", tdx_registers, -EINVAL, "are protected", BOTH },
    { }
};
