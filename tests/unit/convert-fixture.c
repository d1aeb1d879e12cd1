/*
 * Description: the fixture of the tests of the engine: one job on the fake
 * kernel, driven attempt by attempt.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "convert-fixture.h"

void told(void *opaque, uint64_t offset, uint64_t size)
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

void setup_at(Fixture *f, uint64_t pages, uint64_t start, uint64_t n,
              bool to_private)
{
    f->k = fake_new(pages, !to_private);
    f->told = g_new0(unsigned, pages);
    gmem_convert_job_init(&f->job, &fake_ops, f->k, "ram0", PAGE, start * PAGE,
                          n * PAGE, to_private);
}

void setup(Fixture *f, uint64_t pages)
{
    setup_at(f, pages, 0, pages, true);
}

void teardown(Fixture *f)
{
    gmem_convert_job_cleanup(&f->job);
    g_free(f->told);
    fake_free(f->k);
}

GmemConvertResult attempt(Fixture *f)
{
    return gmem_convert_attempt(&f->job, 0, UINT64_MAX, told, f);
}

GmemConvertResult run(Fixture *f, int max_attempts)
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

void assert_told(Fixture *f, uint64_t page, uint64_t n, bool value)
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

void assert_todo(Fixture *f, const char *expected)
{
    g_autofree char *s = todo(f);

    g_assert_cmpstr(s, ==, expected);
}
