/*
 * guest_memfd in the KVM accelerator: mode, in-place RAM blocks, the ioctl
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/mmap-alloc.h"
#include "qemu/timer.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/accel-blocker.h"
#include "system/address-spaces.h"
#include "system/confidential-guest-support.h"
#include "system/gmem.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "trace.h"

/* What an in-place block needs from KVM_CREATE_GUEST_MEMFD. */
#define GMEM_IN_PLACE_FLAGS \
    (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static KvmGmemMode gmem_mode;
static const char *gmem_mode_why = "KVM is not in use";
static KvmGmemProof gmem_proof;

KvmGmemMode kvm_gmem_mode(void)
{
    return gmem_mode;
}

const char *kvm_gmem_mode_why(void)
{
    return gmem_mode_why;
}

void kvm_gmem_set_proof(KvmGmemProof proof)
{
    gmem_proof = proof;
}

/*
 * Block drivers come before the accelerator, and so before there is memory
 * that could refuse them.  Nobody else has blocked discarding that early.
 */
static void gmem_refuse_early_pins(void)
{
    Error *err = NULL;

    if (ram_block_discard_is_disabled()) {
        kvm_gmem_refuse("nvme:// (or a driver of libblkio)", "it pins all of "
                        "the guest's memory; use an image file, a block device "
                        "or vfio-pci", &err);
        error_report_err(err);
        exit(1);
    }
}

static GmemWish gmem_wish(OnOffAuto value)
{
    return value == ON_OFF_AUTO_ON ? GMEM_WISH_ON :
           value == ON_OFF_AUTO_OFF ? GMEM_WISH_OFF : GMEM_WISH_AUTO;
}

/* Asks KVM; the answers are for this VM only. */
static void gmem_ask(KVMState *s, GmemModeInput *in)
{
    uint64_t gmem_attrs, vm_attrs, flags;

    gmem_attrs = MAX(0, kvm_vm_check_extension(s,
                            KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES));
    vm_attrs = MAX(0, kvm_vm_check_extension(s, KVM_CAP_MEMORY_ATTRIBUTES));
    flags = MAX(0, kvm_vm_check_extension(s, KVM_CAP_GUEST_MEMFD_FLAGS));
    trace_kvm_gmem_probe(gmem_attrs, vm_attrs, flags);

    in->in_place = (gmem_attrs & KVM_MEMORY_ATTRIBUTE_PRIVATE) &&
                   (flags & GMEM_IN_PLACE_FLAGS) == GMEM_IN_PLACE_FLAGS;
    in->vm_attributes = vm_attrs & KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

void kvm_gmem_probe(KVMState *s, MachineState *ms)
{
    ConfidentialGuestSupport *cgs = ms->cgs;
    GmemModeInput in = { .machine = gmem_wish(ms->convert_in_place) };
    char *why, *error;

    if (!cgs) {
        gmem_mode_why = "the machine has no confidential guest";
        return;
    }

    in.type = object_get_typename(OBJECT(cgs));
    in.has_guest_memfd = cgs->require_guest_memfd;
    in.can_in_place =
        CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(cgs)->can_convert_in_place;
    in.object = gmem_wish(cgs->convert_in_place);
    in.proof = gmem_proof;
    if (in.has_guest_memfd) {
        gmem_ask(s, &in);
    }

    gmem_mode = gmem_choose_mode(&in, &why, &error);
    if (error) {
        error_report("%s", error);
        exit(1);
    }
    gmem_mode_why = why;
    cgs->convert_in_place = kvm_gmem_in_place() ? ON_OFF_AUTO_ON :
                                                  ON_OFF_AUTO_OFF;
    trace_kvm_gmem_mode(gmem_mode == KVM_GMEM_IN_PLACE ? "in-place" :
                        gmem_mode == KVM_GMEM_VM_ATTRIBUTES ? "vm-attributes" :
                        "none", gmem_mode_why);

    if (gmem_mode == KVM_GMEM_IN_PLACE) {
        gmem_refuse_early_pins();
    }
    if (gmem_mode == KVM_GMEM_IN_PLACE ||
        (gmem_mode == KVM_GMEM_VM_ATTRIBUTES &&
         CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(ms->cgs)->memory_starts_shared)) {
        kvm_gmem_launch_init();
    }
}

bool kvm_gmem_refuse(const char *what, const char *why, Error **errp)
{
    if (!kvm_gmem_in_place()) {
        return false;
    }
    error_setg(errp, "%s cannot be used with guest memory that is converted in "
               "place: %s", what, why);
    return true;
}

bool kvm_gmem_refuse_dirty_log(const char *what, Error **errp)
{
    if (!current_machine || !machine_require_guest_memfd(current_machine)) {
        return false;
    }
    error_setg(errp, "%s cannot be used with this guest: KVM does not log "
               "writes to guest_memfd, which its memory is made of", what);
    return true;
}

bool kvm_gmem_alloc_ram_block(RAMBlock *rb, Error **errp)
{
    const char *name = memory_region_name(rb->mr);
    void *host;
    int fd;

    if (rb->host) {
        error_setg(errp, "RAM block '%s' has memory of its own, but in-place "
                   "conversion needs a guest_memfd; use memory-backend-ram or "
                   "plain -m, or convert-in-place=off on a host that allows it",
                   name);
        return false;
    }

    fd = kvm_create_guest_memfd(rb->max_length, GMEM_IN_PLACE_FLAGS, errp);
    if (fd < 0) {
        error_prepend(errp, "RAM block '%s' (%" PRIu64 " bytes): ", name,
                      (uint64_t)rb->max_length);
        return false;
    }

    host = qemu_ram_mmap(fd, rb->max_length, QEMU_VMALLOC_ALIGN,
                         QEMU_MAP_SHARED, 0);
    if (host == MAP_FAILED) {
        error_setg_errno(errp, errno, "RAM block '%s': cannot map %" PRIu64
                         " bytes of guest_memfd", name,
                         (uint64_t)rb->max_length);
        close(fd);
        return false;
    }

    trace_kvm_gmem_create(name, rb->max_length, GMEM_IN_PLACE_FLAGS, fd);
    rb->mr->align = QEMU_VMALLOC_ALIGN;
    rb->host = host;
    rb->guest_memfd = fd;
    rb->flags |= RAM_SHARED;
    return true;
}

int kvm_gmem_create_shared(uint64_t size, const char *what, Error **errp)
{
    struct kvm_create_guest_memfd gmem = {
        .size = size,
        .flags = GMEM_IN_PLACE_FLAGS,
    };
    int flags, fd;

    if (!kvm_enabled()) {
        error_setg(errp, "%s needs KVM: a guest_memfd belongs to a virtual "
                   "machine of KVM; use -accel kvm or memory-backend-memfd",
                   what);
        return -1;
    }
    flags = MAX(0, kvm_vm_check_extension(kvm_state,
                                          KVM_CAP_GUEST_MEMFD_FLAGS));
    if ((flags & GMEM_IN_PLACE_FLAGS) != GMEM_IN_PLACE_FLAGS) {
        error_setg(errp, "%s needs a host kernel whose guest_memfd can be "
                   "mapped and starts shared (Linux 6.18); use "
                   "memory-backend-memfd", what);
        return -1;
    }

    fd = kvm_vm_ioctl(kvm_state, KVM_CREATE_GUEST_MEMFD, &gmem);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "%s: cannot create a guest_memfd of %"
                         PRIu64 " bytes", what, size);
        return -1;
    }
    return fd;
}

static int gmem_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                               bool to_private, uint64_t *error_offset)
{
    RAMBlock *rb = opaque;
    struct kvm_memory_attributes2 attrs = {
        .offset = offset,
        .size = size,
        .attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
    };
    int ret;

    /* Memory slots must not be swapped while KVM walks their bindings. */
    accel_ioctl_begin();
    ret = ioctl(rb->guest_memfd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs);
    ret = ret < 0 ? -errno : 0;
    accel_ioctl_end();

    *error_offset = ret == -EAGAIN || ret == -ENOMEM ? attrs.error_offset :
                                                       GMEM_NO_OFFSET;
    trace_kvm_gmem_set_attributes(rb->guest_memfd, offset, size,
                                  to_private ? "private" : "shared", ret,
                                  *error_offset);
    return ret;
}

static int64_t gmem_now(void *opaque)
{
    return get_clock();
}

/* SIG_IPI ends the sleep: whoever wants the vCPU need not wait for it. */
static void gmem_pause(void *opaque, int64_t ns)
{
    struct timespec ts = {
        .tv_sec = ns / NANOSECONDS_PER_SECOND,
        .tv_nsec = ns % NANOSECONDS_PER_SECOND,
    };

    nanosleep(&ts, NULL);
}

/*
 * Two ways to want a vCPU: cpu_exit() sets exit_request; a bare kick, as
 * start_exclusive() does, only lands in immediate_exit, through SIG_IPI.
 */
static bool gmem_should_stop(void *opaque)
{
    CPUState *cpu = current_cpu;

    if (!cpu) {
        return false;
    }
    return qatomic_load_acquire(&cpu->exit_request) ||
           (cpu->kvm_run && qatomic_read(&cpu->kvm_run->immediate_exit));
}

static void gmem_busy(void *opaque, uint64_t offset, int64_t waited_ns)
{
    RAMBlock *rb = opaque;

    trace_kvm_gmem_busy(rb->idstr, offset, waited_ns / SCALE_US);
}

static void gmem_warn(void *opaque, const char *message)
{
    warn_report("%s", message);
}

const GmemConvertOps *kvm_gmem_convert_ops(void)
{
    static const GmemConvertOps ops = {
        .set_attributes = gmem_set_attributes,
        .now = gmem_now,
        .pause = gmem_pause,
        .should_stop = gmem_should_stop,
        .busy = gmem_busy,
        .warn = gmem_warn,
    };

    return &ops;
}
