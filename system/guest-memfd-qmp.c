/*
 * guest_memfd: what a monitor can see of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: query-guest-memfd, "info guest-memfd", and the event
 * GUEST_MEMFD_CONVERSION_BUSY.  All of it is there without KVM, too, so that
 * management software can find out what this QEMU knows.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-guest-memfd.h"
#include "qapi/qapi-events-guest-memfd.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "system/gmem.h"
#include "system/gmem-rdm.h"
#include "system/ramblock.h"

/* --- query ---------------------------------------------------------------- */

static GuestMemfdMode current_mode(void)
{
    switch (kvm_gmem_mode()) {
    case KVM_GMEM_IN_PLACE:
        return GUEST_MEMFD_MODE_IN_PLACE;
    case KVM_GMEM_VM_ATTRIBUTES:
        return GUEST_MEMFD_MODE_VM_ATTRIBUTES;
    case KVM_GMEM_NONE:
        break;
    }
    return GUEST_MEMFD_MODE_NONE;
}

static void fill_block(GuestMemfdBlock *b, GmemRdm *rdm)
{
    GmemStateStats stats;
    uint64_t populated;

    gmem_rdm_query(rdm, &populated, &b->q_private, &b->withdrawn, &stats);
    b->shared = populated + b->withdrawn;
    b->conversions = stats.conversions;
    b->busy_pages = stats.busy_pages;
    b->retries = stats.retries;
    b->given_up = stats.given_up;
    b->failures = stats.failures;
    b->longest_wait_us = stats.longest_wait_ns / SCALE_US;
}

/* A block that no device owns, as a backend that is not in use, has no id. */
static const char *block_name(const RAMBlock *rb)
{
    return *rb->idstr ? rb->idstr : memory_region_name(rb->mr);
}

GuestMemfdInfo *qmp_query_guest_memfd(Error **errp)
{
    GuestMemfdInfo *info = g_new0(GuestMemfdInfo, 1);
    GuestMemfdBlockList **tail = &info->blocks;
    RAMBlock *rb;

    info->mode = current_mode();
    info->why = g_strdup(kvm_gmem_mode_why());

    /* The BQL keeps the blocks; the lock of each is taken in its turn. */
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        GuestMemfdBlock *b;

        if (rb->guest_memfd < 0 || !rb->attributes) {
            continue;
        }
        b = g_new0(GuestMemfdBlock, 1);
        b->id = g_strdup(block_name(rb));
        b->size = rb->max_length;
        b->in_place = ram_block_is_in_place(rb);
        fill_block(b, rb->attributes->gmem);
        QAPI_LIST_APPEND(tail, b);
    }
    return info;
}

void hmp_info_guest_memfd(Monitor *mon, const QDict *qdict)
{
    g_autoptr(GuestMemfdInfo) info = qmp_query_guest_memfd(&error_abort);
    GuestMemfdBlockList *i;

    monitor_printf(mon, "mode: %s\n", GuestMemfdMode_str(info->mode));
    monitor_printf(mon, "why: %s\n", info->why);
    for (i = info->blocks; i; i = i->next) {
        GuestMemfdBlock *b = i->value;

        monitor_printf(mon, "%s: %s, %" PRIu64 " bytes, %" PRIu64 " shared, %"
                       PRIu64 " private", b->id,
                       b->in_place ? "in-place" : "dual-backed",
                       b->size, b->shared, b->q_private);
        if (b->withdrawn) {
            monitor_printf(mon, ", %" PRIu64 " withdrawn from devices",
                           b->withdrawn);
        }
        monitor_printf(mon, "\n");
        monitor_printf(mon, "  conversions %" PRIu64 ", busy pages %" PRIu64
                       ", retries %" PRIu64 ", given up %" PRIu64
                       ", failures %" PRIu64 ", longest wait %" PRIu64
                       " us\n", b->conversions, b->busy_pages, b->retries,
                       b->given_up, b->failures, b->longest_wait_us);
    }
}

/* --- event ---------------------------------------------------------------- */

/*
 * A guest may leave pages alone that it was told to try again, and then nobody
 * settles the matter before a reset.  Of what is too much the oldest is
 * dropped, and management software told so.
 */
#define BUSY_MAX 1024

/* Pages that an event told of */
typedef struct BusyPages {
    char *block;
    uint64_t offset;
    uint64_t size;
    uint64_t gpa;
    int64_t since_ns;
    QTAILQ_ENTRY(BusyPages) next;
} BusyPages;

/* Orders the events of one page, too.  Inside: the monitor's lock */
static QemuMutex busy_lock;
static QTAILQ_HEAD(, BusyPages) busy_pages =
    QTAILQ_HEAD_INITIALIZER(busy_pages);
static unsigned nr_busy;

static void busy_emit(const BusyPages *p, GmemBusyAction action)
{
    static const GuestMemfdBusyAction actions[] = {
        [GMEM_BUSY_WAITING] = GUEST_MEMFD_BUSY_ACTION_WAITING,
        [GMEM_BUSY_GUEST_RETRY] = GUEST_MEMFD_BUSY_ACTION_GUEST_RETRY,
        [GMEM_BUSY_CONVERTED] = GUEST_MEMFD_BUSY_ACTION_CONVERTED,
        [GMEM_BUSY_DROPPED] = GUEST_MEMFD_BUSY_ACTION_DROPPED,
        [GMEM_BUSY_FAILED] = GUEST_MEMFD_BUSY_ACTION_FAILED,
    };

    qapi_event_send_guest_memfd_conversion_busy(
        p->block, p->offset, p->gpa, p->size,
        (get_clock() - p->since_ns) / SCALE_MS, actions[action]);
}

static void busy_forget(BusyPages *p)
{
    QTAILQ_REMOVE(&busy_pages, p, next);
    qatomic_set(&nr_busy, nr_busy - 1);
    g_free(p->block);
    g_free(p);
}

static BusyPages *busy_find(const char *block, uint64_t offset)
{
    BusyPages *p;

    QTAILQ_FOREACH(p, &busy_pages, next) {
        if (p->offset == offset && g_str_equal(p->block, block)) {
            return p;
        }
    }
    return NULL;
}

/* GmemBusyObserver::busy */
static void busy_told(const MemoryRegionSection *section, uint64_t offset,
                      uint64_t size, int64_t waited_ns, GmemBusyAction action)
{
    const char *block = block_name(section->mr->ram_block);
    BusyPages *p;

    QEMU_LOCK_GUARD(&busy_lock);
    p = busy_find(block, offset);
    if (!p) {
        if (nr_busy >= BUSY_MAX) {
            busy_emit(QTAILQ_FIRST(&busy_pages), GMEM_BUSY_DROPPED);
            busy_forget(QTAILQ_FIRST(&busy_pages));
        }
        p = g_new0(BusyPages, 1);
        p->block = g_strdup(block);
        p->offset = offset;
        p->gpa = section->offset_within_address_space + offset -
                 section->offset_within_region;
        p->since_ns = get_clock() - waited_ns;
        QTAILQ_INSERT_TAIL(&busy_pages, p, next);
        qatomic_set(&nr_busy, nr_busy + 1);
    }
    p->size = size;
    busy_emit(p, action);
}

/* Is @p one of the pages of @section?  NULL means all. */
static bool busy_in(const BusyPages *p, const MemoryRegionSection *section)
{
    uint64_t start, size;

    if (!section) {
        return true;
    }
    start = section->offset_within_region;
    size = int128_get64(section->size);
    return p->offset < start + size && start < p->offset + p->size &&
           g_str_equal(p->block, block_name(section->mr->ram_block));
}

/* GmemBusyObserver::end */
static void busy_settled(const MemoryRegionSection *section,
                         GmemBusyAction action)
{
    BusyPages *p, *next;

    /* What is to be found was told by this thread, or before its guest's. */
    if (!qatomic_read(&nr_busy)) {
        return;
    }
    QEMU_LOCK_GUARD(&busy_lock);
    QTAILQ_FOREACH_SAFE(p, &busy_pages, next, next) {
        if (busy_in(p, section)) {
            busy_emit(p, action);
            busy_forget(p);
        }
    }
}

void guest_memfd_qmp_init(void)
{
    static const GmemBusyObserver observer = {
        .busy = busy_told,
        .end = busy_settled,
    };

    qemu_mutex_init(&busy_lock);
    gmem_rdm_set_observer(&observer);
}
