/*
 * RamDiscardManager for guest_memfd RAM blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "hw/boards.h"
#include "system/confidential-guest-support.h"
#include "system/gmem.h"
#include "system/gmem-rdm.h"
#include "system/ramblock.h"
#include "trace.h"

/* One RamDiscardListener as GmemState sees it. */
typedef struct GmemRdmListener {
    GmemListener listener;
    RamDiscardListener *rdl;
    QLIST_ENTRY(GmemRdmListener) next;
} GmemRdmListener;

struct GmemRdm {
    RAMBlock *rb;
    bool in_place;
    GmemState *state;
    unsigned reported;  /* of the last shortage: gmem_report_now() */
    /* For look-up by RamDiscardListener only; protected by the BQL. */
    QLIST_HEAD(, GmemRdmListener) listeners;
};

/* Set at launch; blocks made later are launched at once.  Under the BQL. */
static bool gmem_rdm_launched;

GmemRdm *gmem_rdm_new(RAMBlock *rb)
{
    ConfidentialGuestSupportClass *klass =
        CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(current_machine->cgs);
    GmemRdm *rdm = g_new0(GmemRdm, 1);
    bool shared = kvm_gmem_in_place() || klass->memory_starts_shared;

    rdm->rb = rb;
    rdm->in_place = kvm_gmem_in_place();
    rdm->state = gmem_state_new(memory_region_name(rb->mr), rb->max_length,
                                qemu_real_host_page_size(), shared,
                                rdm->in_place ? kvm_gmem_convert_ops() :
                                                kvm_gmem_dual_ops(), rb);
    QLIST_INIT(&rdm->listeners);
    if (gmem_rdm_launched || !shared) {
        /* Nobody listens yet, so nobody can refuse. */
        gmem_state_launch(rdm->state);
    }
    return rdm;
}

void gmem_rdm_free(GmemRdm *rdm)
{
    g_assert(QLIST_EMPTY(&rdm->listeners));
    if (!rdm->in_place) {
        kvm_gmem_dual_forget(rdm->rb);
    }
    gmem_state_free(rdm->state);
    g_free(rdm);
}

/* The pages that @section touches; whoever is told of some clips them to it. */
static void gmem_rdm_pages(GmemRdm *rdm, const MemoryRegionSection *section,
                           uint64_t *offset, uint64_t *size)
{
    uint64_t page_size = qemu_real_host_page_size();
    uint64_t end = ROUND_UP(section->offset_within_region +
                            int128_get64(section->size), page_size);

    *offset = QEMU_ALIGN_DOWN(section->offset_within_region, page_size);
    *size = MIN(end, rdm->rb->max_length) - *offset;
}

bool gmem_rdm_is_populated(GmemRdm *rdm, const MemoryRegionSection *section)
{
    uint64_t offset, size;

    gmem_rdm_pages(rdm, section, &offset, &size);
    return gmem_state_is_populated(rdm->state, offset, size);
}

typedef struct GmemRdmReplay {
    MemoryRegionSection *section;
    ReplayRamDiscardState fn;
    void *opaque;
} GmemRdmReplay;

static int gmem_rdm_replay_range(void *opaque, uint64_t offset, uint64_t size)
{
    GmemRdmReplay *replay = opaque;
    MemoryRegionSection tmp = *replay->section;

    if (!memory_region_section_intersect_range(&tmp, offset, size)) {
        return 0;
    }
    return replay->fn(&tmp, replay->opaque);
}

int gmem_rdm_replay(GmemRdm *rdm, MemoryRegionSection *section, bool populated,
                    ReplayRamDiscardState fn, void *opaque)
{
    GmemRdmReplay replay = { .section = section, .fn = fn, .opaque = opaque };
    uint64_t offset, size;

    gmem_rdm_pages(rdm, section, &offset, &size);
    return gmem_state_replay(rdm->state, offset, size, populated,
                             gmem_rdm_replay_range, &replay);
}

static int gmem_rdm_populate(GmemListener *listener, uint64_t offset,
                             uint64_t size)
{
    GmemRdmListener *l = container_of(listener, GmemRdmListener, listener);
    MemoryRegionSection tmp = *l->rdl->section;
    const char *block = memory_region_name(tmp.mr);
    int ret;

    if (!memory_region_section_intersect_range(&tmp, offset, size)) {
        return 0;
    }
    /* Before, so that nothing can come between kernel call and trace. */
    trace_gmem_rdm_populate(block, offset, size);
    ret = l->rdl->notify_populate(l->rdl, &tmp);
    if (ret) {
        trace_gmem_rdm_refused(block, offset, size, ret);
    }
    return ret;
}

static void gmem_rdm_discard(GmemListener *listener, uint64_t offset,
                             uint64_t size)
{
    GmemRdmListener *l = container_of(listener, GmemRdmListener, listener);
    MemoryRegionSection tmp = *l->rdl->section;

    if (memory_region_section_intersect_range(&tmp, offset, size)) {
        l->rdl->notify_discard(l->rdl, &tmp);
        /* After: from here on nothing of it is in the listener's hands. */
        trace_gmem_rdm_discard(memory_region_name(tmp.mr), offset, size);
    }
}

/* What to do about a listener that refused with @err */
static const char *gmem_rdm_hint(int err)
{
    return err == -ENOSPC ?
           "; if it is a device of VFIO, its container has no DMA mapping left"
           " (a shared page needs one): share less, or start again with iommufd"
           " or a higher limit of the host's module parameter"
           " vfio_iommu_type1.dma_entry_limit, which is read when the device is"
           " opened" : "";
}

static void gmem_rdm_forget_listener(GmemRdmListener *l)
{
    memory_region_section_free_copy(l->rdl->section);
    l->rdl->section = NULL;
    QLIST_REMOVE(l, next);
    g_free(l);
}

bool gmem_rdm_register_listener(GmemRdm *rdm, RamDiscardListener *rdl,
                                MemoryRegionSection *section, Error **errp)
{
    GmemRdmListener *l = g_new0(GmemRdmListener, 1);
    int ret;

    rdl->section = memory_region_section_new_copy(section);
    l->rdl = rdl;
    gmem_rdm_pages(rdm, section, &l->listener.offset, &l->listener.size);
    l->listener.populate = gmem_rdm_populate;
    l->listener.discard = gmem_rdm_discard;
    l->listener.double_discard_supported = rdl->double_discard_supported;
    QLIST_INSERT_HEAD(&rdm->listeners, l, next);

    ret = gmem_state_register_listener(rdm->state, &l->listener);
    if (ret) {
        error_setg(errp, "RAM block '%s': a listener cannot map the shared "
                   "pages of [0x%" PRIx64 ", 0x%" PRIx64 "): %s%s",
                   rdm->rb->idstr, l->listener.offset,
                   l->listener.offset + l->listener.size, strerror(-ret),
                   gmem_rdm_hint(ret));
        gmem_rdm_forget_listener(l);
    }
    return !ret;
}

void gmem_rdm_unregister_listener(GmemRdm *rdm, RamDiscardListener *rdl)
{
    GmemRdmListener *l;

    QLIST_FOREACH(l, &rdm->listeners, next) {
        if (l->rdl == rdl) {
            break;
        }
    }
    g_assert(l);

    gmem_state_unregister_listener(rdm->state, &l->listener);
    gmem_rdm_forget_listener(l);
}

uint64_t gmem_rdm_mappable(GmemRdm *rdm, uint64_t offset, uint64_t size)
{
    return gmem_state_mappable(rdm->state, offset, size);
}

GmemJob *gmem_rdm_convert(GmemRdm *rdm, const MemoryRegionSection *section,
                          bool to_private, int64_t timeout_ns)
{
    return gmem_job_new(rdm->state, section->offset_within_region,
                        int128_get64(section->size), to_private, timeout_ns);
}

/* How long a request waits before the observer is told, in nanoseconds */
#define GMEM_RDM_LATE_NS (1000 * 1000 * 1000LL)

static const GmemBusyObserver *gmem_rdm_observer;

void gmem_rdm_set_observer(const GmemBusyObserver *observer)
{
    gmem_rdm_observer = observer;
}

static void gmem_rdm_tell(const MemoryRegionSection *section,
                          const GmemRange *what, int64_t waited_ns,
                          GmemBusyAction action)
{
    if (gmem_rdm_observer) {
        gmem_rdm_observer->busy(section, what->start, what->end - what->start,
                                waited_ns, action);
    }
}

static void gmem_rdm_tell_end(const MemoryRegionSection *section,
                              GmemBusyAction action)
{
    if (gmem_rdm_observer) {
        gmem_rdm_observer->end(section, action);
    }
}

static void gmem_rdm_late(void *opaque, const GmemRange *what,
                          int64_t waited_ns)
{
    gmem_rdm_tell(opaque, what, waited_ns, GMEM_BUSY_WAITING);
}

void gmem_rdm_job_begin(const MemoryRegionSection *section, GmemJob *job)
{
    gmem_job_on_late(job, GMEM_RDM_LATE_NS, gmem_rdm_late, (void *)section);
}

void gmem_rdm_job_end(const MemoryRegionSection *section, bool to_private,
                      int ret, GmemJob *job)
{
    const GmemConvertStats *stats = gmem_job_stats(job);
    GmemRange what;
    int64_t waited_ns;

    trace_gmem_rdm_convert(memory_region_name(section->mr),
                           section->offset_within_region,
                           int128_get64(section->size),
                           to_private ? "private" : "shared", ret, stats->calls,
                           stats->busy_answers, stats->retries,
                           stats->longest_wait_ns / SCALE_US);
    if (ret == 0) {
        gmem_rdm_tell_end(section, GMEM_BUSY_CONVERTED);
    } else if (ret != -ETIMEDOUT) {
        gmem_rdm_tell_end(section, GMEM_BUSY_FAILED);
    } else if (gmem_job_waits_for(job, &what, &waited_ns)) {
        gmem_rdm_tell(section, &what, waited_ns, GMEM_BUSY_GUEST_RETRY);
    }
}

void gmem_rdm_job_drop(const MemoryRegionSection *section)
{
    gmem_rdm_tell_end(section, GMEM_BUSY_DROPPED);
}

void gmem_rdm_query(GmemRdm *rdm, uint64_t *shared, uint64_t *private,
                    uint64_t *withdrawn, GmemStateStats *stats)
{
    gmem_state_counts(rdm->state, shared, private, withdrawn);
    gmem_state_stats(rdm->state, stats);
}

void gmem_rdm_report(const MemoryRegionSection *section, GmemJob *job, int err)
{
    GmemRdm *rdm = section->mr->ram_block->attributes->gmem;

    /* What stops the guest is always said, what it may repeat is not. */
    if ((err == -ENOSPC || err == -ENOMEM) &&
        !gmem_report_now(&rdm->reported)) {
        return;
    }
    error_report("%s%s", gmem_job_error(job), gmem_rdm_hint(err));
}

static void gmem_rdm_refused(GmemRdm *rdm, int err, Error **errp)
{
    error_setg(errp, "RAM block '%s': a listener cannot map the shared pages: "
               "%s%s", rdm->rb->idstr, strerror(-err), gmem_rdm_hint(err));
}

bool gmem_rdm_launch_all(Error **errp)
{
    RAMBlock *rb;
    int ret;

    gmem_rdm_launched = true;
    /* The BQL keeps the list as it is; listeners may take their time. */
    RAMBLOCK_FOREACH(rb) {
        if (!rb->attributes) {
            continue;
        }
        ret = gmem_state_launch(rb->attributes->gmem->state);
        if (ret) {
            gmem_rdm_refused(rb->attributes->gmem, ret, errp);
            return false;
        }
    }
    return true;
}

/*
 * How long busy pages may hold up the launch.  The main loop waits, so nobody
 * could end it; what is busy for good must not hang QEMU.
 */
#define GMEM_RDM_LAUNCH_NS (5 * 1000 * 1000 * 1000LL)

bool gmem_rdm_make_private(GmemRdm *rdm, uint64_t offset, uint64_t size,
                           Error **errp)
{
    /* A block that is not plugged in yet has no ID string. */
    const char *name = memory_region_name(rdm->rb->mr);
    GmemJob *job = gmem_job_new(rdm->state, offset, size, true,
                                GMEM_RDM_LAUNCH_NS);
    GmemRange busy;
    int ret = gmem_job_run(job);

    if (gmem_job_error(job)) {
        error_setg(errp, "%s", gmem_job_error(job));
    } else if (ret && gmem_job_waits_for(job, &busy, NULL)) {
        error_setg(errp, "RAM block '%s': cannot make offset 0x%" PRIx64
                   ", size 0x%" PRIx64 " private: offset 0x%" PRIx64
                   ", size 0x%" PRIx64 " is still in use in the host (%s); end "
                   "what holds it and start again", name, offset, size,
                   busy.start, busy.end - busy.start, strerror(EAGAIN));
    } else if (ret) {
        error_setg(errp, "RAM block '%s': cannot make offset 0x%" PRIx64
                   ", size 0x%" PRIx64 " private: %s", name, offset, size,
                   strerror(-ret));
    }
    gmem_job_free(job);
    return !ret;
}

bool gmem_rdm_make_all_private(Error **errp)
{
    RAMBlock *rb;

    /* The BQL keeps the list as it is; waiting must not hold up RCU. */
    RAMBLOCK_FOREACH(rb) {
        if (rb->attributes &&
            !gmem_rdm_make_private(rb->attributes->gmem, 0, rb->max_length,
                                   errp)) {
            return false;
        }
    }
    return true;
}

void gmem_rdm_withdraw_all(void)
{
    RAMBlock *rb;

    gmem_rdm_launched = false;
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        if (rb->attributes) {
            bool idle = gmem_state_unlaunch(rb->attributes->gmem->state);

            g_assert(idle);
        }
    }
}

/* How long busy pages may hold up memory that is being plugged */
#define GMEM_RDM_PLUG_NS (1000 * 1000 * 1000LL)

bool gmem_rdm_before_plug(GmemRdm *rdm, uint64_t offset, uint64_t size,
                          bool to_private, Error **errp)
{
    /* The block has no ID string while it is not plugged. */
    const char *name = memory_region_name(rdm->rb->mr);
    g_autofree char *msg = NULL;
    int ret;

    if (!gmem_state_unlaunch(rdm->state)) {
        error_setg(errp, "RAM block '%s': a conversion that the guest asked "
                   "for before is still pending; try again", name);
        return false;
    }
    ret = gmem_state_convert(rdm->state, offset, size, to_private,
                             GMEM_RDM_PLUG_NS, NULL, &msg);
    if (ret) {
        /* Nobody listens to memory that is not plugged. */
        gmem_state_launch(rdm->state);
        error_setg(errp, "RAM block '%s': cannot make [0x%" PRIx64 ", 0x%"
                   PRIx64 ") %s: %s", name, offset, offset + size,
                   to_private ? "private" : "shared",
                   msg ? msg : "its pages are in use in the host; try again");
    }
    return !ret;
}

bool gmem_rdm_after_plug(GmemRdm *rdm, Error **errp)
{
    int ret = gmem_state_launch(rdm->state);

    if (ret) {
        gmem_rdm_refused(rdm, ret, errp);
    }
    return !ret;
}

int gmem_rdm_share_all(void)
{
    RAMBlock *rb;

    /* The guest that was told to try again is no more. */
    gmem_rdm_tell_end(NULL, GMEM_BUSY_DROPPED);

    /* The BQL keeps the list as it is; waiting must not hold up RCU. */
    RAMBLOCK_FOREACH(rb) {
        g_autofree char *msg = NULL;
        int ret;

        if (!rb->attributes) {
            continue;
        }
        ret = gmem_state_convert(rb->attributes->gmem->state, 0,
                                 rb->max_length, false, 0, NULL, &msg);
        if (ret) {
            error_report("RAM block '%s': cannot share all of it: %s%s",
                         memory_region_name(rb->mr),
                         msg ? msg : strerror(-ret), gmem_rdm_hint(ret));
            return ret;
        }
    }
    return 0;
}

int gmem_rdm_held_runs(GmemRdm *rdm, uint64_t offset, uint64_t size,
                       int (*fn)(void *opaque, uint64_t offset, uint64_t size,
                                 bool is_private), void *opaque)
{
    return gmem_state_held_runs(rdm->state, offset, size, fn, opaque);
}

void gmem_rdm_hold_all(void)
{
    RAMBlock *rb;

    g_assert(bql_locked());
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        if (rb->attributes) {
            gmem_state_hold(rb->attributes->gmem->state);
        }
    }
}

void gmem_rdm_release_all(void)
{
    RAMBlock *rb;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        if (rb->attributes) {
            gmem_state_release(rb->attributes->gmem->state);
        }
    }
}
