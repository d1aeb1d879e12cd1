/*
 * Description: the pages of one RAM block against the fake kernel: states,
 * order of notifications, launch, errors, listeners that refuse.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/bitmap.h"
#include "state-fixture.h"
#include "system/gmem-state-internal.h"

static void test_order(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    assert_log(&f, "-A 4+4; private 4+4; ");
    check(&f, 0);
    g_assert_cmpint(convert(&f, 5, 2, false, 0), ==, 0);
    assert_log(&f, "shared 5+2; +A 5+2; ");
    check(&f, 0);
    g_assert_cmpuint(stats(&f).conversions, ==, 2);
    g_assert_cmpuint(stats(&f).calls, ==, 2);
    g_assert_cmpuint(stats(&f).failures, ==, 0);
    teardown(&f);
}

static void test_launch(void)
{
    Fixture f;

    setup(&f, 16, true);
    g_assert_cmpint(attach(&f, 0, 0, 16), ==, 0);
    check(&f, 16);
    g_assert_false(gmem_state_is_populated(f.s, 0, PAGE));
    /* Before launch nobody is told, in either direction */
    g_assert_cmpint(convert(&f, 0, 8, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 2, 2, false, 0), ==, 0);
    assert_log(&f, "private 0+8; shared 2+2; ");
    check(&f, 10);
    g_assert_cmpint(attach(&f, 1, 0, 4), ==, 0);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    assert_log(&f, "+A 2+2; +B 2+2; +A 8+8; ");
    check(&f, 0);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    assert_log(&f, "");
    teardown(&f);

    /* Somebody refuses: nobody has anything, and it can be tried again */
    setup(&f, 16, true);
    g_assert_cmpint(attach(&f, 0, 0, 16), ==, 0);
    g_assert_cmpint(attach(&f, 1, 0, 16), ==, 0);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    fake_reset_log(f.k);
    f.ls[1].refuse_after = 1;
    g_assert_cmpint(gmem_state_launch(f.s), ==, -ENOSPC);
    assert_log(&f, "+A 0+4; +B 0+4; +A 8+8; !B 8+8; -A 8+8; -A 0+4; -B 0+4; ");
    check(&f, 12);
    f.ls[1].refuse_after = -1;
    g_assert_cmpint(convert(&f, 4, 1, false, 0), ==, 0);
    assert_log(&f, "shared 4+1; ");
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    check(&f, 0);
    teardown(&f);
}

/* A reset: the listeners let go of all, learn nothing, and get what is shared */
static void test_unlaunch(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    fake_reset_log(f.k);
    g_assert_true(gmem_state_unlaunch(f.s));
    assert_log(&f, "-A 0+4; -A 8+8; ");
    check(&f, 12);
    g_assert_true(gmem_state_unlaunch(f.s));
    g_assert_cmpint(convert(&f, 4, 4, false, 0), ==, 0);
    g_assert_cmpint(convert(&f, 0, 12, true, 0), ==, 0);
    assert_log(&f, "shared 4+4; private 0+12; ");
    check(&f, 4);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    assert_log(&f, "+A 12+4; ");
    check(&f, 0);
    teardown(&f);
}

/* Memory that comes back while a request of its first life is pending */
static void test_unlaunch_pending(void)
{
    GmemJob *job;
    Fixture f;

    setup_launched(&f, 16);
    fake_hold(f.k, 3, 1, FOREVER);
    job = gmem_job_new(f.s, 0, 8 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(job), ==, -EAGAIN);
    fake_reset_log(f.k);
    g_assert_false(gmem_state_unlaunch(f.s));
    assert_log(&f, "");
    gmem_job_free(job);
    assert_log(&f, "+A 3+1; ");
    check(&f, 0);
    g_assert_true(gmem_state_unlaunch(f.s));
    check(&f, 9);
    teardown(&f);
}

static void test_noop(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 0, 16, false, 0), ==, 0);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    fake_reset_log(f.k);
    fake_hold(f.k, 5, 1, FOREVER);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 5, 1, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 0, 4, false, 0), ==, 0);
    assert_log(&f, "");
    g_assert_cmpuint(stats(&f).conversions, ==, 1);
    teardown(&f);
}

static void test_mixed(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 0, 3, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 5, 2, true, 0), ==, 0);
    fake_reset_log(f.k);
    /* One call; only what is still to do, and only what they have */
    g_assert_cmpint(convert(&f, 0, 10, true, 0), ==, 0);
    assert_log(&f, "-A 3+2; -A 7+3; private 3+7; ");
    check(&f, 0);
    g_assert_cmpint(convert(&f, 4, 2, false, 0), ==, 0);
    fake_reset_log(f.k);
    g_assert_cmpint(convert(&f, 2, 10, false, 0), ==, 0);
    assert_log(&f, "shared 2+8; +A 2+2; +A 6+4; ");
    check(&f, 0);
    teardown(&f);
}

/* The kernel names a page that is private already: nothing to wait for */
static void test_mixed_busy_private(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 5, 1, true, 0), ==, 0);
    fake_hold(f.k, 5, 1, FOREVER);
    fake_reset_log(f.k);
    g_assert_cmpint(convert(&f, 0, 10, true, 50), ==, 0);
    g_assert_cmpint(f.k->slept, ==, 0);
    check(&f, 0);
    teardown(&f);
}

static void test_invalid(void)
{
    static const struct {
        uint64_t offset, size;
    } bad[] = {
        { 0, 0 }, { 1, PAGE }, { 0, PAGE + 1 }, { 16 * PAGE, PAGE },
        { 8 * PAGE, 9 * PAGE }, { PAGE, UINT64_MAX & ~(PAGE - 1) },
        { UINT64_MAX & ~(PAGE - 1), PAGE }, { UINT64_MAX, 2 },
    };
    Fixture f;
    size_t i;

    setup_launched(&f, 16);
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *message = NULL;

        g_assert_cmpint(gmem_state_convert(f.s, bad[i].offset, bad[i].size,
                                           true, 0, NULL, &message), ==,
                        -EINVAL);
        g_assert_nonnull(strstr(message, "'ram0'"));
        f.ls[1].l.offset = bad[i].offset;
        f.ls[1].l.size = bad[i].size;
        g_assert_cmpint(gmem_state_register_listener(f.s, &f.ls[1].l), ==,
                        -EINVAL);
        g_assert_cmpint(gmem_state_replay(f.s, bad[i].offset, bad[i].size, true,
                                          NULL, NULL), ==, -EINVAL);
    }
    g_assert_false(gmem_state_is_populated(f.s, 8 * PAGE, 9 * PAGE));
    g_assert_false(gmem_state_is_populated(f.s, 0, 0));
    g_assert_false(gmem_state_is_populated(f.s, PAGE, UINT64_MAX));
    assert_log(&f, "");
    check(&f, 0);
    teardown(&f);
}

static int replay_stop(void *opaque, uint64_t offset, uint64_t size)
{
    int *left = opaque;

    return (*left)-- ? 0 : -EBUSY;
}

static void test_views(void)
{
    Fixture f;
    int left = 1;

    setup_launched(&f, 256);
    g_assert_cmpint(convert(&f, 100, 1, true, 0), ==, 0);
    g_assert_true(gmem_state_is_populated(f.s, 0, 100 * PAGE));
    g_assert_true(gmem_state_is_populated(f.s, 101 * PAGE, 155 * PAGE));
    g_assert_true(gmem_state_is_populated(f.s, 99 * PAGE + 1, 10));
    g_assert_false(gmem_state_is_populated(f.s, 99 * PAGE + 1, PAGE));
    g_assert_false(gmem_state_is_populated(f.s, 0, 101 * PAGE));
    g_assert_cmpint(gmem_state_replay(f.s, 0, 256 * PAGE, true, replay_stop,
                                      &left), ==, -EBUSY);
    teardown(&f);
}

/* What gmem_state_mappable() must say: counted one by one */
static uint64_t mappable(GmemState *s, const unsigned long *map,
                         uint64_t offset, uint64_t size)
{
    uint64_t n = 0;

    while (n < size && offset + n < s->size && test_bit((offset + n) / PAGE, map)) {
        n++;
    }
    return n;
}

static void test_mappable(void)
{
    /* At, around and across the edges of words and of private runs */
    static const uint64_t pages[] = { 0, 1, 62, 63, 64, 65, 127, 128, 190, 199 };
    static const int64_t off[] = { -1, 0, 1, 7 };
    static const uint64_t sizes[] = { 1, 8, PAGE - 1, PAGE, 65 * PAGE,
                                      300 * PAGE };
    Fixture f;
    GmemJob *job;
    size_t i, j, k, launched;

    setup(&f, 200, true);
    g_assert_cmpint(convert(&f, 63, 2, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 128, 64, true, 0), ==, 0);
    for (launched = 0; launched < 2; launched++) {
        const unsigned long *map = launched ? f.s->populated
                                            : f.s->kernel_shared;

        for (i = 0; i < G_N_ELEMENTS(pages); i++) {
            for (j = 0; j < G_N_ELEMENTS(off); j++) {
                uint64_t at = MAX(0, (int64_t)(pages[i] * PAGE) + off[j]);

                for (k = 0; k < G_N_ELEMENTS(sizes); k++) {
                    g_assert_cmpuint(gmem_state_mappable(f.s, at, sizes[k]), ==,
                                     mappable(f.s, map, at, sizes[k]));
                }
            }
        }
        g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    }
    g_assert_cmpuint(gmem_state_mappable(f.s, 0, 0), ==, 0);
    g_assert_cmpuint(gmem_state_mappable(f.s, 200 * PAGE, 1), ==, 0);
    g_assert_cmpuint(gmem_state_mappable(f.s, 199 * PAGE, UINT64_MAX), ==, PAGE);
    teardown(&f);

    /* A page whose conversion waits is nobody's: withdrawn, but not private */
    setup_launched(&f, 16);
    fake_hold(f.k, 3, 1, FOREVER);
    job = gmem_job_new(f.s, 2 * PAGE, 4 * PAGE, true, 0);
    g_assert_cmpint(gmem_job_attempt(job), ==, -EAGAIN);
    g_assert_true(test_bit(3, f.s->kernel_shared));
    g_assert_cmpuint(gmem_state_mappable(f.s, 0, 16 * PAGE), ==, 2 * PAGE);
    g_assert_cmpuint(gmem_state_mappable(f.s, 3 * PAGE, 1), ==, 0);
    gmem_job_free(job);
    g_assert_cmpuint(gmem_state_mappable(f.s, 3 * PAGE, 16 * PAGE), ==, PAGE);
    teardown(&f);
}

static void test_register(void)
{
    Fixture f;

    setup_launched(&f, 32);
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 12, 4, true, 0), ==, 0);
    fake_reset_log(f.k);
    g_assert_cmpint(attach(&f, 1, 6, 20), ==, 0);
    assert_log(&f, "+B 8+4; +B 16+10; ");
    check(&f, 0);
    /* Each is told of its own part */
    g_assert_cmpint(convert(&f, 0, 32, false, 0), ==, 0);
    assert_log(&f, "shared 4+12; +A 4+4; +B 6+2; +A 12+4; +B 12+4; ");
    g_assert_cmpint(convert(&f, 4, 4, true, 0), ==, 0);
    assert_log(&f, "-A 4+4; -B 6+2; private 4+4; ");
    detach(&f, 1);
    assert_log(&f, "-B 8+18; ");
    check(&f, 0);
    /* Refused in the replay: it gives back what it took */
    f.ls[2].refuse_after = 1;
    g_assert_cmpint(attach(&f, 2, 0, 32), ==, -ENOSPC);
    assert_log(&f, "+C 0+4; !C 8+24; -C 0+4; ");
    check(&f, 0);
    f.ls[3].l.double_discard_supported = true;
    g_assert_cmpint(attach(&f, 3, 0, 32), ==, 0);
    fake_reset_log(f.k);
    detach(&f, 3);
    assert_log(&f, "-D 0+32; ");
    teardown(&f);
}

static void test_fatal(void)
{
    static const int errs[] = { EINVAL, ENOTTY, EFAULT };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(errs); i++) {
        g_autofree char *message = NULL;
        Fixture f;

        setup_launched(&f, 64);
        fake_hold(f.k, 20, 1, FOREVER);
        fake_script(f.k, 0);
        fake_script(f.k, 0);
        fake_script(f.k, errs[i]);
        g_assert_cmpint(gmem_state_convert(f.s, 0, 64 * PAGE, true, 0, NULL,
                                           &message), ==, -errs[i]);
        g_assert_nonnull(strstr(message, "'ram0'"));
        g_assert_cmpuint(fake_count_private(f.k), ==, 20);
        g_assert_true(gmem_state_is_populated(f.s, 20 * PAGE, 44 * PAGE));
        g_assert_cmpuint(stats(&f).failures, ==, 1);
        check(&f, 0);
        /* To shared: what was converted is populated */
        fake_script(f.k, errs[i]);
        g_assert_cmpint(convert(&f, 0, 64, false, 0), ==, -errs[i]);
        check(&f, 0);
        teardown(&f);
    }
}

static void test_enomem(void)
{
    Fixture f;

    setup_launched(&f, 64);
    f.k->enomem_above = 4 * PAGE;
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, 0);
    check(&f, 0);
    g_assert_cmpint(convert(&f, 0, 64, false, 0), ==, 0);
    check(&f, 0);
    f.k->enomem_above = 0;
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, -ENOMEM);
    g_assert_cmpuint(fake_count_private(f.k), ==, 0);
    check(&f, 0);
    teardown(&f);
}

/* Refused in each position of three listeners and at each run */
static void test_refuse(void)
{
    int who, at;

    for (who = 0; who < 3; who++) {
        for (at = 0; at < 3; at++) {
            g_autofree char *message = NULL;
            Fixture f;
            int n;

            setup_launched(&f, 64);
            g_assert_cmpint(attach(&f, 1, 0, 64), ==, 0);
            g_assert_cmpint(attach(&f, 2, 8, 50), ==, 0);
            /* private: 8..15, 20..23, 30..33; asked for: 10..40 */
            g_assert_cmpint(convert(&f, 8, 8, true, 0), ==, 0);
            g_assert_cmpint(convert(&f, 20, 4, true, 0), ==, 0);
            g_assert_cmpint(convert(&f, 30, 4, true, 0), ==, 0);
            fake_reset_log(f.k);
            f.ls[who].refuse_after = at;
            g_assert_cmpint(gmem_state_convert(f.s, 10 * PAGE, 30 * PAGE, false,
                                               0, NULL, &message), ==, -ENOSPC);
            g_assert_nonnull(strstr(message, "refused"));
            check(&f, 0);
            /* What all took stays; the rest of what we flipped went back */
            g_assert_cmpint(gmem_state_is_populated(f.s, 10 * PAGE, 6 * PAGE),
                            ==, at > 0);
            g_assert_cmpint(gmem_state_is_populated(f.s, 20 * PAGE, 4 * PAGE),
                            ==, at > 1);
            g_assert_false(gmem_state_is_populated(f.s, 30 * PAGE, PAGE));
            g_assert_true(f.k->priv[8] && f.k->priv[9] && f.k->priv[30]);
            g_assert_true(gmem_state_is_populated(f.s, 16 * PAGE, 4 * PAGE));
            g_assert_true(gmem_state_is_populated(f.s, 34 * PAGE, 30 * PAGE));
            if (who == 2 && at == 1) {
                assert_log(&f, "shared 10+24; +A 10+6; +B 10+6; +C 10+6; "
                           "+A 20+4; +B 20+4; !C 20+4; -A 20+4; -B 20+4; "
                           "private 20+4; private 30+4; ");
            }
            g_assert_cmpuint(f.k->warnings->len, ==, 0);
            for (n = 0; n < 3; n++) {
                f.ls[n].refuse_after = -1;
            }
            g_assert_cmpint(convert(&f, 10, 30, false, 0), ==, 0);
            check(&f, 0);
            teardown(&f);
        }
    }
}

/* ... and the kernel does not let them go back: withdrawn, and said */
static void test_refuse_stuck(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(convert(&f, 0, 8, true, 0), ==, 0);
    fake_hold(f.k, 3, 1, FOREVER);
    f.ls[0].refuse_after = 0;
    g_assert_cmpint(convert(&f, 0, 8, false, 0), ==, -ENOSPC);
    g_assert_cmpuint(f.k->warnings->len, ==, 1);
    g_assert_nonnull(strstr(f.k->warnings->pdata[0], "0x1000 bytes"));
    g_assert_cmpuint(fake_count_private(f.k), ==, 7);
    check(&f, 1);
    g_assert_cmpuint(stats(&f).failures, ==, 2);
    /* A job that passes over it and is dropped invents nothing */
    fake_reset_log(f.k);
    g_assert_cmpint(convert(&f, 2, 4, true, 10), ==, -EAGAIN);
    check(&f, 1);
    g_assert_null(strstr(f.k->log->str, "A "));
    /* To shared again: nothing to ask the kernel for, only listeners */
    f.ls[0].refuse_after = -1;
    fake_reset_log(f.k);
    g_assert_cmpint(convert(&f, 3, 1, false, 0), ==, 0);
    assert_log(&f, "+A 3+1; ");
    check(&f, 0);
    teardown(&f);
}

/* Refused when a dropped job gives pages back */
static void test_refuse_drop(void)
{
    Fixture f;

    setup_launched(&f, 16);
    g_assert_cmpint(attach(&f, 1, 0, 16), ==, 0);
    fake_hold(f.k, 3, 1, FOREVER);
    f.ls[1].refuse_after = 0;
    g_assert_cmpint(convert(&f, 0, 8, true, 10), ==, -EAGAIN);
    g_assert_cmpuint(f.k->warnings->len, ==, 1);
    g_assert_cmpuint(stats(&f).failures, ==, 1);
    check(&f, 1);
    teardown(&f);
}

static int say_yes(void *opaque, uint64_t offset, uint64_t size,
                   bool to_private, uint64_t *error_offset)
{
    return 0;
}

static int64_t no_time(void *opaque)
{
    return 0;
}

static int count_run(void *opaque, uint64_t offset, uint64_t size)
{
    ++*(int *)opaque;
    return 0;
}

static int count_held_run(void *opaque, uint64_t offset, uint64_t size,
                          bool is_private)
{
    return count_run(opaque, offset, size);
}

static int take(GmemListener *l, uint64_t offset, uint64_t size)
{
    return 0;
}

static void leave(GmemListener *l, uint64_t offset, uint64_t size)
{
}

/* Only the first page of a bitmap can be touched */
static unsigned long *guarded_bitmap(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0);

    g_assert_true(map != MAP_FAILED);
    g_assert_cmpint(mprotect(map, PAGE, PROT_READ | PROT_WRITE), ==, 0);
    return map;
}

/*
 * What is done to 128 MiB of a block of 1 TiB, nearly all of it private or
 * shared, looks at no more than 128 MiB: one look further ends the test.
 */
static void check_bounded(bool to_private)
{
    static const GmemConvertOps ops = {
        .set_attributes = say_yes,
        .now = no_time,
    };
    const uint64_t size = 1ULL << 40, part = PAGE * 8 * PAGE;
    GmemListener l = { .size = part, .populate = take, .discard = leave };
    GmemState *s = gmem_state_new("ram0", size, PAGE, false, &ops, NULL);
    unsigned long *real[] = { s->kernel_shared, s->populated };
    int runs = 0, held = 0;

    g_assert_cmpint(gmem_state_launch(s), ==, 0);
    s->kernel_shared = guarded_bitmap(size / PAGE / 8);
    s->populated = guarded_bitmap(size / PAGE / 8);
    g_assert_cmpint(gmem_state_register_listener(s, &l), ==, 0);
    g_assert_cmpint(gmem_state_convert(s, 0, part, false, 0, NULL, NULL), ==,
                    0);
    g_assert_cmpint(gmem_state_convert(s, 0, part, to_private, 0, NULL, NULL),
                    ==, 0);
    g_assert_cmpint(gmem_state_convert(s, part - PAGE, PAGE, !to_private, 0,
                                       NULL, NULL), ==, 0);
    g_assert_cmpint(gmem_state_is_populated(s, 0, part), ==, false);
    g_assert_cmpint(gmem_state_replay(s, 0, part, true, count_run, &runs), ==,
                    0);
    g_assert_cmpint(gmem_state_replay(s, 0, part, false, count_run, &runs), ==,
                    0);
    g_assert_cmpint(runs, ==, 2);
    gmem_state_hold(s);
    g_assert_cmpint(gmem_state_held_runs(s, 0, part, count_held_run, &held),
                    ==, 0);
    gmem_state_release(s);
    g_assert_cmpint(held, ==, 2);
    gmem_state_unregister_listener(s, &l);
    munmap(s->kernel_shared, size / PAGE / 8);
    munmap(s->populated, size / PAGE / 8);
    s->kernel_shared = real[0];
    s->populated = real[1];
    gmem_state_free(s);
}

static void test_bounded(void)
{
    check_bounded(true);
    check_bounded(false);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-state/order", test_order);
    g_test_add_func("/gmem-state/launch", test_launch);
    g_test_add_func("/gmem-state/unlaunch", test_unlaunch);
    g_test_add_func("/gmem-state/unlaunch-pending", test_unlaunch_pending);
    g_test_add_func("/gmem-state/noop", test_noop);
    g_test_add_func("/gmem-state/mixed", test_mixed);
    g_test_add_func("/gmem-state/mixed-busy-private", test_mixed_busy_private);
    g_test_add_func("/gmem-state/invalid", test_invalid);
    g_test_add_func("/gmem-state/views", test_views);
    g_test_add_func("/gmem-state/mappable", test_mappable);
    g_test_add_func("/gmem-state/register", test_register);
    g_test_add_func("/gmem-state/bounded", test_bounded);
    g_test_add_func("/gmem-state/fatal", test_fatal);
    g_test_add_func("/gmem-state/enomem", test_enomem);
    g_test_add_func("/gmem-state/refuse/each", test_refuse);
    g_test_add_func("/gmem-state/refuse/stuck", test_refuse_stuck);
    g_test_add_func("/gmem-state/refuse/drop", test_refuse_drop);
    return g_test_run();
}
