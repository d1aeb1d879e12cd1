/*
 * Description: several conversions of one RAM block at the same time, against
 * the fake kernel: the queue of jobs, the pace of the block, and all of it at
 * random.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

/* What an earlier job waits for looks busy, and costs no call */
static void test_fifo(void)
{
    GmemJob *a, *b, *c;
    Fixture f;

    setup_launched(&f, 32);
    fake_hold(f.k, 8, 1, FOREVER);
    a = new_job(&f, 4, 8, true);
    b = new_job(&f, 0, 16, false);
    c = new_job(&f, 6, 20, true);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    check(&f, 1);
    fake_reset_log(f.k);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    assert_log(&f, "shared 4+4; shared 9+3; +A 4+4; +A 9+3; ");
    check(&f, 1);
    g_assert_cmpint(gmem_job_attempt(c), ==, -EAGAIN);
    assert_log(&f, "-A 6+2; private 6+2; -A 9+17; private 9+17; ");
    check(&f, 1);
    /* b and c wait for a, without a call */
    sleep_for(&f, c);
    g_assert_cmpint(gmem_job_attempt(c), ==, -EAGAIN);
    sleep_for(&f, b);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    assert_log(&f, "");
    /* a is dropped: its page goes back to shared, which is what b wants */
    gmem_job_free(a);
    assert_log(&f, "+A 8+1; ");
    sleep_for(&f, c);
    g_assert_cmpint(gmem_job_attempt(c), ==, -EAGAIN);
    assert_log(&f, "");
    sleep_for(&f, b);
    g_assert_cmpint(gmem_job_attempt(b), ==, 0);
    assert_log(&f, "");
    g_assert_cmpint(gmem_job_attempt(b), ==, 0);
    f.k->held[8] = 0;
    sleep_for(&f, c);
    g_assert_cmpint(gmem_job_attempt(c), ==, 0);
    assert_log(&f, "-A 8+1; private 8+1; ");
    check(&f, 0);
    gmem_job_free(b);
    gmem_job_free(c);
    teardown(&f);
}

/* A job that was made but never tried holds nobody up */
static void test_unborn(void)
{
    GmemJob *a;
    Fixture f;

    setup_launched(&f, 32);
    a = new_job(&f, 0, 32, true);
    g_assert_cmpint(convert(&f, 0, 8, true, 0), ==, 0);
    g_assert_cmpint(f.k->slept, ==, 0);
    gmem_job_free(a);
    check(&f, 0);
    teardown(&f);
}

/* One failing retry call per pause for the block, whoever makes it */
static void test_pace(void)
{
    enum { JOBS = 8 };
    GmemJob *jobs[JOBS];
    unsigned tried[JOBS] = { };
    int64_t end, last = 0, next;
    Fixture f;
    guint i, first;
    int n;

    setup_launched(&f, 64);
    for (n = 0; n < JOBS; n++) {
        fake_hold(f.k, n * 8 + 3, 1, FOREVER);
        jobs[n] = new_job(&f, n * 8, 8, true);
        g_assert_cmpint(gmem_job_attempt(jobs[n]), ==, -EAGAIN);
    }
    /* Too early: no call */
    first = f.k->calls->len;
    g_assert_cmpint(gmem_job_attempt(jobs[0]), ==, -EAGAIN);
    g_assert_cmpuint(f.k->calls->len, ==, first);
    end = f.k->clock + 2000 * MS;
    while (f.k->clock < end) {
        next = FOREVER;
        for (n = 0; n < JOBS; n++) {
            next = MIN(next, gmem_job_pause_ns(jobs[n]));
        }
        f.k->clock += MAX(next, 1000);
        for (n = 0; n < JOBS; n++) {
            if (gmem_job_pause_ns(jobs[n]) == 0) {
                guint before = f.k->calls->len;

                g_assert_cmpint(gmem_job_attempt(jobs[n]), ==, -EAGAIN);
                g_assert_cmpuint(f.k->calls->len, <=, before + 1);
                tried[n] += f.k->calls->len > before;
            }
        }
    }
    /* Everybody had a turn, and never two calls within one pause */
    for (n = 0; n < JOBS; n++) {
        g_assert_cmpuint(tried[n], >=, 10);
    }
    g_assert_cmpuint(f.k->calls->len - first, <=, 2 * 100 + 8 * JOBS);
    g_assert_cmpuint(f.k->calls->len - first, >=, 100);
    for (i = first; i < f.k->calls->len; i++) {
        g_assert_cmpint(fake_call(f.k, i)->when, >=, last + 100 * 1000);
        last = fake_call(f.k, i)->when;
    }
    for (n = 0; n < JOBS; n++) {
        gmem_job_free(jobs[n]);
    }
    check(&f, 0);
    teardown(&f);
}

/* Both would be due, but the block has just had its failing call */
static void test_pace_two(void)
{
    GmemJob *a, *b;
    Fixture f;

    setup_launched(&f, 16);
    fake_hold(f.k, 3, 1, FOREVER);
    fake_hold(f.k, 11, 1, FOREVER);
    a = new_job(&f, 0, 8, true);
    b = new_job(&f, 8, 8, true);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    f.k->clock += 20 * MS;
    fake_reset_log(f.k);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    assert_log(&f, "private 3+1 EAGAIN; ");
    g_assert_cmpint(gmem_job_pause_ns(b), >, 0);
    sleep_for(&f, b);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    assert_log(&f, "private 11+1 EAGAIN; ");
    gmem_job_free(a);
    gmem_job_free(b);
    check(&f, 0);
    teardown(&f);
}

/* To ask again after ENOMEM is a retry: it keeps the pace of the block, too */
static void test_enomem_pace(void)
{
    GmemJob *a, *b;
    Fixture f;
    int i;

    setup_launched(&f, 64);
    fake_hold(f.k, 3, 1, FOREVER);
    a = gmem_job_new(f.s, 0, 8 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    for (i = 0; i < 20; i++) {
        f.k->clock += gmem_job_pause_ns(a);
        g_assert_cmpint(gmem_job_attempt(a), ==, -EAGAIN);
    }
    b = gmem_job_new(f.s, 32 * PAGE, 8 * PAGE, true, 0);
    fake_script(f.k, ENOMEM);
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    fake_reset_log(f.k);
    f.k->clock += MS;
    g_assert_cmpint(gmem_job_attempt(b), ==, -EAGAIN);
    assert_log(&f, "");
    g_assert_cmpint(gmem_job_pause_ns(b), ==, GMEM_PAUSE_MAX_NS - MS);
    f.k->clock += gmem_job_pause_ns(b);
    g_assert_cmpint(gmem_job_attempt(b), ==, 0);
    assert_log(&f, "private 32+8; ");
    gmem_job_free(a);
    gmem_job_free(b);
    check(&f, 0);
    teardown(&f);
}

/*
 * Everything at random, against the rules: nothing private is ever with a
 * listener, no page goes where nobody wanted it, all agree in the end.
 */
enum { RANDOM_PAGES = 48, RANDOM_JOBS = 5 };

typedef struct RandomJob {
    GmemJob *job;
    uint64_t first, n;
    bool to_private;
} RandomJob;

static void random_step(Fixture *f, RandomJob *jobs, bool refuse)
{
    RandomJob *r = &jobs[g_test_rand_int_range(0, RANDOM_JOBS)];
    int n = g_test_rand_int_range(0, MAX_LISTENERS);
    uint64_t page = g_test_rand_int_range(0, RANDOM_PAGES);
    uint64_t pages = g_test_rand_int_range(1, RANDOM_PAGES - page + 1);
    int ret;

    switch (g_test_rand_int_range(0, 12)) {
    case 0:
        fake_hold(f->k, page, MIN(pages, 4), f->k->clock +
                  g_test_rand_int_range(1, 30) * MS);
        break;
    case 1:
        if (f->ls[n].registered) {
            detach(f, n);
        } else {
            attach(f, n, page, pages);
        }
        break;
    case 2:
        f->ls[n].refuse_after = refuse ? g_test_rand_int_range(-1, 3) : -1;
        break;
    case 3:
        gmem_state_launch(f->s);
        break;
    case 4:
        f->k->clock += g_test_rand_int_range(1, 20) * MS;
        break;
    case 5:
        convert(f, page, pages, g_test_rand_bit(),
                g_test_rand_int_range(1, 10));
        break;
    case 6:
        if (!g_test_rand_int_range(0, 10)) {
            fake_script(f->k, g_test_rand_bit() ? ENOMEM : EFAULT);
        }
        break;
    case 7:
        gmem_job_free(r->job);
        r->job = NULL;
        break;
    default:
        if (!r->job) {
            r->first = page;
            r->n = pages;
            r->to_private = g_test_rand_bit();
            r->job = gmem_job_new(f->s, page * PAGE, pages * PAGE,
                                  r->to_private,
                                  g_test_rand_int_range(0, 50) * MS);
        }
        ret = gmem_job_attempt(r->job);
        if (ret != -EAGAIN && ret != -ETIMEDOUT) {
            gmem_job_free(r->job);
            r->job = NULL;
        }
        break;
    }
}

static void random_round(bool refuse)
{
    RandomJob jobs[RANDOM_JOBS] = { };
    Fixture f;
    int step, n;

    setup(&f, RANDOM_PAGES, g_test_rand_bit());
    for (step = 0; step < 200; step++) {
        random_step(&f, jobs, refuse);
        check(&f, -1);
        g_string_truncate(f.k->log, 0);
    }
    for (n = 0; n < RANDOM_JOBS; n++) {
        gmem_job_free(jobs[n].job);
    }
    for (n = 0; n < MAX_LISTENERS; n++) {
        f.ls[n].refuse_after = -1;
    }
    g_queue_clear(&f.k->script);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    /* No job, nobody refused: nothing is left withdrawn */
    check(&f, refuse ? -1 : 0);
    f.k->clock += 100 * MS;
    g_assert_cmpint(convert(&f, 0, RANDOM_PAGES, g_test_rand_bit(), 0), ==, 0);
    check(&f, 0);
    teardown(&f);
}

static void test_random(void)
{
    int round;

    for (round = 0; round < 400; round++) {
        random_round(false);
    }
}

static void test_random_refuse(void)
{
    int round;

    for (round = 0; round < 400; round++) {
        random_round(true);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-state/jobs/fifo", test_fifo);
    g_test_add_func("/gmem-state/jobs/unborn", test_unborn);
    g_test_add_func("/gmem-state/jobs/pace", test_pace);
    g_test_add_func("/gmem-state/jobs/pace-two", test_pace_two);
    g_test_add_func("/gmem-state/jobs/enomem-pace", test_enomem_pace);
    g_test_add_func("/gmem-state/random/plain", test_random);
    g_test_add_func("/gmem-state/random/refuse", test_random_refuse);
    return g_test_run();
}
