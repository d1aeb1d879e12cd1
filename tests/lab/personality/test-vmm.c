/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small VMM of personality-test; see test.h. */
#include "test.h"

bool in_place;
int kvm, vm_fd, vcpu_fd, gmem_fd;
char *ram;
struct kvm_run *run;

long call(int fd, unsigned long request, void *argument)
{
    long ret = ioctl(fd, request, argument);

    return ret < 0 ? -errno : ret;
}

long must(long ret, const char *what)
{
    if (ret < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-ret));
        exit(2);
    }
    return ret;
}

void create_vm(unsigned long type)
{
    vm_fd = must(call(kvm, KVM_CREATE_VM, (void *)type), "KVM_CREATE_VM");
    in_place = call(vm_fd, KVM_CHECK_EXTENSION, (void *)
                    KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) > 0;
}

void create_vcpu(void)
{
    long size = call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

    vcpu_fd = must(call(vm_fd, KVM_CREATE_VCPU, NULL), "KVM_CREATE_VCPU");
    run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
}

void add_memory(void)
{
    struct kvm_create_guest_memfd c = {
        .size = RAM_SIZE,
        .flags = in_place ? GUEST_MEMFD_FLAG_MMAP |
                            GUEST_MEMFD_FLAG_INIT_SHARED : 0,
    };
    struct kvm_userspace_memory_region2 r = {
        .flags = KVM_MEM_GUEST_MEMFD,
        .memory_size = RAM_SIZE,
    };

    gmem_fd = must(call(vm_fd, KVM_CREATE_GUEST_MEMFD, &c), "guest_memfd");
    ram = in_place
          ? mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem_fd, 0)
          : mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r.userspace_addr = (uint64_t)ram;
    r.guest_memfd = gmem_fd;
    must(call(vm_fd, KVM_SET_USER_MEMORY_REGION2, &r), "slot");
}

long convert(uint64_t gpa, bool to_private)
{
    uint64_t attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
    struct kvm_memory_attributes a = {
        .address = gpa, .size = PAGE_SIZE, .attributes = attributes,
    };
    struct kvm_memory_attributes2 a2 = {
        .offset = gpa, .size = PAGE_SIZE, .attributes = attributes,
    };

    return in_place ? call(gmem_fd, KVM_SET_MEMORY_ATTRIBUTES2, &a2)
                    : call(vm_fd, KVM_SET_MEMORY_ATTRIBUTES, &a);
}

char *source(void)
{
    static char page[PAGE_SIZE] __attribute__((aligned(4096)));

    return page;
}

long free_pages(uint64_t gpa, uint64_t size)
{
    return fallocate(gmem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, gpa,
                     size) < 0 ? -errno : 0;
}
