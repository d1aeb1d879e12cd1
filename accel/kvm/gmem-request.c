/*
 * guest_memfd in the KVM accelerator: the way of a request to the RAM blocks
 *
 * A request is a range of guest addresses that is to become private or shared.
 * One that a guest made by hypercall, and that cannot be carried out at once,
 * stays with its vCPU: the vCPU can be stopped, looked at and continued, and
 * goes on with the request before it enters the guest again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "system/address-spaces.h"
#include "system/confidential-guest-support.h"
#include "system/gmem.h"
#include "system/gmem-rdm.h"
#include "system/kvm.h"
#include "system/memory.h"
#include "system/runstate.h"
#include "trace.h"

/* KVM_HC_MAP_GPA_RANGE counts in pages of this size on every host. */
#define GMEM_HYPERCALL_PAGE_BITS 12

/* What one call maps in advance: takes about as long as a pause of a job may */
#define GMEM_PREFAULT_STEP (16 * MiB)

/*
 * What has references for longer than this may have the last one of memory that
 * was unplugged and deleted meanwhile.
 */
#define GMEM_HELD_LONG_NS SCALE_MS

struct GmemRequest {
    struct rcu_head rcu;
    GArray *sections;   /* MemoryRegionSection, each with a reference */
    guint next;         /* the section whose turn it is */
    GmemJob *job;       /* its job; NULL if it has not begun */
    hwaddr start;
    hwaddr size;
    bool to_private;
    bool fault;         /* an access asked for it, and waits for no answer */
    int64_t begin_ns;
    int64_t timeout_ns; /* the request's, 0 = for ever */
    int64_t waited_ns;  /* how long the jobs waited that have ended */
};

static const char *gmem_state_name(bool to_private)
{
    return to_private ? "private" : "shared";
}

/*
 * May @section take part in a conversion?  Returns 1 if it has pages to
 * convert, 0 if it is to be passed over, -EINVAL if the request is bad.
 */
static int gmem_check_section(const MemoryRegionSection *section,
                              bool to_private)
{
    MemoryRegion *mr = section->mr;
    uint64_t page_size = qemu_real_host_page_size();

    if (!memory_region_has_guest_memfd(mr)) {
        /*
         * Guests convert MMIO to shared to be sure: it always was.  RAM and
         * ROM that cannot be private were put there on purpose.
         */
        return to_private || memory_region_is_ram(mr) ||
               memory_region_is_romd(mr) ? -EINVAL : 0;
    }
    if (to_private && memory_region_is_rom(mr)) {
        return -EINVAL;
    }
    if (!QEMU_IS_ALIGNED(section->offset_within_region, page_size) ||
        !QEMU_IS_ALIGNED(int128_get64(section->size), page_size)) {
        return -EINVAL;
    }
    return 1;
}

/*
 * Collect all sections of [@start, @start + @size) that have pages to convert,
 * each with a reference.  Nothing has changed yet when this says -EINVAL.
 */
static int gmem_collect_sections(hwaddr start, hwaddr size, bool to_private,
                                 GArray *sections)
{
    const hwaddr end = start + size;
    hwaddr addr = start;
    int ret;

    while (addr < end) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), addr, end - addr);

        if (!section.mr) {
            return to_private ? -EINVAL : 0;
        }
        if (to_private && section.offset_within_address_space > addr) {
            memory_region_unref(section.mr);
            return -EINVAL;
        }
        ret = gmem_check_section(&section, to_private);
        addr = section.offset_within_address_space +
               int128_get64(section.size);
        if (ret <= 0) {
            memory_region_unref(section.mr);
        }
        if (ret < 0) {
            return ret;
        }
        if (ret > 0) {
            g_array_append_val(sections, section);
        }
    }
    return 0;
}

void kvm_gmem_sections_free(GArray *sections)
{
    for (guint i = 0; i < sections->len; i++) {
        memory_region_unref(g_array_index(sections, MemoryRegionSection,
                                          i).mr);
    }
    g_array_unref(sections);
}

GArray *kvm_gmem_sections(hwaddr start, hwaddr size, bool to_private)
{
    uint64_t page_size = qemu_real_host_page_size();
    GArray *sections;

    if (!size || !QEMU_IS_ALIGNED(start, page_size) ||
        !QEMU_IS_ALIGNED(size, page_size) || start + size <= start) {
        return NULL;
    }
    sections = g_array_new(false, false, sizeof(MemoryRegionSection));
    if (gmem_collect_sections(start, size, to_private, sections) < 0) {
        kvm_gmem_sections_free(sections);
        return NULL;
    }
    return sections;
}

static void gmem_request_reclaim(GmemRequest *req)
{
    kvm_gmem_sections_free(req->sections);
    g_free(req);
}

static void gmem_request_free(GmemRequest *req)
{
    if (!req) {
        return;
    }
    if (req->job) {
        gmem_rdm_job_drop(&g_array_index(req->sections, MemoryRegionSection,
                                         req->next));
    }
    /* Progress is kept; what was withdrawn for nothing is given back. */
    gmem_job_free(req->job);
    if (get_clock() - req->begin_ns < GMEM_HELD_LONG_NS) {
        gmem_request_reclaim(req);
    } else {
        /*
         * The last reference takes the memory region with it, and that needs
         * the BQL.  RCU's callbacks have it; waking them up is nothing to do
         * for each conversion.  It is ours only if memory was unplugged and
         * deleted since the request began: the guest ejects it, and QMP deletes
         * it, which is not done in GMEM_HELD_LONG_NS.
         */
        call_rcu(req, gmem_request_reclaim, rcu);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GmemRequest, gmem_request_free)

/* Returns 0, or -EINVAL for a bad request, and then no *@out. */
static int gmem_request_new(hwaddr start, hwaddr size, bool to_private,
                            GmemRequest **out)
{
    ConfidentialGuestSupport *cgs = current_machine->cgs;
    GArray *sections;
    GmemRequest *req;

    trace_kvm_convert_memory(start, size, to_private ? "shared_to_private" :
                                                       "private_to_shared");
    sections = kvm_gmem_sections(start, size, to_private);
    if (!sections) {
        return -EINVAL;
    }

    req = g_new0(GmemRequest, 1);
    req->sections = sections;
    req->start = start;
    req->size = size;
    req->to_private = to_private;
    req->begin_ns = get_clock();
    if (cgs) {
        /* QOM may set it at any time. */
        req->timeout_ns =
            (int64_t)qatomic_read(&cgs->convert_timeout) * SCALE_MS;
    }
    *out = req;
    return 0;
}

/* The job of the section whose turn it is; NULL with @errp set */
static GmemJob *gmem_request_job(GmemRequest *req,
                                 const MemoryRegionSection *section,
                                 Error **errp)
{
    int64_t left_ns = 0;

    if (!req->job) {
        /* The timeout is the request's; 0 is "for ever", 1 "no wait". */
        if (req->timeout_ns) {
            left_ns = MAX(1, req->timeout_ns - req->waited_ns);
        }
        req->job = memory_region_convert(section, req->to_private, left_ns,
                                         errp);
        if (req->job) {
            gmem_rdm_job_begin(section, req->job);
        }
    }
    return req->job;
}

/*
 * Returns 0 when all is converted; -EINTR if the thread is wanted elsewhere:
 * call again; -ETIMEDOUT if pages stayed busy for too long; -ENOMEM or -ENOSPC,
 * reported, if the host is short of memory, or a device can map no more:
 * calling again goes on with what is left; another -errno, reported, if it
 * failed for good.
 */
static int gmem_request_run(GmemRequest *req)
{
    for (; req->next < req->sections->len; req->next++) {
        const MemoryRegionSection *section =
            &g_array_index(req->sections, MemoryRegionSection, req->next);
        Error *err = NULL;
        GmemJob *job = gmem_request_job(req, section, &err);
        int ret;

        if (!job) {
            error_report_err(err);
            return -ENOTSUP;
        }
        ret = gmem_job_run(job);
        if (ret == -EINTR) {
            return ret;
        }
        gmem_rdm_job_end(section, req->to_private, ret, job);
        if (gmem_job_error(job)) {
            gmem_rdm_report(section, job, ret);
        }
        req->waited_ns += gmem_job_stats(job)->longest_wait_ns;
        g_clear_pointer(&req->job, gmem_job_free);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* What could be had by asking again?  Stopping the guest would not help it. */
static int gmem_request_answer(int ret)
{
    switch (ret) {
    case -EINTR:
    case -ETIMEDOUT:
    case -ENOMEM:
    case -ENOSPC:
        return -EAGAIN;
    default:
        return ret;
    }
}

int kvm_gmem_convert_memory(hwaddr start, hwaddr size, bool to_private)
{
    g_autoptr(GmemRequest) req = NULL;
    int ret = gmem_request_new(start, size, to_private, &req);

    if (!ret) {
        ret = gmem_request_answer(gmem_request_run(req));
    }
    trace_kvm_gmem_convert(start, size, gmem_state_name(to_private), ret);
    return ret;
}

void kvm_gmem_map_gpa_range(CPUState *cpu, uint64_t gpa, uint64_t npages,
                            bool to_private)
{
    const uint64_t max = UINT64_MAX >> GMEM_HYPERCALL_PAGE_BITS;
    uint64_t size = npages <= max ? npages << GMEM_HYPERCALL_PAGE_BITS
                                  : UINT64_MAX;
    int ret = -EINVAL;

    g_assert(!cpu->kvm_gmem_request);
    if (npages <= max) {
        ret = gmem_request_new(gpa, size, to_private, &cpu->kvm_gmem_request);
    }
    if (ret) {
        trace_kvm_gmem_convert(gpa, size, gmem_state_name(to_private), ret);
        cpu->kvm_run->hypercall.ret = -ret;
    }
}

/*
 * After a conversion the guest has none of these pages mapped, and dual-backed
 * ones are new.  Get them in now, before the guest touches them one by one,
 * which costs an exit each.  In place, an exit for a single page is cheaper
 * than the call; more of them get memory that nobody has used yet, as by the
 * guest's first access.  What fails here fails again, and is reported, when the
 * guest does.
 *
 * A signal ends the call early.  But one that comes a moment before it has been
 * handled by then, and KVM does not look at immediate_exit here: so no call is
 * for much.  Dual-backed, the calls are those of QEMU 10.2.2.
 */
static void gmem_prefault(CPUState *cpu, const GmemRequest *req)
{
    const GmemConvertOps *ops = kvm_gmem_convert_ops();
    bool in_place = kvm_gmem_in_place();
    struct kvm_pre_fault_memory mem = { .gpa = req->start };
    hwaddr end = req->start + req->size;

    if (!kvm_pre_fault_memory_supported ||
        (in_place && req->size == qemu_real_host_page_size())) {
        return;
    }
    /* KVM moves the start of the range as far as it got. */
    while (mem.gpa < end && !ops->should_stop(NULL)) {
        mem.size = in_place ? MIN(end - mem.gpa, GMEM_PREFAULT_STEP) :
                              end - mem.gpa;
        trace_kvm_gmem_prefault(cpu->cpu_index, mem.gpa, mem.size);
        if (kvm_vcpu_ioctl(cpu, KVM_PRE_FAULT_MEMORY, &mem)) {
            break;
        }
    }
}

/*
 * The host lacks something, and the guest has no way to try again: this type
 * would take that answer for the end, and an access gets no answer at all.  So
 * the user gets the chance to help, as with a disk that is full.
 *
 * The message stands alone: gmem_rdm_report() may have left its own out.
 */
static void gmem_request_stop_vm(const GmemRequest *req, int err)
{
    error_report("the virtual machine is stopped before guest memory [0x%"
                 HWADDR_PRIx ", 0x%" HWADDR_PRIx ") is %s: %s; %s", req->start,
                 req->start + req->size, gmem_state_name(req->to_private),
                 strerror(-err), err == -ENOSPC ?
                 "an assigned device can map no more in this process, so it "
                 "cannot go on unless its other vCPUs share less (cont); else "
                 "start again with iommufd or a higher "
                 "vfio_iommu_type1.dma_entry_limit" :
                 "give the host, or QEMU's memory cgroup, more, then continue "
                 "it (cont)");
    bql_lock();
    vm_stop(RUN_STATE_IO_ERROR);
    bql_unlock();
}

int kvm_gmem_run_pending(CPUState *cpu)
{
    ConfidentialGuestSupport *cgs = current_machine->cgs;
    GmemRequest *req = cpu->kvm_gmem_request;
    int ret = gmem_request_run(req);

    if ((ret == -ENOMEM || ret == -ENOSPC) && (req->fault || (cgs &&
        CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(cgs)->failure_is_final))) {
        gmem_request_stop_vm(req, ret);
        ret = -EINTR;
    }
    if (ret == -EINTR) {
        trace_kvm_gmem_pending(cpu->cpu_index, req->start, req->size);
        return EXCP_INTERRUPT;
    }
    ret = gmem_request_answer(ret);
    trace_kvm_gmem_convert(req->start, req->size,
                           gmem_state_name(req->to_private), ret);
    if (req->fault) {
        g_clear_pointer(&cpu->kvm_gmem_request, gmem_request_free);
        /* Still busy: the access faults again, and asks again. */
        return ret == -EAGAIN ? 0 : ret;
    }
    if (!ret) {
        gmem_prefault(cpu, req);
    }
    g_clear_pointer(&cpu->kvm_gmem_request, gmem_request_free);
    /*
     * KVM takes these three only.  Should the user continue a machine that the
     * host's failure stops, then its guest may ask again.
     */
    cpu->kvm_run->hypercall.ret = ret == 0 ? 0 :
                                  ret == -EINVAL ? EINVAL : EAGAIN;
    return ret == -EINVAL || ret == -EAGAIN ? 0 : ret;
}

void kvm_gmem_drop_pending(CPUState *cpu)
{
    GmemRequest *req = cpu->kvm_gmem_request;
    struct kvm_run *run = cpu->kvm_run;
    bool fault;

    if (!req) {
        return;
    }
    g_assert(qemu_cpu_is_self(cpu));
    trace_kvm_gmem_drop(cpu->cpu_index, req->start, req->size);
    fault = req->fault;
    g_clear_pointer(&cpu->kvm_gmem_request, gmem_request_free);
    if (fault) {
        return;
    }

    /*
     * The answer makes KVM write registers on the next entry.  Let that happen
     * now, without entering the guest, or it would happen to the registers
     * that are about to be set.
     */
    run->hypercall.ret = EAGAIN;
    qatomic_set(&run->immediate_exit, 1);
    kvm_vcpu_ioctl(cpu, KVM_RUN, 0);
    qatomic_set(&run->immediate_exit, 0);
}

static void gmem_do_drop(CPUState *cpu, run_on_cpu_data data)
{
    kvm_gmem_drop_pending(cpu);
}

void kvm_gmem_drop_all(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        run_on_cpu(cpu, gmem_do_drop, RUN_ON_CPU_NULL);
    }
}

int kvm_gmem_memory_fault(CPUState *cpu, hwaddr gpa, hwaddr size,
                          bool to_private)
{
    ConfidentialGuestSupport *cgs = current_machine->cgs;
    int ret;

    if (cgs &&
        CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(cgs)->faults_never_convert) {
        return 0;
    }

    g_assert(!cpu->kvm_gmem_request);
    ret = gmem_request_new(gpa, size, to_private, &cpu->kvm_gmem_request);
    if (ret) {
        error_report("guest access to 0x%" HWADDR_PRIx ", size 0x%" HWADDR_PRIx
                     ": this is no memory that could be %s", gpa, size,
                     gmem_state_name(to_private));
        return ret;
    }
    cpu->kvm_gmem_request->fault = true;
    return 0;
}
