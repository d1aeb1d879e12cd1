/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm-trace.so, to be preloaded (before personality.so, if that is, too): each
 * call to KVM, and each that frees guest memory, as a line of the file that
 * KVM_TRACE names:
 *
 *   THREAD OBJECT CALL [ARGUMENTS] = RESULT
 *
 * Two runs are to be compared (kvm-trace.py), so there are no addresses and no
 * file descriptors in it.  Left out is KVM_RUN: how often a vCPU comes out of
 * it depends on time.
 */
#define _GNU_SOURCE
/* With it, fallocate would be another name of fallocate64. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
/* Before linux/kvm.h, which would take those of the build machine. */
#include <asm-x86/kvm.h>
#include <linux/kvm.h>

#define FDS_MAX     4096
#define SLOTS_MAX   128
#define NAME_SIZE   12

typedef struct Slot {
    uint64_t gpa, size, hva;
} Slot;

/* Who is behind a descriptor; "" is not for us */
static char objects[FDS_MAX][NAME_SIZE];
static Slot slots[SLOTS_MAX];
static unsigned gmem_files;
static __thread char thread_name[NAME_SIZE];

/* --- the line ------------------------------------------------------------- */

static const char *this_thread(void)
{
    if (!thread_name[0]) {
        strcpy(thread_name, gettid() == getpid() ? "main" : "other");
    }
    return thread_name;
}

static void line(const char *object, const char *call, long result, bool is_fd)
{
    static int fd = -1;
    char text[400];
    int n;

    if (fd < 0) {
        const char *path = getenv("KVM_TRACE");

        fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
                  : -1;
    }
    n = is_fd && result >= 0
        ? snprintf(text, sizeof(text), "%s %s %s = fd\n", this_thread(), object,
                   call)
        : snprintf(text, sizeof(text), "%s %s %s = %ld\n", this_thread(),
                   object, call, result);
    /* One write() per line: threads do not cut each other short. */
    if (fd >= 0 && write(fd, text, n) != n) {
        dprintf(2, "kvm-trace.so cannot write its file\n");
    }
}

static const char *object_of(int fd)
{
    return fd >= 0 && fd < FDS_MAX ? objects[fd] : "";
}

static void name_object(int fd, const char *f, unsigned long n)
{
    if (fd >= 0 && fd < FDS_MAX) {
        snprintf(objects[fd], NAME_SIZE, f, n);
    }
}

/* --- what is called --------------------------------------------------------- */

#define NAME(x) { x, #x }
/* What QEMU calls on x86.  Others are there by their number. */
static const struct {
    unsigned long request;
    const char *name;
} names[] = {
    NAME(KVM_GET_API_VERSION), NAME(KVM_CREATE_VM), NAME(KVM_CHECK_EXTENSION),
    NAME(KVM_GET_VCPU_MMAP_SIZE), NAME(KVM_GET_SUPPORTED_CPUID),
    NAME(KVM_GET_MSR_INDEX_LIST), NAME(KVM_GET_MSR_FEATURE_INDEX_LIST),
    NAME(KVM_CREATE_VCPU), NAME(KVM_SET_NR_MMU_PAGES), NAME(KVM_SET_TSS_ADDR),
    NAME(KVM_SET_IDENTITY_MAP_ADDR), NAME(KVM_SET_BOOT_CPU_ID),
    NAME(KVM_SET_USER_MEMORY_REGION), NAME(KVM_SET_USER_MEMORY_REGION2),
    NAME(KVM_GET_DIRTY_LOG), NAME(KVM_CLEAR_DIRTY_LOG),
    NAME(KVM_RESET_DIRTY_RINGS), NAME(KVM_REGISTER_COALESCED_MMIO),
    NAME(KVM_UNREGISTER_COALESCED_MMIO), NAME(KVM_CREATE_IRQCHIP),
    NAME(KVM_IRQ_LINE), NAME(KVM_IRQ_LINE_STATUS), NAME(KVM_GET_IRQCHIP),
    NAME(KVM_SET_IRQCHIP), NAME(KVM_CREATE_PIT2), NAME(KVM_GET_PIT2),
    NAME(KVM_SET_PIT2), NAME(KVM_REINJECT_CONTROL), NAME(KVM_SET_GSI_ROUTING),
    NAME(KVM_IRQFD), NAME(KVM_IOEVENTFD), NAME(KVM_SIGNAL_MSI),
    NAME(KVM_SET_CLOCK), NAME(KVM_GET_CLOCK), NAME(KVM_ENABLE_CAP),
    NAME(KVM_CREATE_DEVICE), NAME(KVM_SET_DEVICE_ATTR),
    NAME(KVM_GET_DEVICE_ATTR), NAME(KVM_HAS_DEVICE_ATTR),
    NAME(KVM_CREATE_GUEST_MEMFD), NAME(KVM_SET_MEMORY_ATTRIBUTES),
    NAME(KVM_SET_MEMORY_ATTRIBUTES2), NAME(KVM_MEMORY_ENCRYPT_OP),
    NAME(KVM_MEMORY_ENCRYPT_REG_REGION), NAME(KVM_MEMORY_ENCRYPT_UNREG_REGION),
    NAME(KVM_X86_SET_MSR_FILTER), NAME(KVM_SET_PMU_EVENT_FILTER),
    NAME(KVM_GET_REGS), NAME(KVM_SET_REGS), NAME(KVM_GET_SREGS),
    NAME(KVM_SET_SREGS), NAME(KVM_GET_SREGS2), NAME(KVM_SET_SREGS2),
    NAME(KVM_INTERRUPT), NAME(KVM_NMI), NAME(KVM_SMI), NAME(KVM_GET_MSRS),
    NAME(KVM_SET_MSRS), NAME(KVM_SET_SIGNAL_MASK), NAME(KVM_GET_FPU),
    NAME(KVM_SET_FPU), NAME(KVM_GET_LAPIC), NAME(KVM_SET_LAPIC),
    NAME(KVM_SET_CPUID2), NAME(KVM_GET_CPUID2), NAME(KVM_TPR_ACCESS_REPORTING),
    NAME(KVM_SET_VAPIC_ADDR),
    NAME(KVM_GET_MP_STATE), NAME(KVM_SET_MP_STATE), NAME(KVM_X86_SETUP_MCE),
    NAME(KVM_X86_GET_MCE_CAP_SUPPORTED), NAME(KVM_X86_SET_MCE),
    NAME(KVM_GET_VCPU_EVENTS), NAME(KVM_SET_VCPU_EVENTS),
    NAME(KVM_GET_DEBUGREGS), NAME(KVM_SET_DEBUGREGS), NAME(KVM_SET_TSC_KHZ),
    NAME(KVM_GET_TSC_KHZ), NAME(KVM_GET_XSAVE), NAME(KVM_GET_XSAVE2),
    NAME(KVM_SET_XSAVE), NAME(KVM_GET_XCRS), NAME(KVM_SET_XCRS),
    NAME(KVM_KVMCLOCK_CTRL), NAME(KVM_GET_NESTED_STATE),
    NAME(KVM_SET_NESTED_STATE), NAME(KVM_SET_GUEST_DEBUG), NAME(KVM_TRANSLATE),
    NAME(KVM_PRE_FAULT_MEMORY), NAME(KVM_GET_STATS_FD),
};

/* Arguments that say what is done to the guest's memory, and plain numbers */
static int arguments(char *text, size_t size, unsigned long request, void *p)
{
    struct kvm_userspace_memory_region2 *r = p;
    struct kvm_create_guest_memfd *c = p;
    struct kvm_memory_attributes *a = p;
    struct kvm_memory_attributes2 *a2 = p;
    struct kvm_pre_fault_memory *f = p;
    struct kvm_enable_cap *e = p;

    switch (request) {
    case KVM_SET_USER_MEMORY_REGION:
        return snprintf(text, size, " slot=0x%x flags=0x%x gpa=0x%llx "
                        "size=0x%llx", r->slot, r->flags, r->guest_phys_addr,
                        r->memory_size);
    case KVM_SET_USER_MEMORY_REGION2:
        return snprintf(text, size, " slot=0x%x flags=0x%x gpa=0x%llx "
                        "size=0x%llx %s offset=0x%llx", r->slot, r->flags,
                        r->guest_phys_addr, r->memory_size,
                        r->flags & KVM_MEM_GUEST_MEMFD
                        ? object_of(r->guest_memfd) : "-",
                        r->flags & KVM_MEM_GUEST_MEMFD
                        ? r->guest_memfd_offset : 0);
    case KVM_CREATE_GUEST_MEMFD:
        return snprintf(text, size, " size=0x%llx flags=0x%llx", c->size,
                        c->flags);
    case KVM_SET_MEMORY_ATTRIBUTES:
        return snprintf(text, size, " gpa=0x%llx size=0x%llx 0x%llx",
                        a->address, a->size, a->attributes);
    case KVM_SET_MEMORY_ATTRIBUTES2:
        return snprintf(text, size, " offset=0x%llx size=0x%llx 0x%llx",
                        a2->offset, a2->size, a2->attributes);
    case KVM_PRE_FAULT_MEMORY:
        return snprintf(text, size, " gpa=0x%llx size=0x%llx", f->gpa, f->size);
    case KVM_ENABLE_CAP:
        return snprintf(text, size, " %u 0x%llx 0x%llx", e->cap, e->args[0],
                        e->args[1]);
    case KVM_MEMORY_ENCRYPT_OP:
        /* struct kvm_sev_cmd and kvm_tdx_cmd begin with it. */
        return snprintf(text, size, " command=%u", *(uint32_t *)p);
    case KVM_CREATE_VM:
    case KVM_CHECK_EXTENSION:
    case KVM_CREATE_VCPU:
    case KVM_SET_BOOT_CPU_ID:
    case KVM_SET_TSS_ADDR:
        return snprintf(text, size, " %lu", (unsigned long)p);
    default:
        return 0;
    }
}

static void describe(char *text, size_t size, unsigned long request, void *p)
{
    int n = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].request == request) {
            n = snprintf(text, size, "%s", names[i].name);
        }
    }
    if (!n) {
        n = snprintf(text, size, "ioctl-0x%lx", request);
    }
    arguments(text + n, size - n, request, p);
}

/* Remember what the call has made. */
static void follow(int fd, unsigned long request, void *p, long ret)
{
    struct kvm_userspace_memory_region *r = p;

    switch (request) {
    case KVM_CREATE_VM:
        name_object(ret, "vm", 0);
        break;
    case KVM_CREATE_VCPU:
        name_object(ret, "vcpu%lu", (unsigned long)p);
        /* QEMU's vCPU threads make their own. */
        snprintf(thread_name, NAME_SIZE, "vcpu%lu", (unsigned long)p);
        break;
    case KVM_CREATE_GUEST_MEMFD:
        name_object(ret, "gmem%lu", gmem_files++);
        break;
    case KVM_CREATE_DEVICE:
        name_object(((struct kvm_create_device *)p)->fd, "device", 0);
        break;
    case KVM_GET_API_VERSION:
        name_object(fd, "kvm", 0);
        break;
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_SET_USER_MEMORY_REGION2:
        if (r->slot < SLOTS_MAX) {
            slots[r->slot] = (Slot) {
                r->guest_phys_addr, r->memory_size, r->userspace_addr
            };
        }
        break;
    }
}

static bool gives_fd(unsigned long request)
{
    return request == KVM_CREATE_VM || request == KVM_CREATE_VCPU ||
           request == KVM_CREATE_GUEST_MEMFD || request == KVM_GET_STATS_FD;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, ...);
    bool ours = _IOC_TYPE(request) == KVMIO && request != KVM_RUN;
    char text[300];
    va_list ap;
    void *p;
    int ret;

    va_start(ap, request);
    p = va_arg(ap, void *);
    va_end(ap);
    if (!next) {
        next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    }
    if (ours) {
        /* Before: the call may change its argument. */
        describe(text, sizeof(text), request, p);
    }
    ret = next(fd, request, p);
    if (ours) {
        int saved = errno;

        if (ret >= 0) {
            follow(fd, request, p, ret);
        }
        line(*object_of(fd) ? object_of(fd) : "?", text,
             ret < 0 ? -saved : ret, gives_fd(request));
        errno = saved;
    }
    return ret;
}

/* --- guest memory that is freed ---------------------------------------------- */

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    static int (*next)(int, int, off_t, off_t);
    int ret;

    if (!next) {
        next = (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, "fallocate");
    }
    ret = next(fd, mode, offset, size);
    if (!strncmp(object_of(fd), "gmem", 4)) {
        int saved = errno;
        char text[100];

        snprintf(text, sizeof(text), "fallocate mode=%d offset=0x%lx size=0x%lx",
                 mode, offset, size);
        line(object_of(fd), text, ret < 0 ? -saved : ret, false);
        errno = saved;
    }
    return ret;
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
    __attribute__((alias("fallocate")));

int madvise(void *address, size_t size, int advice)
{
    static int (*next)(void *, size_t, int);
    uint64_t at = (uint64_t)address;
    int ret, saved;

    if (!next) {
        next = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "madvise");
    }
    ret = next(address, size, advice);
    saved = errno;
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        const Slot *s = &slots[i];

        if ((advice == MADV_DONTNEED || advice == MADV_REMOVE) &&
            at >= s->hva && at - s->hva < s->size) {
            char text[100];

            snprintf(text, sizeof(text), "madvise %d gpa=0x%lx size=0x%lx",
                     advice, at - s->hva + s->gpa, size);
            line("memory", text, ret < 0 ? -saved : ret, false);
            break;
        }
    }
    errno = saved;
    return ret;
}

/* A number is used again. */
int close(int fd)
{
    static int (*next)(int);

    if (!next) {
        next = (int (*)(int))dlsym(RTLD_NEXT, "close");
    }
    if (*object_of(fd)) {
        line(object_of(fd), "close", 0, false);
        objects[fd][0] = 0;
    }
    return next(fd);
}
