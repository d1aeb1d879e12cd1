/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's trace points; see qtrace.h.
 *
 * Lines are "[ISO-8601-TIME ]EVENT text key value ...".  Values are found by
 * their key word, so that a further field does no harm.
 */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <errno.h>
#include "gmem-file.h"
#include "qtrace.h"
#include "pattern.h"

#define EVENT_CALL  "kvm_gmem_set_attributes "

typedef struct Call {
    double time;            /* seconds since the epoch */
    uint64_t size;
    uint64_t error_offset;
    int ret;
} Call;

struct QTrace {
    char *path;
    long from;              /* file position of the mark */
    double mark;            /* seconds since the epoch */
};

static double now(void)
{
    return g_get_real_time() / 1e6;
}

QTrace *qtrace_new(const char *path)
{
    QTrace *t = g_new0(QTrace, 1);

    t->path = g_strdup(path);
    t->mark = now();
    return t;
}

void qtrace_free(QTrace *t)
{
    if (t) {
        g_free(t->path);
        g_free(t);
    }
}

void qtrace_mark(QTrace *t)
{
    FILE *f = fopen(t->path, "r");

    t->from = 0;
    if (f) {
        if (fseek(f, 0, SEEK_END) == 0) {
            t->from = ftell(f);
        }
        fclose(f);
    }
    t->mark = now();
}

/* The text behind the word @key in @text, or NULL. */
static const char *value_of(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = text; (p = strstr(p, key)); p += n) {
        if ((p == text || p[-1] == ' ') && (p[n] == ' ' || p[n] == '=')) {
            return p + n + 1;
        }
    }
    return NULL;
}

static uint64_t value_u64(const char *text, const char *key)
{
    const char *v = value_of(text, key);

    return v ? strtoull(v, NULL, 0) : 0;
}

/* The time that -msg timestamp=on puts first, in seconds; 0: there is none. */
static double parse_time(const char *line)
{
    g_autofree char *word = g_strndup(line, strcspn(line, " "));
    g_autoptr(GDateTime) t = g_date_time_new_from_iso8601(word, NULL);

    return t ? g_date_time_to_unix(t) + g_date_time_get_microsecond(t) / 1e6
             : 0;
}

static bool parse_call(const char *line, Call *c)
{
    const char *p = strstr(line, EVENT_CALL);
    const char *ret;

    if (!p) {
        return false;
    }
    c->time = parse_time(line);
    p += strlen(EVENT_CALL);
    c->size = value_u64(p, "size");
    c->error_offset = value_u64(p, "error_offset");
    ret = value_of(p, "ret");
    c->ret = ret ? strtol(ret, NULL, 0) : 0;
    return true;
}

/* The text behind the name of the event, if @line is one of @event */
static char *event_text(char *line, const char *event)
{
    char *p = strstr(line, event);

    return p && p[strlen(event)] == ' ' && (p == line || p[-1] == ' ')
           ? p + strlen(event) : NULL;
}

/* A line is complete only with its newline: QEMU may be writing it. */
static GArray *read_calls(QTrace *t)
{
    GArray *calls = g_array_new(FALSE, FALSE, sizeof(Call));
    FILE *f = fopen(t->path, "r");
    char line[1024];

    if (f && fseek(f, t->from, SEEK_SET) == 0) {
        while (fgets(line, sizeof(line), f) && strchr(line, '\n')) {
            Call c;

            if (parse_call(line, &c)) {
                g_array_append_val(calls, c);
            }
        }
    }
    if (f) {
        fclose(f);
    }
    return calls;
}

QTraceSum qtrace_sum(QTrace *t, uint64_t held)
{
    g_autoptr(GArray) calls = read_calls(t);
    g_autoptr(GHashTable) offsets = g_hash_table_new_full(g_int64_hash,
                                                          g_int64_equal,
                                                          g_free, NULL);
    QTraceSum sum = { .first_offset = UINT64_MAX };
    uint64_t done = 0;

    for (guint i = 0; i < calls->len; i++) {
        Call *c = &g_array_index(calls, Call, i);

        sum.calls++;
        if (c->ret == 0) {
            sum.pages += c->size / LAB_PAGE_SIZE;
        } else if (c->ret == -EAGAIN || c->ret == EAGAIN) {
            if (!sum.eagain++) {
                sum.first_offset = c->error_offset;
            }
            g_hash_table_add(offsets, g_memdup2(&c->error_offset, 8));
        } else {
            sum.failed++;
        }
        sum.ms = c->time ? (c->time - t->mark) * 1000 : 0;
    }
    sum.offsets = g_hash_table_size(offsets);
    for (guint i = 0; i < calls->len; i++) {
        Call *c = &g_array_index(calls, Call, i);

        done += c->ret == 0 ? c->size / LAB_PAGE_SIZE : 0;
        if (done && done + held >= sum.pages) {
            sum.rest_ms = c->time ? (c->time - t->mark) * 1000 : 0;
            break;
        }
    }
    return sum;
}

static char event_letter(char *line)
{
    Call c;

    if (event_text(line, "gmem_rdm_discard")) {
        return 'D';
    }
    if (event_text(line, "gmem_rdm_populate")) {
        return 'M';
    }
    if (!parse_call(line, &c)) {
        return 0;
    }
    if (c.ret) {
        return c.ret == -EAGAIN ? 'B' : 'X';
    }
    return strstr(line, " private ret ") ? 'P' : 'S';
}

char *qtrace_events(QTrace *t)
{
    FILE *f = fopen(t->path, "r");
    g_autoptr(GString) all = g_string_new(NULL);
    char line[1024];

    if (f && fseek(f, t->from, SEEK_SET) == 0) {
        while (fgets(line, sizeof(line), f) && strchr(line, '\n')) {
            char letter = event_letter(line);

            if (letter) {
                g_string_append_c(all, letter);
            }
        }
    }
    if (f) {
        fclose(f);
    }
    return gmem_runs(all->str, all->len);
}

char *qtrace_line(QTrace *t, const char *event)
{
    FILE *f = fopen(t->path, "r");
    char line[1024];
    char *found = NULL;

    while (f && !found && fgets(line, sizeof(line), f)) {
        char *text = event_text(line, event);

        if (text) {
            found = g_strdup(g_strstrip(text));
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* How many lines of @event there are since the mark; *@bytes: their sizes. */
static unsigned count_event(QTrace *t, const char *event, uint64_t *bytes)
{
    FILE *f = fopen(t->path, "r");
    char line[1024];
    unsigned n = 0;

    *bytes = 0;
    if (f && fseek(f, t->from, SEEK_SET) == 0) {
        while (fgets(line, sizeof(line), f) && strchr(line, '\n')) {
            const char *text = event_text(line, event);

            if (text) {
                n++;
                *bytes += value_u64(text, "size");
            }
        }
    }
    if (f) {
        fclose(f);
    }
    return n;
}

unsigned qtrace_count(QTrace *t, const char *event)
{
    uint64_t bytes;

    return count_event(t, event, &bytes);
}

uint64_t qtrace_bytes(QTrace *t, const char *event)
{
    uint64_t bytes;

    count_event(t, event, &bytes);
    return bytes;
}
