/*
 * guest_memfd conversion: the jobs of one RAM block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: pending conversions of one RAM block: windows, order, pace.
 * What happens in a window is in gmem-window.c.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "system/gmem-state-internal.h"

/* A pause is made of slices, so that a lost wake-up costs no more than one */
#define GMEM_PAUSE_SLICE_NS (1000 * 1000LL)

GmemJob *gmem_job_new(GmemState *s, uint64_t offset, uint64_t size,
                      bool to_private, int64_t timeout_ns)
{
    GmemJob *job = g_new0(GmemJob, 1);
    bool valid = gmem_state_valid(s, offset, size);

    job->s = s;
    job->timeout_ns = timeout_ns;
    job->withdrew = gmem_ranges_new();
    job->flipped = gmem_ranges_new();
    job->asked = gmem_ranges_new();
    gmem_convert_job_init(&job->convert, s->ops, s->opaque, s->name,
                          s->page_size, valid ? offset : 0, valid ? size : 0,
                          to_private);
    if (!valid) {
        job->finished = true;
        job->result = -EINVAL;
        job->convert.error = g_strdup_printf(
            "RAM block '%s': offset 0x%" PRIx64 ", size 0x%" PRIx64 " is empty,"
            " not aligned to 0x%" PRIx64 " or not inside the block (0x%" PRIx64
            " bytes)", s->name, offset, size, s->page_size, s->size);
    }
    return job;
}

/* Give back what was withdrawn and is not converted; leave the queue */
static void job_drop(GmemJob *job)
{
    GmemState *s = job->s;
    guint i;

    for (i = 0; i < job->withdrew->len; i++) {
        GmemRange *run = &g_array_index(job->withdrew, GmemRange, i);
        int ret = gmem_state_populate(s, run);

        if (ret) {
            s->stats.failures++;
            gmem_state_warn(s, "RAM block '%s': a listener refused to take "
                            "back offset 0x%" PRIx64 ", size 0x%" PRIx64
                            " (%s); it stays withdrawn: shared, but not mapped"
                            " by any device",
                            s->name, run->start, run->end - run->start,
                            g_strerror(-ret));
        }
    }
    g_array_set_size(job->withdrew, 0);
    if (job->queued) {
        QTAILQ_REMOVE(&s->jobs, job, next);
        s->nr_jobs--;
        job->queued = false;
    }
}

/* Bring the block's counters up to what the job has done */
static void job_count(GmemJob *job)
{
    GmemConvertStats *now = &job->convert.stats;
    GmemConvertStats *old = &job->counted;
    GmemStateStats *sum = &job->s->stats;

    if (job->convert.first_busy_ns >= 0) {
        now->longest_wait_ns = job->s->ops->now(job->s->opaque) -
                               job->convert.first_busy_ns;
    }
    sum->busy_pages += now->busy_pages - old->busy_pages;
    sum->retries += now->retries - old->retries;
    sum->calls += now->calls - old->calls;
    sum->longest_wait_ns = MAX(sum->longest_wait_ns, now->longest_wait_ns);
    *old = *now;
}

static int job_finish(GmemJob *job, int result)
{
    GmemState *s = job->s;

    job_drop(job);
    job->finished = true;
    job->result = result;
    if (result) {
        s->stats.failures++;
    } else if (job->convert.stats.calls) {
        s->stats.conversions++;
    }
    return result;
}

static bool job_is_late(GmemJob *job)
{
    return job->timeout_ns > 0 && job->convert.first_busy_ns >= 0 &&
           job->s->ops->now(job->s->opaque) - job->convert.first_busy_ns >=
           job->timeout_ns;
}

/*
 * The end of an attempt; lock held.  @paced: all that could be tried now was;
 * else the thread is wanted elsewhere, and the job may go on at once.
 *
 * A failing call holds the file's lock exclusively and may drain caches on all
 * CPUs, so the block sees one per pause, and the pending jobs take turns.
 */
static int job_attempted(GmemJob *job, bool paced, bool failing)
{
    GmemState *s = job->s;
    int64_t now = s->ops->now(s->opaque);
    int64_t pause;

    job_count(job);
    if (job->convert.err) {
        return job_finish(job, job->convert.err);
    }
    if (!job->convert.todo->len) {
        return job_finish(job, 0);
    }
    if (paced) {
        gmem_convert_delayed(&job->convert);
        if (failing) {
            pause = gmem_convert_pause_ns(&job->convert);
            job->not_before_ns = now + pause * s->nr_jobs;
            s->retry_after_ns = MAX(s->retry_after_ns, now + pause);
        } else {
            /* It waits for another job, and to look again costs no call */
            job->not_before_ns = now + GMEM_PAUSE_SLICE_NS;
        }
    } else if (failing) {
        s->retry_after_ns = MAX(s->retry_after_ns,
                                now + job->convert.pause_ns);
    }
    return job_is_late(job) ? -ETIMEDOUT : -EAGAIN;
}

/* What was never tried, window by window; lock held, and dropped in between */
static int job_first(GmemJob *job)
{
    GmemState *s = job->s;
    GmemConvertJob *convert = &job->convert;
    uint64_t end = convert->start + convert->size;
    bool failing = false;

    for (;;) {
        uint64_t start = convert->fresh;
        uint64_t stop = MIN(end, start + gmem_job_window_size(job));

        convert->cut_short = convert->gave_way = false;
        gmem_job_window(job, start, stop, false, &failing);
        if (convert->err || convert->cut_short) {
            break;
        }
        if (convert->gave_way) {
            return job_attempted(job, false, failing);
        }
        convert->fresh = stop;
        if (stop == end) {
            break;
        }
        gmem_state_unlock(s);
        if (gmem_state_should_stop(s)) {
            gmem_state_lock(s);
            return job_attempted(job, false, failing);
        }
        gmem_state_lock(s);
    }
    return job_attempted(job, true, failing);
}

/*
 * What was put aside, from the cursor on and around, to the first call that
 * fails; lock held, and dropped in between.
 */
static int job_retry(GmemJob *job)
{
    GmemState *s = job->s;
    GmemConvertJob *convert = &job->convert;
    uint64_t end = convert->start + convert->size;
    uint64_t cursor = convert->cursor;
    uint64_t pos = cursor;
    uint64_t limit = end;
    bool around = false;
    bool failing = false;
    GmemRange r;

    while (!failing && !convert->err) {
        if (!gmem_ranges_next(convert->todo, pos, limit, &r)) {
            if (around) {
                break;
            }
            around = true;
            pos = convert->start;
            limit = cursor;
            continue;
        }
        pos = MIN(limit, r.start + gmem_job_window_size(job));
        gmem_job_window(job, r.start, pos, true, &failing);
        if (!failing && gmem_ranges_next(convert->todo, 0, end, &r)) {
            gmem_state_unlock(s);
            if (gmem_state_should_stop(s)) {
                gmem_state_lock(s);
                return job_attempted(job, false, false);
            }
            gmem_state_lock(s);
        }
    }
    return job_attempted(job, true, failing);
}

int gmem_job_attempt(GmemJob *job)
{
    GmemState *s = job->s;
    GmemConvertJob *convert = &job->convert;
    int64_t not_before;
    bool retry;
    int ret;

    if (job->finished) {
        return job->result;
    }
    gmem_state_lock(s);
    if (!job->queued) {
        QTAILQ_INSERT_TAIL(&s->jobs, job, next);
        s->nr_jobs++;
        job->queued = true;
    }
    not_before = job->not_before_ns;
    retry = convert->fresh == convert->start + convert->size;
    if (retry || convert->enomem) {
        not_before = MAX(not_before, s->retry_after_ns);
    }
    if (not_before && s->ops->now(s->opaque) < not_before) {
        job->not_before_ns = not_before;
        job_count(job);
        ret = job_is_late(job) ? -ETIMEDOUT : -EAGAIN;
    } else {
        job->not_before_ns = 0;
        ret = retry ? job_retry(job) : job_first(job);
    }
    gmem_state_unlock(s);
    return ret;
}

int64_t gmem_job_pause_ns(GmemJob *job)
{
    GmemState *s = job->s;
    int64_t now = s->ops->now(s->opaque);
    int64_t until = job->not_before_ns;

    if (job->timeout_ns > 0 && job->convert.first_busy_ns >= 0) {
        until = MIN(until, job->convert.first_busy_ns + job->timeout_ns);
    }
    return MAX(until - now, 0);
}

const char *gmem_job_error(GmemJob *job)
{
    return job->convert.error;
}

const GmemConvertStats *gmem_job_stats(GmemJob *job)
{
    return &job->convert.stats;
}

void gmem_job_free(GmemJob *job)
{
    if (!job) {
        return;
    }
    if (!job->finished) {
        gmem_state_lock(job->s);
        job->s->stats.given_up += job->queued;
        job_drop(job);
        gmem_state_unlock(job->s);
    }
    gmem_convert_job_cleanup(&job->convert);
    g_array_unref(job->withdrew);
    g_array_unref(job->flipped);
    g_array_unref(job->asked);
    g_free(job);
}

void gmem_job_on_late(GmemJob *job, int64_t after_ns, GmemJobLateFn *fn,
                      void *opaque)
{
    job->late_ns = after_ns;
    job->late = fn;
    job->late_opaque = opaque;
}

bool gmem_job_waits_for(GmemJob *job, GmemRange *what, int64_t *waited_ns)
{
    GmemConvertJob *convert = &job->convert;

    /* Only this thread writes to the set, so reading needs no lock */
    if (job->finished || convert->first_busy_ns < 0 ||
        !gmem_ranges_next(convert->todo, convert->start,
                          convert->start + convert->size, what)) {
        return false;
    }
    if (what->start < convert->fresh) {
        what->end = MIN(what->end, convert->fresh);
    }
    if (waited_ns) {
        *waited_ns = job->s->ops->now(job->s->opaque) - convert->first_busy_ns;
    }
    return true;
}

static void job_tell_late(GmemJob *job)
{
    GmemRange what;
    int64_t waited_ns;

    if (job->late && gmem_job_waits_for(job, &what, &waited_ns) &&
        waited_ns >= job->late_ns) {
        job->late(job->late_opaque, &what, waited_ns);
        while (job->late_ns <= waited_ns) {
            job->late_ns *= 2;
        }
    }
}

/* Returns false if the wait is over because somebody wants the thread */
static bool state_pause(GmemState *s, int64_t ns)
{
    int64_t end = s->ops->now(s->opaque) + ns;

    for (; ns > 0; ns = end - s->ops->now(s->opaque)) {
        if (gmem_state_should_stop(s)) {
            return false;
        }
        s->ops->pause(s->opaque, MIN(ns, GMEM_PAUSE_SLICE_NS));
    }
    return !gmem_state_should_stop(s);
}

int gmem_job_run(GmemJob *job)
{
    int ret;

    do {
        ret = gmem_job_attempt(job);
        if (ret != -EAGAIN) {
            return ret;
        }
        job_tell_late(job);
    } while (state_pause(job->s, gmem_job_pause_ns(job)));
    return -EINTR;
}

int gmem_state_convert(GmemState *s, uint64_t offset, uint64_t size,
                       bool to_private, int64_t timeout_ns,
                       GmemConvertStats *stats, char **errp)
{
    GmemJob *job = gmem_job_new(s, offset, size, to_private, timeout_ns);
    int ret = gmem_job_run(job);

    if (ret == -ETIMEDOUT || ret == -EINTR) {
        ret = -EAGAIN;
    }
    if (stats) {
        *stats = *gmem_job_stats(job);
    }
    if (errp) {
        *errp = ret == -EAGAIN ? NULL : g_strdup(gmem_job_error(job));
    }
    gmem_job_free(job);
    return ret;
}

