/*
 * Description: see kernel-vm.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
/* Its guard keeps linux/kvm.h from the one of the build machine */
#include <asm-x86/kvm.h>
#include <linux/kvm.h>
#include "system/gmem-convert.h"
#include "kernel-vm.h"

#define HC_MAP_GPA_RANGE 12
#define MAP_ENCRYPTED 16
#define IN_PLACE (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

#define CODE_SIZE (64 * 1024)
#define CODE_AT 0x1000
#define ORDER_AT 0x2000
#define TICKS_AT 0x3000
#define STACK_AT 0xf000

/* What the guest shall do; the assembler below knows the offsets */
typedef struct Order {
    uint32_t loop;      /*  0: 0 = only write to the pages, 2 = CPUID */
    uint32_t gpa;       /*  4 */
    uint32_t pages;     /*  8 */
    uint32_t touch;     /* 12: 1 = write before, 2 = after each conversion */
    uint32_t rounds;    /* 16 */
    uint32_t begin;     /* 20: the guest's own */
    uint32_t answers;   /* 24: all answers, or'ed */
} Order;

extern const char kernel_vm_guest[], kernel_vm_guest_end[];

/* Flat 32-bit code; %ebp is the order, %edi where the next time goes. */
asm(".pushsection .rodata\n"
    ".code32\n"
    "kernel_vm_guest:\n"
    "0:  movb $0, %al\n"
    "    outb %al, $0x10\n"             /* done; on entry there is an order */
    "    movl $0x3000, %edi\n"
    "    cmpl $0, 0(%ebp)\n"
    "    jne 1f\n"
    "    call 8f\n"
    "    jmp 0b\n"
    "1:  movl 16(%ebp), %esi\n"
    "2:  call 7f\n"
    "    movl $16, %edx\n"              /* MAP_ENCRYPTED */
    "    call 9f\n"
    "    call 7f\n"
    "    xorl %edx, %edx\n"
    "    call 9f\n"
    "    decl %esi\n"
    "    jnz 2b\n"
    "    jmp 0b\n"
    "7:  cmpl $1, 12(%ebp)\n"
    "    je 8f\n"
    "    ret\n"
    "8:  movl 4(%ebp), %eax\n"
    "    movl 8(%ebp), %ecx\n"
    "3:  incl (%eax)\n"
    "    addl $4096, %eax\n"
    "    decl %ecx\n"
    "    jnz 3b\n"
    "    ret\n"
    "9:  movl 4(%ebp), %ebx\n"
    "    movl 8(%ebp), %ecx\n"
    "    pushl %edx\n"
    "    rdtsc\n"
    "    movl %eax, 20(%ebp)\n"
    "    popl %edx\n"
    "    movl $12, %eax\n"              /* HC_MAP_GPA_RANGE */
    "    cmpl $2, 0(%ebp)\n"
    "    je 5f\n"
    "    vmmcall\n"
    "    orl %eax, 24(%ebp)\n"
    "    cmpl $2, 12(%ebp)\n"
    "    jne 4f\n"
    "    call 8b\n"
    "4:  rdtsc\n"
    "    subl 20(%ebp), %eax\n"
    "    movl %eax, (%edi)\n"
    "    addl $4, %edi\n"
    "    ret\n"
    "5:  xorl %eax, %eax\n"
    "    cpuid\n"
    "    jmp 4b\n"
    "kernel_vm_guest_end:\n"
    ".code64\n"
    ".popsection\n");

static int must(int ret, const char *what)
{
    if (ret < 0) {
        err(1, "%s", what);
    }
    return ret;
}

static int new_gmem(KernelVm *vm, unsigned slot, uint64_t base, uint64_t size,
                    uint8_t **map)
{
    struct kvm_create_guest_memfd create = { .size = size, .flags = IN_PLACE };
    struct kvm_userspace_memory_region2 region = {
        .slot = slot,
        .flags = KVM_MEM_GUEST_MEMFD,
        .guest_phys_addr = base,
        .memory_size = size,
    };
    int fd = must(ioctl(vm->vm, KVM_CREATE_GUEST_MEMFD, &create),
                  "KVM_CREATE_GUEST_MEMFD (is kvm.gmem_in_place_conversion on?)");

    *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*map == MAP_FAILED) {
        err(1, "mapping 0x%" PRIx64 " bytes of guest_memfd", size);
    }
    region.userspace_addr = (uintptr_t)*map;
    region.guest_memfd = fd;
    must(ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION2, &region),
         "KVM_SET_USER_MEMORY_REGION2");
    return fd;
}

KernelVm *kernel_vm_new(uint64_t base, uint64_t size)
{
    KernelVm *vm = g_new0(KernelVm, 1);
    int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");

    vm->vm = must(ioctl(kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM),
                  "KVM_CREATE_VM");
    close(kvm);
    vm->vcpu = -1;
    vm->size = size;
    vm->gmem = new_gmem(vm, 0, base, size, &vm->map);
    return vm;
}

void kernel_vm_free(KernelVm *vm)
{
    munmap(vm->map, vm->size);
    close(vm->gmem);
    if (vm->vcpu >= 0) {
        munmap(vm->code, CODE_SIZE);
        close(vm->vcpu);
    }
    close(vm->vm);
    g_free(vm);
}

static void flat(struct kvm_segment *s, unsigned type, unsigned selector)
{
    *s = (struct kvm_segment) {
        .limit = UINT32_MAX, .selector = selector, .type = type, .present = 1,
        .db = 1, .s = 1, .g = 1,
    };
}

/* All that KVM has, as with -cpu host */
static void set_cpuid(KernelVm *vm)
{
    enum { ENTRIES = 100 };
    int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    g_autofree struct kvm_cpuid2 *all =
        g_malloc0(sizeof(*all) + ENTRIES * sizeof(all->entries[0]));

    all->nent = ENTRIES;
    must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, all), "KVM_GET_SUPPORTED_CPUID");
    must(ioctl(vm->vcpu, KVM_SET_CPUID2, all), "KVM_SET_CPUID2");
    close(kvm);
}

void kernel_vm_boot(KernelVm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << HC_MAP_GPA_RANGE },
    };
    struct kvm_regs regs = {
        .rip = CODE_AT, .rsp = STACK_AT, .rbp = ORDER_AT, .rflags = 2,
    };
    struct kvm_sregs sregs;

    close(new_gmem(vm, 1, 0, CODE_SIZE, &vm->code));
    memcpy(vm->code + CODE_AT, kernel_vm_guest,
           kernel_vm_guest_end - kernel_vm_guest);
    must(ioctl(vm->vm, KVM_ENABLE_CAP, &cap), "KVM_CAP_EXIT_HYPERCALL");
    must(ioctl(vm->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    vm->vcpu = must(ioctl(vm->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    vm->run = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
    if (vm->run == MAP_FAILED) {
        err(1, "mapping kvm_run");
    }
    set_cpuid(vm);
    must(ioctl(vm->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    flat(&sregs.cs, 11, 8);
    flat(&sregs.ds, 3, 16);
    sregs.es = sregs.ss = sregs.ds;
    sregs.cr0 |= 1;
    must(ioctl(vm->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    must(ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
    must(ioctl(vm->vcpu, KVM_RUN, 0), "KVM_RUN");
    if (vm->run->exit_reason != KVM_EXIT_IO) {
        errx(1, "the guest did not start: exit %u", vm->run->exit_reason);
    }
}

int kernel_vm_convert(KernelVm *vm, uint64_t offset, uint64_t size,
                      bool to_private, uint64_t *error_offset)
{
    struct kvm_memory_attributes2 attrs = {
        .offset = offset, .size = size,
        .attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
    };
    int ret = ioctl(vm->gmem, KVM_SET_MEMORY_ATTRIBUTES2, &attrs);

    ret = ret < 0 ? -errno : 0;
    *error_offset = ret == -EAGAIN || ret == -ENOMEM ? attrs.error_offset :
                                                       GMEM_NO_OFFSET;
    return ret;
}

static void hypercall(KernelVm *vm)
{
    struct kvm_run *run = vm->run;
    uint64_t ignored;
    int ret = 0;

    if (!vm->answer_only) {
        ret = kernel_vm_convert(vm, run->hypercall.args[0] - KERNEL_VM_DATA,
                                run->hypercall.args[1] * PAGE,
                                run->hypercall.args[2] & MAP_ENCRYPTED,
                                &ignored);
    }
    run->hypercall.ret = -ret;
}

/* Give the guest an order, and wait for it to be carried out */
static void kernel_vm_run(KernelVm *vm, const Order *order)
{
    volatile Order *there = (void *)(vm->code + ORDER_AT);

    *there = *order;
    do {
        must(ioctl(vm->vcpu, KVM_RUN, 0), "KVM_RUN");
        if (vm->run->exit_reason == KVM_EXIT_HYPERCALL) {
            hypercall(vm);
        } else if (vm->run->exit_reason != KVM_EXIT_IO) {
            errx(1, "unexpected exit %u of the guest", vm->run->exit_reason);
        }
    } while (vm->run->exit_reason != KVM_EXIT_IO);
    if (there->answers) {
        errx(1, "a conversion was answered with 0x%x", there->answers);
    }
}

void kernel_vm_touch(KernelVm *vm, uint32_t pages)
{
    kernel_vm_run(vm, &(Order) { .gpa = KERNEL_VM_DATA, .pages = pages });
}

void kernel_vm_loop(KernelVm *vm, uint32_t pages, KernelVmTouch touch,
                    uint32_t rounds, uint32_t *ticks)
{
    g_assert(rounds <= KERNEL_VM_ROUNDS);
    kernel_vm_run(vm, &(Order) {
        .loop = pages ? 1 : 2, .gpa = KERNEL_VM_DATA, .pages = pages, .touch = touch,
        .rounds = rounds,
    });
    memcpy(ticks, vm->code + TICKS_AT, 2 * rounds * sizeof(*ticks));
}
