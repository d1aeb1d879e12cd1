/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TDX: the commands of VM and vCPU, as arch/x86/kvm/vmx/tdx.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "personality.h"

#define ATTR_SEPT_VE_DISABLE    (1ul << 28)
#define CPUID_ENTRIES           128

/* What KVM would let a guest have: all of it is configurable here. */
static struct kvm_cpuid2 *supported_cpuid(void)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_ENTRIES *
                                  sizeof(struct kvm_cpuid_entry2));

    c->nent = CPUID_ENTRIES;
    if (raw_ioctl(vm.kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0) {
        c->nent = 0;
    }
    return c;
}

static long capabilities(const struct kvm_tdx_cmd *cmd)
{
    struct kvm_tdx_capabilities caps = {
        .supported_attrs = ATTR_SEPT_VE_DISABLE,
    };
    struct kvm_cpuid2 *c = supported_cpuid();
    struct kvm_cpuid2 room;
    uint64_t at = cmd->data + offsetof(struct kvm_tdx_capabilities, cpuid);
    long ret;

    log_call("TDX_CAPABILITIES");
    for (unsigned i = 0; i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];

        if (e->function == 0xd && e->index == 0) {
            caps.supported_xfam |= e->eax | (uint64_t)e->edx << 32;
        } else if (e->function == 0xd && e->index == 1) {
            caps.supported_xfam |= e->ecx | (uint64_t)e->edx << 32;
        }
    }
    ret = source_read(at, &room, sizeof(room));
    if (ret == 0 && room.nent < c->nent) {
        ret = -E2BIG;
    }
    if (ret == 0) {
        ret = source_write(cmd->data, &caps,
                           offsetof(struct kvm_tdx_capabilities, cpuid));
    }
    if (ret == 0) {
        ret = source_write(at, c, sizeof(*c) + c->nent *
                           sizeof(struct kvm_cpuid_entry2));
    }
    free(c);
    return ret;
}

static long init_vm(const struct kvm_tdx_cmd *cmd)
{
    struct kvm_tdx_init_vm init;

    if (source_read(cmd->data, &init, sizeof(init)) < 0) {
        return -EFAULT;
    }
    log_call("TDX_INIT_VM attributes=0x%llx flags=0x%x", init.attributes,
             cmd->flags);
    if (vm.phase != PHASE_CREATED) {
        return complain(EINVAL, "TDX_INIT_VM twice");
    }
    if (cmd->flags || init.attributes & ~ATTR_SEPT_VE_DISABLE) {
        return complain(EINVAL, "TDX_INIT_VM: flags 0x%x, attributes 0x%llx",
                        cmd->flags, init.attributes);
    }
    vm.phase = PHASE_INIT;
    return 0;
}

static long finalize(const struct kvm_tdx_cmd *cmd)
{
    log_call("TDX_FINALIZE_VM flags=0x%x", cmd->flags);
    if (vm.phase != PHASE_LAUNCH) {
        return complain(EINVAL, "TDX_FINALIZE_VM %s",
                        vm.phase < PHASE_LAUNCH ? "before TDX_INIT_VCPU"
                                                : "twice");
    }
    vm.phase = PHASE_RUNNABLE;
    return 0;
}

long tdx_vm_command(struct kvm_tdx_cmd *cmd)
{
    cmd->hw_error = 0;
    switch (cmd->id) {
    case KVM_TDX_CAPABILITIES:
        return capabilities(cmd);
    case KVM_TDX_INIT_VM:
        return init_vm(cmd);
    case KVM_TDX_FINALIZE_VM:
        return finalize(cmd);
    default:
        return complain(EINVAL, "TDX command %u is not one of a VM", cmd->id);
    }
}

static long init_vcpu(Vcpu *vcpu, const struct kvm_tdx_cmd *cmd)
{
    log_call("TDX_INIT_VCPU vcpu=%lu hob=0x%llx flags=0x%x", vcpu->id,
             cmd->data, cmd->flags);
    if (vm.phase != PHASE_INIT && vm.phase != PHASE_LAUNCH) {
        return complain(EINVAL, "TDX_INIT_VCPU %s", vm.phase < PHASE_INIT
                        ? "before TDX_INIT_VM" : "after TDX_FINALIZE_VM");
    }
    if (vcpu->initialized || cmd->flags) {
        return complain(EINVAL, "TDX_INIT_VCPU of vCPU %lu %s", vcpu->id,
                        cmd->flags ? "with flags" : "twice");
    }
    vcpu->initialized = true;
    vm.phase = PHASE_LAUNCH;
    return 0;
}

static bool region_ok(const Vcpu *vcpu, const struct kvm_tdx_cmd *cmd,
                      const struct kvm_tdx_init_mem_region *r)
{
    if (!vcpu->initialized || vm.phase != PHASE_LAUNCH) {
        complain(0, "TDX_INIT_MEM_REGION %s", vm.phase < PHASE_RUNNABLE
                 ? "before TDX_INIT_VCPU" : "after TDX_FINALIZE_VM");
    } else if (cmd->flags & ~KVM_TDX_MEASURE_MEMORY_REGION ||
               r->source_addr % PAGE_SIZE || r->gpa % PAGE_SIZE ||
               !r->nr_pages) {
        complain(0, "TDX_INIT_MEM_REGION: gpa 0x%llx, %llu pages, flags 0x%x, "
                 "or a source that is not page aligned", r->gpa, r->nr_pages,
                 cmd->flags);
    } else if (!r->source_addr && !vm.in_place) {
        complain(0, "TDX_INIT_MEM_REGION of gpa 0x%llx without a source, which "
                 "only an in-place host takes", r->gpa);
    } else {
        return true;
    }
    return false;
}

static long init_mem_region(Vcpu *vcpu, const struct kvm_tdx_cmd *cmd)
{
    struct kvm_tdx_init_mem_region r;
    unsigned done = 0;
    int ret = 0;

    if (source_read(cmd->data, &r, sizeof(r)) < 0) {
        return -EFAULT;
    }
    log_call("TDX_INIT_MEM_REGION gpa=0x%llx pages=%llu measure=%u source=%s",
             r.gpa, r.nr_pages, cmd->flags, r.source_addr ? "yes" : "no");
    if (!region_ok(vcpu, cmd, &r)) {
        return -EINVAL;
    }
    while (ret == 0 && r.nr_pages) {
        if (options.chunk && done++ == options.chunk) {
            ret = -EINTR;               /* as if a signal had come */
            break;
        }
        if (!launch_page(r.gpa, "TDX_INIT_MEM_REGION", &ret)) {
            /* The TDX module's answer to a second time is another one. */
            ret = ret == EEXIST ? -EIO : -ret;
            break;
        }
        ret = launch_add(r.gpa, r.source_addr);
        if (ret == -EFAULT) {
            complain(0, "TDX_INIT_MEM_REGION: the source of gpa 0x%llx cannot "
                     "be read; is it private already?", r.gpa);
        }
        if (ret == 0) {
            r.gpa += PAGE_SIZE;
            r.source_addr += r.source_addr ? PAGE_SIZE : 0;
            r.nr_pages--;
        }
    }
    return source_write(cmd->data, &r, sizeof(r)) < 0 ? -EFAULT : ret;
}

/*
 * What the TDX module virtualizes by itself: nothing here, the guest gets what
 * KVM_SET_CPUID2 says.  There is a leaf 0 all the same.
 */
static long get_cpuid(const struct kvm_tdx_cmd *cmd)
{
    struct kvm_cpuid2 *c = supported_cpuid();
    struct kvm_cpuid2 room;
    long ret = source_read(cmd->data, &room, sizeof(room));

    log_call("TDX_GET_CPUID");
    if (ret == 0) {
        ret = room.nent < 1 ? -E2BIG : 0;
        c->nent = 1;
        source_write(cmd->data, c, sizeof(*c) + (ret ? 0 :
                     sizeof(struct kvm_cpuid_entry2)));
    }
    free(c);
    return ret;
}

long tdx_vcpu_command(Vcpu *vcpu, struct kvm_tdx_cmd *cmd)
{
    switch (cmd->id) {
    case KVM_TDX_INIT_VCPU:
        return init_vcpu(vcpu, cmd);
    case KVM_TDX_INIT_MEM_REGION:
        return init_mem_region(vcpu, cmd);
    case KVM_TDX_GET_CPUID:
        if (vm.phase == PHASE_RUNNABLE) {
            return complain(EINVAL, "TDX_GET_CPUID after TDX_FINALIZE_VM");
        }
        return get_cpuid(cmd);
    default:
        return complain(EINVAL, "TDX command %u is not one of a vCPU", cmd->id);
    }
}
