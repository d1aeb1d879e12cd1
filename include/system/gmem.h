/*
 * guest_memfd in the KVM accelerator
 *
 * How this host tracks which pages of a confidential guest are private, how
 * the guest_memfd of an in-place RAM block is made, and the way of a
 * conversion request from the guest to the RAM blocks.
 *
 * The kernel facts that this code relies on are in docs/uapi.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_H
#define SYSTEM_GMEM_H

#include "exec/hwaddr.h"
#include "system/gmem-convert.h"

typedef struct KVMState KVMState;

/**
 * KvmGmemMode: who tracks private memory on this host
 *
 * @KVM_GMEM_NONE: nobody; there is no private memory
 * @KVM_GMEM_VM_ATTRIBUTES: the VM, by guest address.  Each page is backed
 *   twice ("dual-backed").
 * @KVM_GMEM_IN_PLACE: the guest_memfd, by file offset.  One page serves both
 *   states.
 */
typedef enum KvmGmemMode {
    KVM_GMEM_NONE,
    KVM_GMEM_VM_ATTRIBUTES,
    KVM_GMEM_IN_PLACE,
} KvmGmemMode;

/**
 * kvm_gmem_probe: choose the mode of this virtual machine
 * @s: the accelerator; its VM file descriptor is open
 * @ms: the machine
 *
 * To be called right after KVM_CREATE_VM and before the confidential guest is
 * set up: the answers depend on the VM type, and the confidential guest may
 * ask for the mode.  A machine without a confidential guest is not probed.
 *
 * Exits with the reason when the confidential guest wants a mode that the
 * kernel does not offer: no other accelerator could give it either.
 */
void kvm_gmem_probe(KVMState *s, MachineState *ms);

/**
 * kvm_gmem_mode: the mode that kvm_gmem_probe() chose
 *
 * Constant after accelerator initialization; no lock is needed.
 */
KvmGmemMode kvm_gmem_mode(void);

static inline bool kvm_gmem_in_place(void)
{
    return kvm_gmem_mode() == KVM_GMEM_IN_PLACE;
}

/**
 * kvm_gmem_alloc_ram_block: back a new RAM block by one mappable guest_memfd
 * @rb: the RAM block; has neither memory nor a file descriptor yet
 * @errp: where to store the error
 *
 * Creates a guest_memfd of @rb->max_length bytes whose pages all start shared,
 * and maps it as the memory of the block.  @rb->guest_memfd holds the file
 * descriptor; @rb->fd stays -1, so that nobody maps the file into an IOMMU,
 * sends it to another process or punches holes through it.
 *
 * The caller holds the BQL and the ramlist mutex.
 *
 * Returns true, or false with @errp set and @rb unchanged.
 */
bool kvm_gmem_alloc_ram_block(RAMBlock *rb, Error **errp);

/**
 * kvm_gmem_convert_ops: how in-place RAM blocks reach the kernel
 *
 * The operations take the RAMBlock as their opaque pointer.
 */
const GmemConvertOps *kvm_gmem_convert_ops(void);

/**
 * kvm_gmem_convert_memory: convert a range of guest addresses in place
 * @start: guest physical address, a multiple of the host page size
 * @size: bytes, a multiple of the host page size
 * @to_private: the wanted state
 *
 * Every RAM section of the range is converted, in ascending order.  Holes and
 * MMIO are already "shared": converting them to shared succeeds and does
 * nothing; a request for private memory must be covered by in-place RAM
 * completely.  All that can be refused is refused before anything changes.
 *
 * Waits for busy pages for as long as the confidential guest's
 * convert-timeout allows, or until the calling vCPU is wanted elsewhere.
 *
 * The caller must not hold a RAM block's lock; the BQL is not needed.  With
 * the BQL held the wait is not interrupted by requests to stop.
 *
 * Returns 0; -EINVAL for a bad request (nothing changed, reported as a
 * trace point only, as a guest can cause it at will); -EAGAIN when pages
 * stayed busy or the host is short of memory (what was converted stays
 * converted, the request may be repeated); another -errno, reported, when the
 * kernel refused for good.
 */
int kvm_gmem_convert_memory(hwaddr start, hwaddr size, bool to_private);

/**
 * kvm_gmem_map_gpa_range: answer a guest's KVM_HC_MAP_GPA_RANGE
 * @gpa: guest physical address
 * @npages: number of 4 KiB pages, as the guest gave it
 * @to_private: the wanted state
 *
 * For in-place mode only.  Returns the value for hypercall.ret (0, EINVAL or
 * EAGAIN, all KVM accepts), or a negative errno, reported, when the virtual
 * machine cannot go on.
 */
int kvm_gmem_map_gpa_range(uint64_t gpa, uint64_t npages, bool to_private);

/**
 * kvm_gmem_memory_fault: handle KVM_EXIT_MEMORY_FAULT
 * @gpa: guest physical address
 * @size: bytes
 * @to_private: the state that the exit flags ask for
 *
 * Converts where the confidential guest's type lets an access ask for a
 * conversion.  Where it does not, the exit tells of a fault that raced with
 * another vCPU's conversion: its flag is a state of the past, not a wish, and
 * the vCPU just enters the guest again.
 *
 * Returns 0 to enter the guest again, negative to stop the virtual machine.
 */
int kvm_gmem_memory_fault(hwaddr gpa, hwaddr size, bool to_private);

#endif /* SYSTEM_GMEM_H */
