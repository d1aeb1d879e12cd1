/*
 * Description: the engine against the fake kernel: ranges and windows, errors,
 * and answers that cannot be trusted.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "convert-fixture.h"

static void test_ranges(void)
{
    enum { N = 64 };
    bool model[N] = { };
    g_autoptr(GArray) set = gmem_ranges_new();
    int round, i;

    for (round = 0; round < 20000; round++) {
        int a = g_test_rand_int_range(0, N + 1);
        int b = g_test_rand_int_range(0, N + 1);
        bool add = g_test_rand_bit();
        uint64_t pos = 0;
        GmemRange r;
        guint j;

        for (i = a; i < b; i++) {
            model[i] = add;
        }
        (add ? gmem_ranges_add : gmem_ranges_remove)(set, a, b);
        for (j = 0; j < set->len; j++) {
            GmemRange *x = &g_array_index(set, GmemRange, j);

            g_assert_cmpuint(x->start, <, x->end);
            if (j) {
                g_assert_cmpuint(x[-1].end, <, x->start);
            }
        }
        a = g_test_rand_int_range(0, N);
        b = g_test_rand_int_range(a, N + 1);
        for (i = a, pos = a; gmem_ranges_next(set, pos, b, &r); pos = r.end) {
            for (; i < r.start; i++) {
                g_assert_false(model[i]);
            }
            for (; i < r.end; i++) {
                g_assert_true(model[i]);
            }
        }
        for (; i < b; i++) {
            g_assert_false(model[i]);
        }
    }
}

static void test_clean(void)
{
    Fixture f;

    setup_at(&f, 32, 4, 16, true);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpstr(f.k->log->str, ==, "private 4+16; ");
    g_assert_cmpuint(f.job.stats.calls, ==, 1);
    g_assert_cmpuint(f.job.stats.pages_asked, ==, 16);
    g_assert_cmpuint(f.job.stats.pages_scanned, ==, 16);
    g_assert_cmpuint(f.job.stats.pages_converted, ==, 16);
    g_assert_cmpuint(f.job.stats.retries, ==, 0);
    g_assert_cmpint(f.job.stats.longest_wait_ns, ==, 0);
    assert_told(&f, 0, 4, false);
    assert_told(&f, 4, 16, true);
    assert_told(&f, 20, 12, false);
    /* Nothing left: no further call */
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.calls, ==, 1);
    teardown(&f);

    setup_at(&f, 8, 0, 8, false);
    fake_hold(f.k, 3, 1, FOREVER);      /* of no interest to this direction */
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpstr(f.k->log->str, ==, "shared 0+8; ");
    teardown(&f);
}

static void test_windows(void)
{
    Fixture f;

    setup(&f, 32);
    fake_hold(f.k, 9, 1, 1001 * MS);
    g_assert_cmpint(gmem_convert_attempt(&f.job, 0, 8 * PAGE, told, &f), ==,
                    GMEM_CONVERT_DONE);
    g_assert_cmpint(gmem_convert_attempt(&f.job, 8 * PAGE, 16 * PAGE, told, &f),
                    ==, GMEM_CONVERT_BUSY);
    g_assert_cmpint(gmem_convert_attempt(&f.job, 16 * PAGE, 99 * PAGE, told,
                                         &f), ==, GMEM_CONVERT_DONE);
    assert_todo(&f, "9+1 ");
    f.k->clock += 2 * MS;
    g_assert_cmpint(gmem_convert_attempt(&f.job, 0, 8 * PAGE, told, &f), ==,
                    GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.retries, ==, 0);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.retries, ==, 1);
    assert_told(&f, 0, 32, true);
    teardown(&f);
}

/* A page becomes busy in front of one that was just named */
static void busy_in_front(FakeKernel *k, uint64_t offset, uint64_t size,
                          bool to_private)
{
    if (k->calls->len == 1) {
        fake_hold(k, 5, 1, FOREVER);
    }
}

static void test_race_in_front(void)
{
    Fixture f;

    setup(&f, 64);
    fake_hold(f.k, 30, 1, FOREVER);
    f.k->hook = busy_in_front;
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "5+1 30+1 ");
    teardown(&f);
}

/* An error that nobody can wait away: at once, with all that one needs */
static void check_fatal(int err)
{
    Fixture f;

    setup(&f, 64);
    fake_hold(f.k, 7, 1, FOREVER);
    fake_script(f.k, 0);
    fake_script(f.k, 0);
    fake_script(f.k, err);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_FAILED);
    g_assert_cmpint(f.job.err, ==, -err);
    g_assert_nonnull(strstr(f.job.error, "'ram0'"));
    g_assert_nonnull(strstr(f.job.error, "offset 0x8000, size 0x7000"));
    g_assert_nonnull(strstr(f.job.error, "private"));
    g_assert_nonnull(strstr(f.job.error, g_strerror(err)));
    g_assert_cmpuint(f.job.stats.calls, ==, 3);
    /* Progress is kept, and the job stays failed without a call */
    assert_told(&f, 0, 7, true);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_FAILED);
    g_assert_cmpuint(f.job.stats.calls, ==, 3);
    teardown(&f);

    /* The same in a retry */
    setup(&f, 64);
    fake_hold(f.k, 7, 1, FOREVER);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    fake_script(f.k, err);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_FAILED);
    g_assert_cmpint(f.job.err, ==, -err);
    teardown(&f);
}

/* The same while the end of a run is searched for */
static void test_fatal_search_back(void)
{
    Fixture f;
    guint i, n;

    for (n = 1; ; n++) {
        setup(&f, 64);
        fake_hold(f.k, 8, 9, FOREVER);
        for (i = 0; i < n; i++) {
            fake_script(f.k, 0);
        }
        fake_script(f.k, EFAULT);
        if (attempt(&f) == GMEM_CONVERT_BUSY) {
            break;
        }
        g_assert_cmpint(f.job.err, ==, -EFAULT);
        g_assert_cmpuint(f.job.stats.calls, ==, n + 1);
        teardown(&f);
    }
    g_assert_cmpuint(n, >, 10);
    assert_todo(&f, "8+9 ");
    teardown(&f);
}

static void test_fatal(void)
{
    check_fatal(EINVAL);
    check_fatal(ENOTTY);
    check_fatal(EFAULT);
    check_fatal(EIO);
    check_fatal(EBADF);
}

static void test_eintr(void)
{
    Fixture f;
    int i;

    setup(&f, 16);
    fake_script(f.k, EINTR);
    fake_script(f.k, EINTR);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.calls, ==, 3);
    g_assert_cmpuint(f.job.stats.failed_calls, ==, 0);
    teardown(&f);

    /* Wanted elsewhere: no third call; later it goes on as if new */
    setup(&f, 16);
    fake_script(f.k, EINTR);
    fake_script(f.k, EINTR);
    fake_script(f.k, EINTR);
    f.k->stop_after = 1;
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_true(f.job.cut_short);
    g_assert_cmpuint(f.job.stats.calls, ==, 2);
    f.k->stop_after = -1;
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(fake_call(f.k, 3)->size, ==, 16 * PAGE);
    teardown(&f);

    /* Never ending: the attempt ends, so that deadlines hold */
    setup(&f, 16);
    for (i = 0; i < 1000; i++) {
        fake_script(f.k, EINTR);
    }
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpuint(f.job.stats.calls, <=, 100);
    g_assert_cmpint(f.job.first_busy_ns, >=, 0);
    teardown(&f);
}

static void test_enomem(void)
{
    Fixture f;
    int i;

    /* Goes away after a pause: the same request again */
    setup(&f, 64);
    fake_script(f.k, ENOMEM);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpuint(f.job.stats.calls, ==, 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    g_assert_cmpstr(f.k->log->str, ==, "private 0+64 error; private 0+64; ");
    teardown(&f);

    /* Too large: halved after some pauses */
    setup(&f, 64);
    f.k->enomem_above = 8 * PAGE;
    g_assert_cmpint(run(&f, 50), ==, GMEM_CONVERT_DONE);
    assert_told(&f, 0, 64, true);
    teardown(&f);

    /* That is found out once, not at every request that follows */
    setup(&f, 16384);
    f.k->enomem_above = 8 * PAGE;
    g_assert_cmpint(run(&f, 50), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.failed_calls, <, 20);
    assert_told(&f, 0, 16384, true);
    teardown(&f);

    /* The same for what is retried */
    setup(&f, 16384);
    fake_hold(f.k, 0, 16384, f.k->clock + 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    f.k->clock += MS;
    f.k->enomem_above = 8 * PAGE;
    g_assert_cmpint(run(&f, 50), ==, GMEM_CONVERT_DONE);
    assert_told(&f, 0, 16384, true);
    teardown(&f);

    /* For good: bounded, then an error */
    setup(&f, 64);
    f.k->enomem_above = 0;
    g_assert_cmpint(run(&f, 50), ==, GMEM_CONVERT_FAILED);
    g_assert_cmpint(f.job.err, ==, -ENOMEM);
    g_assert_cmpuint(f.job.stats.calls, <, 20);
    g_assert_cmpint(f.k->slept, >, 0);
    teardown(&f);

    /* In a retry */
    setup(&f, 64);
    fake_hold(f.k, 9, 1, f.k->clock + 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    f.k->clock += MS;
    for (i = 0; i < 3; i++) {
        fake_script(f.k, ENOMEM);
        g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    }
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    teardown(&f);

    setup(&f, 64);
    fake_hold(f.k, 9, 1, f.k->clock + 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    f.k->enomem_above = 0;
    f.k->clock += MS;
    g_assert_cmpint(run(&f, 10), ==, GMEM_CONVERT_FAILED);
    g_assert_cmpint(f.job.err, ==, -ENOMEM);
    teardown(&f);
}

/* The kernel names nonsense: found by halving, said once, never used */
static void test_distrust(void)
{
    FakeLie lie;

    for (lie = LIE_UNSET; lie < LIE_MAX; lie++) {
        Fixture f;

        setup_at(&f, 256, 16, 128, true);
        f.k->lie = lie;
        fake_hold(f.k, 50, 1, f.k->clock + 5 * MS);
        fake_hold(f.k, 143, 1, f.k->clock + 5 * MS);
        g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
        assert_todo(&f, "50+1 143+1 ");
        g_assert_cmpuint(f.job.stats.distrusted, >=, 2);
        g_assert_cmpuint(f.job.stats.distrusted, ==,
                         f.job.stats.busy_answers);
        g_assert_cmpuint(f.job.stats.calls, <=, 60);
        g_assert_cmpuint(f.k->warnings->len, ==, 1);
        g_assert_nonnull(strstr(f.k->warnings->pdata[0], "'ram0'"));
        g_assert_cmpint(run(&f, 100), ==, GMEM_CONVERT_DONE);
        g_assert_cmpuint(f.k->warnings->len, ==, 1);
        assert_told(&f, 0, 16, false);
        assert_told(&f, 16, 128, true);
        assert_told(&f, 144, 112, false);
        teardown(&f);

        setup(&f, 64);
        f.k->lie = lie;
        fake_hold(f.k, 0, 64, f.k->clock + 5 * MS);
        g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
        g_assert_cmpint(run(&f, 1000), ==, GMEM_CONVERT_DONE);
        assert_told(&f, 0, 64, true);
        teardown(&f);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-convert/ranges", test_ranges);
    g_test_add_func("/gmem-convert/clean", test_clean);
    g_test_add_func("/gmem-convert/windows", test_windows);
    g_test_add_func("/gmem-convert/race-in-front", test_race_in_front);
    g_test_add_func("/gmem-convert/fatal", test_fatal);
    g_test_add_func("/gmem-convert/fatal-search-back", test_fatal_search_back);
    g_test_add_func("/gmem-convert/eintr", test_eintr);
    g_test_add_func("/gmem-convert/enomem", test_enomem);
    g_test_add_func("/gmem-convert/distrust", test_distrust);
    return g_test_run();
}
