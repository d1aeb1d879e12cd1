/*
 * guest_memfd conversion: one window of a job
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: what one attempt does to some pages while it holds the lock:
 * listeners, engine, record, and what happens to pages that a listener or the
 * kernel does not let through.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "system/gmem-state-internal.h"

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
    g_autofree char *text = NULL;

    if (left) {
        more = g_strdup_printf("; 0x%" PRIx64 " bytes could not be made private"
                               " again and stay withdrawn: shared, but not"
                               " mapped by any device", left);
        s->stats.failures++;
    }
    text = g_strdup_printf(
        "RAM block '%s': a listener refused offset 0x%" PRIx64 ", size 0x%"
        PRIx64 " as shared memory: %s (errno %d)%s", s->name, run->start,
        run->end - run->start, g_strerror(-err), -err, more ? more : "");
    if (left) {
        /* Also if the job has failed for another reason already */
        gmem_state_warn(s, "%s", text);
    }
    if (!job->convert.err) {
        job->convert.err = err;
        job->convert.error = g_steal_pointer(&text);
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

bool gmem_state_should_stop(GmemState *s)
{
    return s->ops->should_stop && s->ops->should_stop(s->opaque);
}

uint64_t gmem_job_window_size(GmemJob *job)
{
    return job->s->dual_backed ? job->convert.size : GMEM_STATE_WINDOW;
}

void gmem_job_window(GmemJob *job, uint64_t start, uint64_t end, bool retry,
                     bool *failing)
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
               job->convert.gave_way ||
               (retry && (*failing || gmem_state_should_stop(job->s)));
    }
    if (!job->convert.to_private && job->s->launched) {
        job_populate(job, pieces);
    }
    job_discard(job);
}
