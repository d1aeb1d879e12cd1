/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TAP from the payload in, one list of results out; see verdict.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "verdict.h"

void verdict_init(Verdict *v, const char *scenario, bool demo,
                  unsigned *count)
{
    *v = (Verdict) {
        .scenario = scenario, .demo = demo, .count = count,
        .partial = g_string_new(NULL),
    };
}

void verdict_clear(Verdict *v)
{
    g_string_free(v->partial, TRUE);
}

static void print_result(Verdict *v, bool ok, const char *text)
{
    if (v->demo) {
        printf("%s %s\n", ok ? "  ok    " : "  FAILED", text);
    } else {
        printf("%sok %u - %s: %s\n", ok ? "" : "not ", ++*v->count,
               v->scenario, text);
    }
    fflush(stdout);
    v->reported += !ok;
}

void verdict_report(Verdict *v, bool ok, const char *f, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, f);
    text = g_strdup_vprintf(f, ap);
    va_end(ap);
    print_result(v, ok, text);
}

static void take_line(Verdict *v, const char *line)
{
    bool ok = g_str_has_prefix(line, "ok ");
    const char *text = strstr(line, " - ");

    if (g_str_has_prefix(line, "Bail out!")) {
        v->bailed = true;
        if (!v->expect_fail) {
            print_result(v, false, line);
        }
        return;
    }
    if (g_str_has_prefix(line, "1..")) {
        v->planned = (unsigned)atoi(line + 3) == v->steps;
        return;
    }
    if ((!ok && !g_str_has_prefix(line, "not ok ")) || !text) {
        printf("# %s: %s\n", v->scenario, line);
        return;
    }
    v->steps++;
    v->failed += !ok;
    if (!v->expect_fail) {
        print_result(v, ok, text + strlen(" - "));
    }
}

void verdict_feed(Verdict *v, const char *text, size_t n)
{
    char *end;

    g_string_append_len(v->partial, text, n);
    while ((end = strchr(v->partial->str, '\n'))) {
        *end = 0;
        take_line(v, v->partial->str);
        g_string_erase(v->partial, 0, end - v->partial->str + 1);
    }
}
