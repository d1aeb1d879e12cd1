/*
 * guest_memfd: see whether this host can convert in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the number of KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES has moved
 * from one posting of the kernel series to the next, and on another kernel it
 * may be unknown or stand for something else.  The number of the ioctl is
 * fixed.  So make a guest_memfd of one page and convert that.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "hw/boards.h"
#include "system/confidential-guest-support.h"
#include "system/gmem.h"
#include "system/gmem-proof.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "trace.h"

#define SCRATCH_FLAGS \
    (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

/* Returns 0 or -errno. */
static int convert_scratch(int fd, uint64_t size, bool to_private)
{
    struct kvm_memory_attributes2 attrs;
    int ret;

    do {
        memset(&attrs, 0, sizeof(attrs));
        attrs.size = size;
        attrs.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
        ret = ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

void kvm_gmem_prove(KVMState *s, MachineState *ms)
{
    struct kvm_create_guest_memfd scratch = {
        .size = qemu_real_host_page_size(),
        .flags = SCRATCH_FLAGS,
    };
    int flags, fd, ret;

    if (!ms->cgs || !ms->cgs->require_guest_memfd) {
        return;
    }
    flags = kvm_vm_check_extension(s, KVM_CAP_GUEST_MEMFD_FLAGS);
    if (flags < 0 || (flags & SCRATCH_FLAGS) != SCRATCH_FLAGS) {
        return;
    }

    fd = kvm_vm_ioctl(s, KVM_CREATE_GUEST_MEMFD, &scratch);
    if (fd < 0) {
        /* Says nothing about conversions; the first RAM block will. */
        trace_kvm_gmem_proof("no scratch file", fd);
        return;
    }
    ret = convert_scratch(fd, scratch.size, true);
    if (!ret) {
        ret = convert_scratch(fd, scratch.size, false);
    }
    close(fd);
    trace_kvm_gmem_proof(ret ? "cannot convert" : "converted", ret);
    kvm_gmem_set_proof(ret ? KVM_GMEM_DISPROVEN : KVM_GMEM_PROVEN);
}
