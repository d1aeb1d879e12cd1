/*
 * Description: a model of one guest_memfd file and of everybody around it: the
 * attribute of each page, who holds which page until when, whether the host
 * has it mapped; a clock that only pauses move; answers by script; a log.
 * And of the other kind of block, with a page for each state: there the
 * attribute is the VM's, nobody can be in its way, and the pages of the other
 * state are there until they are given back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_FAKE_KERNEL_H
#define TESTS_UNIT_FAKE_KERNEL_H

#include "system/gmem-state.h"

#define PAGE UINT64_C(4096)
#define FOREVER INT64_MAX
#define MS INT64_C(1000000)

/* What the kernel says instead of the offset of the busy page */
typedef enum FakeLie {
    LIE_NONE,
    LIE_UNSET,
    LIE_BELOW,
    LIE_BEHIND,
    LIE_UNALIGNED,
    LIE_MAX,
} FakeLie;

typedef struct FakeCall {
    uint64_t offset;
    uint64_t size;
    bool to_private;
    int ret;
    uint64_t answer;        /* the error offset */
    int64_t when;
} FakeCall;

typedef struct FakeKernel {
    uint64_t pages;
    bool *priv;             /* attribute */
    int64_t *held;          /* somebody has a reference until then */
    bool *mapped;           /* the host has it in its page tables */
    bool dual_backed;       /* pages in use are no hindrance */
    bool *spare;            /* dual-backed: the other state has a page, too */
    int discard_err;        /* what giving it back answers */
    int64_t clock;
    int64_t stop_at;        /* should_stop from that time on */
    int stop_after;         /* should_stop after so many more questions */
    int stop_asked;
    FakeLie lie;
    GQueue script;          /* GINT_TO_POINTER(errno), 0 = behave */
    uint64_t enomem_above;  /* larger calls get ENOMEM */
    bool threads;           /* real clock, real pauses, no log */
    GArray *calls;          /* FakeCall */
    GString *log;
    GPtrArray *warnings;
    unsigned busy_events;
    uint64_t busy_offset;
    int64_t busy_waited;
    int64_t slept;
    int64_t longest_slice;
    /* Before anything else a call does */
    void (*hook)(struct FakeKernel *k, uint64_t offset, uint64_t size,
                 bool to_private);
    void *hook_opaque;
} FakeKernel;

extern const GmemConvertOps fake_ops;
extern const GmemConvertOps fake_dual_ops;

FakeKernel *fake_new(uint64_t pages, bool all_private);
void fake_free(FakeKernel *k);

/* Hold @n pages from @page on until @until */
void fake_hold(FakeKernel *k, uint64_t page, uint64_t n, int64_t until);

/* The next call that has no earlier answer scripted gets -@err */
void fake_script(FakeKernel *k, int err);

/* Calls that were not answered with 0 */
unsigned fake_failed_calls(FakeKernel *k);

/* Forget calls and log */
void fake_reset_log(FakeKernel *k);

FakeCall *fake_call(FakeKernel *k, guint i);

uint64_t fake_count_private(FakeKernel *k);

#endif
