/*
 * Description: the engine against the fake kernel: busy pages in all places,
 * errors, answers that cannot be trusted, and what all this may cost.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "fake-kernel.h"

typedef struct Fixture {
    FakeKernel *k;
    GmemConvertJob job;
    unsigned *told;         /* how often each page was reported converted */
} Fixture;

static void told(void *opaque, uint64_t offset, uint64_t size)
{
    Fixture *f = opaque;
    uint64_t i;

    g_assert_cmpuint(offset % PAGE, ==, 0);
    g_assert_cmpuint(size, >, 0);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        f->told[i]++;
        g_assert_cmpuint(f->told[i], ==, 1);
        g_assert_cmpint(f->k->priv[i], ==, f->job.to_private);
    }
}

static void setup_at(Fixture *f, uint64_t pages, uint64_t start, uint64_t n,
                     bool to_private)
{
    f->k = fake_new(pages, !to_private);
    f->told = g_new0(unsigned, pages);
    gmem_convert_job_init(&f->job, &fake_ops, f->k, "ram0", PAGE, start * PAGE,
                          n * PAGE, to_private);
}

static void setup(Fixture *f, uint64_t pages)
{
    setup_at(f, pages, 0, pages, true);
}

static void teardown(Fixture *f)
{
    gmem_convert_job_cleanup(&f->job);
    g_free(f->told);
    fake_free(f->k);
}

static GmemConvertResult attempt(Fixture *f)
{
    return gmem_convert_attempt(&f->job, 0, UINT64_MAX, told, f);
}

/* The wait loop in its plainest form; at most one failing call per pause */
static GmemConvertResult run(Fixture *f, int max_attempts)
{
    GmemConvertResult res = attempt(f);

    while (res == GMEM_CONVERT_BUSY && max_attempts--) {
        uint64_t failed = f->job.stats.failed_calls;
        bool retry = f->job.fresh == f->job.start + f->job.size;

        fake_ops.pause(f->k, gmem_convert_pause_ns(&f->job));
        res = attempt(f);
        if (retry) {
            g_assert_cmpuint(f->job.stats.failed_calls, <=, failed + 1);
        }
    }
    return res;
}

static void assert_told(Fixture *f, uint64_t page, uint64_t n, bool value)
{
    for (; n; n--, page++) {
        g_assert_cmpuint(f->told[page], ==, value);
    }
}

/* todo as text, in pages: "3+1 8+2 " */
static char *todo(Fixture *f)
{
    GString *s = g_string_new("");
    guint i;

    for (i = 0; i < f->job.todo->len; i++) {
        GmemRange *r = &g_array_index(f->job.todo, GmemRange, i);

        g_string_append_printf(s, "%" PRIu64 "+%" PRIu64 " ", r->start / PAGE,
                               (r->end - r->start) / PAGE);
    }
    return g_string_free(s, false);
}

static void assert_todo(Fixture *f, const char *expected)
{
    g_autofree char *s = todo(f);

    g_assert_cmpstr(s, ==, expected);
}

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

/* One busy page: everything else is converted in the first attempt */
static void check_one(uint64_t n, uint64_t busy)
{
    g_autofree char *left = g_strdup_printf("%" PRIu64 "+1 ", busy);
    Fixture f;
    uint64_t i;

    setup(&f, n);
    fake_hold(f.k, busy, 1, f.k->clock + 20 * MS);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, left);
    g_assert_cmpuint(f.job.stats.busy_answers, ==, 1);
    g_assert_cmpuint(f.job.stats.busy_pages, ==, 1);
    g_assert_cmpuint(f.k->busy_events, ==, 1);
    g_assert_cmpuint(f.k->busy_offset, ==, busy * PAGE);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2 * n);
    /* 1 failed, 1 in front, then 1, 2, 4 ... */
    g_assert_cmpuint(f.job.stats.calls, <=, 3 + g_bit_storage(n));
    /* Requests after the busy answer start small */
    for (i = busy ? 2 : 1; i < f.k->calls->len; i++) {
        g_assert_cmpuint(fake_call(f.k, i)->size, <=,
                         PAGE << (i - (busy ? 2 : 1)));
    }
    g_assert_cmpint(run(&f, 100), ==, GMEM_CONVERT_DONE);
    assert_told(&f, 0, n, true);
    /* The retries named this page and nothing else */
    for (i = f.job.stats.calls - f.job.stats.retries; i < f.k->calls->len;
         i++) {
        g_assert_cmpuint(fake_call(f.k, i)->offset, ==, busy * PAGE);
        g_assert_cmpuint(fake_call(f.k, i)->size, ==, PAGE);
    }
    g_assert_cmpint(f.job.stats.longest_wait_ns, >=, 20 * MS);
    g_assert_cmpint(f.job.stats.longest_wait_ns, <=, 30 * MS);
    g_assert_cmpint(f.k->busy_waited, >, 0);
    teardown(&f);
}

static void test_busy_one(void)
{
    check_one(64, 0);
    check_one(64, 31);
    check_one(64, 63);
    check_one(2, 0);
    check_one(2, 1);
    check_one(1, 0);
    check_one(16384, 0);
    check_one(16384, 8000);
    check_one(16384, 16383);
}

static void test_busy_several(void)
{
    Fixture f;

    setup(&f, 1000);
    fake_hold(f.k, 0, 1, FOREVER);
    fake_hold(f.k, 17, 1, FOREVER);
    fake_hold(f.k, 500, 1, FOREVER);
    fake_hold(f.k, 999, 1, FOREVER);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "0+1 17+1 500+1 999+1 ");
    g_assert_cmpuint(f.job.stats.busy_answers, ==, 4);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2000);
    teardown(&f);
}

/* k busy neighbours: O(log k) calls, and no free page waits */
static void check_run(uint64_t n, uint64_t start, uint64_t k)
{
    g_autofree char *left = g_strdup_printf("%" PRIu64 "+%" PRIu64 " ", start,
                                            k);
    unsigned log_k = g_bit_storage(k), log_n = g_bit_storage(n);
    Fixture f;

    setup(&f, n);
    fake_hold(f.k, start, k, f.k->clock + 10 * MS);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, left);
    g_assert_cmpuint(fake_failed_calls(f.k), <=, 2 * log_k + 2);
    g_assert_cmpuint(f.job.stats.calls, <=, 3 * log_k + log_n + 6);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2 * n + 2 * k + 2);
    g_assert_cmpint(run(&f, 1000), ==, GMEM_CONVERT_DONE);
    assert_told(&f, 0, n, true);
    teardown(&f);
}

static void test_busy_run(void)
{
    check_run(64, 0, 2);
    check_run(64, 10, 3);
    check_run(64, 10, 30);
    check_run(64, 0, 63);
    check_run(64, 1, 63);
    check_run(64, 62, 2);
    check_run(16384, 5000, 64);
    check_run(16384, 5000, 1000);
    check_run(16384, 0, 16000);
    /* All pages */
    check_run(64, 0, 64);
    check_run(16384, 0, 16384);
}

static void test_busy_for_ever(void)
{
    Fixture f;
    int64_t before;

    setup(&f, 64);
    fake_hold(f.k, 7, 1, FOREVER);
    before = f.k->clock;
    g_assert_cmpint(run(&f, 105), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "7+1 ");
    assert_told(&f, 0, 7, true);
    assert_told(&f, 7, 1, false);
    assert_told(&f, 8, 56, true);
    g_assert_cmpuint(f.job.stats.retries, ==, 105);
    /* 100 us doubling to 10 ms: about 100 calls per second */
    g_assert_cmpint(f.k->clock - before, >=, 990 * MS);
    teardown(&f);
}

static void test_pauses(void)
{
    static const int64_t us[] = { 100, 200, 400, 800, 1600, 3200, 6400, 10000,
                                  10000 };
    Fixture f;
    size_t i;

    setup(&f, 1);
    for (i = 0; i < G_N_ELEMENTS(us); i++) {
        g_assert_cmpint(gmem_convert_pause_ns(&f.job), ==, us[i] * 1000);
    }
    teardown(&f);
}

/* A page that stays busy does not keep those behind it waiting */
static void test_cursor(void)
{
    Fixture f;
    int i;

    setup(&f, 64);
    fake_hold(f.k, 3, 1, FOREVER);
    fake_hold(f.k, 20, 1, f.k->clock + 1);
    fake_hold(f.k, 40, 1, f.k->clock + 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "3+1 20+1 40+1 ");
    f.k->clock += MS;
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "3+1 ");
    teardown(&f);

    /* k stuck neighbours, then one free: seen after at most k attempts */
    setup(&f, 64);
    fake_hold(f.k, 10, 20, FOREVER);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    f.k->held[25] = 0;
    for (i = 0; i < 20; i++) {
        g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    }
    assert_todo(&f, "10+15 26+4 ");
    teardown(&f);
}

/* All pins go: one attempt finishes, whatever the number of pages */
static void test_retry_all(void)
{
    Fixture f;
    int i;

    setup(&f, 4096);
    for (i = 0; i < 4096; i += 64) {
        fake_hold(f.k, i, 1, f.k->clock + MS);
    }
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpuint(f.job.todo->len, ==, 64);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2 * 4096 + 64);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    f.k->clock += 2 * MS;
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_DONE);
    assert_told(&f, 0, 4096, true);
    teardown(&f);
}

/* A retry that gets on in a run and then meets a busy page */
static void test_retry_partly(void)
{
    Fixture f;

    setup(&f, 64);
    fake_hold(f.k, 8, 32, f.k->clock + 1);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "8+32 ");
    f.k->clock += MS;
    fake_hold(f.k, 20, 1, FOREVER);
    fake_reset_log(f.k);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpstr(f.k->log->str, ==, "private 8+1; private 9+2; "
                    "private 11+4; private 15+8 EAGAIN; private 15+5; ");
    assert_todo(&f, "20+20 ");
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, "20+1 ");
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
    g_assert_nonnull(strstr(f.job.error, "offset 0x8000, size 0x1000"));
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

/* Host mappings that a busy page costs its neighbours */
static void test_zaps(void)
{
    Fixture f;
    int i, n = 0;

    setup(&f, 64);
    fake_hold(f.k, 8, 32, FOREVER);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    memset(f.k->mapped, true, 64);
    for (i = 0; i < 8; i++) {
        g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    }
    for (i = 0; i < 64; i++) {
        n += !f.k->mapped[i];
    }
    g_assert_cmpint(n, ==, 8);
    teardown(&f);
}

/* Section 10: N = 16384, busy 200 ms; against retrying the whole range */
static void check_bound(int k, bool spread)
{
    const uint64_t n = 16384;
    uint64_t whole, log_n = g_bit_storage(n);
    Fixture f;
    int i;

    setup(&f, n);
    for (i = 0; i < k; i++) {
        fake_hold(f.k, spread ? (i + 1) * (n / k) - 1 : n - k + i, 1,
                  f.k->clock + 200 * MS);
    }
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpuint(f.job.todo->len, ==, spread ? k : 1);
    g_assert_cmpint(run(&f, 1000), ==, GMEM_CONVERT_DONE);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2 * n + 2 * k * log_n);
    /* The same pauses with the whole range: first busy page at n / k */
    whole = f.job.stats.retries * (spread ? n / k : n - k) + n;
    if (!spread) {
        g_assert_cmpuint(whole, >, 10 * f.job.stats.pages_scanned);
    }
    g_test_message("k %d %s: %" PRIu64 " calls, %" PRIu64 " pages scanned (%"
                   PRIu64 " by whole-range retries)", k,
                   spread ? "spread" : "at the end", f.job.stats.calls,
                   f.job.stats.pages_scanned, whole);
    teardown(&f);
}

static void test_bound(void)
{
    check_bound(1, false);
    check_bound(64, false);
    check_bound(1, true);
    check_bound(64, true);
}

static void test_random(void)
{
    int round;

    for (round = 0; round < 3000; round++) {
        uint64_t n = g_test_rand_int_range(1, 200), i, k = 0, runs = 0;
        uint64_t start = g_test_rand_int_range(0, 20);
        int density = g_test_rand_int_range(1, 40);
        bool to_private = g_test_rand_int_range(0, 8);
        bool mixed = g_test_rand_bit();
        FakeLie lie = g_test_rand_int_range(0, 4) ? LIE_NONE :
                      g_test_rand_int_range(0, LIE_MAX);
        GmemConvertResult res;
        Fixture f;

        setup_at(&f, n + 40, start, n, to_private);
        f.k->lie = lie;
        for (i = 0; i < n + 40; i++) {
            f.k->priv[i] = to_private ^ (!mixed || g_test_rand_bit());
            if (!g_test_rand_int_range(0, density) ||
                (i && f.k->held[i - 1] && g_test_rand_int_range(0, 4))) {
                fake_hold(f.k, i, 1,
                          f.k->clock + g_test_rand_int_range(1, 60) * MS);
                k++;
                runs += !i || !f.k->held[i - 1];
            }
        }
        res = attempt(&f);
        if (lie == LIE_NONE) {
            unsigned log_n = g_bit_storage(n);

            g_assert_cmpuint(f.job.stats.pages_scanned, <=,
                             2 * n + 2 * (k + 1) * log_n);
            /* Single-page requests for private pages break up a run */
            if (!mixed) {
                g_assert_cmpuint(f.job.stats.calls, <=,
                                 2 + (runs + 1) * 5 * log_n);
            }
        }
        if (!to_private) {
            g_assert_cmpint(res, ==, GMEM_CONVERT_DONE);
        }
        for (i = 0; i < n; i++) {
            /* What was converted in an attempt that may not wait was free */
            if (f.told[start + i] && to_private && f.k->held[start + i]) {
                g_assert_true(f.k->priv[start + i]);
            }
        }
        if (res == GMEM_CONVERT_BUSY) {
            res = run(&f, 2000);
        }
        g_assert_cmpint(res, ==, GMEM_CONVERT_DONE);
        assert_told(&f, 0, start, false);
        assert_told(&f, start, n, true);
        assert_told(&f, start + n, 40 - start, false);
        g_assert_cmpuint(f.job.stats.pages_converted, ==, n);
        teardown(&f);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-convert/ranges", test_ranges);
    g_test_add_func("/gmem-convert/clean", test_clean);
    g_test_add_func("/gmem-convert/windows", test_windows);
    g_test_add_func("/gmem-convert/busy/one", test_busy_one);
    g_test_add_func("/gmem-convert/busy/several", test_busy_several);
    g_test_add_func("/gmem-convert/busy/run", test_busy_run);
    g_test_add_func("/gmem-convert/busy/for-ever", test_busy_for_ever);
    g_test_add_func("/gmem-convert/pauses", test_pauses);
    g_test_add_func("/gmem-convert/retry/cursor", test_cursor);
    g_test_add_func("/gmem-convert/retry/all", test_retry_all);
    g_test_add_func("/gmem-convert/retry/partly", test_retry_partly);
    g_test_add_func("/gmem-convert/race-in-front", test_race_in_front);
    g_test_add_func("/gmem-convert/fatal", test_fatal);
    g_test_add_func("/gmem-convert/fatal-search-back", test_fatal_search_back);
    g_test_add_func("/gmem-convert/eintr", test_eintr);
    g_test_add_func("/gmem-convert/enomem", test_enomem);
    g_test_add_func("/gmem-convert/distrust", test_distrust);
    g_test_add_func("/gmem-convert/zaps", test_zaps);
    g_test_add_func("/gmem-convert/bound", test_bound);
    g_test_add_func("/gmem-convert/random", test_random);
    return g_test_run();
}
