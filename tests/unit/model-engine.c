/*
 * Description: see model.h.  One job of the engine: which pages it may ask for,
 * what it has to report, what it may cost, and what its counters must say.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "fake-kernel.h"
#include "model.h"

enum { MAX_PAGES = 256, ATTEMPTS = 24 };

typedef struct Model {
    Source *src;
    FakeKernel *k;
    GmemConvertJob job;
    uint64_t first, end;        /* of the job, in pages */
    uint64_t from, to;          /* of the attempt's window */
    bool was[MAX_PAGES];        /* private before the job */
    bool todo[MAX_PAGES];
    bool uniform;               /* all pages of the job start in one state */
    /* No wrong offsets, no errors, no page that changes hands in an attempt */
    bool calm;
    bool errors;
    unsigned pauses;
    GmemConvertStats want;
} Model;

/* Held pages that are private already count: a mixed range stops at them */
static bool is_busy(Model *m, uint64_t i)
{
    return m->job.to_private && m->k->held[i] > m->k->clock;
}

/* Before the fake kernel looks at a call */
static void on_call(FakeKernel *k, uint64_t offset, uint64_t size,
                    bool to_private)
{
    static const int errors[] = { EINTR, ENOMEM, EINTR, EFAULT };
    Model *m = k->hook_opaque;
    uint64_t i;

    g_assert_cmpint(to_private, ==, m->job.to_private);
    g_assert_cmpuint(size, >, 0);
    g_assert_cmpuint((offset | size) % PAGE, ==, 0);
    g_assert_cmpuint(size, <=, GMEM_ASK_MAX);
    g_assert_cmpuint(offset, >=, MAX(m->first, m->from) * PAGE);
    g_assert_cmpuint(offset + size, <=, MIN(m->end, m->to) * PAGE);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_true(m->todo[i]);
    }
    if (!m->errors) {
        return;
    }
    if (one_in(m->src, 12)) {
        fake_script(k, errors[pick(m->src, one_in(m->src, 30) ? 4 : 3)]);
        m->calm = false;
    }
    if (one_in(m->src, 12)) {
        i = offset / PAGE + pick(m->src, size / PAGE);
        k->held[i] = k->clock + pick(m->src, 30) * MS;
        m->calm = false;
    }
}

/* Right after a call that succeeded, and for nothing else */
static void on_converted(void *opaque, uint64_t offset, uint64_t size)
{
    Model *m = opaque;
    FakeCall *call = fake_call(m->k, m->k->calls->len - 1);
    uint64_t i;

    g_assert_cmpint(call->ret, ==, 0);
    g_assert_cmpuint(call->offset, ==, offset);
    g_assert_cmpuint(call->size, ==, size);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_true(m->todo[i]);
        m->todo[i] = false;
    }
}

/* What a call must have added to the counters */
static void count_call(Model *m, const FakeCall *call, bool retry)
{
    GmemConvertStats *w = &m->want;
    uint64_t pages = call->size / PAGE;

    w->calls++;
    w->retries += retry;
    w->pages_asked += pages;
    w->failed_calls += call->ret != 0 && call->ret != -EINTR;
    if (call->ret == 0) {
        w->pages_scanned += pages;
        w->pages_converted += pages;
    } else if (call->ret == -EAGAIN) {
        bool good = call->answer >= call->offset &&
                    call->answer < call->offset + call->size &&
                    call->answer % PAGE == 0;

        w->busy_answers++;
        w->busy_pages += !retry;
        w->distrusted += !good;
        w->pages_scanned += good ? (call->answer - call->offset) / PAGE + 1 :
                                   pages;
    }
}

static void check_stats(Model *m)
{
    const GmemConvertStats *s = &m->job.stats, *w = &m->want;

    g_assert_cmpuint(s->calls, ==, w->calls);
    g_assert_cmpuint(s->failed_calls, ==, w->failed_calls);
    g_assert_cmpuint(s->pages_asked, ==, w->pages_asked);
    g_assert_cmpuint(s->pages_scanned, ==, w->pages_scanned);
    g_assert_cmpuint(s->pages_converted, ==, w->pages_converted);
    g_assert_cmpuint(s->busy_answers, ==, w->busy_answers);
    g_assert_cmpuint(s->busy_pages, ==, w->busy_pages);
    g_assert_cmpuint(s->retries, ==, w->retries);
    g_assert_cmpuint(s->distrusted, ==, w->distrusted);
    g_assert_cmpuint(m->k->warnings->len, ==, w->distrusted ? 1 : 0);
    g_assert_cmpuint(m->k->busy_events, ==, w->busy_answers);
}

/* Kernel, model and job say the same of every page */
static void check_pages(Model *m)
{
    uint64_t i;

    for (i = 0; i < m->k->pages; i++) {
        bool in = i >= m->first && i < m->end;
        GmemRange r;

        if (in && !m->todo[i]) {
            g_assert_cmpint(m->k->priv[i], ==, m->job.to_private);
        } else {
            g_assert_cmpint(m->k->priv[i], ==, m->was[i]);
        }
        g_assert_cmpint(gmem_ranges_next(m->job.todo, i * PAGE, (i + 1) * PAGE,
                                         &r), ==, m->todo[i]);
    }
}

static bool any_todo(Model *m, bool busy_only)
{
    uint64_t i;

    for (i = MAX(m->first, m->from); i < MIN(m->end, m->to); i++) {
        if (m->todo[i] && (!busy_only || is_busy(m, i))) {
            return true;
        }
    }
    return false;
}

/*
 * The cost of an undisturbed first attempt at everything, and what it leaves:
 * exactly the busy pages, if each run of them has as many free ones behind it.
 */
static void check_first(Model *m, const bool *busy, const GmemConvertStats *old)
{
    uint64_t n = m->end - m->first, i, j, next, k = 0, runs = 0;
    unsigned log_n = g_bit_storage(n);
    bool roomy = true;

    for (i = m->first; i < m->end; i = j) {
        j = i;
        while (j < m->end && busy[j]) {
            j++;
        }
        if (j == i) {
            j++;
            continue;
        }
        k += j - i;
        runs++;
        next = j;
        while (next < m->end && !busy[next]) {
            next++;
        }
        roomy &= next - j >= j - i || next == m->end;
    }
    g_assert_cmpuint(m->want.pages_scanned - old->pages_scanned, <=,
                     2 * n + 2 * (k + 1) * log_n);
    g_assert_cmpuint(m->want.calls - old->calls, <=,
                     2 + (runs + 1) * 5 * log_n);
    for (i = m->first; i < m->end; i++) {
        g_assert_cmpint(m->todo[i] && roomy, ==, busy[i] && roomy);
    }
}

static GmemConvertResult play_attempt(Model *m)
{
    GmemConvertStats old = m->want;
    uint64_t fresh = m->job.fresh, failed;
    bool retry = MIN(m->end, m->to) * PAGE <= fresh;
    bool all = !retry && fresh == m->first * PAGE && m->from <= m->first &&
               m->to >= m->end;
    guint i, first = m->k->calls->len;
    bool failed_before = m->job.err;
    bool busy[MAX_PAGES];
    bool any_busy = any_todo(m, true);
    GmemConvertResult res;

    for (i = 0; i < m->k->pages; i++) {
        busy[i] = is_busy(m, i);
    }
    m->calm = m->k->lie == LIE_NONE && m->k->stop_after < 0 &&
              m->k->enomem_above == UINT64_MAX && !m->job.enomem;
    res = gmem_convert_attempt(&m->job, m->from * PAGE, m->to * PAGE,
                               on_converted, m);
    for (i = first; i < m->k->calls->len; i++) {
        count_call(m, fake_call(m->k, i), retry);
    }
    check_stats(m);
    check_pages(m);
    g_assert_cmpint(res == GMEM_CONVERT_FAILED, ==, m->job.err != 0);
    if (res == GMEM_CONVERT_FAILED) {
        g_assert_nonnull(m->job.error);
        g_assert_true(!failed_before || m->k->calls->len == first);
        return res;
    }
    g_assert_cmpint(res == GMEM_CONVERT_DONE, ==, !any_todo(m, false));
    failed = m->want.failed_calls - old.failed_calls;
    if (m->calm && retry) {
        g_assert_cmpuint(failed, <=, 1);
        /* All pins are gone: this attempt is the last one */
        g_assert_true(any_busy || res == GMEM_CONVERT_DONE);
    } else if (m->calm && all && m->uniform) {
        check_first(m, busy, &old);
    }
    return res;
}

static void hold_some(Model *m)
{
    uint64_t page = pick(m->src, m->k->pages);
    uint64_t n = MIN(1 + pick(m->src, one_in(m->src, 4) ? 40 : 2),
                     m->k->pages - page);

    fake_hold(m->k, page, n, one_in(m->src, 4) ? FOREVER :
              m->k->clock + (1 + pick(m->src, 60)) * MS);
}

static void disturb(Model *m)
{
    Source *src = m->src;
    uint64_t page;

    m->errors = one_in(src, 3);
    m->k->stop_after = one_in(src, 20) ? pick(src, 3) : -1;
    m->k->stop_asked = 0;
    m->from = 0;
    m->to = m->k->pages;
    if (one_in(src, 6)) {
        m->from = pick(src, m->k->pages);
        m->to = m->from + 1 + pick(src, m->k->pages - m->from);
        /* A first pass goes through its windows in order */
        if (m->to * PAGE > m->job.fresh) {
            m->from = MIN(m->from, m->job.fresh / PAGE);
        }
    }
    if (one_in(src, 6)) {
        hold_some(m);
    }
    if (one_in(src, 6)) {
        page = pick(src, m->k->pages);
        memset(m->k->held + page, 0,
               MIN(8, m->k->pages - page) * sizeof(m->k->held[0]));
    }
}

static void play_pause(Model *m)
{
    int64_t ns = gmem_convert_pause_ns(&m->job);

    g_assert_cmpint(ns, ==, MIN(100000LL << MIN(m->pauses, 20), 10 * MS));
    m->pauses++;
    m->k->clock += ns;
}

static void begin(Model *m, Source *src)
{
    uint64_t pages = 1 + pick(src, MAX_PAGES), i, holds;
    bool to_private = !one_in(src, 8);
    bool mixed = one_in(src, 3);

    memset(m, 0, sizeof(*m));
    m->src = src;
    m->k = fake_new(pages, !to_private);
    m->k->hook = on_call;
    m->k->hook_opaque = m;
    m->k->lie = one_in(src, 5) ? pick(src, LIE_MAX) : LIE_NONE;
    if (one_in(src, 10)) {
        m->k->enomem_above = pick(src, 20) * PAGE;
    }
    m->uniform = !mixed && m->k->enomem_above == UINT64_MAX;
    m->first = pick(src, pages);
    m->end = m->first + 1 + pick(src, pages - m->first);
    for (i = 0; i < pages; i++) {
        m->k->priv[i] ^= mixed && pick(src, 2);
        m->was[i] = m->k->priv[i];
        m->todo[i] = i >= m->first && i < m->end;
    }
    for (holds = pick(src, 12); holds; holds--) {
        hold_some(m);
    }
    gmem_convert_job_init(&m->job, &fake_ops, m->k, "ram0", PAGE,
                          m->first * PAGE, (m->end - m->first) * PAGE,
                          to_private);
}

/* Nothing is in the way any more: it ends, and soon */
static void finish(Model *m)
{
    GmemConvertResult res;
    int i = 0;

    m->errors = false;
    m->from = 0;
    m->to = m->k->pages;
    m->k->stop_after = -1;
    m->k->enomem_above = UINT64_MAX;
    g_queue_clear(&m->k->script);
    memset(m->k->held, 0, m->k->pages * sizeof(m->k->held[0]));
    while ((res = play_attempt(m)) == GMEM_CONVERT_BUSY) {
        play_pause(m);
        g_assert_cmpint(++i, <=, 2);
    }
    g_assert_cmpint(res, ==, m->job.err ? GMEM_CONVERT_FAILED :
                                          GMEM_CONVERT_DONE);
}

void model_engine(Source *src)
{
    g_autofree Model *m = g_new(Model, 1);
    int i;

    begin(m, src);
    for (i = 0; i < ATTEMPTS; i++) {
        disturb(m);
        if (play_attempt(m) == GMEM_CONVERT_BUSY) {
            play_pause(m);
        }
    }
    finish(m);
    gmem_convert_job_cleanup(&m->job);
    fake_free(m->k);
}
