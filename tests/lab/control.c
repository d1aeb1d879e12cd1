/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The requests of the payload; see control.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "assign.h"
#include "control.h"
#include "gdb.h"
#include "guest-memory.h"
#include "noise.h"
#include "pattern.h"
#include "qmp.h"

#define HMP_MS          5000
#define BUSY_DELAY_MS   30
/* Another vCPU's request may be on its way when "result" asks, on a slow host. */
#define STATE_MS        10000

#define BUSY_EVENT "GUEST_MEMFD_CONVERSION_BUSY"

typedef enum LaterKind {
    LATER_STATE,
    LATER_STOP,
    LATER_HMP,
    LATER_GMEM,
    LATER_JUMP,
    LATER_UNPIN,
    LATER_QUIT,
} LaterKind;

/* Something to be done while the guest's vCPU is blocked. */
typedef struct Later {
    LaterKind kind;
    bool armed;             /* a mark came: the clock runs */
    int after_ms;           /* from the mark; -1: when a page was busy, or */
    char *after_event;      /* behind the first of these; may be NULL */
    double due;             /* ms clock; 0: not known yet */
    GuestPlace place;
    uint64_t npages, stride;
    char *want;             /* state; HMP command; block; outcome of a stop */
    uint64_t rax, rip;
    int cont_ms;
    unsigned calls;         /* to the kernel, when the VM was stopped */
    double cont_due;        /* ms clock; 0: not stopped yet */
    char *result;           /* set when done */
} Later;

struct Control {
    Vm *vm;
    QTrace *trace;
    GuestMemory *memory;
    Qmp *qmp;
    DmaFaults *faults;
    Noise *noise;           /* NULL: it is quiet */
    GPtrArray *pins;
    GQueue later;
    double mark;            /* ms clock */
    double quit_at;
    bool result_wanted;
    double wanted_at;       /* ms clock */
    double event_until;     /* ms clock; 0: no event is waited for */
    unsigned event_wanted;
};

static double now_ms(void)
{
    return g_get_monotonic_time() / 1000.0;
}

static void pin_free(gpointer p)
{
    gmem_pin_end(p);
}

static void later_free(gpointer p)
{
    Later *l = p;

    g_free(l->after_event);
    g_free(l->want);
    g_free(l->result);
    g_free(l);
}

Control *control_new(Vm *vm, QTrace *trace)
{
    Control *c = g_new0(Control, 1);

    c->vm = vm;
    c->trace = trace;
    c->memory = guest_memory_new(vm);
    c->qmp = qmp_new(vm->qmp);
    c->faults = dma_faults_new();
    c->pins = g_ptr_array_new_with_free_func(pin_free);
    g_queue_init(&c->later);
    return c;
}

void control_free(Control *c)
{
    if (c) {
        noise_end(&c->noise);
        g_ptr_array_unref(c->pins);
        g_queue_clear_full(&c->later, later_free);
        guest_memory_free(c->memory);
        qmp_free(c->qmp);
        dma_faults_free(c->faults);
        g_free(c);
    }
}

double control_quit_ms(Control *c)
{
    return c->quit_at ? now_ms() - c->quit_at : -1;
}

static uint64_t arg(char **w, guint i)
{
    return i < g_strv_length(w) ? strtoull(w[i], NULL, 0) : 0;
}

static bool any_pin_held(Control *c)
{
    for (guint i = 0; i < c->pins->len; i++) {
        if (gmem_pin_held(c->pins->pdata[i])) {
            return true;
        }
    }
    return false;
}

static char *do_pin(Control *c, char **w)
{
    int64_t ms = g_str_equal(w[3], "hold") ? -1 : (int64_t)arg(w, 3);
    char *error = NULL;
    GuestPlace p;
    GmemPin *pin = NULL;

    if (guest_memory_find(c->memory, arg(w, 1), &p, &error)) {
        if (!p.file) {
            return g_strdup("error this page is not in a mapped guest_memfd");
        }
        pin = gmem_pin(p.file, p.offset, arg(w, 2), w[4] ? arg(w, 4) : 1, ms,
                       &error);
    }
    if (!pin) {
        g_autofree char *e = error;

        return g_strdup_printf("error %s", e);
    }
    g_ptr_array_add(c->pins, pin);
    return g_strdup("ok");
}

static char *do_mark(Control *c)
{
    qtrace_mark(c->trace);
    qmp_mark(c->qmp);
    dma_faults_mark(c->faults);
    c->mark = now_ms();
    for (guint i = 0; i < c->pins->len; i++) {
        gmem_pin_start(c->pins->pdata[i]);
    }
    for (GList *i = c->later.head; i; i = i->next) {
        Later *l = i->data;

        l->armed = true;
    }
    return g_strdup("ok");
}

static char *do_since(Control *c, uint64_t held)
{
    QTraceSum s = qtrace_sum(c->trace, held);

    return g_strdup_printf("ok calls=%u eagain=%u failed=%u pages=%" PRIu64
                           " first-offset=0x%" PRIx64 " noffsets=%u ms=%.0f "
                           "rest-ms=%.0f", s.calls, s.eagain, s.failed,
                           s.pages, s.first_offset, s.offsets, s.ms,
                           s.rest_ms);
}

static char *do_after(Control *c, char **w)
{
    guint n = g_strv_length(w);
    Later *l = g_new0(Later, 1);
    char *error = NULL;

    l->after_ms = g_ascii_isdigit(*w[1]) ? (int)arg(w, 1) : -1;
    l->after_event = l->after_ms >= 0 || g_str_equal(w[1], "busy")
                     ? NULL : g_strdup(w[1]);
    if (g_str_equal(w[2], "state") && n == 7) {
        l->kind = LATER_STATE;
        l->npages = arg(w, 4);
        l->stride = arg(w, 5);
        l->want = g_strdup(w[6]);
        /* Now: the monitor need not answer while the vCPU is blocked. */
        if (!guest_memory_find(c->memory, arg(w, 3), &l->place, &error)) {
            g_autofree char *e = error;

            later_free(l);
            return g_strdup_printf("error %s", e);
        }
    } else if (g_str_equal(w[2], "stop") && n == 4) {
        l->kind = LATER_STOP;
        l->cont_ms = arg(w, 3);
    } else if (g_str_equal(w[2], "hmp") && n > 3) {
        l->kind = LATER_HMP;
        l->want = g_strjoinv(" ", w + 3);
    } else if (g_str_equal(w[2], "gmem") && n == 4) {
        l->kind = LATER_GMEM;
        l->want = g_strdup(w[3]);
    } else if (g_str_equal(w[2], "jump") && n == 5) {
        l->kind = LATER_JUMP;
        l->rax = arg(w, 3);
        l->rip = arg(w, 4);
    } else if (g_str_equal(w[2], "unpin")) {
        l->kind = LATER_UNPIN;
    } else if (g_str_equal(w[2], "quit")) {
        l->kind = LATER_QUIT;
    } else {
        later_free(l);
        return g_strdup("error after: unknown action");
    }
    g_queue_push_tail(&c->later, l);
    return g_strdup("ok");
}

static char *do_place(Control *c, char **w)
{
    char *error = NULL;
    GuestPlace p;

    if (!guest_memory_find(c->memory, arg(w, 1), &p, &error)) {
        g_autofree char *e = error;

        return g_strdup_printf("error %s", e);
    }
    if (g_str_equal(w[0], "inode")) {
        return g_strdup_printf("ok %" PRIu64, p.file ? p.file->ino : 0);
    }
    return g_strdup_printf("ok 0x%" PRIx64, p.offset);
}

static char *do_hmp(Control *c, const char *command)
{
    g_autofree char *reply = vm_hmp(c->vm, command, HMP_MS);
    g_auto(GStrv) lines = NULL;
    g_autofree char *joined = NULL;

    if (!reply) {
        return g_strdup("error the monitor is silent");
    }
    lines = g_strsplit(reply, "\r\n", -1);
    joined = g_strjoinv("; ", lines);
    return g_strdup_printf("ok %s", joined);
}

/* What query-guest-memfd says: the mode and, if @block is given, of it. */
static char *gmem_words(Control *c, const char *block)
{
    g_autofree char *json = qmp_execute(c->qmp, "query-guest-memfd", HMP_MS);
    g_autofree char *of_block = NULL;
    const char *mode;

    mode = json ? strstr(json, "\"mode\": \"") : NULL;
    if (!mode) {
        return NULL;
    }
    mode += strlen("\"mode\": \"");
    if (block) {
        of_block = qmp_words(json, "id", block);
        if (!of_block) {
            return NULL;
        }
    }
    return g_strdup_printf("mode=%.*s %s", (int)strcspn(mode, "\""), mode,
                           of_block ? of_block : "");
}

static char *do_gmem(Control *c, const char *block)
{
    g_autofree char *answer = gmem_words(c, block);

    return answer ? g_strdup_printf("ok %s", answer)
                  : g_strdup("error query-guest-memfd: silent, or no such block");
}

/* NULL: not yet */
static char *take_event(Control *c)
{
    g_autofree char *data = qmp_event(c->qmp, BUSY_EVENT, c->event_wanted);

    if (!data && now_ms() < c->event_until) {
        return NULL;
    }
    c->event_until = 0;
    return g_strdup_printf("ok %s", data ? data : "none");
}

static char *do_event(Control *c, unsigned n, uint64_t ms)
{
    c->event_wanted = n;
    c->event_until = now_ms() + ms;
    return take_event(c);
}

/* How many of the words are of the pattern of the page at @gpa? */
static unsigned count_pattern(const uint64_t *words, gsize n, uint64_t gpa,
                              uint64_t seed)
{
    unsigned found = 0;

    for (gsize i = 0; i < n; i++) {
        for (unsigned k = 0; words[i] && k < LAB_PATTERN_WORDS; k++) {
            found += words[i] == lab_pattern(seed,
                                             gpa + lab_pattern_offset(k));
        }
    }
    return found;
}

/* What a command of the monitor has written, and whether it has some page */
static char *do_find(char **w, guint n)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(GMappedFile) file = g_mapped_file_new(w[1], FALSE, &err);
    const uint64_t *words;
    gsize size;
    unsigned found, other;

    if (!file) {
        return g_strdup_printf("error %s", err->message);
    }
    words = (const uint64_t *)g_mapped_file_get_contents(file);
    size = g_mapped_file_get_length(file) / sizeof(*words);
    found = count_pattern(words, size, arg(w, 2), arg(w, 3));
    other = n < 6 ? 0 : count_pattern(words, size, arg(w, 4), arg(w, 5));
    unlink(w[1]);
    return g_strdup_printf("ok found=%u other=%u", found, other);
}

static char *take_result(Control *c)
{
    Later *l = g_queue_peek_head(&c->later);
    char *answer;

    if (!l->result) {
        return NULL;
    }
    g_queue_pop_head(&c->later);
    answer = g_strdup_printf("ok %s", l->result);
    later_free(l);
    return answer;
}

/* Requests on the guest's memory: name, number of words, what they do. */
static char *memory_request(Control *c, char **w, guint n)
{
    GuestMemory *m = c->memory;
    uint64_t gpa = arg(w, 1);

    if (g_str_equal(w[0], "state") && n >= 3) {
        return guest_memory_state(m, gpa, arg(w, 2), n > 3 ? arg(w, 3) : 1);
    }
    if (g_str_equal(w[0], "peek") && n == 2) {
        return guest_memory_peek(m, gpa);
    }
    if (g_str_equal(w[0], "poke") && n == 3) {
        return guest_memory_poke(m, gpa, arg(w, 2));
    }
    if (g_str_equal(w[0], "fill") && n >= 4) {
        return guest_memory_fill(m, gpa, arg(w, 2), arg(w, 3),
                                 n > 4 ? arg(w, 4) : 1);
    }
    if (g_str_equal(w[0], "check") && n >= 4) {
        return guest_memory_check(m, gpa, arg(w, 2), arg(w, 3),
                                  n > 4 ? arg(w, 4) : 1);
    }
    if (g_str_equal(w[0], "stamp") && n == 4) {
        return guest_memory_stamp(m, gpa, arg(w, 2), arg(w, 3));
    }
    if (g_str_equal(w[0], "touch") && n == 3) {
        return guest_memory_touch(m, gpa, arg(w, 2));
    }
    if (g_str_equal(w[0], "access") && n == 2) {
        return guest_memory_access(m, gpa);
    }
    if (g_str_equal(w[0], "memory")) {
        return guest_memory_used(m);
    }
    if (g_str_equal(w[0], "nodes") && n == 3) {
        return guest_memory_nodes(m, gpa, arg(w, 2));
    }
    if (g_str_equal(w[0], "usage")) {
        return guest_memory_usage(m);
    }
    return NULL;
}

char *control_request(Control *c, const char *line)
{
    g_auto(GStrv) w = g_strsplit(line, " ", -1);
    guint n = g_strv_length(w);
    char *answer;

    if (!n) {
        return g_strdup("error empty request");
    }
    answer = memory_request(c, w, n);
    if (answer) {
        return answer;
    }
    if (g_str_equal(w[0], "hello")) {
        return g_strdup("ok hello");
    } else if (g_str_equal(w[0], "pin") && (n == 4 || n == 5)) {
        return do_pin(c, w);
    } else if (g_str_equal(w[0], "unpin")) {
        g_ptr_array_set_size(c->pins, 0);
        return g_strdup("ok");
    } else if (g_str_equal(w[0], "mark")) {
        return do_mark(c);
    } else if (g_str_equal(w[0], "since")) {
        return do_since(c, n > 1 ? arg(w, 1) : 1);
    } else if (g_str_equal(w[0], "count") && n == 2) {
        return g_strdup_printf("ok %u", qtrace_count(c->trace, w[1]));
    } else if (g_str_equal(w[0], "bytes") && n == 2) {
        return g_strdup_printf("ok %" PRIu64, qtrace_bytes(c->trace, w[1]));
    } else if (g_str_equal(w[0], "events")) {
        g_autofree char *events = qtrace_events(c->trace);

        return g_strdup_printf("ok %s", events);
    } else if (g_str_equal(w[0], "dma-faults") && n == 3) {
        return g_strdup_printf("ok %u", dma_faults_count(c->faults, arg(w, 1),
                                                         arg(w, 2)));
    } else if (g_str_equal(w[0], "after") && n >= 3) {
        return do_after(c, w);
    } else if ((g_str_equal(w[0], "offset") || g_str_equal(w[0], "inode")) &&
               n == 2) {
        return do_place(c, w);
    } else if (g_str_equal(w[0], "gmem")) {
        return do_gmem(c, n > 1 ? w[1] : NULL);
    } else if (g_str_equal(w[0], "event") && n >= 2) {
        return do_event(c, arg(w, 1), arg(w, 2));
    } else if (g_str_equal(w[0], "find") && n >= 4) {
        return do_find(w, n);
    } else if (g_str_equal(w[0], "noise") || g_str_equal(w[0], "noise-end")) {
        return noise_request(&c->noise, c->vm, c->qmp, c->memory, w);
    } else if (g_str_equal(w[0], "hmp")) {
        return do_hmp(c, line + strlen("hmp "));
    } else if (g_str_equal(w[0], "result")) {
        if (g_queue_is_empty(&c->later)) {
            return g_strdup("error no \"after\" is on its way");
        }
        answer = take_result(c);
        c->result_wanted = !answer;
        c->wanted_at = now_ms();
        return answer;
    }
    return g_strdup_printf("error unknown request \"%s\"", line);
}

/* --- what is due --------------------------------------------------------- */

static void tick_state(Control *c, Later *l)
{
    bool held_before = any_pin_held(c);
    bool late = c->result_wanted && now_ms() >= c->wanted_at + STATE_MS;
    char *error = NULL;
    g_autofree char *runs = guest_memory_runs(&l->place, l->npages, l->stride,
                                              &error);
    bool same = runs && g_str_equal(runs, l->want);

    if (same || !runs || !held_before || late) {
        l->result = g_strdup_printf("ms=%.0f pinned=%d same=%d want=%s saw=%s",
                                    now_ms() - c->mark, any_pin_held(c), same,
                                    l->want, runs ? runs : error);
    }
    g_free(error);
}

static void tick_stop(Control *c, Later *l)
{
    g_autofree char *reply = NULL;
    g_autofree char *registers = NULL;
    double start = now_ms();

    if (l->cont_due) {
        if (start >= l->cont_due) {
            unsigned calls = qtrace_sum(c->trace, 0).calls - l->calls;

            reply = vm_hmp(c->vm, "cont", HMP_MS);
            l->result = g_strdup_printf("%s calls=%u", l->want, calls);
        }
        return;
    }
    g_free(vm_hmp(c->vm, "stop", HMP_MS));
    /* The outcome is kept in @want until the VM goes on again. */
    reply = vm_hmp(c->vm, "info status", HMP_MS);
    registers = vm_hmp(c->vm, "info registers -a", HMP_MS);
    l->want = g_strdup_printf("stop-ms=%.0f paused=%d registers=%d",
                              now_ms() - start,
                              reply && strstr(reply, "paused"),
                              registers && strstr(registers, "RIP="));
    l->calls = qtrace_sum(c->trace, 0).calls;
    l->cont_due = now_ms() + l->cont_ms;
}

static void tick_one(Control *c, Later *l)
{
    g_autofree char *reply = NULL;
    double start = now_ms();

    if (!l->armed) {
        return;
    }
    if (!l->due) {
        if (l->after_ms >= 0) {
            l->due = c->mark + l->after_ms;
        } else if (l->after_event ? qtrace_count(c->trace, l->after_event)
                                  : qtrace_sum(c->trace, 0).eagain) {
            l->due = now_ms() + BUSY_DELAY_MS;
        } else if (c->pins->len && !any_pin_held(c)) {
            l->result = g_strdup("pinned=0 same=0 saw=no-EAGAIN");
            return;
        }
    }
    if (!l->due || now_ms() < l->due) {
        return;
    }
    switch (l->kind) {
    case LATER_STATE:
        tick_state(c, l);
        break;
    case LATER_STOP:
        tick_stop(c, l);
        break;
    case LATER_HMP:
        /* Done once the reply is there; what it says, "hmp" can ask for. */
        reply = vm_hmp(c->vm, l->want, HMP_MS);
        l->result = g_strdup_printf("ms=%.0f answered=%d", now_ms() - start,
                                    reply != NULL);
        break;
    case LATER_GMEM:
        reply = gmem_words(c, l->want);
        l->result = g_strdup_printf("ms=%.0f %s", now_ms() - start,
                                    reply ? reply : "silent");
        break;
    case LATER_JUMP:
        reply = gdb_jump(c->vm, l->rax, l->rip);
        l->result = g_strdup_printf("ms=%.0f error=%s", now_ms() - start,
                                    reply ? reply : "none");
        break;
    case LATER_UNPIN:
        g_ptr_array_set_size(c->pins, 0);
        l->result = g_strdup_printf("ms=%.0f", start - c->mark);
        break;
    case LATER_QUIT:
        c->quit_at = now_ms();
        l->result = g_strdup("quit");
        /* QEMU ends instead of answering. */
        g_free(vm_hmp(c->vm, "quit", 1));
        break;
    }
}

char *control_tick(Control *c)
{
    if (c->noise) {
        noise_tick(c->noise);
    }
    for (GList *i = c->later.head; i; i = i->next) {
        Later *l = i->data;

        if (!l->result) {
            tick_one(c, l);
        }
    }
    if (c->event_until) {
        return take_event(c);
    }
    if (c->result_wanted && !g_queue_is_empty(&c->later)) {
        char *answer = take_result(c);

        c->result_wanted = !answer;
        return answer;
    }
    return NULL;
}

bool control_busy(Control *c)
{
    if (c->event_until || c->noise) {
        return true;
    }
    for (GList *i = c->later.head; i; i = i->next) {
        Later *l = i->data;

        if (!l->result) {
            return true;
        }
    }
    return false;
}
