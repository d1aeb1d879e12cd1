/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host does to a guest at random; see noise.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "noise.h"
#include "pattern.h"

#define ANSWER_MS       20000
#define PINS_MAX        8
#define PIN_PAGES_MAX   4
#define PIN_MS_MAX      400
#define STOP_MS_MAX     100
#define PAUSE_MS_MIN    5
#define PAUSE_MS_MAX    100

static const char *const infos[] = {
    "info guest-memfd", "info registers -a", "info status", "info mtree",
    "info memory_size_summary", "info cpus", "info pci", "info qtree",
    "info memory-devices", "info ramblock",
};

struct Noise {
    Vm *vm;
    Qmp *qmp;
    GRand *rand;
    GuestPlace place;
    uint64_t npages;
    gint64 start, end, due;     /* microseconds */
    gint64 cont_due;            /* 0: the guest runs */
    GPtrArray *held;            /* GmemPin */
    unsigned pins, refused, stops, queries, asked, silent, wrong;
};

static void pin_free(gpointer p)
{
    gmem_pin_end(p);
}

static Noise *noise_new(Vm *vm, Qmp *qmp, const GuestPlace *place,
                        uint64_t npages, unsigned seconds, uint64_t seed)
{
    Noise *n = g_new0(Noise, 1);

    n->vm = vm;
    n->qmp = qmp;
    n->rand = g_rand_new_with_seed(seed);
    n->place = *place;
    n->npages = npages;
    n->start = n->due = g_get_monotonic_time();
    n->end = n->start + (gint64)seconds * G_USEC_PER_SEC;
    n->held = g_ptr_array_new_with_free_func(pin_free);
    return n;
}

/* From @min on, up to @max */
static unsigned pick(Noise *n, unsigned min, unsigned max)
{
    return g_rand_int_range(n->rand, min, max + 1);
}

/* What the monitor says of @command has to come. */
static void say(Noise *n, const char *command)
{
    g_autofree char *reply = vm_hmp(n->vm, command, ANSWER_MS);

    n->silent += !reply;
}

static void pin(Noise *n)
{
    uint64_t count = pick(n, 1, PIN_PAGES_MAX);
    uint64_t page = pick(n, 0, n->npages - count);
    char *error = NULL;
    GmemPin *p;

    for (guint i = n->held->len; i-- > 0;) {
        if (!gmem_pin_held(n->held->pdata[i])) {
            g_ptr_array_remove_index_fast(n->held, i);
        }
    }
    if (n->held->len == PINS_MAX) {
        return;
    }
    p = gmem_pin(n->place.file, n->place.offset + page * LAB_PAGE_SIZE, count,
                 1, pick(n, 1, PIN_MS_MAX), &error);
    if (p) {
        gmem_pin_start(p);
        g_ptr_array_add(n->held, p);
        n->pins++;
    } else {
        n->refused++;
        g_free(error);
    }
}

static uint64_t value(const char *words, const char *name)
{
    g_autofree char *key = g_strconcat(" ", name, "=", NULL);
    const char *p = strstr(words, key);

    return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

/* However much is being converted: each page is either shared or private. */
static void query(Noise *n)
{
    g_autofree char *json = qmp_execute(n->qmp, "query-guest-memfd", ANSWER_MS);
    g_autofree char *of_ram = json ? qmp_words(json, "id", "pc.ram") : NULL;
    g_autofree char *words = of_ram ? g_strconcat(" ", of_ram, NULL) : NULL;

    n->queries++;
    n->silent += !json;
    n->wrong += json && (!words || !value(words, "size") ||
                         value(words, "shared") + value(words, "private") !=
                         value(words, "size"));
}

void noise_tick(Noise *n)
{
    gint64 now = g_get_monotonic_time();
    unsigned what;

    if (n->cont_due && now >= n->cont_due) {
        say(n, "cont");
        n->cont_due = 0;
    }
    if (now < n->due || now >= n->end) {
        return;
    }
    what = pick(n, 0, 99);
    if (what < 60) {
        pin(n);
    } else if (what < 75) {
        query(n);
    } else if (what < 90 || n->cont_due) {
        say(n, infos[pick(n, 0, G_N_ELEMENTS(infos) - 1)]);
        n->asked++;
    } else {
        say(n, "stop");
        n->stops++;
        n->cont_due = g_get_monotonic_time() +
                      pick(n, 1, STOP_MS_MAX) * (gint64)1000;
    }
    n->due = g_get_monotonic_time() +
             pick(n, PAUSE_MS_MIN, PAUSE_MS_MAX) * (gint64)1000;
}

void noise_end(Noise **n)
{
    if (!*n) {
        return;
    }
    if ((*n)->cont_due) {
        say(*n, "cont");
    }
    g_ptr_array_unref((*n)->held);
    g_rand_free((*n)->rand);
    g_clear_pointer(n, g_free);
}

static uint64_t number(char **w, guint i)
{
    return strtoull(w[i], NULL, 0);
}

static Noise *noise_begin(Vm *vm, Qmp *qmp, GuestMemory *memory, char **w,
                          char **error)
{
    uint64_t npages = number(w, 4);
    GuestPlace p;

    if (!guest_memory_find(memory, number(w, 3), &p, error)) {
        return NULL;
    }
    if (!p.file || npages < 2 * PIN_PAGES_MAX ||
        npages > (p.file->size - p.offset) / LAB_PAGE_SIZE) {
        *error = g_strdup("noise: not so many pages in one file");
        return NULL;
    }
    return noise_new(vm, qmp, &p, npages, number(w, 1), number(w, 2));
}

char *noise_request(Noise **n, Vm *vm, Qmp *qmp, GuestMemory *memory, char **w)
{
    gint64 now = g_get_monotonic_time();
    g_autofree char *error = NULL;
    char *answer;

    if (g_strv_length(w) == 5 && !*n) {
        *n = noise_begin(vm, qmp, memory, w, &error);
    }
    if (!*n) {
        return g_strdup_printf("error %s", error ? error : "it is quiet");
    }
    if (g_str_equal(w[0], "noise-end")) {
        answer = g_strdup_printf("ok pins=%u refused=%u stops=%u queries=%u "
                                 "infos=%u silent=%u wrong=%u", (*n)->pins,
                                 (*n)->refused, (*n)->stops, (*n)->queries,
                                 (*n)->asked, (*n)->silent, (*n)->wrong);
        noise_end(n);
        return answer;
    }
    return g_strdup_printf("ok at=%" PRId64 " left=%" PRId64,
                           (now - (*n)->start) / 1000,
                           MAX(0, (*n)->end - now) / 1000);
}
