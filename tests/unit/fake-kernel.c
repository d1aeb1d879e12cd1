/*
 * Description: see fake-kernel.h.  The order of the checks is that of the
 * kernel; a busy answer has zapped the mappings of the whole range and changed
 * no attribute.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "fake-kernel.h"

static int64_t fake_now(void *opaque)
{
    FakeKernel *k = opaque;

    return k->threads ? g_get_monotonic_time() * 1000 : k->clock;
}

static void fake_pause(void *opaque, int64_t ns)
{
    FakeKernel *k = opaque;

    if (k->threads) {
        g_usleep(MAX(ns / 1000, 1));
        return;
    }
    g_assert_cmpint(ns, >, 0);
    k->longest_slice = MAX(k->longest_slice, ns);
    k->slept += ns;
    k->clock += ns;
}

static bool fake_should_stop(void *opaque)
{
    FakeKernel *k = opaque;

    if (k->threads) {
        return false;
    }
    k->stop_asked++;
    return k->clock >= k->stop_at ||
           (k->stop_after >= 0 && k->stop_asked > k->stop_after);
}

static void fake_busy(void *opaque, uint64_t offset, int64_t waited_ns)
{
    FakeKernel *k = opaque;

    k->busy_events++;
    k->busy_offset = offset;
    k->busy_waited = waited_ns;
}

static void fake_warn(void *opaque, const char *message)
{
    FakeKernel *k = opaque;

    g_ptr_array_add(k->warnings, g_strdup(message));
}

static uint64_t fake_lie(FakeKernel *k, uint64_t offset, uint64_t size,
                         uint64_t page)
{
    switch (k->lie) {
    case LIE_UNSET:
        return GMEM_NO_OFFSET;
    case LIE_BELOW:
        return offset ? offset - PAGE : offset + size + PAGE;
    case LIE_BEHIND:
        return offset + size;
    case LIE_UNALIGNED:
        return page * PAGE + 1;
    default:
        return page * PAGE;
    }
}

static int fake_convert(FakeKernel *k, uint64_t offset, uint64_t size,
                        bool to_private, uint64_t *error_offset)
{
    int64_t now = fake_now(k);
    uint64_t first, end, i;
    bool same = true;

    if (!g_queue_is_empty(&k->script)) {
        int err = GPOINTER_TO_INT(g_queue_pop_head(&k->script));

        if (err) {
            if (err == EAGAIN || err == ENOMEM) {
                *error_offset = offset;
            }
            return -err;
        }
    }
    if (size == 0 || offset + size < offset ||
        offset % PAGE || size % PAGE ||
        offset >= k->pages * PAGE || offset + size > k->pages * PAGE) {
        return -EINVAL;
    }
    if (size > k->enomem_above) {
        *error_offset = offset;
        return -ENOMEM;
    }
    first = offset / PAGE;
    end = first + size / PAGE;
    for (i = first; i < end; i++) {
        same &= k->priv[i] == to_private;
    }
    if (same) {
        return 0;
    }
    if (to_private) {
        memset(k->mapped + first, 0, end - first);
        for (i = first; i < end; i++) {
            if (k->held[i] > now && !k->dual_backed) {
                *error_offset = fake_lie(k, offset, size, i);
                return -EAGAIN;
            }
        }
    }
    memset(k->priv + first, to_private, end - first);
    return 0;
}

/* The pages that are not in use go; those that are, nobody may lose */
static int fake_discard(void *opaque, uint64_t offset, uint64_t size,
                        bool to_private)
{
    FakeKernel *k = opaque;
    uint64_t i;

    g_assert_cmpuint(size, >, 0);
    for (i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        g_assert_cmpint(k->priv[i], ==, to_private);
        k->spare[i] &= k->discard_err != 0;
    }
    if (!k->threads) {
        g_string_append_printf(k->log, "drop %s %" PRIu64 "+%" PRIu64 "%s; ",
                               to_private ? "shared" : "private", offset / PAGE,
                               size / PAGE, k->discard_err ? " error" : "");
    }
    return -k->discard_err;
}

static int fake_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                               bool to_private, uint64_t *error_offset)
{
    FakeKernel *k = opaque;
    FakeCall call = { offset, size, to_private, .when = fake_now(k) };

    g_assert_cmpuint(*error_offset, ==, GMEM_NO_OFFSET);
    if (k->hook) {
        k->hook(k, offset, size, to_private);
    }
    call.ret = fake_convert(k, offset, size, to_private, error_offset);
    call.answer = *error_offset;
    if (!k->threads) {
        g_array_append_val(k->calls, call);
        g_string_append_printf(k->log, "%s %" PRIu64 "+%" PRIu64 "%s; ",
                               to_private ? "private" : "shared",
                               offset / PAGE, size / PAGE,
                               call.ret == 0 ? "" :
                               call.ret == -EAGAIN ? " EAGAIN" : " error");
    }
    return call.ret;
}

const GmemConvertOps fake_ops = {
    .set_attributes = fake_set_attributes,
    .now = fake_now,
    .pause = fake_pause,
    .should_stop = fake_should_stop,
    .busy = fake_busy,
    .warn = fake_warn,
};

/* The attribute of the VM: pages in use are no hindrance */
static int fake_set_vm_attributes(void *opaque, uint64_t offset, uint64_t size,
                                  bool to_private, uint64_t *error_offset)
{
    FakeKernel *k = opaque;
    int ret;

    k->dual_backed = true;
    ret = fake_set_attributes(k, offset, size, to_private, error_offset);
    if (!ret) {
        memset(k->spare + offset / PAGE, true, size / PAGE);
    }
    return ret;
}

const GmemConvertOps fake_dual_ops = {
    .set_attributes = fake_set_vm_attributes,
    .now = fake_now,
    .pause = fake_pause,
    .should_stop = fake_should_stop,
    .discard = fake_discard,
    .warn = fake_warn,
};

FakeKernel *fake_new(uint64_t pages, bool all_private)
{
    FakeKernel *k = g_new0(FakeKernel, 1);

    k->pages = pages;
    k->priv = g_new0(bool, pages);
    k->held = g_new0(int64_t, pages);
    k->mapped = g_new0(bool, pages);
    k->spare = g_new0(bool, pages);
    memset(k->priv, all_private, pages);
    memset(k->mapped, !all_private, pages);
    k->clock = 1000 * MS;
    k->stop_at = FOREVER;
    k->stop_after = -1;
    k->enomem_above = UINT64_MAX;
    g_queue_init(&k->script);
    k->calls = g_array_new(false, false, sizeof(FakeCall));
    k->log = g_string_new("");
    k->warnings = g_ptr_array_new_with_free_func(g_free);
    return k;
}

void fake_free(FakeKernel *k)
{
    g_queue_clear(&k->script);
    g_array_unref(k->calls);
    g_string_free(k->log, true);
    g_ptr_array_unref(k->warnings);
    g_free(k->priv);
    g_free(k->held);
    g_free(k->mapped);
    g_free(k->spare);
    g_free(k);
}

void fake_hold(FakeKernel *k, uint64_t page, uint64_t n, int64_t until)
{
    for (; n; n--, page++) {
        g_assert_cmpuint(page, <, k->pages);
        k->held[page] = until;
    }
}

void fake_script(FakeKernel *k, int err)
{
    g_queue_push_tail(&k->script, GINT_TO_POINTER(err));
}

unsigned fake_failed_calls(FakeKernel *k)
{
    unsigned n = 0;
    guint i;

    for (i = 0; i < k->calls->len; i++) {
        n += fake_call(k, i)->ret != 0;
    }
    return n;
}

void fake_reset_log(FakeKernel *k)
{
    g_array_set_size(k->calls, 0);
    g_string_truncate(k->log, 0);
}

FakeCall *fake_call(FakeKernel *k, guint i)
{
    g_assert_cmpuint(i, <, k->calls->len);
    return &g_array_index(k->calls, FakeCall, i);
}

uint64_t fake_count_private(FakeKernel *k)
{
    uint64_t i, n = 0;

    for (i = 0; i < k->pages; i++) {
        n += k->priv[i];
    }
    return n;
}
