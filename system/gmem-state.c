/*
 * guest_memfd conversion: the pages of one RAM block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: page states and listeners of one RAM block; its jobs are in
 * gmem-job.c.  The states and the locking rules are in gmem-state.h.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "system/gmem-state-internal.h"

void gmem_state_lock(GmemState *s)
{
    qemu_mutex_lock(&s->turn);
    qemu_mutex_lock(&s->lock);
    qemu_mutex_unlock(&s->turn);
}

void gmem_state_unlock(GmemState *s)
{
    qemu_mutex_unlock(&s->lock);
}

bool gmem_state_run(GmemState *s, const unsigned long *map, bool set,
                    uint64_t pos, uint64_t end, GmemRange *run)
{
    uint64_t from = pos / s->page_size;
    uint64_t to = end / s->page_size;
    uint64_t first, last;

    if (set) {
        first = find_next_bit(map, to, from);
        last = first < to ? find_next_zero_bit(map, to, first) : to;
    } else {
        first = find_next_zero_bit(map, to, from);
        last = first < to ? find_next_bit(map, to, first) : to;
    }
    run->start = first * s->page_size;
    run->end = last * s->page_size;
    return first < last;
}

bool gmem_state_run_withdrawn(GmemState *s, uint64_t pos, uint64_t end,
                              GmemRange *run)
{
    GmemRange shared;

    for (; gmem_state_run(s, s->kernel_shared, true, pos, end, &shared);
         pos = shared.end) {
        if (gmem_state_run(s, s->populated, false, shared.start, shared.end,
                           run)) {
            return true;
        }
    }
    return false;
}

/*
 * The lock keeps other writers out; a whole word at a time, because
 * gmem_state_mappable() reads without it.
 */
void gmem_state_set(GmemState *s, unsigned long *map, uint64_t *counter,
                    const GmemRange *run, bool value)
{
    uint64_t page = run->start / s->page_size;
    uint64_t end = run->end / s->page_size;

    *counter += value ? end - page : page - end;
    while (page < end) {
        unsigned long *word = map + BIT_WORD(page);
        unsigned bit = page % BITS_PER_LONG;
        unsigned n = MIN(end - page, BITS_PER_LONG - bit);
        unsigned long mask = (~0UL >> (BITS_PER_LONG - n)) << bit;

        qatomic_set(word, value ? *word | mask : *word & ~mask);
        page += n;
    }
}

bool gmem_state_valid(GmemState *s, uint64_t offset, uint64_t size)
{
    return size && offset < s->size && size <= s->size - offset &&
           QEMU_IS_ALIGNED(offset | size, s->page_size);
}

void gmem_state_warn(GmemState *s, const char *fmt, ...)
{
    g_autofree char *message = NULL;
    va_list ap;

    va_start(ap, fmt);
    message = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (s->ops->warn) {
        s->ops->warn(s->opaque, message);
    }
}

/* The part of @run that @listener listens to */
static bool listener_clip(GmemListener *listener, const GmemRange *run,
                          GmemRange *part)
{
    part->start = MAX(run->start, listener->offset);
    part->end = MIN(run->end, listener->offset + listener->size);
    return part->start < part->end;
}

static void listener_discard(GmemListener *listener, const GmemRange *run)
{
    GmemRange part;

    if (listener_clip(listener, run, &part)) {
        listener->discard(listener, part.start, part.end - part.start);
    }
}

/* Tell @listener to discard what is populated in [@pos, @end) */
static void listener_discard_populated(GmemState *s, GmemListener *listener,
                                       uint64_t pos, uint64_t end)
{
    GmemRange run;

    for (; gmem_state_run(s, s->populated, true, pos, end, &run);
         pos = run.end) {
        listener_discard(listener, &run);
    }
}

int gmem_state_populate(GmemState *s, const GmemRange *run)
{
    GmemListener *l, *told;
    GmemRange part;
    int ret;

    QTAILQ_FOREACH(l, &s->listeners, next) {
        if (!listener_clip(l, run, &part)) {
            continue;
        }
        ret = l->populate(l, part.start, part.end - part.start);
        if (ret) {
            for (told = QTAILQ_FIRST(&s->listeners); told != l;
                 told = QTAILQ_NEXT(told, next)) {
                listener_discard(told, run);
            }
            return ret < 0 ? ret : -EIO;
        }
    }
    gmem_state_set(s, s->populated, &s->nr_populated, run, true);
    return 0;
}

void gmem_state_withdraw(GmemState *s, const GmemRange *run)
{
    GmemListener *l;

    QTAILQ_FOREACH(l, &s->listeners, next) {
        listener_discard(l, run);
    }
    gmem_state_set(s, s->populated, &s->nr_populated, run, false);
}

GmemState *gmem_state_new(const char *name, uint64_t size, size_t page_size,
                          bool kernel_shared, const GmemConvertOps *ops,
                          void *opaque)
{
    GmemState *s = g_new0(GmemState, 1);
    uint64_t pages = size / page_size;

    assert(is_power_of_2(page_size) && size && size % page_size == 0);
    s->name = g_strdup(name);
    s->size = size;
    s->page_size = page_size;
    s->ops = ops;
    s->dual_backed = ops->discard != NULL;
    s->opaque = opaque;
    s->kernel_shared = bitmap_new(pages);
    s->populated = bitmap_new(pages);
    if (kernel_shared) {
        bitmap_fill(s->kernel_shared, pages);
        s->nr_kernel_shared = pages;
    }
    qemu_mutex_init(&s->turn);
    qemu_mutex_init(&s->lock);
    QTAILQ_INIT(&s->listeners);
    QTAILQ_INIT(&s->jobs);
    return s;
}

void gmem_state_free(GmemState *s)
{
    if (!s) {
        return;
    }
    assert(QTAILQ_EMPTY(&s->jobs) && QTAILQ_EMPTY(&s->listeners));
    qemu_mutex_destroy(&s->lock);
    qemu_mutex_destroy(&s->turn);
    g_free(s->populated);
    g_free(s->kernel_shared);
    g_free(s->name);
    g_free(s);
}

void gmem_state_hold(GmemState *s)
{
    gmem_state_lock(s);
}

void gmem_state_release(GmemState *s)
{
    gmem_state_unlock(s);
}

int gmem_state_held_runs(GmemState *s, uint64_t offset, uint64_t size,
                         int (*fn)(void *opaque, uint64_t offset,
                                   uint64_t size, bool is_private),
                         void *opaque)
{
    uint64_t end = offset + size;
    int ret = 0;

    if (!gmem_state_valid(s, offset, size)) {
        return -EINVAL;
    }
    while (ret == 0 && offset < end) {
        bool is_private = !test_bit(offset / s->page_size, s->kernel_shared);
        GmemRange run;

        gmem_state_run(s, s->kernel_shared, !is_private, offset, end, &run);
        ret = fn(opaque, run.start, run.end - run.start, is_private);
        offset = run.end;
    }
    return ret;
}

/* All listeners let go of all pages; lock held */
static void state_withdraw_all(GmemState *s)
{
    GmemRange run;
    uint64_t pos;

    for (pos = 0; gmem_state_run(s, s->populated, true, pos, s->size, &run);
         pos = run.end) {
        gmem_state_withdraw(s, &run);
    }
}

int gmem_state_launch(GmemState *s)
{
    GmemRange run;
    uint64_t pos;
    int ret = 0;

    gmem_state_lock(s);
    for (pos = 0; !s->launched && ret == 0 &&
         gmem_state_run_withdrawn(s, pos, s->size, &run); pos = run.end) {
        ret = gmem_state_populate(s, &run);
    }
    if (ret == 0) {
        qatomic_store_release(&s->launched, true);
    } else {
        state_withdraw_all(s);
    }
    gmem_state_unlock(s);
    return ret;
}

bool gmem_state_unlaunch(GmemState *s)
{
    bool idle;

    gmem_state_lock(s);
    idle = QTAILQ_EMPTY(&s->jobs);
    if (idle) {
        state_withdraw_all(s);
        qatomic_set(&s->launched, false);
    }
    gmem_state_unlock(s);
    return idle;
}

int gmem_state_register_listener(GmemState *s, GmemListener *listener)
{
    uint64_t pos = listener->offset;
    uint64_t end = pos + listener->size;
    GmemRange run;
    int ret = 0;

    if (!gmem_state_valid(s, listener->offset, listener->size)) {
        return -EINVAL;
    }
    gmem_state_lock(s);
    for (; gmem_state_run(s, s->populated, true, pos, end, &run);
         pos = run.end) {
        ret = listener->populate(listener, run.start, run.end - run.start);
        if (ret) {
            ret = ret < 0 ? ret : -EIO;
            listener_discard_populated(s, listener, listener->offset,
                                       run.start);
            break;
        }
    }
    if (ret == 0) {
        QTAILQ_INSERT_TAIL(&s->listeners, listener, next);
    }
    gmem_state_unlock(s);
    return ret;
}

void gmem_state_unregister_listener(GmemState *s, GmemListener *listener)
{
    GmemRange all = { listener->offset, listener->offset + listener->size };

    gmem_state_lock(s);
    QTAILQ_REMOVE(&s->listeners, listener, next);
    if (listener->double_discard_supported) {
        listener_discard(listener, &all);
    } else {
        listener_discard_populated(s, listener, all.start, all.end);
    }
    gmem_state_unlock(s);
}

bool gmem_state_is_populated(GmemState *s, uint64_t offset, uint64_t size)
{
    GmemRange run;
    bool ret;

    if (!size || offset >= s->size || size > s->size - offset) {
        return false;
    }
    gmem_state_lock(s);
    ret = !gmem_state_run(s, s->populated, false,
                          QEMU_ALIGN_DOWN(offset, s->page_size),
                          QEMU_ALIGN_UP(offset + size, s->page_size), &run);
    gmem_state_unlock(s);
    return ret;
}

uint64_t gmem_state_mappable(GmemState *s, uint64_t offset, uint64_t size)
{
    const unsigned long *map = qatomic_load_acquire(&s->launched) ?
                               s->populated : s->kernel_shared;
    uint64_t page, end;

    if (!size || offset >= s->size) {
        return 0;
    }
    size = MIN(size, s->size - offset);
    page = offset / s->page_size;
    end = DIV_ROUND_UP(offset + size, s->page_size);
    while (page < end) {
        unsigned bit = page % BITS_PER_LONG;
        unsigned long holes = ~qatomic_read(&map[BIT_WORD(page)]) >> bit;

        if (holes) {
            page += ctzl(holes);
            break;
        }
        page += BITS_PER_LONG - bit;
    }
    if (page >= end) {
        return size;
    }
    return page * s->page_size > offset ? page * s->page_size - offset : 0;
}

int gmem_state_replay(GmemState *s, uint64_t offset, uint64_t size,
                      bool populated,
                      int (*fn)(void *opaque, uint64_t offset, uint64_t size),
                      void *opaque)
{
    uint64_t end = offset + size;
    GmemRange run;
    int ret = 0;

    if (!gmem_state_valid(s, offset, size)) {
        return -EINVAL;
    }
    gmem_state_lock(s);
    while (ret == 0 &&
           gmem_state_run(s, s->populated, populated, offset, end, &run)) {
        ret = fn(opaque, run.start, run.end - run.start);
        offset = run.end;
    }
    gmem_state_unlock(s);
    return ret;
}

void gmem_state_counts(GmemState *s, uint64_t *shared_bytes,
                       uint64_t *private_bytes, uint64_t *withdrawn_bytes)
{
    gmem_state_lock(s);
    *shared_bytes = s->nr_populated * s->page_size;
    *private_bytes = s->size - s->nr_kernel_shared * s->page_size;
    *withdrawn_bytes = (s->nr_kernel_shared - s->nr_populated) * s->page_size;
    gmem_state_unlock(s);
}

void gmem_state_stats(GmemState *s, GmemStateStats *stats)
{
    gmem_state_lock(s);
    *stats = s->stats;
    gmem_state_unlock(s);
}
