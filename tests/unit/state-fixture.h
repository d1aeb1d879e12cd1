/*
 * Description: what the tests of one RAM block share: the block on the fake
 * kernel, listeners that keep books and may refuse, and the check that all of
 * them say the same.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_STATE_FIXTURE_H
#define TESTS_UNIT_STATE_FIXTURE_H

#include "fake-kernel.h"

#define MAX_LISTENERS 4

typedef struct TestListener {
    GmemListener l;
    char id;
    struct Fixture *f;
    bool registered;
    bool *has;
    int refuse_after;       /* accept that many more calls, then refuse; -1 */
    unsigned populates;
    unsigned discards;
} TestListener;

typedef struct Fixture {
    FakeKernel *k;
    GmemState *s;
    bool dual_backed;
    TestListener ls[MAX_LISTENERS];
} Fixture;

/* A block with a page for each state */
void setup_dual(Fixture *f, uint64_t pages, bool kernel_shared);

/* teardown() checks once more that all agree; pages may be withdrawn */
void setup(Fixture *f, uint64_t pages, bool kernel_shared);
void teardown(Fixture *f);

/* A launched, all shared block with listener A on all of it */
void setup_launched(Fixture *f, uint64_t pages);

/* Listener @n on @pages pages from @page on */
int attach(Fixture *f, int n, uint64_t page, uint64_t pages);
void detach(Fixture *f, int n);

/* Kernel, block state and listeners say the same; @withdrawn: pages, -1 any */
void check(Fixture *f, int64_t withdrawn);

/* An error but for -EAGAIN comes with a message */
int convert(Fixture *f, uint64_t page, uint64_t n, bool to_private,
            int64_t timeout_ms);

/* A job without a deadline; let the clock run until it may be tried again */
GmemJob *new_job(Fixture *f, uint64_t page, uint64_t n, bool to_private);
void sleep_for(Fixture *f, GmemJob *j);

/* Compare, and forget */
void assert_log(Fixture *f, const char *expected);

GmemStateStats stats(Fixture *f);

#endif
