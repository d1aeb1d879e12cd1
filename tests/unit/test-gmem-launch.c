/*
 * Description: the launch of a guest whose memory starts private, as SEV-SNP's
 * and TDX's, on one RAM block: what is converted, and who is told when.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

/*
 * A guest whose memory starts private: the launch hands over some ranges, then
 * all the rest becomes private, not page by page, and only then listeners learn
 * what is shared.
 */
static void test_private(void)
{
    const uint64_t most = GMEM_ASK_MAX / PAGE;
    const uint64_t pages = 2 * most + 16;
    g_autofree char *rest = NULL;
    Fixture f;

    setup(&f, pages, true);
    g_assert_cmpint(attach(&f, 0, 0, pages), ==, 0);
    g_assert_cmpint(convert(&f, pages - 16, 16, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 20, 1, true, 0), ==, 0);
    g_assert_cmpint(attach(&f, 1, 0, 32), ==, 0);
    fake_reset_log(f.k);
    check(&f, pages - 17);
    /* What was handed over at the end is not asked for again */
    rest = g_strdup_printf("private 0+%" PRIu64 "; private %" PRIu64 "+%" PRIu64
                           "; ", most, most, most);
    g_assert_cmpint(convert(&f, 0, pages, true, 0), ==, 0);
    assert_log(&f, rest);
    check(&f, 0);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    assert_log(&f, "");
    g_assert_cmpuint(f.ls[0].populates, ==, 0);
    g_assert_cmpint(convert(&f, 20, 2, false, 0), ==, 0);
    assert_log(&f, "shared 20+2; +A 20+2; +B 20+2; ");
    check(&f, 0);
    teardown(&f);
}

/* Somebody in the host holds a page: it has a name, and the wait has an end */
static void test_busy(void)
{
    GmemRange busy;
    GmemJob *job;
    Fixture f;

    setup(&f, 64, true);
    g_assert_cmpint(attach(&f, 0, 0, 64), ==, 0);
    g_assert_cmpint(convert(&f, 8, 8, true, 0), ==, 0);
    fake_hold(f.k, 40, 1, FOREVER);
    job = gmem_job_new(f.s, 0, 64 * PAGE, true, 5 * 1000 * 1000 * 1000LL);
    g_assert_cmpint(gmem_job_run(job), ==, -ETIMEDOUT);
    g_assert_true(gmem_job_waits_for(job, &busy, NULL));
    g_assert_cmpuint(busy.start, ==, 40 * PAGE);
    g_assert_cmpuint(busy.end, ==, 41 * PAGE);
    gmem_job_free(job);
    /* Nobody was told, and all but this page are as they shall be */
    g_assert_cmpuint(f.ls[0].populates + f.ls[0].discards, ==, 0);
    check(&f, 1);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-launch/private", test_private);
    g_test_add_func("/gmem-launch/busy", test_busy);
    return g_test_run();
}
