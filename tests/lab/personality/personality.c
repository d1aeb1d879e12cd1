/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that the VMM makes, and who answers them; see personality.h. */
#define _GNU_SOURCE
/* With it, open and fallocate would be other names of the 64 ones. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/psp-sev.h>
#include "personality.h"

#define FDS_MAX     4096
#define TYPES       (1ul << KVM_X86_SNP_VM | 1ul << KVM_X86_TDX_VM)

pthread_mutex_t personality_lock = PTHREAD_MUTEX_INITIALIZER;
Vm vm = { .fd = -1 };
Options options = { .no_memory_pages = 5 };

static Vcpu *vcpus[FDS_MAX];        /* by file descriptor */

long raw_ioctl(int fd, unsigned long request, void *argument)
{
    int saved = errno;
    long ret = syscall(SYS_ioctl, fd, request, argument);

    if (ret < 0) {
        ret = -errno;
    }
    errno = saved;
    return ret;
}

static void read_option(const char *word)
{
    unsigned long n = 0;

    if (sscanf(word, "log=%199s", options.log) == 1) {
        return;
    }
    if (sscanf(word, "chunk=%lu", &n) == 1) {
        options.chunk = n;
    } else if (sscanf(word, "cpuid-mismatch=%lu", &n) == 1) {
        options.cpuid_mismatch = n;
    } else if (sscanf(word, "stale-faults=%lu", &n) == 1) {
        options.stale_faults = n;
    } else if (sscanf(word, "no-memory=%lu", &n) == 1) {
        options.no_memory = n;
    } else if (sscanf(word, "no-memory-pages=%lu", &n) == 1) {
        options.no_memory_pages = n;
    } else {
        complain(0, "PERSONALITY has no \"%s\"", word);
    }
}

__attribute__((constructor))
static void read_options(void)
{
    char *words = getenv("PERSONALITY");
    char *save;

    words = words ? strdup(words) : NULL;
    for (char *w = words ? strtok_r(words, " ", &save) : NULL; w;
         w = strtok_r(NULL, " ", &save)) {
        read_option(w);
    }
    free(words);
}

/* --- /dev/kvm --------------------------------------------------------------- */

static long create_vm(int fd, unsigned long type)
{
    VmKind kind = type == KVM_X86_SNP_VM ? VM_SNP :
                  type == KVM_X86_TDX_VM ? VM_TDX : VM_PLAIN;
    long ret;

    if (kind == VM_PLAIN) {
        return raw_ioctl(fd, KVM_CREATE_VM, (void *)type);
    }
    ret = raw_ioctl(fd, KVM_CREATE_VM, (void *)KVM_X86_SW_PROTECTED_VM);
    if (ret >= 0) {
        long attributes = raw_ioctl(ret, KVM_CHECK_EXTENSION, (void *)
                                    KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES);

        vm = (Vm) {
            .fd = ret,
            .kvm_fd = fd,
            .kind = kind,
            .in_place = attributes > 0 &&
                        attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE,
        };
    }
    log_call("KVM_CREATE_VM %s", kind == VM_SNP ? "snp" : "tdx");
    return ret;
}

static long check_extension(int fd, unsigned long cap)
{
    long ret = raw_ioctl(fd, KVM_CHECK_EXTENSION, (void *)cap);

    switch (cap) {
    case KVM_CAP_VM_TYPES:
        return ret < 0 ? ret : ret | (long)TYPES;
    case KVM_CAP_READONLY_MEM:
    case KVM_CAP_X86_SMM:
        return fd == vm.fd ? 0 : ret;
    default:
        return ret;
    }
}

static long get_device_attr(int fd, struct kvm_device_attr *a)
{
    static const uint64_t vmsa_features;

    if (a->group == KVM_X86_GRP_SEV && a->attr == KVM_X86_SEV_VMSA_FEATURES) {
        return source_write(a->addr, &vmsa_features, sizeof(vmsa_features));
    }
    return raw_ioctl(fd, KVM_GET_DEVICE_ATTR, a);
}

/* --- the VM ------------------------------------------------------------------ */

static long create_vcpu(unsigned long id)
{
    Vcpu *v = calloc(1, sizeof(*v));
    long size, ret;

    if (vm.kind == VM_TDX && vm.phase < PHASE_INIT) {
        free(v);
        return complain(EIO, "vCPU %lu is created before TDX_INIT_VM", id);
    }
    if (vm.kind == VM_TDX && !vm.split_irqchip) {
        free(v);
        return complain(EINVAL, "a TDX guest needs a split irqchip");
    }
    ret = raw_ioctl(vm.fd, KVM_CREATE_VCPU, (void *)id);
    log_call("KVM_CREATE_VCPU %lu", id);
    if (ret < 0 || ret >= FDS_MAX) {
        free(v);
        return ret;
    }
    v->fd = ret;
    v->id = id;
    size = raw_ioctl(vm.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    v->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ret, 0);
    if (v->run == MAP_FAILED) {
        complain(0, "vCPU %lu cannot be mapped: %s", id, strerror(errno));
        free(v);
        return -ENOMEM;
    }
    vcpus[ret] = v;
    return ret;
}

static long create_guest_memfd(struct kvm_create_guest_memfd *c)
{
    long ret = raw_ioctl(vm.fd, KVM_CREATE_GUEST_MEMFD, c);

    log_call("KVM_CREATE_GUEST_MEMFD size=0x%llx flags=0x%llx%s", c->size,
             c->flags, ret < 0 ? " failed" : "");
    if (ret >= 0) {
        memory_add_file(ret, c->size, c->flags);
    }
    return ret;
}

static long set_memory_region(unsigned long request, void *argument)
{
    /* The old structure is the beginning of the new one. */
    struct kvm_userspace_memory_region2 r = { 0 };
    GmemFile *f = NULL;
    char gmem[60] = "";
    long ret;

    memcpy(&r, argument, request == KVM_SET_USER_MEMORY_REGION2
           ? sizeof(r) : sizeof(struct kvm_userspace_memory_region));
    if (r.flags & KVM_MEM_GUEST_MEMFD) {
        f = memory_file(r.guest_memfd);
        snprintf(gmem, sizeof(gmem), " gmem%d offset=0x%llx",
                 f ? (int)f->index : -1, r.guest_memfd_offset);
    }
    ret = raw_ioctl(vm.fd, request, argument);
    log_call("KVM_SET_USER_MEMORY_REGION slot=0x%x flags=0x%x gpa=0x%llx "
             "size=0x%llx%s%s", r.slot, r.flags, r.guest_phys_addr,
             r.memory_size, gmem, ret < 0 ? " failed" : "");
    if (ret >= 0) {
        memory_set_slot(&r);
    }
    return ret;
}

static long set_attributes(struct kvm_memory_attributes *a)
{
    long ret = raw_ioctl(vm.fd, KVM_SET_MEMORY_ATTRIBUTES, a);

    log_call("KVM_SET_MEMORY_ATTRIBUTES gpa=0x%llx size=0x%llx 0x%llx%s",
             a->address, a->size, a->attributes, ret < 0 ? " failed" : "");
    if (ret >= 0 && vm.in_place) {
        complain(0, "KVM_SET_MEMORY_ATTRIBUTES does nothing on an in-place "
                 "host");
    } else if (ret >= 0) {
        memory_set_attributes(a);
    }
    return ret;
}

static long enable_cap(struct kvm_enable_cap *c)
{
    log_call("KVM_ENABLE_CAP %u 0x%llx 0x%llx", c->cap, c->args[0], c->args[1]);
    if (c->cap == KVM_CAP_MAX_VCPU_ID) {
        /* One more, for the vCPU that writes to private memory */
        struct kvm_enable_cap more = *c;
        long ret;

        more.args[0]++;
        ret = raw_ioctl(vm.fd, KVM_ENABLE_CAP, &more);
        if (ret >= 0) {
            vm.vcpu_id_limit = c->args[0];
        }
        return ret;
    }
    if (c->cap == KVM_CAP_SPLIT_IRQCHIP) {
        vm.split_irqchip = true;
    }
    return raw_ioctl(vm.fd, KVM_ENABLE_CAP, c);
}

static long vm_call(unsigned long request, void *argument)
{
    switch (request) {
    case KVM_CREATE_VCPU:
        return create_vcpu((unsigned long)argument);
    case KVM_CREATE_GUEST_MEMFD:
        return create_guest_memfd(argument);
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_SET_USER_MEMORY_REGION2:
        return set_memory_region(request, argument);
    case KVM_SET_MEMORY_ATTRIBUTES:
        return set_attributes(argument);
    case KVM_ENABLE_CAP:
        return enable_cap(argument);
    case KVM_MEMORY_ENCRYPT_OP:
        return vm.kind == VM_SNP ? snp_vm_command(argument)
                                 : tdx_vm_command(argument);
    case KVM_MEMORY_ENCRYPT_REG_REGION:
    case KVM_MEMORY_ENCRYPT_UNREG_REGION:
        return complain(EINVAL, "guest_memfd needs no registered regions");
    default:
        return raw_ioctl(vm.fd, request, argument);
    }
}

/* --- vCPUs -------------------------------------------------------------------- */

/* Registers of a protected guest are nobody's business. */
static bool is_guest_state(unsigned long request)
{
    switch (request) {
    case KVM_GET_REGS:
    case KVM_SET_REGS:
    case KVM_GET_SREGS:
    case KVM_SET_SREGS:
    case KVM_GET_SREGS2:
    case KVM_SET_SREGS2:
    case KVM_GET_XSAVE:
    case KVM_GET_XSAVE2:
    case KVM_SET_XSAVE:
    case KVM_GET_XCRS:
    case KVM_SET_XCRS:
    case KVM_GET_FPU:
    case KVM_SET_FPU:
    case KVM_GET_DEBUGREGS:
    case KVM_SET_DEBUGREGS:
    case KVM_SET_GUEST_DEBUG:
        return true;
    default:
        return false;
    }
}

static long vcpu_call(Vcpu *v, unsigned long request, void *argument)
{
    if (request == KVM_MEMORY_ENCRYPT_OP) {
        return vm.kind == VM_TDX ? tdx_vcpu_command(v, argument) :
               complain(EINVAL, "an SNP guest has no commands for a vCPU");
    }
    if (is_guest_state(request) &&
        (vm.kind == VM_TDX || vm.phase == PHASE_RUNNABLE)) {
        return complain(EINVAL, "registers of vCPU %lu are protected (ioctl "
                        "0x%lx)", v->id, request);
    }
    if (request == KVM_PRE_FAULT_MEMORY && vm.phase < PHASE_RUNNABLE) {
        return complain(EOPNOTSUPP, "KVM_PRE_FAULT_MEMORY before the launch is "
                        "finished");
    }
    return raw_ioctl(v->fd, request, argument);
}

/* --- guest_memfd ---------------------------------------------------------------- */

/*
 * A conversion to shared of so many pages begins the shortage, once the guest
 * runs: QEMU tries a page before there is any.
 */
static bool short_of_memory(const struct kvm_memory_attributes2 *a)
{
    static struct timespec begin;
    struct timespec now;

    if (!options.no_memory) {
        return false;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!begin.tv_sec) {
        if (vm.phase < PHASE_RUNNABLE ||
            a->size != options.no_memory_pages * PAGE_SIZE ||
            a->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE) {
            return false;
        }
        begin = now;
    }
    return (now.tv_sec - begin.tv_sec) * 1000 +
           (now.tv_nsec - begin.tv_nsec) / 1000000 < options.no_memory;
}

static long set_attributes2(GmemFile *f, struct kvm_memory_attributes2 *a)
{
    long ret = short_of_memory(a) ? -ENOMEM
             : raw_ioctl(f->fd, KVM_SET_MEMORY_ATTRIBUTES2, a);

    log_call("KVM_SET_MEMORY_ATTRIBUTES2 gmem%u offset=0x%llx size=0x%llx "
             "0x%llx%s", f->index, a->offset, a->size, a->attributes,
             ret == -EAGAIN ? " busy" : ret < 0 ? " failed" : "");
    if (ret >= 0) {
        memory_set_attributes2(f, a);
    }
    return ret;
}

/* --- what the VMM calls --------------------------------------------------------- */

static long locked_call(int fd, unsigned long request, void *argument)
{
    GmemFile *f;

    switch (request) {
    case KVM_CREATE_VM:
        return create_vm(fd, (unsigned long)argument);
    case KVM_CHECK_EXTENSION:
        return check_extension(fd, (unsigned long)argument);
    case KVM_GET_DEVICE_ATTR:
        return get_device_attr(fd, argument);
    case SEV_ISSUE_CMD:
        return snp_platform_command(argument);
    case KVM_SET_MEMORY_ATTRIBUTES2:
        f = memory_file(fd);
        return f ? set_attributes2(f, argument)
                 : raw_ioctl(fd, request, argument);
    }
    if (fd == vm.fd) {
        return vm_call(request, argument);
    }
    if (fd >= 0 && fd < FDS_MAX && vcpus[fd]) {
        return vcpu_call(vcpus[fd], request, argument);
    }
    return raw_ioctl(fd, request, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list ap;
    long ret;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);
    if (request == KVM_RUN && fd >= 0 && fd < FDS_MAX && vcpus[fd]) {
        ret = run_vcpu(vcpus[fd]);
    } else {
        pthread_mutex_lock(&personality_lock);
        ret = locked_call(fd, request, argument);
        pthread_mutex_unlock(&personality_lock);
    }
    if (ret < 0) {
        errno = -ret;
        return -1;
    }
    return ret;
}

/* There is no such device; commands to it are known by their number. */
int open(const char *path, int flags, ...)
{
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    return syscall(SYS_openat, AT_FDCWD,
                   strcmp(path, "/dev/sev") == 0 ? "/dev/null" : path, flags,
                   mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    long ret = syscall(SYS_fallocate, fd, mode, offset, size);

    if (ret == 0 && mode & FALLOC_FL_PUNCH_HOLE) {
        GmemFile *f;

        pthread_mutex_lock(&personality_lock);
        f = memory_file(fd);
        if (f) {
            log_call("punch gmem%u offset=0x%lx size=0x%lx", f->index, offset,
                     size);
            memory_punch(f, offset, size);
        }
        pthread_mutex_unlock(&personality_lock);
    }
    return ret;
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
    __attribute__((alias("fallocate")));

int madvise(void *address, size_t size, int advice)
{
    long ret = syscall(SYS_madvise, address, size, advice);

    /* On a mapping of a guest_memfd it frees the pages, too. */
    if (ret == 0 && advice == MADV_REMOVE) {
        pthread_mutex_lock(&personality_lock);
        memory_punch_mapping((uint64_t)address, size);
        pthread_mutex_unlock(&personality_lock);
    }
    return ret;
}
