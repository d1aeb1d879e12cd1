/*
 * Description: the smallest user of KVM that can convert memory in place: one
 * vCPU without paging, and a loop that answers a conversion with the ioctl and
 * nothing else.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BENCH_KERNEL_VM_H
#define BENCH_KERNEL_VM_H

#define PAGE UINT64_C(4096)

/* Guest memory of KernelVm: code and samples from 0 on, data here */
#define KERNEL_VM_DATA UINT64_C(0x1000000)

/* Most rounds of one kernel_vm_loop() */
#define KERNEL_VM_ROUNDS 1000

typedef struct KernelVm {
    int vm, vcpu;
    struct kvm_run *run;
    uint8_t *code;          /* host's view of the guest's low memory */
    int gmem;               /* the data: a guest_memfd, and its mapping */
    uint8_t *map;
    uint64_t size;          /* of the data, in bytes */
    bool answer_only;       /* a hypercall gets its answer without the ioctl */
} KernelVm;

/*
 * kernel_vm_new: a KVM_X86_SW_PROTECTED_VM with @size bytes of in-place memory,
 * all shared.  @base: where they are in the guest, KERNEL_VM_DATA if it is to
 * run.  Ends the program, with a message, if the kernel refuses anything.
 * kernel_vm_free: the memory goes with it.
 */
KernelVm *kernel_vm_new(uint64_t base, uint64_t size);
void kernel_vm_free(KernelVm *vm);

/*
 * kernel_vm_boot: add code and a vCPU that waits for kernel_vm_touch() and
 * kernel_vm_loop().  What KVM has to do for it is what it does for QEMU's: it
 * has the features of -cpu host and the interrupt controllers in the kernel.
 */
void kernel_vm_boot(KernelVm *vm);

/* kernel_vm_touch: the guest writes to the first @pages pages of the data */
void kernel_vm_touch(KernelVm *vm, uint32_t pages);

/* Does the guest write to each page, and is that part of the time? */
typedef enum KernelVmTouch {
    TOUCH_NEVER,
    TOUCH_BEFORE,           /* no part */
    TOUCH_AFTER,            /* until it has all pages again */
} KernelVmTouch;

/*
 * kernel_vm_loop: the guest makes the first @pages pages of the data private
 * and shared again, @rounds times.  @ticks gets 2 * @rounds times in cycles of
 * the TSC, as the guest saw them: to private, to shared, ...  @pages 0: CPUID
 * instead, an exit that KVM handles on its own.
 */
void kernel_vm_loop(KernelVm *vm, uint32_t pages, KernelVmTouch touch,
                    uint32_t rounds, uint32_t *ticks);

/*
 * kernel_vm_convert: one KVM_SET_MEMORY_ATTRIBUTES2, as in GmemConvertOps.
 * Returns 0 or -errno.
 */
int kernel_vm_convert(KernelVm *vm, uint64_t offset, uint64_t size,
                      bool to_private, uint64_t *error_offset);

#endif
