/*
 * Description: one conversion of a RAM block that has to wait, against the fake
 * kernel: pauses, deadlines, stops, windows.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

/* Busy for some time: the rest is converted at once, then only this page */
static void check_busy(uint64_t busy)
{
    GmemConvertStats st;
    Fixture f;

    setup_launched(&f, 64);
    fake_hold(f.k, busy, 1, f.k->clock + 50 * MS);
    f.k->stop_at = f.k->clock + 1000 * MS;      /* of a test that would hang */
    g_assert_cmpint(gmem_state_convert(f.s, 0, 64 * PAGE, true, 1000 * MS, &st,
                                       NULL), ==, 0);
    g_assert_cmpuint(f.ls[0].discards, ==, 1);
    g_assert_cmpuint(f.ls[0].populates, ==, 1);     /* by launch */
    g_assert_cmpuint(st.busy_pages, ==, 1);
    g_assert_cmpuint(st.calls, <=, 30);
    g_assert_cmpint(st.longest_wait_ns, >=, 50 * MS);
    g_assert_cmpint(st.longest_wait_ns, <=, 60 * MS);
    g_assert_cmpint(f.k->longest_slice, <=, MS);
    g_assert_cmpuint(stats(&f).busy_pages, ==, 1);
    g_assert_cmpuint(stats(&f).retries, ==, st.retries);
    g_assert_cmpuint(stats(&f).calls, ==, st.calls);
    g_assert_cmpint(stats(&f).longest_wait_ns, ==, st.longest_wait_ns);
    g_assert_cmpuint(fake_count_private(f.k), ==, 64);
    check(&f, 0);
    teardown(&f);
}

static void test_busy(void)
{
    check_busy(0);
    check_busy(20);
    check_busy(63);
}

/* Progress is kept, listeners are told again, the guest is told EAGAIN */
static void test_deadline(void)
{
    Fixture f;
    int64_t before;
    guint i;

    setup_launched(&f, 64);
    fake_hold(f.k, 20, 2, FOREVER);
    before = f.k->clock;
    g_assert_cmpint(convert(&f, 0, 64, true, 100), ==, -EAGAIN);
    g_assert_cmpint(f.k->clock - before, ==, 100 * MS);
    g_assert_cmpuint(fake_count_private(f.k), ==, 62);
    g_assert_true(gmem_state_is_populated(f.s, 20 * PAGE, 2 * PAGE));
    g_assert_true(g_str_has_suffix(f.k->log->str, "; +A 20+2; "));
    for (i = 0; i < f.k->calls->len; i++) {
        g_assert_true(fake_call(f.k, i)->to_private);
    }
    g_assert_cmpuint(stats(&f).conversions, ==, 0);
    g_assert_cmpuint(stats(&f).given_up, ==, 1);
    g_assert_cmpuint(stats(&f).failures, ==, 0);
    check(&f, 0);
    /* The guest asks again for all of it */
    fake_reset_log(f.k);
    f.k->held[20] = f.k->held[21] = 0;
    g_assert_cmpint(convert(&f, 0, 64, true, 100), ==, 0);
    assert_log(&f, "-A 20+2; private 20+2; ");
    teardown(&f);
}

static void test_should_stop(void)
{
    Fixture f;
    int64_t before;

    setup_launched(&f, 64);
    fake_hold(f.k, 20, 1, FOREVER);
    before = f.k->clock;
    f.k->stop_at = before + 23 * MS;
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, -EAGAIN);
    g_assert_cmpint(f.k->clock - before, >=, 23 * MS);
    g_assert_cmpint(f.k->clock - before, <=, 24 * MS);
    g_assert_cmpuint(fake_count_private(f.k), ==, 63);
    check(&f, 0);
    /* Kicked all the time: one attempt, no pause */
    before = f.k->clock;
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, -EAGAIN);
    g_assert_cmpint(f.k->clock, ==, before);
    f.k->held[20] = 0;
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, 0);
    check(&f, 0);
    teardown(&f);
}

/* Somebody wants the thread from the moment of one call or pause on */
typedef struct HandOver {
    unsigned stop_in_call;      /* the call in which that happens, from 1 */
    unsigned calls;
    unsigned late_calls;
} HandOver;

static void hand_over_call(FakeKernel *k, uint64_t offset, uint64_t size,
                           bool to_private)
{
    HandOver *h = k->hook_opaque;

    h->late_calls += k->clock >= k->stop_at;
    if (++h->calls == h->stop_in_call) {
        k->stop_at = k->clock;
    }
}

/*
 * A job that waits is handed over after one call and one slice of a pause,
 * wherever the wish comes: counted, not timed.  It stays pending, and goes on
 * where it was.  Every @step-th page is busy; @nr_free of them become free
 * before the wish comes, so that calls succeed one after the other.
 */
static void check_hand_over(unsigned stop_in_call, unsigned step,
                            unsigned nr_free)
{
    uint64_t nr_held = DIV_ROUND_UP(256, step);
    HandOver h = { };
    int64_t wanted;
    GmemJob *j;
    Fixture f;
    int i;

    setup_launched(&f, 256);
    for (i = 0; i < 256; i += step) {
        fake_hold(f.k, i, 1, FOREVER);
    }
    j = gmem_job_new(f.s, 0, 256 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(j), ==, -EAGAIN);
    g_assert_cmpuint(fake_count_private(f.k), ==, 256 - nr_held);
    f.k->hook = hand_over_call;
    f.k->hook_opaque = &h;
    if (stop_in_call) {
        h.stop_in_call = stop_in_call;
    } else {
        f.k->stop_at = f.k->clock + 5 * MS;
    }
    memset(f.k->held, 0, nr_free * step * sizeof(f.k->held[0]));
    f.k->longest_slice = 0;
    g_assert_cmpint(gmem_job_run(j), ==, -EINTR);
    wanted = f.k->stop_at;
    g_assert_cmpuint(h.late_calls, ==, 0);
    g_assert_cmpint(f.k->clock - wanted, <=, MS);
    g_assert_cmpint(f.k->longest_slice, <=, MS);
    if (stop_in_call) {
        g_assert_cmpuint(h.calls, ==, stop_in_call);
        g_assert_cmpint(f.k->clock, ==, wanted);
    }
    /* Nothing happens while nobody runs it, and it holds its place */
    check(&f, 256 - fake_count_private(f.k));
    h.calls = 0;
    f.k->stop_at = FOREVER;
    f.k->clock += 1000 * MS;
    g_assert_cmpuint(h.calls, ==, 0);
    /* Go on */
    h.stop_in_call = 0;
    memset(f.k->held, 0, 256 * sizeof(f.k->held[0]));
    g_assert_cmpint(gmem_job_run(j), ==, 0);
    g_assert_cmpuint(fake_count_private(f.k), ==, 256);
    gmem_job_free(j);
    check(&f, 0);
    teardown(&f);
}

static void test_hand_over(void)
{
    /* In a pause, and in a call that fails */
    check_hand_over(0, 3, 0);
    check_hand_over(1, 3, 0);
    check_hand_over(7, 3, 0);
    /* In one of a row of calls that succeed, page by page and doubling */
    check_hand_over(1, 3, 40);
    check_hand_over(5, 3, 40);
    check_hand_over(1, 1, 100);
    check_hand_over(5, 1, 100);
    /* In a call that fails behind pages that are free */
    check_hand_over(4, 1, 10);
}

/*
 * The same for a job that goes over its range for the first time, in which
 * every @step-th run of @run pages is busy: it may make one call more, for what
 * is in front of the busy page that it has just been told.
 */
static void check_hand_over_first(unsigned stop_in_call, unsigned step,
                                  unsigned run)
{
    HandOver h = { .stop_in_call = stop_in_call };
    uint64_t nr_held = 0;
    GmemJob *j;
    Fixture f;
    int i;

    setup_launched(&f, 4096);
    for (i = step / 2; i + run <= 4096; i += step) {
        fake_hold(f.k, i, run, FOREVER);
        nr_held += run;
    }
    f.k->hook = hand_over_call;
    f.k->hook_opaque = &h;
    j = gmem_job_new(f.s, 0, 4096 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_run(j), ==, -EINTR);
    g_assert_cmpuint(h.calls, >=, stop_in_call);
    g_assert_cmpuint(h.late_calls, <=, 1);
    g_assert_cmpint(f.k->clock, ==, f.k->stop_at);
    check(&f, 4096 - fake_count_private(f.k));
    /* It goes on where it was, without a pause */
    f.k->stop_at = FOREVER;
    h.stop_in_call = 0;
    g_assert_cmpint(gmem_job_attempt(j), ==, -EAGAIN);
    if (run == 1) {
        g_assert_cmpuint(fake_count_private(f.k), ==, 4096 - nr_held);
    }
    memset(f.k->held, 0, 4096 * sizeof(f.k->held[0]));
    g_assert_cmpint(gmem_job_run(j), ==, 0);
    g_assert_cmpuint(fake_count_private(f.k), ==, 4096);
    gmem_job_free(j);
    check(&f, 0);
    teardown(&f);
}

static void test_hand_over_first(void)
{
    unsigned in_call;

    for (in_call = 1; in_call < 40; in_call++) {
        check_hand_over_first(in_call, 2, 1);
        check_hand_over_first(in_call, 16, 1);
        check_hand_over_first(in_call, 64, 20);
        check_hand_over_first(in_call, 500, 100);
    }
}

/*
 * Kicked for ever, the job still ends: each run gets on, and makes no more than
 * the call that finds a busy page and the one for what is in front of it.
 */
static void test_hand_over_always(void)
{
    const GmemConvertStats *st;
    uint64_t retries = 0;
    GmemJob *j;
    Fixture f;
    int i, ret = -EINTR;

    setup_launched(&f, 256);
    for (i = 0; i < 256; i += 3) {
        fake_hold(f.k, i, 1, f.k->clock + 30 * MS);
    }
    f.k->stop_at = 0;
    j = gmem_job_new(f.s, 0, 256 * PAGE, true, 0);
    st = gmem_job_stats(j);
    for (i = 0; i < 2000 && ret == -EINTR; i++) {
        guint calls = f.k->calls->len;

        ret = gmem_job_run(j);
        g_assert_cmpuint(f.k->calls->len, <=,
                         calls + (st->retries > retries ? 1 : 2));
        retries = st->retries;
        /* Pages that become free meanwhile shall not make it end early */
        f.k->clock += i < 20 ? 0 : MS;
    }
    g_assert_cmpint(i, >, 20);
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpuint(fake_count_private(f.k), ==, 256);
    gmem_job_free(j);
    check(&f, 0);
    teardown(&f);
}

static void test_timeout_job(void)
{
    GmemJob *a;
    Fixture f;
    int ret;

    setup_launched(&f, 16);
    fake_hold(f.k, 3, 1, FOREVER);
    a = gmem_job_new(f.s, 0, 16 * PAGE, true, 5 * MS);
    f.k->clock += 20 * MS;      /* does not count: it did not wait */
    while ((ret = gmem_job_attempt(a)) == -EAGAIN) {
        sleep_for(&f, a);
    }
    g_assert_cmpint(ret, ==, -ETIMEDOUT);
    g_assert_cmpint(gmem_job_stats(a)->longest_wait_ns, ==, 5 * MS);
    g_assert_null(gmem_job_error(a));
    check(&f, 1);
    gmem_job_free(a);
    check(&f, 0);
    teardown(&f);
}

/* What happens between windows is seen by a thread of its own */
typedef struct Watcher {
    Fixture *f;
    GThread *thread;
    gint done;
    gint asking;            /* questions begun and answered */
    gint answered;
    gint answered_before;
    unsigned windows;
    unsigned passed_over;
    unsigned in_between;
    uint64_t window;
} Watcher;

/* One window: the watcher sleeps on the lock and must come before the next */
static void next_window(FakeKernel *k, uint64_t offset, uint64_t size,
                        bool to_private)
{
    Watcher *w = k->hook_opaque;
    int i;

    if (offset % w->window) {
        return;
    }
    if (w->windows++) {
        /* If it had the lock, it says so as soon as it is let run */
        for (i = 0; i < 200 &&
             g_atomic_int_get(&w->answered) == w->answered_before; i++) {
            g_usleep(100);
        }
        w->passed_over += g_atomic_int_get(&w->answered) == w->answered_before;
    }
    while (g_atomic_int_get(&w->asking) == g_atomic_int_get(&w->answered)) {
        g_usleep(10);
    }
    g_usleep(3000);     /* time for it to go to sleep, on a busy machine */
    w->answered_before = g_atomic_int_get(&w->answered);
}

static gpointer watch(gpointer opaque)
{
    Watcher *w = opaque;
    uint64_t shared_bytes, private_bytes, withdrawn_bytes;

    while (!g_atomic_int_get(&w->done)) {
        g_atomic_int_inc(&w->asking);
        gmem_state_counts(w->f->s, &shared_bytes, &private_bytes,
                          &withdrawn_bytes);
        g_atomic_int_inc(&w->answered);
        w->in_between += private_bytes && shared_bytes;
        g_assert_cmpuint(private_bytes % w->window, ==, 0);
        g_assert_cmpuint(withdrawn_bytes, ==, 0);
    }
    return NULL;
}

static void test_window(void)
{
    const uint64_t window = GMEM_STATE_WINDOW / PAGE;
    Fixture f;
    Watcher w = { &f, .window = GMEM_STATE_WINDOW };
    guint i;
    int tries;

    setup_launched(&f, 8 * window);
    f.k->hook = next_window;
    f.k->hook_opaque = &w;
    w.thread = g_thread_new("watch", watch, &w);
    for (tries = 0; tries < 5; tries++) {
        g_assert_cmpint(convert(&f, 0, 8 * window, true, 0), ==, 0);
        g_assert_cmpint(convert(&f, 0, 8 * window, false, 0), ==, 0);
    }
    g_atomic_int_set(&w.done, 1);
    g_thread_join(w.thread);
    f.k->hook = NULL;
    g_assert_cmpuint(w.in_between, >=, 5);
    /* Without the turnstile the watcher hardly ever gets in */
    g_test_message("%u of %u windows passed a waiting thread over",
                   w.passed_over, w.windows);
    g_assert_cmpuint(w.passed_over, <, w.windows / 2);
    for (i = 0; i < f.k->calls->len; i++) {
        g_assert_cmpuint(fake_call(f.k, i)->size, ==, GMEM_ASK_MAX);
    }
    g_assert_cmpuint(f.ls[0].discards, ==, 5 * 8);
    /* Wanted elsewhere after two calls: progress stays, the rest waits */
    f.k->stop_after = 1;
    f.k->stop_asked = 0;
    g_assert_cmpint(convert(&f, 0, 8 * window, true, 0), ==, -EAGAIN);
    g_assert_cmpuint(fake_count_private(f.k), ==, 2 * GMEM_ASK_MAX / PAGE);
    f.k->stop_after = -1;
    check(&f, 0);
    teardown(&f);
}

/* Retries go around all windows */
static void test_window_cursor(void)
{
    const uint64_t window = GMEM_STATE_WINDOW / PAGE;
    GmemJob *a;
    Fixture f;
    int i;

    setup_launched(&f, 3 * window);
    fake_hold(f.k, 5, 1, FOREVER);
    fake_hold(f.k, window + 7, 1, f.k->clock + 1);
    fake_hold(f.k, 2 * window + 9, 1, f.k->clock + 1);
    a = new_job(&f, 0, 3 * window, true);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    check(&f, 3);
    for (i = 0; i < 2; i++) {
        sleep_for(&f, a);
        g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    }
    check(&f, 1);
    f.k->held[5] = 0;
    sleep_for(&f, a);
    g_assert_cmpint(gmem_job_attempt(a), ==, 0);
    gmem_job_free(a);
    check(&f, 0);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-state/busy", test_busy);
    g_test_add_func("/gmem-state/deadline", test_deadline);
    g_test_add_func("/gmem-state/should-stop", test_should_stop);
    g_test_add_func("/gmem-state/hand-over", test_hand_over);
    g_test_add_func("/gmem-state/hand-over-first", test_hand_over_first);
    g_test_add_func("/gmem-state/hand-over-always", test_hand_over_always);
    g_test_add_func("/gmem-state/jobs/timeout", test_timeout_job);
    g_test_add_func("/gmem-state/window/lock", test_window);
    g_test_add_func("/gmem-state/window/cursor", test_window_cursor);
    return g_test_run();
}
