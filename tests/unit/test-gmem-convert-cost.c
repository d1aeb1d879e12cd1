/*
 * Description: the engine against the fake kernel: busy pages in all places,
 * and what they may cost in calls, scanned pages, pauses and host mappings.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "convert-fixture.h"

/* One busy page: everything else is converted in the first attempt */
static void check_one(uint64_t n, uint64_t busy)
{
    g_autofree char *left = g_strdup_printf("%" PRIu64 "+1 ", busy);
    const uint64_t ask_max = GMEM_ASK_MAX / PAGE;
    Fixture f;
    uint64_t i, small;

    setup(&f, n);
    fake_hold(f.k, busy, 1, f.k->clock + 20 * MS);
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    assert_todo(&f, left);
    g_assert_cmpuint(f.job.stats.busy_answers, ==, 1);
    g_assert_cmpuint(f.job.stats.busy_pages, ==, 1);
    g_assert_cmpuint(f.k->busy_events, ==, 1);
    g_assert_cmpuint(f.k->busy_offset, ==, busy * PAGE);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, n + MIN(n, ask_max));
    /* 1 failed, 1 in front, then 1, 2, 4 ... */
    g_assert_cmpuint(f.job.stats.calls, <=,
                     3 + g_bit_storage(MIN(n, ask_max)) + n / ask_max);
    /* The first one behind it is small, or for what the failed one zapped */
    small = busy / ask_max + (busy % ask_max ? 2 : 1);
    for (i = small; i < f.k->calls->len; i++) {
        const FakeCall *call = fake_call(f.k, i);

        if (i > small) {
            g_assert_cmpuint(call->size, <=, 2 * fake_call(f.k, i - 1)->size);
        } else if (call->size > PAGE) {
            g_assert_cmpuint(call->size, <=, busy % ask_max * PAGE);
            g_assert_cmpuint(call->offset + call->size, <=,
                             QEMU_ALIGN_UP(busy + 1, ask_max) * PAGE);
        }
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

/* At regular distances: few calls for each, no page scanned more than twice */
static void check_regular(uint64_t n, unsigned k)
{
    Fixture f;
    unsigned i;

    setup(&f, n);
    for (i = 0; i < k; i++) {
        fake_hold(f.k, (i + 1) * (n / k) - 1, 1, FOREVER);
    }
    g_assert_cmpint(attempt(&f), ==, GMEM_CONVERT_BUSY);
    g_assert_cmpuint(f.job.todo->len, ==, k);
    g_assert_cmpuint(f.job.stats.calls, <=,
                     3 * k + 4 * n / (GMEM_ASK_MAX / PAGE) + 2);
    g_assert_cmpuint(f.job.stats.pages_scanned, <=, 2 * n);
    /* Each failed call zaps what it asks for: as much again as is free */
    g_assert_cmpuint(f.job.stats.pages_asked, <=,
                     2 * n + 2 * GMEM_ASK_MAX / PAGE);
    teardown(&f);
}

static void test_regular(void)
{
    check_regular(16384, 16);
    check_regular(16384, 64);
    check_regular(16384, 1024);
    check_regular(1 << 20, 64);
}

/* N = 16384, against retrying the whole range, from 100 ms of wait on */
static void check_bound(int k, bool spread, int64_t held_ms)
{
    const uint64_t n = 16384;
    uint64_t whole, log_n = g_bit_storage(n);
    Fixture f;
    int i;

    setup(&f, n);
    for (i = 0; i < k; i++) {
        fake_hold(f.k, spread ? (i + 1) * (n / k) - 1 : n - k + i, 1,
                  f.k->clock + held_ms * MS);
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
    int64_t ms;

    for (ms = 100; ms <= 400; ms *= 2) {
        check_bound(1, false, ms);
        check_bound(64, false, ms);
        check_bound(1, true, ms);
        check_bound(64, true, ms);
    }
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
    g_test_add_func("/gmem-convert/busy/one", test_busy_one);
    g_test_add_func("/gmem-convert/busy/several", test_busy_several);
    g_test_add_func("/gmem-convert/busy/run", test_busy_run);
    g_test_add_func("/gmem-convert/busy/for-ever", test_busy_for_ever);
    g_test_add_func("/gmem-convert/pauses", test_pauses);
    g_test_add_func("/gmem-convert/retry/cursor", test_cursor);
    g_test_add_func("/gmem-convert/retry/all", test_retry_all);
    g_test_add_func("/gmem-convert/retry/partly", test_retry_partly);
    g_test_add_func("/gmem-convert/zaps", test_zaps);
    g_test_add_func("/gmem-convert/regular", test_regular);
    g_test_add_func("/gmem-convert/bound", test_bound);
    g_test_add_func("/gmem-convert/random", test_random);
    return g_test_run();
}
