/*
 * Description: what is told of jobs that have to wait, for events and for the
 * counters of the RAM block, against the fake kernel.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

/* What gmem_job_on_late() has told */
typedef struct Late {
    Fixture *f;
    unsigned calls;
    GmemRange what;
    int64_t waited[8];
} Late;

static void note_late(void *opaque, const GmemRange *what, int64_t waited_ns)
{
    Late *late = opaque;

    /* The block's lock is free, or this would hang */
    gmem_state_is_populated(late->f->s, 0, PAGE);
    g_assert_cmpuint(late->calls, <, 8);
    late->waited[late->calls++] = waited_ns;
    late->what = *what;
}

/* At the time, at twice that, and so on; what it waits for is named */
static void test_late(void)
{
    Late late = { };
    GmemRange what;
    int64_t waited;
    GmemJob *j;
    Fixture f;
    unsigned i;

    setup_launched(&f, 64);
    late.f = &f;
    fake_hold(f.k, 20, 2, FOREVER);
    f.k->stop_at = f.k->clock + 3500 * MS;
    j = gmem_job_new(f.s, 0, 64 * PAGE, true, 0);
    gmem_job_on_late(j, 1000 * MS, note_late, &late);
    g_assert_false(gmem_job_waits_for(j, &what, NULL));
    g_assert_cmpint(gmem_job_run(j), ==, -EINTR);
    g_assert_cmpuint(late.calls, ==, 2);
    for (i = 0; i < late.calls; i++) {
        g_assert_cmpint(late.waited[i], >=, (1000 << i) * MS);
        g_assert_cmpint(late.waited[i], <=, (1000 << i) * MS + 30 * MS);
    }
    g_assert_cmpuint(late.what.start, ==, 20 * PAGE);
    g_assert_cmpuint(late.what.end, ==, 22 * PAGE);
    g_assert_true(gmem_job_waits_for(j, &what, &waited));
    g_assert_cmpuint(what.start, ==, 20 * PAGE);
    g_assert_cmpint(waited, >=, 3500 * MS);
    g_assert_cmpint(waited, <=, 3501 * MS);
    /* Long after: once, not for each time that was missed */
    f.k->clock += 20000 * MS;
    g_assert_cmpint(gmem_job_run(j), ==, -EINTR);
    g_assert_cmpuint(late.calls, ==, 3);
    g_assert_cmpint(gmem_job_run(j), ==, -EINTR);
    g_assert_cmpuint(late.calls, ==, 3);
    f.k->stop_at = FOREVER;
    f.k->held[20] = f.k->held[21] = 0;
    g_assert_cmpint(gmem_job_run(j), ==, 0);
    g_assert_false(gmem_job_waits_for(j, &what, NULL));
    g_assert_cmpuint(late.calls, ==, 3);
    g_assert_cmpuint(stats(&f).given_up, ==, 0);
    gmem_job_free(j);
    g_assert_cmpuint(stats(&f).given_up, ==, 0);
    check(&f, 0);
    teardown(&f);
}

/* A job that does not wait for long is not late */
static void test_not_late(void)
{
    Late late = { };
    GmemJob *j;
    Fixture f;

    setup_launched(&f, 64);
    late.f = &f;
    fake_hold(f.k, 20, 2, f.k->clock + 900 * MS);
    j = gmem_job_new(f.s, 0, 64 * PAGE, true, 0);
    gmem_job_on_late(j, 1000 * MS, note_late, &late);
    g_assert_cmpint(gmem_job_run(j), ==, 0);
    g_assert_cmpint(stats(&f).longest_wait_ns, >=, 900 * MS);
    g_assert_cmpuint(late.calls, ==, 0);
    gmem_job_free(j);
    check(&f, 0);
    teardown(&f);
}

/*
 * What was never asked for is not waited for; a job that waits for another's
 * page is told as well; all that end before they are done are counted
 */
static void test_waits_for(void)
{
    GmemRange what;
    GmemJob *a, *b;
    Fixture f;

    setup_launched(&f, 64);
    fake_hold(f.k, 8, 1, FOREVER);
    a = gmem_job_new(f.s, 0, 32 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    g_assert_true(gmem_job_waits_for(a, &what, NULL));
    g_assert_cmpuint(what.start, ==, 8 * PAGE);
    g_assert_cmpuint(what.end, ==, 9 * PAGE);
    b = gmem_job_new(f.s, 4 * PAGE, 16 * PAGE, false, 0);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    g_assert_true(gmem_job_waits_for(b, &what, NULL));
    g_assert_cmpuint(what.start, ==, 8 * PAGE);
    g_assert_cmpuint(what.end, ==, 9 * PAGE);
    g_assert_cmpuint(stats(&f).given_up, ==, 0);
    gmem_job_free(a);
    gmem_job_free(b);
    g_assert_cmpuint(stats(&f).given_up, ==, 2);
    /* One that was never tried was never there */
    gmem_job_free(gmem_job_new(f.s, 0, PAGE, true, 0));
    g_assert_cmpuint(stats(&f).given_up, ==, 2);
    g_assert_cmpuint(stats(&f).failures, ==, 0);
    check(&f, 0);
    teardown(&f);
}

/* Cut short before it had asked for all: the rest is not called busy */
static void test_waits_for_fresh(void)
{
    GmemRange what;
    GmemJob *j;
    Fixture f;

    setup_launched(&f, 64);
    fake_hold(f.k, 0, 1, FOREVER);
    fake_script(f.k, 0);
    fake_script(f.k, ENOMEM);
    j = gmem_job_new(f.s, 0, 64 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(j), ==, -EAGAIN);
    g_assert_true(gmem_job_waits_for(j, &what, NULL));
    g_assert_cmpuint(what.start, ==, 0);
    g_assert_cmpuint(what.end, ==, PAGE);
    gmem_job_free(j);
    check(&f, 0);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-state/late/told", test_late);
    g_test_add_func("/gmem-state/late/not-late", test_not_late);
    g_test_add_func("/gmem-state/late/waits-for", test_waits_for);
    g_test_add_func("/gmem-state/late/waits-for-fresh", test_waits_for_fresh);
    return g_test_run();
}
