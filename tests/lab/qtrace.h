/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's trace points, read from its log file. */
#ifndef LAB_QTRACE_H
#define LAB_QTRACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct QTrace QTrace;

/* What happened since the mark. */
typedef struct QTraceSum {
    unsigned calls;         /* KVM_SET_MEMORY_ATTRIBUTES2 calls */
    unsigned eagain;        /* of them answered EAGAIN */
    unsigned failed;        /* of them answered anything else but 0 */
    uint64_t pages;         /* pages that calls with answer 0 covered */
    uint64_t first_offset;  /* the first error offset, or UINT64_MAX */
    unsigned offsets;       /* different error offsets */
    double ms;              /* mark to last call */
    double rest_ms;         /* mark to when all but @held pages were done */
} QTraceSum;

QTrace *qtrace_new(const char *path);
void qtrace_free(QTrace *t);

/* qtrace_mark: forget what was logged so far; start the clock. */
void qtrace_mark(QTrace *t);

/*
 * qtrace_sum: read what QEMU has logged meanwhile and sum it up; @held pages
 * are known to be held by somebody (for rest_ms).
 */
QTraceSum qtrace_sum(QTrace *t, uint64_t held);

/* qtrace_count: how many lines of @event there are since the mark. */
unsigned qtrace_count(QTrace *t, const char *event);

/*
 * qtrace_events: what happened since the mark, in order: a letter and how many
 * in a row ("D1P1"); see control.h.  Free with g_free.
 */
char *qtrace_events(QTrace *t);

/*
 * qtrace_bytes: the sizes of all ranges that @event was traced for since the
 * mark, added up.
 */
uint64_t qtrace_bytes(QTrace *t, const char *event);

/*
 * qtrace_line: the text behind the name of the first event @event in the
 * whole file ("mode in-place: ..."), or NULL; free with g_free.
 */
char *qtrace_line(QTrace *t, const char *event);

#endif
