/*
 * Description: see model.h.  One RAM block of either kind: which calls a job may
 * make, who has which page afterwards, what the block says about it, and its
 * pace.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "state-fixture.h"
#include "model.h"
#include "system/gmem-state-internal.h"

enum { PAGES = 64, JOBS = 5, STEPS = 48 };

typedef struct ModelJob {
    GmemJob *job;
    uint64_t first, end;
    bool to_private;
    bool tried;             /* it is in the block's queue */
    bool todo[PAGES];       /* not seen in the wanted state yet */
    unsigned pauses;
    GmemConvertStats seen;
} ModelJob;

typedef struct Model {
    Source *src;
    Fixture f;
    GPtrArray *queue;       /* ModelJob, the oldest first */
    ModelJob *cur;          /* whose turn it is; NULL: nobody may call */
    bool before[PAGES];     /* private before this step */
    bool stuck[PAGES];      /* withdrawn as a listener refused it */
    bool kept[PAGES];       /* dual-backed: has a page in both states */
    uint64_t lo, hi;        /* what the job of this step may work on */
    bool refused;
    bool launched;
    bool calm;              /* nothing changes hands, no errors */
    bool errors;
    int64_t not_before;     /* no retry call of anybody */
    uint64_t calls, retries, busy_pages, conversions, given_up, failures;
} Model;

static Model *model_of(Fixture *f)
{
    return container_of(f, Model, f);
}

static void take_before(Model *m)
{
    memcpy(m->before, m->f.k->priv, sizeof(m->before));
}

/* An earlier job waits for page @i to change: nobody may ask for it */
static bool is_owned(Model *m, const ModelJob *mine, uint64_t i)
{
    guint n;

    for (n = 0; n < m->queue->len; n++) {
        ModelJob *j = m->queue->pdata[n];

        if (j == mine) {
            return false;
        }
        if (j->todo[i] && m->f.k->priv[i] != j->to_private) {
            return true;
        }
    }
    return false;
}

/* Listeners that refused in this step */
static unsigned count_refusals(Model *m)
{
    unsigned n = 0;
    const char *p;

    for (p = m->f.k->log->str; (p = strchr(p, '!')); p++) {
        n++;
    }
    return n;
}

static void on_call(FakeKernel *k, uint64_t offset, uint64_t size,
                    bool to_private)
{
    static const int errors[] = { EINTR, ENOMEM, ENOMEM, EFAULT };
    Model *m = model_of(k->hook_opaque);
    uint64_t i;
    int n;

    m->calls++;
    g_assert_nonnull(m->cur);
    g_assert_cmpuint(offset, >=, m->cur->first * PAGE);
    g_assert_cmpuint(offset + size, <=, m->cur->end * PAGE);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_false(is_owned(m, m->cur, i));
        for (n = 0; n < MAX_LISTENERS && to_private; n++) {
            g_assert_false(m->f.ls[n].has[i]);
        }
        if (to_private != m->cur->to_private) {
            /* The one step back: only after a refusal, only what it flipped */
            g_assert_true(to_private && m->before[i] && count_refusals(m));
        }
    }
    if (!m->errors) {
        return;
    }
    if (one_in(m->src, 10)) {
        fake_script(k, errors[pick(m->src, one_in(m->src, 10) ? 4 : 3)]);
        m->calm = false;
    }
    if (one_in(m->src, 10) && !m->f.dual_backed) {
        i = offset / PAGE + pick(m->src, size / PAGE);
        k->held[i] = k->clock + pick(m->src, 30) * MS;
        m->calm = false;
    }
}

/* Everything that has a view of a page has the same one */
static void check_pages(Model *m)
{
    GmemState *s = m->f.s;
    uint64_t i;
    guint n;

    check(&m->f, -1);
    m->refused = count_refusals(m);
    for (i = 0; i < PAGES; i++) {
        bool priv = m->f.k->priv[i];
        bool populated = test_bit(i, s->populated);
        bool waiting = false;

        g_assert_cmpint(test_bit(i, s->kernel_shared) != 0, ==, !priv);
        /* Dual-backed: all is given back but what a listener refused */
        if (m->refused && i >= m->lo && i < m->hi) {
            m->kept[i] = true;
        }
        m->kept[i] &= m->f.k->spare[i];
        g_assert_cmpint(m->f.k->spare[i], ==, m->kept[i]);
        if (priv || populated) {
            m->stuck[i] = false;
            continue;
        }
        for (n = 0; n < m->queue->len; n++) {
            ModelJob *j = m->queue->pdata[n];

            waiting |= j->to_private && j->todo[i];
        }
        if (m->launched && m->refused && i >= m->lo && i < m->hi) {
            m->stuck[i] = true;
        }
        if (m->launched && !waiting) {
            /* It has been said out loud */
            g_assert_true(m->stuck[i]);
            g_assert_cmpuint(m->f.k->warnings->len, >, 0);
        }
    }
}

/* The step of one job is over: what changed, and was it its business? */
static void check_changes(Model *m, ModelJob *j)
{
    uint64_t i;

    for (i = 0; i < PAGES; i++) {
        bool priv = m->f.k->priv[i];

        if (priv != m->before[i]) {
            g_assert_true(j && i >= j->first && i < j->end);
            g_assert_cmpint(priv, ==, j->to_private);
        }
        if (j && priv == j->to_private && !is_owned(m, j, i)) {
            j->todo[i] = false;
        }
    }
}

static ModelJob *job_begin(Model *m, int64_t timeout)
{
    ModelJob *j = g_new0(ModelJob, 1);
    uint64_t i;

    j->first = pick(m->src, PAGES);
    j->end = j->first + 1 + pick(m->src, PAGES - j->first);
    j->to_private = !one_in(m->src, 3);
    for (i = j->first; i < j->end; i++) {
        j->todo[i] = true;
    }
    j->job = timeout < 0 ? NULL :
             gmem_job_new(m->f.s, j->first * PAGE, (j->end - j->first) * PAGE,
                          j->to_private, timeout);
    return j;
}

/* The calls of this step, from @first on, against what the job counted */
static void check_counters(Model *m, ModelJob *j, const GmemConvertStats *now,
                           guint first)
{
    FakeKernel *k = m->f.k;
    GmemConvertStats want = { };
    guint i;

    for (i = first; i < k->calls->len; i++) {
        FakeCall *c = fake_call(k, i);

        if (c->to_private != j->to_private) {
            continue;
        }
        want.calls++;
        want.pages_asked += c->size / PAGE;
        want.failed_calls += c->ret != 0 && c->ret != -EINTR;
        want.busy_answers += c->ret == -EAGAIN;
        want.pages_converted += c->ret == 0 ? c->size / PAGE : 0;
    }
    g_assert_cmpuint(now->calls - j->seen.calls, ==, want.calls);
    g_assert_cmpuint(now->pages_asked - j->seen.pages_asked, ==,
                     want.pages_asked);
    g_assert_cmpuint(now->failed_calls - j->seen.failed_calls, ==,
                     want.failed_calls);
    g_assert_cmpuint(now->busy_answers - j->seen.busy_answers, ==,
                     want.busy_answers);
    g_assert_cmpuint(now->pages_converted - j->seen.pages_converted, ==,
                     want.pages_converted);
    m->retries += now->retries - j->seen.retries;
    m->busy_pages += now->busy_pages - j->seen.busy_pages;
}

static void check_block_stats(Model *m)
{
    GmemStateStats st = stats(&m->f);

    g_assert_cmpuint(st.calls, ==, m->calls);
    g_assert_cmpuint(st.retries, ==, m->retries);
    g_assert_cmpuint(st.busy_pages, ==, m->busy_pages);
    g_assert_cmpuint(st.conversions, ==, m->conversions);
    g_assert_cmpuint(st.given_up, ==, m->given_up);
    g_assert_cmpuint(st.failures, >=, m->failures);
}

/* One failing retry call per pause, for the whole block */
static void check_pace(Model *m, ModelJob *j, const GmemConvertStats *now,
                       int ret)
{
    uint64_t failed = now->failed_calls - j->seen.failed_calls;
    bool retry = now->retries > j->seen.retries;

    if (retry) {
        g_assert_cmpint(m->f.k->clock, >=, m->not_before);
        g_assert_true(failed <= 1 || !m->calm);
    }
    if (failed && (ret == -EAGAIN || ret == -ETIMEDOUT)) {
        int64_t pause = MIN(100000LL << MIN(j->pauses, 20), 10 * MS);

        m->not_before = MAX(m->not_before, m->f.k->clock + pause);
        /* Others wait for that pause; it goes on at once, and makes it then */
        j->pauses += !j->job->convert.gave_way;
        g_assert_cmpint(gmem_job_pause_ns(j->job), <=,
                        10 * MS * m->queue->len);
    }
}

static void check_result(Model *m, ModelJob *j, int ret, uint64_t calls)
{
    uint64_t i;

    if (ret == -EAGAIN || ret == -ETIMEDOUT) {
        return;
    }
    if (ret == 0) {
        m->conversions += calls > 0;
        for (i = j->first; i < j->end; i++) {
            g_assert_false(j->todo[i]);
        }
    } else {
        g_assert_true(ret == -EFAULT || ret == -ENOMEM || count_refusals(m));
        m->failures++;
    }
}

static void job_end(Model *m, ModelJob *j)
{
    m->lo = j->first;
    m->hi = j->end;
    g_ptr_array_remove(m->queue, j);
    gmem_job_free(j->job);
    g_free(j);
}

/* The job is not done, and nobody wants it any more */
static void job_cancel(Model *m, ModelJob *j)
{
    m->given_up++;
    job_end(m, j);
}

static void play_attempt(Model *m, ModelJob *j)
{
    GmemConvertStats now;
    guint first = m->f.k->calls->len;
    bool alone;
    uint64_t i, left = 0;
    int ret;

    alone = !j->tried && !m->queue->len;
    if (!j->tried) {
        g_ptr_array_add(m->queue, j);
        j->tried = true;
    }
    m->cur = j;
    m->lo = j->first;
    m->hi = j->end;
    m->calm = true;
    ret = gmem_job_attempt(j->job);
    m->cur = NULL;
    now = *gmem_job_stats(j->job);
    check_changes(m, j);
    check_counters(m, j, &now, first);
    check_pace(m, j, &now, ret);
    check_result(m, j, ret, now.calls);
    for (i = j->first; i < j->end; i++) {
        left += j->todo[i];
    }
    /* The first attempt leaves nothing but what must wait */
    g_assert_true(!alone || !m->calm || ret != -EAGAIN || left);
    j->seen = now;
    if (ret != -EAGAIN && ret != -ETIMEDOUT) {
        g_assert_cmpint(gmem_job_error(j->job) != NULL, ==, ret != 0);
        g_assert_cmpint(gmem_job_attempt(j->job), ==, ret);
        job_end(m, j);
    }
}

/* A request that waits; other jobs stand in its way until its time is over */
static void play_convert(Model *m)
{
    ModelJob *j = job_begin(m, -1);
    guint first = m->f.k->calls->len;
    g_autofree char *message = NULL;
    GmemConvertStats now;
    int ret;

    g_ptr_array_add(m->queue, j);
    m->cur = j;
    ret = gmem_state_convert(m->f.s, j->first * PAGE,
                             (j->end - j->first) * PAGE, j->to_private,
                             (1 + pick(m->src, 20)) * MS, &now, &message);
    m->cur = NULL;
    check_changes(m, j);
    check_counters(m, j, &now, first);
    check_result(m, j, ret, now.calls);
    g_assert_cmpint(message != NULL, ==, ret && ret != -EAGAIN);
    m->given_up += ret == -EAGAIN;
    /* Its pauses were its own; the block may not ask before the last of them */
    job_end(m, j);
}

static void play_listener(Model *m)
{
    int n = pick(m->src, MAX_LISTENERS);
    uint64_t page = pick(m->src, PAGES);

    if (m->f.ls[n].registered) {
        detach(&m->f, n);
    } else {
        attach(&m->f, n, page, 1 + pick(m->src, PAGES - page));
    }
}

static void play_step(Model *m, ModelJob **jobs)
{
    Source *src = m->src;
    uint64_t page = pick(src, PAGES);
    FakeKernel *k = m->f.k;
    uint32_t n = pick(src, JOBS);

    g_string_truncate(k->log, 0);
    g_array_set_size(k->calls, 0);
    m->lo = m->hi = 0;
    take_before(m);
    k->stop_after = one_in(src, 20) ? pick(src, 3) : -1;
    k->stop_asked = 0;
    m->errors = one_in(src, 5);
    switch (pick(src, 12)) {
    case 0:
        fake_hold(k, page, MIN(1 + pick(src, 6), PAGES - page), k->clock +
                  (1 + pick(src, 40)) * MS);
        break;
    case 1:
        play_listener(m);
        break;
    case 2:
        m->f.ls[pick(src, MAX_LISTENERS)].refuse_after =
            one_in(src, 3) ? pick(src, 3) : -1;
        break;
    case 3:
        m->launched |= gmem_state_launch(m->f.s) == 0;
        break;
    case 4:
    case 5:
        k->clock += (1 + pick(src, 20)) * MS;
        break;
    case 6:
        play_convert(m);
        break;
    case 7:
        /* Cancelled: no call, what was done stays */
        if (jobs[n]) {
            job_cancel(m, jobs[n]);
            jobs[n] = NULL;
        }
        break;
    default:
        if (!jobs[n]) {
            jobs[n] = job_begin(m, pick(src, 50) * MS);
        } else if (one_in(src, 2)) {
            k->clock += gmem_job_pause_ns(jobs[n]->job);
        }
        play_attempt(m, jobs[n]);
        if (!g_ptr_array_find(m->queue, jobs[n], NULL)) {
            jobs[n] = NULL;
        }
        break;
    }
    if (!m->f.k->calls->len) {
        check_changes(m, NULL);
    }
    g_assert_true(m->launched || !m->f.s->nr_populated);
    g_assert_cmpint(gmem_state_is_populated(m->f.s, page * PAGE, PAGE), ==,
                    test_bit(page, m->f.s->populated));
    check_pages(m);
    check_block_stats(m);
}

/* All jobs are dropped and nothing is in the way: the block does as asked */
static void finish(Model *m, ModelJob **jobs)
{
    FakeKernel *k = m->f.k;
    bool to_private = pick(m->src, 2);
    uint64_t i, stuck = 0;
    int n;

    for (n = 0; n < JOBS; n++) {
        g_string_truncate(k->log, 0);
        if (jobs[n]) {
            job_cancel(m, jobs[n]);
            check_pages(m);
        }
    }
    g_string_truncate(k->log, 0);
    for (n = 0; n < MAX_LISTENERS; n++) {
        m->f.ls[n].refuse_after = -1;
    }
    k->hook = NULL;
    k->stop_after = -1;
    g_queue_clear(&k->script);
    g_assert_cmpint(gmem_state_launch(m->f.s), ==, 0);
    m->launched = true;
    g_assert_cmpuint(m->queue->len, ==, 0);
    check_pages(m);
    for (i = 0; i < PAGES; i++) {
        stuck += m->stuck[i];
    }
    check(&m->f, stuck);
    g_assert_cmpint(convert(&m->f, 0, PAGES, to_private, 0), ==, 0);
    g_assert_cmpuint(fake_count_private(k), ==, to_private ? PAGES : 0);
    check(&m->f, 0);
}

void model_block(Source *src)
{
    g_autofree Model *m = g_new0(Model, 1);
    ModelJob *jobs[JOBS] = { };
    int step;

    m->src = src;
    if (one_in(src, 3)) {
        setup_dual(&m->f, PAGES, pick(src, 2));
    } else {
        setup(&m->f, PAGES, pick(src, 2));
    }
    m->f.k->hook = on_call;
    m->queue = g_ptr_array_new();
    for (step = 0; step < STEPS; step++) {
        play_step(m, jobs);
    }
    finish(m, jobs);
    g_ptr_array_unref(m->queue);
    teardown(&m->f);
}
