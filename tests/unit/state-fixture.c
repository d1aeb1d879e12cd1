/*
 * Description: the fixture of the tests of one RAM block: listeners that check
 * each call against the kernel and against what they have already.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "state-fixture.h"

static int populate(GmemListener *l, uint64_t offset, uint64_t size)
{
    TestListener *t = container_of(l, TestListener, l);
    uint64_t i;

    g_assert_cmpuint(offset, >=, l->offset);
    g_assert_cmpuint(offset + size, <=, l->offset + l->size);
    g_assert_cmpuint(size, >, 0);
    t->populates++;
    if (t->refuse_after == 0) {
        g_string_append_printf(t->f->k->log, "!%c %" PRIu64 "+%" PRIu64 "; ",
                               t->id, offset / PAGE, size / PAGE);
        return -ENOSPC;
    }
    t->refuse_after -= t->refuse_after > 0;
    g_string_append_printf(t->f->k->log, "+%c %" PRIu64 "+%" PRIu64 "; ",
                           t->id, offset / PAGE, size / PAGE);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_false(t->has[i]);
        g_assert_false(t->f->k->priv[i]);
        t->has[i] = true;
    }
    return 0;
}

static void discard(GmemListener *l, uint64_t offset, uint64_t size)
{
    TestListener *t = container_of(l, TestListener, l);
    uint64_t i;

    g_assert_cmpuint(offset, >=, l->offset);
    g_assert_cmpuint(offset + size, <=, l->offset + l->size);
    g_assert_cmpuint(size, >, 0);
    t->discards++;
    g_string_append_printf(t->f->k->log, "-%c %" PRIu64 "+%" PRIu64 "; ",
                           t->id, offset / PAGE, size / PAGE);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_true(t->has[i] || l->double_discard_supported);
        t->has[i] = false;
    }
}

/* Whatever is asked to become private, nobody may have it by then */
static void check_call(FakeKernel *k, uint64_t offset, uint64_t size,
                       bool to_private)
{
    Fixture *f = k->hook_opaque;
    uint64_t i;
    int n;

    g_assert_true(size <= GMEM_STATE_WINDOW || f->dual_backed);
    for (n = 0; n < MAX_LISTENERS && to_private; n++) {
        for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
            g_assert_false(f->ls[n].has[i]);
        }
    }
}

static void setup_block(Fixture *f, uint64_t pages, bool kernel_shared,
                        const GmemConvertOps *ops)
{
    int n;

    memset(f, 0, sizeof(*f));
    f->dual_backed = ops == &fake_dual_ops;
    f->k = fake_new(pages, !kernel_shared);
    f->k->hook = check_call;
    f->k->hook_opaque = f;
    f->s = gmem_state_new("ram0", pages * PAGE, PAGE, kernel_shared, ops, f->k);
    for (n = 0; n < MAX_LISTENERS; n++) {
        f->ls[n] = (TestListener) {
            .l.populate = populate,
            .l.discard = discard,
            .id = 'A' + n,
            .f = f,
            .has = g_new0(bool, pages),
            .refuse_after = -1,
        };
    }
}

void setup(Fixture *f, uint64_t pages, bool kernel_shared)
{
    setup_block(f, pages, kernel_shared, &fake_ops);
}

void setup_dual(Fixture *f, uint64_t pages, bool kernel_shared)
{
    setup_block(f, pages, kernel_shared, &fake_dual_ops);
}

int attach(Fixture *f, int n, uint64_t page, uint64_t pages)
{
    int ret;

    f->ls[n].l.offset = page * PAGE;
    f->ls[n].l.size = pages * PAGE;
    ret = gmem_state_register_listener(f->s, &f->ls[n].l);
    f->ls[n].registered = ret == 0;
    return ret;
}

void detach(Fixture *f, int n)
{
    gmem_state_unregister_listener(f->s, &f->ls[n].l);
    f->ls[n].registered = false;
}

typedef struct View {
    bool *map;
} View;

static int view_add(void *opaque, uint64_t offset, uint64_t size)
{
    View *v = opaque;

    memset(v->map + offset / PAGE, true, size / PAGE);
    return 0;
}

void check(Fixture *f, int64_t withdrawn)
{
    uint64_t pages = f->k->pages, i, populated = 0;
    uint64_t shared_bytes, private_bytes, withdrawn_bytes;
    g_autofree bool *yes = g_new0(bool, pages);
    g_autofree bool *no = g_new0(bool, pages);
    View v_yes = { yes }, v_no = { no };
    int n;

    g_assert_cmpint(gmem_state_replay(f->s, 0, pages * PAGE, true, view_add,
                                      &v_yes), ==, 0);
    g_assert_cmpint(gmem_state_replay(f->s, 0, pages * PAGE, false, view_add,
                                      &v_no), ==, 0);
    for (i = 0; i < pages; i++) {
        g_assert_true(yes[i] != no[i]);
        g_assert_false(yes[i] && f->k->priv[i]);
        populated += yes[i];
        for (n = 0; n < MAX_LISTENERS; n++) {
            TestListener *t = &f->ls[n];
            bool in = t->registered && i * PAGE >= t->l.offset &&
                      i * PAGE < t->l.offset + t->l.size;

            g_assert_cmpint(t->has[i], ==, in && yes[i]);
        }
    }
    gmem_state_counts(f->s, &shared_bytes, &private_bytes, &withdrawn_bytes);
    g_assert_cmpuint(shared_bytes, ==, populated * PAGE);
    g_assert_cmpuint(private_bytes, ==, fake_count_private(f->k) * PAGE);
    g_assert_cmpuint(shared_bytes + private_bytes + withdrawn_bytes, ==,
                     pages * PAGE);
    if (withdrawn >= 0) {
        g_assert_cmpuint(withdrawn_bytes, ==, withdrawn * PAGE);
    }
}

void teardown(Fixture *f)
{
    int n;

    check(f, -1);
    for (n = 0; n < MAX_LISTENERS; n++) {
        if (f->ls[n].registered) {
            detach(f, n);
        }
        g_free(f->ls[n].has);
    }
    gmem_state_free(f->s);
    fake_free(f->k);
}

void setup_launched(Fixture *f, uint64_t pages)
{
    setup(f, pages, true);
    g_assert_cmpint(attach(f, 0, 0, pages), ==, 0);
    g_assert_cmpint(gmem_state_launch(f->s), ==, 0);
    fake_reset_log(f->k);
}

int convert(Fixture *f, uint64_t page, uint64_t n, bool to_private,
            int64_t timeout_ms)
{
    g_autofree char *message = NULL;
    int ret = gmem_state_convert(f->s, page * PAGE, n * PAGE, to_private,
                                 timeout_ms * MS, NULL, &message);

    g_assert_cmpint(message != NULL, ==, ret && ret != -EAGAIN);
    return ret;
}

void assert_log(Fixture *f, const char *expected)
{
    g_assert_cmpstr(f->k->log->str, ==, expected);
    fake_reset_log(f->k);
}

GmemStateStats stats(Fixture *f)
{
    GmemStateStats st;

    gmem_state_stats(f->s, &st);
    return st;
}

GmemJob *new_job(Fixture *f, uint64_t page, uint64_t n, bool to_private)
{
    return gmem_job_new(f->s, page * PAGE, n * PAGE, to_private, 0);
}

void sleep_for(Fixture *f, GmemJob *j)
{
    f->k->clock += gmem_job_pause_ns(j);
}
