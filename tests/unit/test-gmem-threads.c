/*
 * Description: many threads on one RAM block, in opposite directions, over
 * ranges of their own and over common ones, with pages that are busy for a
 * while and listeners that come and go; the same where each state has a page of
 * its own, and slots that change.  Neither the fake kernel nor the listeners
 * have a lock: under TSan this test shows that the block's does it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "fake-kernel.h"

enum {
    THREADS = 4,
    OWN = 64,               /* pages that only one thread converts */
    COMMON = 128,           /* pages that all convert, at the end */
    PAGES = THREADS * OWN + COMMON,
    ROUNDS = 200,
};

typedef struct ThreadListener {
    GmemListener l;
    FakeKernel *k;
    bool has[PAGES];
} ThreadListener;

typedef struct Shared {
    FakeKernel *k;
    GmemState *s;
    ThreadListener steady;
    gint done;
    unsigned seed;          /* of the holds, used under the block's lock */
} Shared;

typedef struct Thread {
    Shared *sh;
    GThread *thread;
    int nr;
    guint32 seed;
    unsigned timeouts;
} Thread;

/* Let others run, where the block's lock should keep them out */
static void let_in(uint64_t offset)
{
    if (offset / PAGE % 4 == 0) {
        g_usleep(20);
    }
}

static int populate(GmemListener *l, uint64_t offset, uint64_t size)
{
    ThreadListener *t = container_of(l, ThreadListener, l);
    uint64_t i;

    let_in(offset);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_false(t->has[i]);
        g_assert_false(t->k->priv[i]);
        t->has[i] = true;
    }
    return 0;
}

static void discard(GmemListener *l, uint64_t offset, uint64_t size)
{
    ThreadListener *t = container_of(l, ThreadListener, l);
    uint64_t i;

    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_true(t->has[i]);
        t->has[i] = false;
    }
}

static void listener_init(ThreadListener *t, FakeKernel *k)
{
    memset(t, 0, sizeof(*t));
    t->k = k;
    t->l.size = PAGES * PAGE;
    t->l.populate = populate;
    t->l.discard = discard;
}

/* Now and then somebody takes a page just before it is asked for */
static void take_page(FakeKernel *k, uint64_t offset, uint64_t size,
                      bool to_private)
{
    Shared *sh = k->hook_opaque;
    uint64_t i;

    let_in(offset);
    for (i = offset / PAGE; i < (offset + size) / PAGE && to_private; i++) {
        g_assert_false(sh->steady.has[i]);
    }
    sh->seed = sh->seed * 1103515245 + 12345;
    if ((sh->seed >> 16) % 8 == 0) {
        i = offset / PAGE + (sh->seed >> 20) % (size / PAGE);
        k->held[i] = g_get_monotonic_time() * 1000 +
                     (sh->seed >> 8) % (MS / 2);
    }
}

static gpointer converter(gpointer opaque)
{
    Thread *t = opaque;
    g_autoptr(GRand) rnd = g_rand_new_with_seed(t->seed);
    Shared *sh = t->sh;
    int round;

    for (round = 0; round < ROUNDS; round++) {
        bool to_private = g_rand_boolean(rnd);
        bool own = g_rand_int_range(rnd, 0, 3);
        uint64_t base = own ? t->nr * OWN : THREADS * OWN;
        uint64_t limit = own ? OWN : COMMON;
        uint64_t page = g_rand_int_range(rnd, 0, limit);
        uint64_t n = g_rand_int_range(rnd, 1, limit - page + 1), i;
        int64_t timeout = g_rand_int_range(rnd, 0, 8) ? 0 : MS;
        int ret = gmem_state_convert(sh->s, (base + page) * PAGE, n * PAGE,
                                     to_private, timeout, NULL, NULL);

        if (ret == -EAGAIN) {
            g_assert_cmpint(timeout, !=, 0);
            t->timeouts++;
            continue;
        }
        g_assert_cmpint(ret, ==, 0);
        for (i = base + page; own && i < base + page + n; i++) {
            g_assert_cmpint(sh->k->priv[i], ==, to_private);
        }
        if (own) {
            g_assert_cmpint(gmem_state_is_populated(sh->s, (base + page) * PAGE,
                                                    n * PAGE), ==, !to_private);
            g_assert_cmpuint(gmem_state_mappable(sh->s, (base + page) * PAGE,
                                                 n * PAGE), ==,
                             to_private ? 0 : n * PAGE);
        }
    }
    return NULL;
}

static int count(void *opaque, uint64_t offset, uint64_t size)
{
    uint64_t *sum = opaque;

    *sum += size;
    return 0;
}

static void look_replay(GmemState *s)
{
    uint64_t sum = 0;

    gmem_state_replay(s, 0, PAGES * PAGE, true, count, &sum);
    g_assert_cmpuint(sum, <=, PAGES * PAGE);
}

static void look_counts(GmemState *s)
{
    uint64_t shared_bytes, private_bytes, withdrawn_bytes;

    gmem_state_counts(s, &shared_bytes, &private_bytes, &withdrawn_bytes);
    g_assert_cmpuint(shared_bytes + private_bytes + withdrawn_bytes, ==,
                     PAGES * PAGE);
}

static void look_stats(GmemState *s)
{
    GmemStateStats st;

    gmem_state_stats(s, &st);
}

static void look_populated(GmemState *s)
{
    gmem_state_is_populated(s, 0, PAGES * PAGE);
}

static void look_mappable(GmemState *s)
{
    g_assert_cmpuint(gmem_state_mappable(s, 0, PAGES * PAGE), <=, PAGES * PAGE);
}

static void (*const looks[])(GmemState *s) = {
    look_replay, look_counts, look_stats, look_populated, look_mappable,
};

/*
 * A thread that only looks, and in one way: the lock of another function would
 * order it with the writers, and TSan would miss a lock that is not taken.
 */
typedef struct Looker {
    Shared *sh;
    GThread *thread;
    void (*look)(GmemState *s);
} Looker;

static gpointer looker(gpointer opaque)
{
    Looker *l = opaque;

    while (!g_atomic_int_get(&l->sh->done)) {
        l->look(l->sh->s);
        g_usleep(100);
    }
    return NULL;
}

/* Hotplug of a device */
static gpointer visitor(gpointer opaque)
{
    Shared *sh = opaque;
    g_autofree ThreadListener *t = g_new(ThreadListener, 1);
    int i;

    while (!g_atomic_int_get(&sh->done)) {
        listener_init(t, sh->k);
        g_assert_cmpint(gmem_state_register_listener(sh->s, &t->l), ==, 0);
        gmem_state_unregister_listener(sh->s, &t->l);
        for (i = 0; i < PAGES; i++) {
            g_assert_false(t->has[i]);
        }
        g_usleep(100);
    }
    return NULL;
}

static int compare(void *opaque, uint64_t offset, uint64_t size,
                   bool is_private)
{
    FakeKernel *k = opaque;
    uint64_t i;

    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_cmpint(k->priv[i], ==, is_private);
    }
    return 0;
}

/* Memory slots change: what they are told is the truth until they are there */
static gpointer slots(gpointer opaque)
{
    Shared *sh = opaque;

    while (!g_atomic_int_get(&sh->done)) {
        gmem_state_hold(sh->s);
        gmem_state_held_runs(sh->s, 0, PAGES * PAGE, compare, sh->k);
        g_usleep(50);
        gmem_state_held_runs(sh->s, 0, PAGES * PAGE, compare, sh->k);
        gmem_state_release(sh->s);
        g_usleep(100);
    }
    return NULL;
}

static void check_end(Shared *sh)
{
    uint64_t shared_bytes, private_bytes, withdrawn_bytes, i, n = 0;

    gmem_state_counts(sh->s, &shared_bytes, &private_bytes, &withdrawn_bytes);
    g_assert_cmpuint(withdrawn_bytes, ==, 0);
    g_assert_cmpuint(private_bytes, ==, fake_count_private(sh->k) * PAGE);
    for (i = 0; i < PAGES; i++) {
        g_assert_cmpint(sh->steady.has[i], ==, !sh->k->priv[i]);
        g_assert_cmpint(gmem_state_is_populated(sh->s, i * PAGE, PAGE), ==,
                        !sh->k->priv[i]);
        g_assert_false(sh->k->spare[i]);
        n += sh->steady.has[i];
    }
    g_assert_cmpuint(n * PAGE, ==, shared_bytes);
}

static void hammer(const GmemConvertOps *ops)
{
    Shared sh = { };
    Thread threads[THREADS];
    Looker lookers[G_N_ELEMENTS(looks)];
    GThread *visit, *slot;
    GmemStateStats st;
    unsigned timeouts = 0;
    int i;

    sh.k = fake_new(PAGES, false);
    sh.k->threads = true;
    sh.k->hook = take_page;
    sh.k->hook_opaque = &sh;
    sh.seed = g_test_rand_int();
    sh.s = gmem_state_new("ram0", PAGES * PAGE, PAGE, true, ops, sh.k);
    listener_init(&sh.steady, sh.k);
    g_assert_cmpint(gmem_state_register_listener(sh.s, &sh.steady.l), ==, 0);
    g_assert_cmpint(gmem_state_launch(sh.s), ==, 0);
    for (i = 0; i < THREADS; i++) {
        threads[i] = (Thread) { &sh, .nr = i, .seed = g_test_rand_int() };
        threads[i].thread = g_thread_new("vcpu", converter, &threads[i]);
    }
    visit = g_thread_new("hotplug", visitor, &sh);
    slot = g_thread_new("slots", slots, &sh);
    for (i = 0; i < G_N_ELEMENTS(looks); i++) {
        lookers[i] = (Looker) { &sh, .look = looks[i] };
        lookers[i].thread = g_thread_new("monitor", looker, &lookers[i]);
    }
    for (i = 0; i < THREADS; i++) {
        g_thread_join(threads[i].thread);
        timeouts += threads[i].timeouts;
    }
    g_atomic_int_set(&sh.done, 1);
    g_thread_join(visit);
    g_thread_join(slot);
    for (i = 0; i < G_N_ELEMENTS(looks); i++) {
        g_thread_join(lookers[i].thread);
    }
    check_end(&sh);
    gmem_state_stats(sh.s, &st);
    g_assert_cmpuint(st.failures, ==, 0);
    g_assert_cmpint(st.busy_pages > 0, ==, ops == &fake_ops);
    g_test_message("%" PRIu64 " calls, %" PRIu64 " busy, %" PRIu64
                   " retries, %u timeouts", st.calls, st.busy_pages, st.retries,
                   timeouts);
    gmem_state_unregister_listener(sh.s, &sh.steady.l);
    gmem_state_free(sh.s);
    fake_free(sh.k);
}

static void test_hammer(void)
{
    hammer(&fake_ops);
}

static void test_hammer_dual(void)
{
    hammer(&fake_dual_ops);
}

/*
 * What must wait until an attempt of somebody else is over.  The threads above
 * meet in the middle of one only by chance.
 */
static void intrude_convert(GmemState *s, GmemListener *l)
{
    g_assert_cmpint(gmem_state_convert(s, PAGE, PAGE, true, 0, NULL, NULL), ==,
                    0);
}

static void intrude_register(GmemState *s, GmemListener *l)
{
    g_assert_cmpint(gmem_state_register_listener(s, l), ==, 0);
    gmem_state_unregister_listener(s, l);
}

static void intrude_hold(GmemState *s, GmemListener *l)
{
    gmem_state_hold(s);
    gmem_state_release(s);
}

static void intrude_replay(GmemState *s, GmemListener *l)
{
    look_replay(s);
}

static void intrude_populated(GmemState *s, GmemListener *l)
{
    look_populated(s);
}

static void intrude_counts(GmemState *s, GmemListener *l)
{
    look_counts(s);
}

static void (*const intrusions[])(GmemState *s, GmemListener *l) = {
    intrude_convert, intrude_register, intrude_hold, intrude_replay,
    intrude_populated, intrude_counts,
};

typedef struct Intruder {
    GmemState *s;
    FakeKernel *k;
    ThreadListener own;
    void (*intrude)(GmemState *s, GmemListener *l);
    GThread *thread;
    gint done;
} Intruder;

static gpointer intruder(gpointer opaque)
{
    Intruder *in = opaque;

    in->intrude(in->s, &in->own.l);
    g_atomic_int_set(&in->done, 1);
    return NULL;
}

/* A thread that is not kept out would be done long before */
static void let_intrude(Intruder *in)
{
    if (!in->thread) {
        in->thread = g_thread_new("intruder", intruder, in);
        g_usleep(50 * 1000);
        g_assert_false(g_atomic_int_get(&in->done));
    }
}

/* In the middle of an attempt: the listeners are told, nothing is recorded */
static void intrude_call(FakeKernel *k, uint64_t offset, uint64_t size,
                         bool to_private)
{
    let_intrude(k->hook_opaque);
}

static int intrude_populate(GmemListener *l, uint64_t offset, uint64_t size)
{
    ThreadListener *t = container_of(l, ThreadListener, l);

    let_intrude(t->k->hook_opaque);
    return populate(l, offset, size);
}

static void keep_out(const GmemConvertOps *ops, bool registering,
                     void (*intrude)(GmemState *s, GmemListener *l))
{
    g_autofree ThreadListener *steady = g_new(ThreadListener, 1);
    g_autofree Intruder *in = g_new0(Intruder, 1);

    in->k = fake_new(PAGES, false);
    in->k->threads = true;
    in->k->hook_opaque = in;
    in->intrude = intrude;
    in->s = gmem_state_new("ram0", PAGES * PAGE, PAGE, true, ops, in->k);
    listener_init(steady, in->k);
    listener_init(&in->own, in->k);
    g_assert_cmpint(gmem_state_launch(in->s), ==, 0);
    if (registering) {
        steady->l.populate = intrude_populate;
    }
    g_assert_cmpint(gmem_state_register_listener(in->s, &steady->l), ==, 0);
    if (!registering) {
        in->k->hook = intrude_call;
        g_assert_cmpint(gmem_state_convert(in->s, 0, PAGE, true, 0, NULL, NULL),
                        ==, 0);
    }
    g_thread_join(in->thread);
    g_assert_true(g_atomic_int_get(&in->done));
    gmem_state_unregister_listener(in->s, &steady->l);
    gmem_state_free(in->s);
    fake_free(in->k);
}

static void test_keep_out(gconstpointer ops)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(intrusions); i++) {
        keep_out(ops, false, intrusions[i]);
        keep_out(ops, true, intrusions[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-threads/hammer", test_hammer);
    g_test_add_func("/gmem-threads/hammer-dual", test_hammer_dual);
    g_test_add_data_func("/gmem-threads/keep-out", &fake_ops, test_keep_out);
    g_test_add_data_func("/gmem-threads/keep-out-dual", &fake_dual_ops,
                         test_keep_out);
    return g_test_run();
}
