/*
 * guest_memfd conversion: the jobs of one RAM block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: pending conversions of one RAM block: windows, order, pace, and
 * what happens to pages that a listener or the kernel does not let through.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "system/gmem-state-internal.h"

/* A pause is made of slices, so that a lost wake-up costs no more than one */
#define GMEM_PAUSE_SLICE_NS (1000 * 1000LL)

struct GmemJob {
    GmemState *s;
    GmemConvertJob convert;
    GmemConvertStats counted;   /* part that is in the block's counters */
    /* What it took from the listeners, and is not converted */
    GArray *withdrew;
    GArray *flipped;            /* what this window made shared */
    GArray *asked;              /* dual-backed: what this window converted */
    int64_t timeout_ns;
    int64_t not_before_ns;
    int64_t late_ns;            /* wait after which to call @late */
    GmemJobLateFn *late;
    void *late_opaque;
    bool queued;
    bool finished;
    int result;
    QTAILQ_ENTRY(GmemJob) next;
};

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

/* What the engine has converted, either way */
static void job_converted(void *opaque, uint64_t offset, uint64_t size)
{
    GmemJob *job = opaque;
    GmemState *s = job->s;
    bool to_private = job->convert.to_private;
    uint64_t pos = offset, end = offset + size;
    GmemRange run;

    for (; gmem_state_run(s, s->kernel_shared, to_private, pos, end, &run);
         pos = run.end) {
        gmem_state_set(s, s->kernel_shared, &s->nr_kernel_shared, &run,
                       !to_private);
        if (!to_private) {
            gmem_ranges_add(job->flipped, run.start, run.end);
        }
    }
    if (to_private) {
        gmem_ranges_remove(job->withdrew, offset, end);
    }
    if (s->dual_backed) {
        gmem_ranges_add(job->asked, offset, end);
    }
}

/* The one step back: what this window made shared and a listener refused */
static void state_reverted(void *opaque, uint64_t offset, uint64_t size)
{
    GmemState *s = opaque;
    GmemRange run = { offset, offset + size };

    gmem_state_set(s, s->kernel_shared, &s->nr_kernel_shared, &run, false);
}

/*
 * Make what this window made shared, and a listener refused, private again.
 * Returns how many bytes could not be.
 */
static uint64_t job_revert(GmemJob *job)
{
    GmemState *s = job->s;
    GmemRange run, rest;
    uint64_t left = 0;
    guint i;

    for (i = 0; i < job->flipped->len; i++) {
        GmemRange piece = g_array_index(job->flipped, GmemRange, i);

        for (; gmem_state_run(s, s->populated, false, piece.start, piece.end,
                              &run); piece.start = run.end) {
            GmemConvertJob back;

            gmem_convert_job_init(&back, s->ops, s->opaque, s->name,
                                  s->page_size, run.start, run.end - run.start,
                                  true);
            back.warned = s->warned;
            gmem_convert_attempt(&back, run.start, run.end, state_reverted, s);
            s->warned = back.warned;
            s->stats.calls += back.stats.calls;
            for (; gmem_ranges_next(back.todo, run.start, run.end, &rest);
                 run.start = rest.end) {
                left += rest.end - rest.start;
            }
            run.start = run.end;
            gmem_convert_job_cleanup(&back);
        }
    }
    return left;
}

/* A listener refused @run with @err */
static void job_refused(GmemJob *job, const GmemRange *run, int err)
{
    GmemState *s = job->s;
    uint64_t left = job_revert(job);
    g_autofree char *more = NULL;

    if (left) {
        more = g_strdup_printf("; 0x%" PRIx64 " bytes could not be made private"
                               " again and stay withdrawn: shared, but not"
                               " mapped by any device", left);
        s->stats.failures++;
    }
    if (!job->convert.err) {
        job->convert.err = err;
        job->convert.error = g_strdup_printf(
            "RAM block '%s': a listener refused offset 0x%" PRIx64 ", size 0x%"
            PRIx64 " as shared memory: %s (errno %d)%s", s->name, run->start,
            run->end - run->start, g_strerror(-err), -err, more ? more : "");
    }
    if (left) {
        gmem_state_warn(s, "%s", job->convert.error);
    }
}

/* To shared, after the ioctl: tell the listeners about all of @pieces */
static void job_populate(GmemJob *job, const GArray *pieces)
{
    GmemState *s = job->s;
    GmemRange run;
    guint i;

    for (i = 0; i < pieces->len; i++) {
        GmemRange piece = g_array_index(pieces, GmemRange, i);

        for (; gmem_state_run_withdrawn(s, piece.start, piece.end, &run);
             piece.start = run.end) {
            int ret = gmem_state_populate(s, &run);

            if (ret) {
                job_refused(job, &run, ret);
                return;
            }
        }
    }
}

/*
 * Dual-backed: give the pages back that are not used in the new state, also
 * where it is not new: they may have been written to by the host since.  What a
 * listener's refusal made private again keeps its private pages.
 */
static void job_discard(GmemJob *job)
{
    GmemState *s = job->s;
    bool to_private = job->convert.to_private;
    GmemRange run;
    guint i;

    for (i = 0; i < job->asked->len; i++) {
        GmemRange piece = g_array_index(job->asked, GmemRange, i);

        for (; gmem_state_run(s, s->kernel_shared, !to_private, piece.start,
                              piece.end, &run); piece.start = run.end) {
            uint64_t size = run.end - run.start;
            int ret = s->ops->discard(s->opaque, run.start, size, to_private);

            if (ret && !job->convert.err) {
                job->convert.err = ret < 0 ? ret : -EIO;
                job->convert.error = g_strdup_printf(
                    "RAM block '%s': offset 0x%" PRIx64 ", size 0x%" PRIx64
                    " is %s now, but its other pages cannot be given back to "
                    "the host: %s (errno %d)", s->name, run.start, size,
                    to_private ? "private" : "shared",
                    g_strerror(-job->convert.err), -job->convert.err);
            }
        }
    }
}

/*
 * What the job may work on in a window: what is still to do, without what an
 * earlier job is waiting for.
 */
static GArray *job_pieces(GmemJob *job, uint64_t start, uint64_t end)
{
    GArray *pieces = gmem_ranges_new();
    GmemJob *earlier;
    GmemRange r;
    uint64_t pos;

    for (pos = start; gmem_ranges_next(job->convert.todo, pos, end, &r);
         pos = r.end) {
        gmem_ranges_add(pieces, r.start, r.end);
    }
    for (earlier = QTAILQ_FIRST(&job->s->jobs); earlier && earlier != job;
         earlier = QTAILQ_NEXT(earlier, next)) {
        for (pos = start; gmem_ranges_next(earlier->convert.todo, pos, end, &r);
             pos = r.end) {
            gmem_ranges_remove(pieces, r.start, r.end);
        }
    }
    return pieces;
}

/* Nothing is left to do where the pages already are what they shall be */
static void job_settle(GmemJob *job, uint64_t pos, uint64_t end)
{
    GmemConvertJob *convert = &job->convert;
    GmemRange r, run;

    for (; gmem_ranges_next(convert->todo, pos, end, &r); pos = r.end) {
        for (; gmem_state_run(job->s, job->s->kernel_shared,
                              !convert->to_private, r.start, r.end, &run);
             r.start = run.end) {
            gmem_ranges_remove(convert->todo, run.start, run.end);
        }
    }
}

/* What the kernel is to be asked for to convert @piece; may be empty */
static GmemRange job_need(GmemJob *job, const GmemRange *piece)
{
    GmemState *s = job->s;
    GmemRange need = { piece->end, piece->end };
    GmemRange run;
    uint64_t pos;

    if (s->dual_backed) {
        return *piece;
    }
    for (pos = piece->start;
         gmem_state_run(s, s->kernel_shared, job->convert.to_private, pos,
                        piece->end, &run); pos = run.end) {
        need.start = MIN(need.start, run.start);
        need.end = run.end;
    }
    return need;
}

/* One piece of one window, without the populate step of to-shared */
static GmemConvertResult job_piece(GmemJob *job, const GmemRange *piece)
{
    GmemState *s = job->s;
    GmemConvertJob *convert = &job->convert;
    GmemRange need = job_need(job, piece);
    GmemRange run;
    GmemConvertResult res;
    uint64_t pos;

    gmem_ranges_remove(convert->todo, piece->start, need.start);
    gmem_ranges_remove(convert->todo, need.end, piece->end);
    if (need.start == need.end) {
        return GMEM_CONVERT_DONE;
    }
    if (convert->to_private) {
        for (pos = need.start;
             gmem_state_run(s, s->populated, true, pos, need.end, &run);
             pos = run.end) {
            gmem_state_withdraw(s, &run);
            gmem_ranges_add(job->withdrew, run.start, run.end);
        }
    }
    convert->warned = s->warned;
    res = gmem_convert_attempt(convert, need.start, need.end, job_converted,
                               job);
    s->warned = convert->warned;
    if (!s->dual_backed) {
        /* The kernel may name a page of a mixed range that need not change */
        job_settle(job, need.start, need.end);
    }
    return res;
}

static bool state_should_stop(GmemState *s)
{
    return s->ops->should_stop && s->ops->should_stop(s->opaque);
}

/* A dual-backed request is carried out in one go, as by QEMU 10.2.2 */
static uint64_t job_window_size(GmemJob *job)
{
    return job->s->dual_backed ? job->convert.size : GMEM_STATE_WINDOW;
}

/* One window; lock held.  *@failing: a call failed, the attempt is over */
static void job_window(GmemJob *job, uint64_t start, uint64_t end,
                       bool retry, bool *failing)
{
    g_autoptr(GArray) pieces = job_pieces(job, start, end);
    uint64_t failed = job->convert.stats.failed_calls;
    bool stop = false;
    guint i;

    g_array_set_size(job->flipped, 0);
    g_array_set_size(job->asked, 0);
    for (i = 0; i < pieces->len && !stop; i++) {
        job_piece(job, &g_array_index(pieces, GmemRange, i));
        *failing |= job->convert.stats.failed_calls > failed;
        stop = job->convert.err || job->convert.cut_short ||
               (retry && (*failing || state_should_stop(job->s)));
    }
    if (!job->convert.to_private && job->s->launched) {
        job_populate(job, pieces);
    }
    job_discard(job);
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
 * The end of an attempt; lock held.  @paced: all that could be tried now was.
 *
 * A failing call holds the file's lock exclusively and may drain caches on all
 * CPUs, so the block sees one per pause, and the pending jobs take turns.
 */
static int job_attempted(GmemJob *job, bool paced, bool failing)
{
    GmemState *s = job->s;
    int64_t now, pause;

    job_count(job);
    if (job->convert.err) {
        return job_finish(job, job->convert.err);
    }
    if (!job->convert.todo->len) {
        return job_finish(job, 0);
    }
    if (paced) {
        gmem_convert_delayed(&job->convert);
        now = s->ops->now(s->opaque);
        if (failing) {
            pause = gmem_convert_pause_ns(&job->convert);
            job->not_before_ns = now + pause * s->nr_jobs;
            s->retry_after_ns = MAX(s->retry_after_ns, now + pause);
        } else {
            /* It waits for another job, and to look again costs no call */
            job->not_before_ns = now + GMEM_PAUSE_SLICE_NS;
        }
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
        uint64_t stop = MIN(end, start + job_window_size(job));

        convert->cut_short = false;
        job_window(job, start, stop, false, &failing);
        if (convert->err || convert->cut_short) {
            break;
        }
        convert->fresh = stop;
        if (stop == end) {
            break;
        }
        gmem_state_unlock(s);
        if (state_should_stop(s)) {
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
        pos = MIN(limit, r.start + job_window_size(job));
        job_window(job, r.start, pos, true, &failing);
        if (!failing && gmem_ranges_next(convert->todo, 0, end, &r)) {
            gmem_state_unlock(s);
            if (state_should_stop(s)) {
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
        if (state_should_stop(s)) {
            return false;
        }
        s->ops->pause(s->opaque, MIN(ns, GMEM_PAUSE_SLICE_NS));
    }
    return !state_should_stop(s);
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
