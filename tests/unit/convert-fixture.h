/*
 * Description: what the tests of the engine share: one job on the fake kernel,
 * which pages it reported converted, and what it has still to do.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_CONVERT_FIXTURE_H
#define TESTS_UNIT_CONVERT_FIXTURE_H

#include "fake-kernel.h"

typedef struct Fixture {
    FakeKernel *k;
    GmemConvertJob job;
    unsigned *told;         /* how often each page was reported converted */
} Fixture;

/* A job for @n of @pages pages, from @start on; or for all, to private */
void setup_at(Fixture *f, uint64_t pages, uint64_t start, uint64_t n,
              bool to_private);
void setup(Fixture *f, uint64_t pages);
void teardown(Fixture *f);

/* For gmem_convert_attempt(): each page once, and not before it is true */
void told(void *opaque, uint64_t offset, uint64_t size);

/* One attempt at all that is left */
GmemConvertResult attempt(Fixture *f);

/* The wait loop in its plainest form; at most one failing call per pause */
GmemConvertResult run(Fixture *f, int max_attempts);

/* Whether each of @n pages from @page on was reported */
void assert_told(Fixture *f, uint64_t page, uint64_t n, bool value);

/* What is left as text, in pages: "3+1 8+2 " */
void assert_todo(Fixture *f, const char *expected);

#endif
