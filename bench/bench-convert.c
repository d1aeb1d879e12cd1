/*
 * Description: what a conversion costs, as ratios measured in one run:
 *
 *   busy    the engine against retrying the whole range with the same pauses,
 *           for busy pages of several numbers and places
 *   freed   how long a page that is let go waits among others that are not
 *   size    one 4 KiB conversion in blocks of several sizes
 *
 * The kernel is a model with a clock that only pauses move; the result is JSON
 * on standard output.  Its work per page (looking at the page's holder, taking
 * its host mapping away, setting its attribute) is done for real up to
 * FLAT_PAGES, so that processor time means something there.  Above, holders and
 * attributes are kept as intervals, and pages are only counted.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <time.h>
#include "system/gmem-state.h"

#define PAGE UINT64_C(4096)
#define MS INT64_C(1000000)
#define FLAT_PAGES (UINT64_C(1) << 20)

typedef struct BenchKernel {
    uint64_t pages;
    int64_t clock;
    GArray *holds;          /* page numbers, ascending */
    int64_t held_until;
    int64_t *held;          /* the same for each page; flat only */
    uint8_t *mapped, *priv; /* flat only */
    GArray *priv_ranges;    /* in bytes; otherwise */
    uint64_t calls, asked, scanned;
} BenchKernel;

static uint64_t first_held(BenchKernel *k, uint64_t first, uint64_t end)
{
    guint lo = 0, hi = k->holds->len;

    if (k->clock >= k->held_until) {
        return end;
    }
    while (lo < hi) {
        guint mid = lo + (hi - lo) / 2;

        if (g_array_index(k->holds, uint64_t, mid) < first) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < k->holds->len ?
           MIN(g_array_index(k->holds, uint64_t, lo), end) : end;
}

static int bench_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                                bool to_private, uint64_t *error_offset)
{
    BenchKernel *k = opaque;
    uint64_t first = offset / PAGE, end = (offset + size) / PAGE, i;

    k->calls++;
    k->asked += end - first;
    if (k->held) {
        memset(k->mapped + first, 0, end - first);
        i = first;
        while (i < end && k->held[i] <= k->clock) {
            i++;
        }
    } else {
        i = first_held(k, first, end);
    }
    k->scanned += i - first + (i < end);
    if (i < end) {
        *error_offset = i * PAGE;
        return -EAGAIN;
    }
    if (k->held) {
        memset(k->priv + first, to_private, end - first);
    } else {
        gmem_ranges_add(k->priv_ranges, offset, offset + size);
    }
    return 0;
}

static int64_t bench_now(void *opaque)
{
    return ((BenchKernel *)opaque)->clock;
}

static void bench_pause(void *opaque, int64_t ns)
{
    ((BenchKernel *)opaque)->clock += ns;
}

static const GmemConvertOps bench_ops = {
    .set_attributes = bench_set_attributes,
    .now = bench_now,
    .pause = bench_pause,
};

static void hold(BenchKernel *k, uint64_t page)
{
    g_array_append_val(k->holds, page);
    if (k->held) {
        k->held[page] = k->held_until;
    }
}

static BenchKernel *kernel_new(uint64_t pages, int64_t held_ms)
{
    BenchKernel *k = g_new0(BenchKernel, 1);

    k->pages = pages;
    k->held_until = held_ms * MS;
    k->holds = g_array_new(false, false, sizeof(uint64_t));
    k->priv_ranges = gmem_ranges_new();
    if (pages <= FLAT_PAGES) {
        k->held = g_new0(int64_t, pages);
        k->mapped = g_malloc(pages);
        memset(k->mapped, 1, pages);
        k->priv = g_malloc(pages);
        memset(k->priv, 0, pages);
    }
    return k;
}

static void kernel_free(BenchKernel *k)
{
    g_array_unref(k->holds);
    g_array_unref(k->priv_ranges);
    g_free(k->held);
    g_free(k->mapped);
    g_free(k->priv);
    g_free(k);
}

/* The result of both policies must be the same: all pages private */
static void kernel_check(BenchKernel *k)
{
    GmemRange r;

    if (k->priv) {
        g_assert(!memchr(k->priv, 0, k->pages));
    } else {
        g_assert(gmem_ranges_next(k->priv_ranges, 0, k->pages * PAGE, &r));
        g_assert(r.start == 0);
        g_assert(r.end == k->pages * PAGE);
    }
}

static void policy_engine(BenchKernel *k)
{
    GmemConvertJob job;
    GmemConvertResult res;

    gmem_convert_job_init(&job, &bench_ops, k, "ram0", PAGE, 0,
                          k->pages * PAGE, true);
    while ((res = gmem_convert_attempt(&job, 0, k->pages * PAGE, NULL, NULL)) ==
           GMEM_CONVERT_BUSY) {
        bench_pause(k, gmem_convert_pause_ns(&job));
    }
    g_assert(res == GMEM_CONVERT_DONE);
    gmem_convert_job_cleanup(&job);
}

/* Ignores the error offset: the whole range again after each pause */
static void policy_whole(BenchKernel *k)
{
    GmemConvertJob job;
    uint64_t ignored;

    gmem_convert_job_init(&job, &bench_ops, k, "ram0", PAGE, 0,
                          k->pages * PAGE, true);
    while (bench_set_attributes(k, 0, k->pages * PAGE, true, &ignored)) {
        bench_pause(k, gmem_convert_pause_ns(&job));
    }
    gmem_convert_job_cleanup(&job);
}

static int64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

typedef struct Cost {
    uint64_t calls, asked, scanned;
    int64_t cpu;
    int64_t waited;
} Cost;

/*
 * One play; its processor time is added to @cost.  @place: "last" every other
 * one of the last pages, "spread" the last page of each of @busy equal parts,
 * "run" neighbours in the middle.
 */
static void play(void (*policy)(BenchKernel *), uint64_t pages, int busy,
                 const char *place, int64_t held_ms, Cost *cost)
{
    BenchKernel *k = kernel_new(pages, held_ms);
    int64_t before;
    int i;

    for (i = 0; i < busy; i++) {
        if (!strcmp(place, "last")) {
            hold(k, pages - 1 - 2 * (uint64_t)(busy - 1 - i));
        } else if (!strcmp(place, "spread")) {
            hold(k, (i + 1) * (pages / busy) - 1);
        } else {
            hold(k, pages / 2 + i);
        }
    }
    before = cpu_ns();
    policy(k);
    cost->cpu += cpu_ns() - before;
    cost->calls = k->calls;
    cost->asked = k->asked;
    cost->scanned = k->scanned;
    cost->waited = k->clock;
    kernel_check(k);
    kernel_free(k);
}

static void print_cost(const char *name, const Cost *c, bool flat, int plays)
{
    printf("\"%s\": {\"calls\": %" PRIu64 ", \"asked\": %" PRIu64
           ", \"scanned\": %" PRIu64 ", \"waited_ms\": %.1f", name, c->calls,
           c->asked, c->scanned, (double)c->waited / MS);
    if (flat) {
        printf(", \"cpu_us\": %.1f", c->cpu / 1000.0 / plays);
    }
    printf("}");
}

static void bench_case(uint64_t pages, const char *place, int busy, int held_ms,
                       const char *comma)
{
    bool flat = pages <= FLAT_PAGES;
    int plays = flat ? 40 : 1, i;
    Cost engine = { }, whole = { };

    for (i = 0; i < plays; i++) {
        play(policy_engine, pages, busy, place, held_ms, &engine);
        play(policy_whole, pages, busy, place, held_ms, &whole);
    }
    printf("%s  {\"pages\": %" PRIu64 ", \"busy\": %d, \"place\": \"%s\", "
           "\"held_ms\": %d,\n   ", comma, pages, busy, place, held_ms);
    print_cost("engine", &engine, flat, plays);
    printf(",\n   ");
    print_cost("whole", &whole, flat, plays);
    printf("}");
}

static void bench_pages(uint64_t pages, const char *comma)
{
    static const struct {
        const char *place;
        int busy;
    } cases[] = {
        { "last", 1 }, { "last", 16 }, { "last", 64 },
        { "spread", 16 }, { "spread", 64 },
        { "run", 16 }, { "run", 64 },
    };
    static const int held_ms[] = { 100, 200, 1000 };
    size_t c, t;

    for (c = 0; c < G_N_ELEMENTS(cases); c++) {
        for (t = 0; t < G_N_ELEMENTS(held_ms); t++) {
            bench_case(pages, cases[c].place, cases[c].busy, held_ms[t], comma);
            comma = ",\n";
        }
    }
}

static void bench_busy(void)
{
    printf("\"busy\": [\n");
    bench_pages(16384, "");
    bench_pages(UINT64_C(1) << 30, ",\n");
    printf("\n],\n");
}

/* @busy pages in one run, none of them let go but @freed */
static int64_t play_freed(int busy, int freed)
{
    BenchKernel *k = kernel_new(16384, INT64_MAX / MS);
    const uint64_t page = k->pages / 2 + freed;
    int64_t since;
    GmemConvertJob job;
    GmemRange r;
    int i;

    for (i = 0; i < busy; i++) {
        hold(k, k->pages / 2 + i);
    }
    gmem_convert_job_init(&job, &bench_ops, k, "ram0", PAGE, 0,
                          k->pages * PAGE, true);
    for (i = 0; i < 20; i++) {
        gmem_convert_attempt(&job, 0, UINT64_MAX, NULL, NULL);
        bench_pause(k, gmem_convert_pause_ns(&job));
    }
    k->held[page] = 0;
    since = k->clock;
    while (gmem_ranges_next(job.todo, page * PAGE, (page + 1) * PAGE, &r)) {
        gmem_convert_attempt(&job, 0, UINT64_MAX, NULL, NULL);
        bench_pause(k, gmem_convert_pause_ns(&job));
    }
    since = k->clock - since;
    gmem_convert_job_cleanup(&job);
    kernel_free(k);
    return since;
}

static void bench_freed(void)
{
    static const int counts[] = { 4, 16, 64, 256 };
    size_t c;
    int i;

    printf("\"freed\": [\n");
    for (c = 0; c < G_N_ELEMENTS(counts); c++) {
        int64_t sum = 0, longest = 0;

        for (i = 0; i < counts[c]; i++) {
            int64_t ns = play_freed(counts[c], i);

            sum += ns;
            longest = MAX(longest, ns);
        }
        printf("%s  {\"busy\": %d, \"mean_ms\": %.1f, \"longest_ms\": %.1f}",
               c ? ",\n" : "", counts[c], (double)sum / counts[c] / MS,
               (double)longest / MS);
    }
    printf("\n],\n");
}

static int no_attributes(void *opaque, uint64_t offset, uint64_t size,
                         bool to_private, uint64_t *error_offset)
{
    return 0;
}

static int64_t no_time(void *opaque)
{
    return 0;
}

static int no_populate(GmemListener *l, uint64_t offset, uint64_t size)
{
    return 0;
}

static void no_discard(GmemListener *l, uint64_t offset, uint64_t size)
{
}

/*
 * Pairs of conversions (private, shared again) of single pages all over the
 * block, the blocks taking turns, so that what else the machine does meets all
 * of them.  The best of many batches: the others were disturbed.
 */
static void bench_size(void)
{
    enum { BATCHES = 400, PAIRS = 400, OFFSETS = 16 };
    static const GmemConvertOps ops = {
        .set_attributes = no_attributes, .now = no_time,
    };
    static const int gib[] = { 1, 16, 128, 1024 };
    GmemState *s[G_N_ELEMENTS(gib)];
    GmemListener l[G_N_ELEMENTS(gib)] = { };
    int64_t best[G_N_ELEMENTS(gib)];
    size_t n;
    int b, i;

    for (n = 0; n < G_N_ELEMENTS(gib); n++) {
        uint64_t size = (uint64_t)gib[n] << 30;

        best[n] = INT64_MAX;
        s[n] = gmem_state_new("ram0", size, PAGE, true, &ops, NULL);
        l[n].size = size;
        l[n].populate = no_populate;
        l[n].discard = no_discard;
        g_assert(gmem_state_register_listener(s[n], &l[n]) == 0);
        g_assert(gmem_state_launch(s[n]) == 0);
    }
    for (b = 0; b < BATCHES; b++) {
        for (n = 0; n < G_N_ELEMENTS(gib); n++) {
            uint64_t step = ((uint64_t)gib[n] << 30) / OFFSETS;
            int64_t before = cpu_ns();

            for (i = 0; i < 2 * PAIRS; i++) {
                gmem_state_convert(s[n], step * (i / 2 % OFFSETS), PAGE,
                                   i % 2 == 0, 0, NULL, NULL);
            }
            best[n] = MIN(best[n], cpu_ns() - before);
        }
    }
    printf("\"size\": [\n");
    for (n = 0; n < G_N_ELEMENTS(gib); n++) {
        GmemStateStats st;

        gmem_state_stats(s[n], &st);
        g_assert(st.conversions == 2 * PAIRS * BATCHES);
        printf("%s  {\"gib\": %d, \"conversion_ns\": %.1f}", n ? ",\n" : "",
               gib[n], (double)best[n] / (2 * PAIRS));
        gmem_state_unregister_listener(s[n], &l[n]);
        gmem_state_free(s[n]);
    }
    printf("\n]\n");
}

int main(void)
{
    printf("{\n");
    bench_busy();
    bench_freed();
    bench_size();
    printf("}\n");
    return 0;
}
