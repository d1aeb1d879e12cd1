/*
 * guest_memfd conversion: what gmem-state.c, gmem-job.c and gmem-window.c share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: not for other files.  All functions but gmem_state_lock(),
 * gmem_state_valid() and gmem_state_should_stop() are called with the block's
 * lock held.
 */

#ifndef SYSTEM_GMEM_STATE_INTERNAL_H
#define SYSTEM_GMEM_STATE_INTERNAL_H

#include "qemu/queue.h"
#include "qemu/thread.h"
#include "system/gmem-state.h"

struct GmemState {
    char *name;
    uint64_t size;
    uint64_t page_size;
    const GmemConvertOps *ops;
    void *opaque;
    bool dual_backed;
    /*
     * Whoever wants @lock passes through @turn first.  A thread that drops
     * @lock between two windows and takes it again at once would otherwise
     * nearly always win against those that sleep on it.
     */
    QemuMutex turn;
    QemuMutex lock;
    bool launched;
    bool warned;
    unsigned long *kernel_shared;   /* one bit per page */
    unsigned long *populated;       /* subset of kernel_shared */
    uint64_t nr_kernel_shared;
    uint64_t nr_populated;
    QTAILQ_HEAD(, GmemListener) listeners;
    QTAILQ_HEAD(, GmemJob) jobs;    /* pending, the oldest first */
    unsigned nr_jobs;
    int64_t retry_after_ns;         /* no failing retry call before */
    GmemStateStats stats;
};

struct GmemJob {
    GmemState *s;
    GmemConvertJob convert;
    GmemConvertStats counted;   /* part that is in the block's counters */
    /* What it took from the listeners, and is not converted */
    GArray *withdrew;
    GArray *flipped;            /* what this window made shared */
    GArray *asked;              /* dual-backed: what this window converted */
    int64_t timeout_ns;
    int64_t not_before_ns;
    int64_t late_ns;            /* wait after which to call @late */
    GmemJobLateFn *late;
    void *late_opaque;
    bool queued;
    bool finished;
    int result;
    QTAILQ_ENTRY(GmemJob) next;
};

/* Take and drop the block's lock */
void gmem_state_lock(GmemState *s);
void gmem_state_unlock(GmemState *s);

/*
 * First run of bits that are all @set in [@pos, @end) (bytes).  Looks at no
 * bit outside: the cost must not depend on the size of the block.
 */
bool gmem_state_run(GmemState *s, const unsigned long *map, bool set,
                    uint64_t pos, uint64_t end, GmemRange *run);

/* As gmem_state_run(), for pages that are shared but not populated */
bool gmem_state_run_withdrawn(GmemState *s, uint64_t pos, uint64_t end,
                              GmemRange *run);

/* Set or clear the bits of @run and keep @counter right; all must differ */
void gmem_state_set(GmemState *s, unsigned long *map, uint64_t *counter,
                    const GmemRange *run, bool value);

/* Is the range not empty, aligned, and inside the block? */
bool gmem_state_valid(GmemState *s, uint64_t offset, uint64_t size);

/* One line for the user, through ops->warn */
void G_GNUC_PRINTF(2, 3) gmem_state_warn(GmemState *s, const char *fmt, ...);

/* withdrawn -> shared: all listeners or none; 0 or -errno of who refused */
int gmem_state_populate(GmemState *s, const GmemRange *run);

/* shared -> withdrawn */
void gmem_state_withdraw(GmemState *s, const GmemRange *run);

/* Does somebody want this thread? */
bool gmem_state_should_stop(GmemState *s);

/*
 * How much of a job one window may take, in bytes: GMEM_STATE_WINDOW; all of it
 * if the block is dual-backed, as QEMU 10.2.2 does
 */
uint64_t gmem_job_window_size(GmemJob *job);

/*
 * Work on what is left to do in [@start, @end): discard; engine; record;
 * populate.  @retry: it was put aside, and one failing call is enough.  Sets
 * *@failing if a call failed: the attempt is over.
 */
void gmem_job_window(GmemJob *job, uint64_t start, uint64_t end, bool retry,
                     bool *failing);

#endif /* SYSTEM_GMEM_STATE_INTERNAL_H */
