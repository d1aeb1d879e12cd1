/*
 * Description: a RAM block with a page for each state, against the fake kernel:
 * the calls of QEMU 10.2.2 in their order, what is given back and when, and
 * that a step that fails leaves all of them with one view.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

/* As for SEV-SNP and TDX: all private, and whoever listens is told at once */
static void setup_private(Fixture *f, uint64_t pages)
{
    setup_dual(f, pages, false);
    g_assert_cmpint(gmem_state_launch(f->s), ==, 0);
    g_assert_cmpint(attach(f, 0, 0, pages), ==, 0);
    assert_log(f, "");
}

/* No page is backed twice */
static void check_spare(Fixture *f, uint64_t expected)
{
    uint64_t i, n = 0;

    for (i = 0; i < f->k->pages; i++) {
        n += f->k->spare[i];
    }
    g_assert_cmpuint(n, ==, expected);
}

static void test_order(void)
{
    Fixture f;

    setup_private(&f, 16);
    g_assert_cmpint(convert(&f, 4, 8, false, 0), ==, 0);
    assert_log(&f, "shared 4+8; +A 4+8; drop private 4+8; ");
    check(&f, 0);
    g_assert_cmpint(convert(&f, 4, 8, true, 0), ==, 0);
    assert_log(&f, "-A 4+8; private 4+8; drop shared 4+8; ");
    check(&f, 0);
    check_spare(&f, 0);
    teardown(&f);
}

/* QEMU 10.2.2 asks for all of a request, once, whatever is there already */
static void test_same_calls(void)
{
    const uint64_t pages = 4 * GMEM_STATE_WINDOW / PAGE;
    Fixture f;

    setup_private(&f, pages);
    g_assert_cmpint(convert(&f, 0, 8, true, 0), ==, 0);
    assert_log(&f, "private 0+8; drop shared 0+8; ");
    g_assert_cmpint(convert(&f, 0, 4, false, 0), ==, 0);
    fake_reset_log(f.k);
    g_assert_cmpint(convert(&f, 0, 4, false, 0), ==, 0);
    assert_log(&f, "shared 0+4; drop private 0+4; ");
    g_assert_cmpint(convert(&f, 2, 8, true, 0), ==, 0);
    assert_log(&f, "-A 2+2; private 2+8; drop shared 2+8; ");
    g_assert_cmpint(convert(&f, 0, 10, false, 0), ==, 0);
    assert_log(&f, "shared 0+10; +A 2+8; drop private 0+10; ");
    check(&f, 0);
    g_assert_cmpint(convert(&f, 0, pages, false, 0), ==, 0);
    g_assert_cmpint(convert(&f, 0, pages, true, 0), ==, 0);
    assert_log(&f, "shared 0+65536; +A 10+65526; drop private 0+65536; "
               "-A 0+65536; private 0+65536; drop shared 0+65536; ");
    check(&f, 0);
    check_spare(&f, 0);
    teardown(&f);
}

/* Memory of a type that starts shared: nobody is told before the launch */
static void test_starts_shared(void)
{
    Fixture f;

    setup_dual(&f, 16, true);
    g_assert_cmpint(attach(&f, 0, 0, 16), ==, 0);
    g_assert_cmpint(convert(&f, 0, 4, true, 0), ==, 0);
    g_assert_cmpint(convert(&f, 2, 1, false, 0), ==, 0);
    assert_log(&f, "private 0+4; drop shared 0+4; "
               "shared 2+1; drop private 2+1; ");
    check(&f, 13);
    g_assert_cmpint(gmem_state_launch(f.s), ==, 0);
    assert_log(&f, "+A 2+1; +A 4+12; ");
    check(&f, 0);
    teardown(&f);
}

/*
 * A listener refuses: what this request had made shared becomes private again,
 * with its private pages still there; what all took stays.
 */
static void test_refuse(void)
{
    g_autofree char *message = NULL;
    Fixture f;

    setup_private(&f, 64);
    g_assert_cmpint(attach(&f, 1, 0, 64), ==, 0);
    g_assert_cmpint(convert(&f, 16, 4, false, 0), ==, 0);
    fake_reset_log(f.k);
    f.ls[1].refuse_after = 1;
    g_assert_cmpint(gmem_state_convert(f.s, 8 * PAGE, 32 * PAGE, false, 0, NULL,
                                       &message), ==, -ENOSPC);
    g_assert_nonnull(strstr(message, "refused offset 0x14000"));
    assert_log(&f, "shared 8+32; +A 8+8; +B 8+8; +A 20+20; !B 20+20; -A 20+20; "
               "private 20+20; drop private 8+12; ");
    check(&f, 0);
    check_spare(&f, 20);
    g_assert_cmpuint(stats(&f).failures, ==, 1);
    f.ls[1].refuse_after = -1;
    g_assert_cmpint(convert(&f, 8, 32, false, 0), ==, 0);
    check(&f, 0);
    check_spare(&f, 0);
    teardown(&f);
}

/* KVM refuses for good: nothing has changed, and the listeners have it again */
static void test_fatal(void)
{
    g_autofree char *message = NULL;
    Fixture f;

    setup_private(&f, 16);
    g_assert_cmpint(convert(&f, 0, 16, false, 0), ==, 0);
    fake_reset_log(f.k);
    fake_script(f.k, EINVAL);
    g_assert_cmpint(gmem_state_convert(f.s, 4 * PAGE, 8 * PAGE, true, 0, NULL,
                                       &message), ==, -EINVAL);
    g_assert_nonnull(strstr(message, "'ram0'"));
    assert_log(&f, "-A 4+8; private 4+8 error; +A 4+8; ");
    check(&f, 0);
    check_spare(&f, 0);
    g_assert_cmpint(convert(&f, 0, 8, true, 0), ==, 0);
    fake_reset_log(f.k);
    fake_script(f.k, EFAULT);
    g_assert_cmpint(convert(&f, 0, 16, false, 0), ==, -EFAULT);
    assert_log(&f, "shared 0+16 error; ");
    check(&f, 0);
    teardown(&f);
}

/* Short of memory: part of it is done, and that part is given back */
static void test_enomem(void)
{
    Fixture f;

    setup_private(&f, 64);
    f.k->enomem_above = 4 * PAGE;
    g_assert_cmpint(convert(&f, 0, 64, false, 0), ==, 0);
    check(&f, 0);
    check_spare(&f, 0);
    g_assert_cmpint(convert(&f, 0, 64, true, 0), ==, 0);
    check(&f, 0);
    check_spare(&f, 0);
    f.k->enomem_above = 0;
    g_assert_cmpint(convert(&f, 0, 64, false, 0), ==, -ENOMEM);
    g_assert_cmpuint(fake_count_private(f.k), ==, 64);
    check(&f, 0);
    teardown(&f);
}

/* The pages cannot be given back: the state is right, and it is said */
static void test_discard_fails(void)
{
    g_autofree char *message = NULL;
    Fixture f;

    setup_private(&f, 16);
    f.k->discard_err = EIO;
    g_assert_cmpint(gmem_state_convert(f.s, 0, 8 * PAGE, false, 0, NULL,
                                       &message), ==, -EIO);
    g_assert_nonnull(strstr(message, "'ram0': offset 0x0, size 0x8000 is shared "
                            "now"));
    g_assert_true(gmem_state_is_populated(f.s, 0, 8 * PAGE));
    check(&f, 0);
    check_spare(&f, 8);
    f.k->discard_err = 0;
    g_assert_cmpint(convert(&f, 0, 8, false, 0), ==, 0);
    check_spare(&f, 0);
    teardown(&f);
}

static int run_text(void *opaque, uint64_t offset, uint64_t size,
                    bool is_private)
{
    GString *text = opaque;

    g_string_append_printf(text, "%s %" PRIu64 "+%" PRIu64 "; ",
                           is_private ? "private" : "shared", offset / PAGE,
                           size / PAGE);
    return text->len > 60;
}

static void assert_runs(Fixture *f, uint64_t page, uint64_t n, int expected_ret,
                        const char *expected)
{
    g_autoptr(GString) text = g_string_new("");

    gmem_state_hold(f->s);
    g_assert_cmpint(gmem_state_held_runs(f->s, page * PAGE, n * PAGE, run_text,
                                         text), ==, expected_ret);
    gmem_state_release(f->s);
    g_assert_cmpstr(text->str, ==, expected);
}

/* What a new memory slot is to be told */
static void test_runs(void)
{
    Fixture f;

    setup_private(&f, 64);
    assert_runs(&f, 0, 64, 0, "private 0+64; ");
    g_assert_cmpint(convert(&f, 4, 8, false, 0), ==, 0);
    g_assert_cmpint(convert(&f, 60, 4, false, 0), ==, 0);
    assert_runs(&f, 0, 64, 0,
                "private 0+4; shared 4+8; private 12+48; shared 60+4; ");
    assert_runs(&f, 5, 8, 0, "shared 5+7; private 12+1; ");
    assert_runs(&f, 60, 5, -EINVAL, "");
    g_assert_cmpint(convert(&f, 20, 1, false, 0), ==, 0);
    g_assert_cmpint(convert(&f, 30, 1, false, 0), ==, 0);
    assert_runs(&f, 0, 64, 1, "private 0+4; shared 4+8; private 12+8; "
                "shared 20+1; private 21+9; ");
    teardown(&f);
}

typedef struct Waiter {
    Fixture *f;
    gint done;
} Waiter;

static gpointer wait_and_convert(gpointer opaque)
{
    Waiter *w = opaque;

    g_assert_cmpint(convert(w->f, 0, 8, false, 0), ==, 0);
    g_atomic_int_set(&w->done, 1);
    return NULL;
}

/* While slots change, nothing else does */
static void test_hold(void)
{
    Fixture f;
    Waiter w = { &f };
    GThread *thread;

    setup_private(&f, 16);
    gmem_state_hold(f.s);
    thread = g_thread_new("vcpu", wait_and_convert, &w);
    g_usleep(20000);
    g_assert_cmpint(g_atomic_int_get(&w.done), ==, 0);
    g_assert_cmpuint(fake_count_private(f.k), ==, 16);
    gmem_state_release(f.s);
    g_thread_join(thread);
    g_assert_cmpuint(fake_count_private(f.k), ==, 8);
    check(&f, 0);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-dual/order", test_order);
    g_test_add_func("/gmem-dual/same-calls", test_same_calls);
    g_test_add_func("/gmem-dual/starts-shared", test_starts_shared);
    g_test_add_func("/gmem-dual/refuse", test_refuse);
    g_test_add_func("/gmem-dual/fatal", test_fatal);
    g_test_add_func("/gmem-dual/enomem", test_enomem);
    g_test_add_func("/gmem-dual/discard-fails", test_discard_fails);
    g_test_add_func("/gmem-dual/runs", test_runs);
    g_test_add_func("/gmem-dual/hold", test_hold);
    return g_test_run();
}
