/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TAP from the payload in, one list of results out. */
#ifndef LAB_VERDICT_H
#define LAB_VERDICT_H

#include <glib.h>
#include <stdbool.h>

typedef struct Verdict {
    const char *scenario;
    bool demo;              /* print for people, not TAP */
    unsigned *count;        /* TAP number, counted over all scenarios */
    unsigned steps;         /* "ok" and "not ok" lines of the payload */
    unsigned failed;        /* of them "not ok" */
    bool bailed;            /* "Bail out!" */
    bool planned;           /* the plan came: the payload got to its end */
    bool expect_fail;       /* "not ok" is what should happen */
    unsigned reported;      /* failures that were printed as such */
    GString *partial;       /* a line that is not complete yet */
} Verdict;

void verdict_init(Verdict *v, const char *scenario, bool demo,
                  unsigned *count);
void verdict_clear(Verdict *v);

/* verdict_feed: take @n bytes of the payload's TAP and print what they say. */
void verdict_feed(Verdict *v, const char *text, size_t n);

/* verdict_report: print one result of gmem-lab's own. */
void verdict_report(Verdict *v, bool ok, const char *f, ...)
    G_GNUC_PRINTF(3, 4);

#endif
