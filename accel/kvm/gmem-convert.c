/*
 * guest_memfd in-place conversion: the engine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: converts one range around its busy pages.  A call tells only
 * the first busy page, and a failed call has already zapped the host mappings
 * of everything it was asked for.  So what the engine saves is not only calls:
 * after a busy answer it asks for little, or for what has lost its mappings
 * already, and grows from there.
 */

#include "qemu/osdep.h"
#include "system/gmem-convert.h"

/* ENOMEM answers in a row that only cost a pause; then requests are halved */
#define GMEM_ENOMEM_PAUSES 3

/* EINTR answers in a row after which the attempt ends, as if busy */
#define GMEM_EINTR_TRIES 64

/* One attempt */
typedef struct GmemPass {
    GmemConvertJob *job;
    GmemConvertedFn *converted;
    void *cb_opaque;
    bool retry;
} GmemPass;

GArray *gmem_ranges_new(void)
{
    return g_array_new(false, false, sizeof(GmemRange));
}

/* Index of the first range that ends behind @pos */
static guint ranges_find(const GArray *set, uint64_t pos)
{
    guint lo = 0, hi = set->len;

    while (lo < hi) {
        guint mid = lo + (hi - lo) / 2;

        if (g_array_index(set, GmemRange, mid).end > pos) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

void gmem_ranges_add(GArray *set, uint64_t start, uint64_t end)
{
    guint first, last;
    GmemRange range = { start, end };

    if (start >= end) {
        return;
    }
    /* A range that ends exactly at start is a neighbour to merge with */
    first = start ? ranges_find(set, start - 1) : 0;
    for (last = first; last < set->len; last++) {
        GmemRange *r = &g_array_index(set, GmemRange, last);

        if (r->start > end) {
            break;
        }
        range.start = MIN(range.start, r->start);
        range.end = MAX(range.end, r->end);
    }
    if (last > first) {
        g_array_index(set, GmemRange, first) = range;
        if (last > first + 1) {
            g_array_remove_range(set, first + 1, last - first - 1);
        }
    } else {
        g_array_insert_val(set, first, range);
    }
}

void gmem_ranges_remove(GArray *set, uint64_t start, uint64_t end)
{
    guint first, last;

    if (start >= end) {
        return;
    }
    first = ranges_find(set, start);
    if (first < set->len) {
        GmemRange *r = &g_array_index(set, GmemRange, first);

        if (r->start < start) {
            GmemRange tail = { end, r->end };

            r->end = start;
            first++;
            if (tail.start < tail.end) {
                g_array_insert_val(set, first, tail);
                return;
            }
        }
    }
    for (last = first; last < set->len; last++) {
        GmemRange *r = &g_array_index(set, GmemRange, last);

        if (r->end > end) {
            r->start = MAX(r->start, end);
            break;
        }
    }
    if (last > first) {
        g_array_remove_range(set, first, last - first);
    }
}

bool gmem_ranges_next(const GArray *set, uint64_t start, uint64_t end,
                      GmemRange *out)
{
    guint i = ranges_find(set, start);

    if (start >= end || i == set->len) {
        return false;
    }
    *out = g_array_index(set, GmemRange, i);
    if (out->start >= end) {
        return false;
    }
    out->start = MAX(out->start, start);
    out->end = MIN(out->end, end);
    return true;
}

void gmem_convert_job_init(GmemConvertJob *job, const GmemConvertOps *ops,
                           void *opaque, const char *name, uint64_t page_size,
                           uint64_t start, uint64_t size, bool to_private)
{
    uint64_t ask_max = ops->discard ? size : GMEM_ASK_MAX;

    ask_max = MAX(ask_max, page_size);
    *job = (GmemConvertJob) {
        .ops = ops,
        .opaque = opaque,
        .name = name,
        .page_size = page_size,
        .start = start,
        .size = size,
        .to_private = to_private,
        .todo = gmem_ranges_new(),
        .fresh = start,
        .cursor = start,
        .ask = ask_max,
        .ask_max = ask_max,
        .first_busy_ns = -1,
        .pause_ns = GMEM_PAUSE_MIN_NS,
    };
    gmem_ranges_add(job->todo, start, start + size);
}

void gmem_convert_job_cleanup(GmemConvertJob *job)
{
    g_clear_pointer(&job->todo, g_array_unref);
    g_clear_pointer(&job->error, g_free);
}

static int64_t job_now(GmemConvertJob *job)
{
    return job->ops->now(job->opaque);
}

static bool job_should_stop(GmemConvertJob *job)
{
    return job->ops->should_stop && job->ops->should_stop(job->opaque);
}

void gmem_convert_delayed(GmemConvertJob *job)
{
    if (job->first_busy_ns < 0) {
        job->first_busy_ns = job_now(job);
    }
}

int64_t gmem_convert_pause_ns(GmemConvertJob *job)
{
    int64_t ns = job->pause_ns;

    job->pause_ns = MIN(ns * 2, GMEM_PAUSE_MAX_NS);
    return ns;
}

static void job_set_error(GmemConvertJob *job, int err, uint64_t offset,
                          uint64_t size)
{
    g_free(job->error);
    job->err = err;
    job->error = g_strdup_printf("RAM block '%s': cannot make offset 0x%" PRIx64
                                 ", size 0x%" PRIx64 " of its guest_memfd %s: "
                                 "%s (errno %d)", job->name, offset, size,
                                 job->to_private ? "private" : "shared",
                                 g_strerror(-err), -err);
}

/* An error_offset that cannot be right: say so once, never use it */
static void job_distrust(GmemConvertJob *job, uint64_t offset, uint64_t size,
                         uint64_t answer)
{
    g_autofree char *message = NULL;

    job->stats.distrusted++;
    if (job->warned) {
        return;
    }
    job->warned = true;
    if (job->ops->warn) {
        message = g_strdup_printf("RAM block '%s': the kernel found a busy page"
                                  " in offset 0x%" PRIx64 ", size 0x%" PRIx64
                                  " but named 0x%" PRIx64 "; searching for it"
                                  " by halving the range", job->name, offset,
                                  size, answer);
        job->ops->warn(job->opaque, message);
    }
}

/*
 * EAGAIN for [@offset, @offset + @size).  Returns the busy page, or
 * GMEM_NO_OFFSET if the answer cannot be trusted and does not follow from the
 * size.
 */
static uint64_t pass_busy(GmemPass *pass, uint64_t offset, uint64_t size,
                          uint64_t answer)
{
    GmemConvertJob *job = pass->job;
    bool trusted = answer >= offset && answer - offset < size &&
                   answer % job->page_size == 0;
    uint64_t busy = trusted ? answer : GMEM_NO_OFFSET;

    job->stats.busy_answers++;
    job->stats.busy_pages += !pass->retry;
    if (trusted) {
        job->stats.pages_scanned += (answer - offset) / job->page_size + 1;
    } else {
        job->stats.pages_scanned += size / job->page_size;
        job_distrust(job, offset, size, answer);
        if (size == job->page_size) {
            busy = offset;
        }
    }
    gmem_convert_delayed(job);
    if (job->ops->busy) {
        job->ops->busy(job->opaque, busy == GMEM_NO_OFFSET ? offset : busy,
                       job_now(job) - job->first_busy_ns);
    }
    return busy;
}

/*
 * One request.  Returns 0, -EAGAIN (with *@busy from pass_busy()), -ENOMEM,
 * -EINTR (enough of it) or, with the job's error set, any other -errno.
 */
static int pass_ask(GmemPass *pass, uint64_t offset, uint64_t size,
                    uint64_t *busy)
{
    GmemConvertJob *job = pass->job;
    uint64_t pages = size / job->page_size;
    unsigned tries = 0;
    uint64_t answer;
    int ret;

    do {
        answer = GMEM_NO_OFFSET;
        job->stats.calls++;
        job->stats.retries += pass->retry;
        job->stats.pages_asked += pages;
        ret = job->ops->set_attributes(job->opaque, offset, size,
                                       job->to_private, &answer);
    } while (ret == -EINTR && ++tries < GMEM_EINTR_TRIES &&
             !job_should_stop(job));

    if (ret && ret != -EINTR) {
        job->stats.failed_calls++;
    }
    switch (ret) {
    case 0:
        job->enomem = 0;
        job->stats.pages_scanned += pages;
        job->stats.pages_converted += pages;
        gmem_ranges_remove(job->todo, offset, offset + size);
        if (pass->converted) {
            pass->converted(pass->cb_opaque, offset, size);
        }
        break;
    case -EAGAIN:
        *busy = pass_busy(pass, offset, size, answer);
        break;
    case -ENOMEM:
        job->enomem++;
        gmem_convert_delayed(job);
        break;
    case -EINTR:
        gmem_convert_delayed(job);
        break;
    default:
        job_set_error(job, ret < 0 ? ret : -EIO, offset, size);
        break;
    }
    return ret;
}

/* Half of @size, in whole pages, at least one */
static uint64_t pass_half(GmemPass *pass, uint64_t size)
{
    return MAX(QEMU_ALIGN_DOWN(size / 2, pass->job->page_size),
               pass->job->page_size);
}

static uint64_t pass_double(uint64_t ask)
{
    return ask > UINT64_MAX / 2 ? UINT64_MAX : ask * 2;
}

/*
 * The page at @hi was free, the one before @lo busy, and what is between them
 * was jumped over.  Find the end of the run from the right and convert what is
 * free; what remains unknown stays put aside, as does all if the thread is
 * wanted elsewhere.
 */
static GmemConvertResult pass_search_back(GmemPass *pass, uint64_t lo,
                                          uint64_t hi)
{
    GmemConvertJob *job = pass->job;

    while (lo < hi && !job_should_stop(job)) {
        uint64_t half = QEMU_ALIGN_DOWN((hi - lo) / 2, job->page_size);
        uint64_t mid = MAX(lo + half, hi - MIN(hi - lo, job->ask_max));
        uint64_t busy = GMEM_NO_OFFSET;
        int ret = pass_ask(pass, mid, hi - mid, &busy);

        if (ret == 0) {
            hi = mid;
            continue;
        }
        if (job->err) {
            return GMEM_CONVERT_FAILED;
        }
        if (busy == GMEM_NO_OFFSET) {
            break;
        }
        lo = busy + job->page_size;
        if (busy > mid && !job_should_stop(job)) {
            pass_ask(pass, mid, busy - mid, &busy);
            if (job->err) {
                return GMEM_CONVERT_FAILED;
            }
        }
    }
    return GMEM_CONVERT_BUSY;
}

/*
 * The busy page at @pos is put aside.  Where to go on: behind it; if its
 * predecessors were busy too, behind *@skip bytes.  But never past the last
 * page before that one was asked for, or free pages at the end of the range
 * would wait for nothing.
 */
static uint64_t pass_jump(GmemPass *pass, uint64_t pos, uint64_t end,
                          uint64_t *skip)
{
    uint64_t page_size = pass->job->page_size;
    uint64_t furthest = MAX(pos + page_size, end - page_size);
    uint64_t next = *skip < furthest - pos ? pos + *skip : furthest;

    *skip = pass_double(*skip);
    return next;
}

/* ENOMEM for @size bytes at @pos: DONE = ask for less, without a pause */
static GmemConvertResult pass_enomem(GmemPass *pass, uint64_t pos,
                                     uint64_t size)
{
    GmemConvertJob *job = pass->job;

    if (job->enomem <= GMEM_ENOMEM_PAUSES) {
        job->cut_short = true;
        return GMEM_CONVERT_BUSY;
    }
    if (size == job->page_size) {
        job_set_error(job, -ENOMEM, pos, size);
        return GMEM_CONVERT_FAILED;
    }
    /* For good, or each step of growth would cost these pauses again */
    job->ask_max = job->ask = pass_half(pass, size);
    return GMEM_CONVERT_DONE;
}

/*
 * What to ask for at @pos, behind a busy page: as much as was free in front of
 * it, for busy pages often come at regular distances.  (A run of them: one
 * page.)  But not beyond @zapped, which failed calls have asked for: a request
 * that fails, too, shall take no further host mappings away.
 */
static uint64_t pass_guess(GmemPass *pass, uint64_t pos, uint64_t free,
                           uint64_t zapped)
{
    uint64_t guess = MIN(free, pass->job->ask_max);

    guess = MIN(guess, zapped > pos ? zapped - pos : 0);
    return MAX(guess, pass->job->page_size);
}

/*
 * The first pass has got as far as @pos.  Is the thread wanted elsewhere?  Only
 * asked where the pass has got on, so that one that is always wanted does, too.
 */
static bool pass_gives_way(GmemPass *pass, uint64_t pos, uint64_t end)
{
    GmemConvertJob *job = pass->job;

    if (pos < end && job_should_stop(job)) {
        job->fresh = pos;
        job->gave_way = true;
    }
    return job->gave_way;
}

/* What was never asked for, one piece of it; moves job->fresh along */
static GmemConvertResult pass_first(GmemPass *pass, uint64_t pos, uint64_t end)
{
    GmemConvertJob *job = pass->job;
    uint64_t page_size = job->page_size;
    uint64_t skip = page_size;          /* next jump over busy neighbours */
    uint64_t jumped = pos;              /* [jumped, pos) was jumped over */
    uint64_t behind = pos;              /* where the latest jump ended */
    uint64_t zapped = pos;              /* failed calls asked up to here */
    bool guessed = false;               /* job->ask is a distance, not growth */
    uint64_t known = GMEM_NO_OFFSET;    /* the page that was named busy */

    for (job->fresh = pos; pos < end; job->fresh = pos) {
        uint64_t busy = GMEM_NO_OFFSET;
        uint64_t size;
        int ret;

        if (pos == known) {
            uint64_t free = pos - behind;

            jumped = pos + page_size;
            pos = behind = pass_jump(pass, pos, end, &skip);
            known = GMEM_NO_OFFSET;
            job->ask = pass_guess(pass, pos, free, zapped);
            guessed = job->ask > page_size;
            if (pass_gives_way(pass, pos, end)) {
                return GMEM_CONVERT_BUSY;
            }
            continue;
        }
        size = MIN(MIN(job->ask, end - pos), known - pos);
        ret = pass_ask(pass, pos, size, &busy);
        if (job->err) {
            return GMEM_CONVERT_FAILED;
        }
        if (ret == 0) {
            if (jumped < pos &&
                pass_search_back(pass, jumped, pos) == GMEM_CONVERT_FAILED) {
                return GMEM_CONVERT_FAILED;
            }
            pos += size;
            jumped = pos;
            skip = page_size;
            /* Right so far: if the next page is busy, twice as much is lost */
            job->ask = MIN(MAX(job->ask, guessed ? size : pass_double(size)),
                           job->ask_max);
            guessed = false;
            /* Not before the page that is known to be busy is put aside */
            if (pos != known && pass_gives_way(pass, pos, end)) {
                return GMEM_CONVERT_BUSY;
            }
        } else if (ret == -EAGAIN && busy != GMEM_NO_OFFSET) {
            known = busy;
            zapped = MAX(zapped, pos + size);
        } else if (ret == -EAGAIN) {
            job->ask = pass_half(pass, size);
        } else if (ret == -ENOMEM) {
            GmemConvertResult res = pass_enomem(pass, pos, size);

            if (res != GMEM_CONVERT_DONE) {
                return res;
            }
        } else {
            job->cut_short = true;
            return GMEM_CONVERT_BUSY;
        }
    }
    return GMEM_CONVERT_DONE;
}

/*
 * What was put aside, in [@pos, @end), up to the first call that fails, or to
 * the one after which the thread is wanted elsewhere.  One page first: as long
 * as it is busy, a larger request would only take the host mappings of its
 * neighbours away.
 */
static GmemConvertResult pass_retry(GmemPass *pass, uint64_t pos, uint64_t end)
{
    GmemConvertJob *job = pass->job;
    uint64_t ask = job->page_size;
    GmemRange r;

    while (gmem_ranges_next(job->todo, pos, end, &r)) {
        uint64_t size = MIN(ask, r.end - r.start);
        uint64_t busy = GMEM_NO_OFFSET;
        int ret;

        if (ask > job->page_size && job_should_stop(job)) {
            job->cursor = r.start;
            return GMEM_CONVERT_BUSY;
        }
        ret = pass_ask(pass, r.start, size, &busy);
        if (ret == 0) {
            pos = r.start + size;
            ask = MIN(pass_double(ask), job->ask_max);
            continue;
        }
        job->cursor = r.start;
        if (ret == -ENOMEM) {
            /* The next attempt begins small again, and must not grow as far */
            if (size > job->page_size) {
                job->ask_max = MAX(pass_half(pass, job->ask_max),
                                   pass_half(pass, size));
            }
            pass_enomem(pass, r.start, size);
        } else if (ret == -EAGAIN && busy != GMEM_NO_OFFSET) {
            job->cursor = busy + job->page_size;
            if (busy > r.start && !job_should_stop(job)) {
                pass_ask(pass, r.start, busy - r.start, &busy);
            }
        }
        return job->err ? GMEM_CONVERT_FAILED : GMEM_CONVERT_BUSY;
    }
    return GMEM_CONVERT_DONE;
}

GmemConvertResult gmem_convert_attempt(GmemConvertJob *job,
                                       uint64_t window_start,
                                       uint64_t window_end,
                                       GmemConvertedFn *converted,
                                       void *cb_opaque)
{
    GmemPass pass = {
        .job = job,
        .converted = converted,
        .cb_opaque = cb_opaque,
    };
    GmemConvertResult res = GMEM_CONVERT_DONE;
    uint64_t start = MAX(window_start, job->start);
    uint64_t end = MIN(window_end, job->start + job->size);
    GmemRange r;

    if (job->err) {
        return GMEM_CONVERT_FAILED;
    }
    job->cut_short = job->gave_way = false;
    if (start < end && end > job->fresh) {
        uint64_t pos = MAX(start, job->fresh);

        while (res == GMEM_CONVERT_DONE &&
               gmem_ranges_next(job->todo, pos, end, &r)) {
            res = pass_first(&pass, r.start, r.end);
            pos = r.end;
        }
        if (res == GMEM_CONVERT_DONE) {
            job->fresh = end;
        }
    } else if (start < end) {
        uint64_t from = MIN(MAX(job->cursor, start), end);

        pass.retry = true;
        res = pass_retry(&pass, from, end);
        if (res == GMEM_CONVERT_DONE) {
            res = pass_retry(&pass, start, from);
        }
    }
    if (job->first_busy_ns >= 0) {
        job->stats.longest_wait_ns = MAX(job->stats.longest_wait_ns,
                                         job_now(job) - job->first_busy_ns);
    }
    if (res == GMEM_CONVERT_DONE &&
        gmem_ranges_next(job->todo, start, end, &r)) {
        res = GMEM_CONVERT_BUSY;
    }
    return res;
}
