/*
 * guest_memfd conversion: the pages of one RAM block
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: who sees which page of one RAM block.  Each page is
 *
 *   private    private in the kernel;
 *   withdrawn  shared in the kernel, but the listeners do not have it;
 *   shared     shared in the kernel, and the listeners have it ("populated").
 *
 * To private: shared -> withdrawn (listeners discard) -> ioctl -> private.
 * To shared:  private -> ioctl -> withdrawn -> listeners populate -> shared.
 *
 * An in-place block has one page for both states, and the ioctl is that of its
 * guest_memfd.  A dual-backed block has a page for each, the ioctl is that of
 * the VM, and what the old state used is given back to the host: to private
 * after the ioctl, to shared after the listeners took the new pages, so that
 * the step back when one refuses finds the private data still there.  As in
 * QEMU 10.2.2 the kernel is asked for all of a request in one call, also where
 * nothing changes.  That is all in which the two differ.
 *
 * Nobody else changes the state of a block.  All offsets and sizes are in
 * bytes, offsets are offsets into the block (and its guest_memfd), and both
 * are multiples of the block's page size.
 *
 * Locks.  Each GmemState has a lock of its own, held for one attempt over at
 * most GMEM_STATE_WINDOW bytes (dual-backed: one request) and never across a
 * pause.  Order:
 *
 *   BQL -> ramlist -> this lock -> locks of the kernel (KVM, mm)
 *
 * All functions take the lock themselves, but for gmem_state_mappable(), which
 * needs none, and gmem_state_held_runs().  The caller must not hold it, which
 * means: callbacks (listeners, replay, GmemConvertOps) run with it held, so
 * they must not take the BQL, must not convert memory and must not call any
 * other function of this header for the same block.
 */

#ifndef SYSTEM_GMEM_STATE_H
#define SYSTEM_GMEM_STATE_H

#include "qemu/queue.h"
#include "system/gmem-convert.h"

/* What one attempt works on at most while it holds the lock */
#define GMEM_STATE_WINDOW (64ULL * 1024 * 1024)

typedef struct GmemState GmemState;
typedef struct GmemJob GmemJob;
typedef struct GmemListener GmemListener;

/**
 * GmemListener: somebody who wants to have exactly the shared pages
 *
 * @offset, @size: the part of the block it listens to
 * @populate: [@offset, @offset + @size) is shared now.  Returns 0, or -errno
 *   to refuse, after undoing what it did of this very call.
 * @discard: [@offset, @offset + @size) is about to become private, or never
 *   was accepted by all: let go of it before returning.  Cannot fail.
 * @double_discard_supported: may be told to discard what it does not have; one
 *   call for all of it at the end instead of one per range
 *
 * Ranges are clipped to the listener's part and never empty.  The callbacks
 * run with the block's lock held, in registration order, from any thread.
 */
struct GmemListener {
    uint64_t offset;
    uint64_t size;
    int (*populate)(GmemListener *listener, uint64_t offset, uint64_t size);
    void (*discard)(GmemListener *listener, uint64_t offset, uint64_t size);
    bool double_discard_supported;
    QTAILQ_ENTRY(GmemListener) next;
};

/**
 * GmemStateStats: since the block was made
 *
 * @conversions: requests carried out in full; those that found nothing to do
 *   are not counted
 * @busy_pages, @retries, @calls: see GmemConvertStats
 * @given_up: requests that were freed before they were done: busy until the
 *   deadline, or nobody wants the answer any more
 * @failures: requests that ended with an error, and steps back that failed
 * @longest_wait_ns: longest time one request waited for busy pages
 */
typedef struct GmemStateStats {
    uint64_t conversions;
    uint64_t busy_pages;
    uint64_t retries;
    uint64_t calls;
    uint64_t given_up;
    uint64_t failures;
    int64_t longest_wait_ns;
} GmemStateStats;

/**
 * gmem_state_new: the pages of a new RAM block
 *
 * @name: RAM block for messages; copied
 * @size: of the block, a multiple of @page_size, not 0
 * @page_size: granularity of conversions, a power of two
 * @kernel_shared: the file starts shared (INIT_SHARED), else private
 * @ops, @opaque: see GmemConvertOps; borrowed for the life of the state.  A
 *   block whose @ops has a discard is dual-backed.
 *
 * No page is populated until gmem_state_launch().
 */
GmemState *gmem_state_new(const char *name, uint64_t size, size_t page_size,
                          bool kernel_shared, const GmemConvertOps *ops,
                          void *opaque);

/**
 * gmem_state_free: there must be neither jobs nor listeners left
 */
void gmem_state_free(GmemState *s);

/**
 * gmem_state_launch: from now on the listeners learn what is shared
 *
 * Until then every page is withdrawn or private, and conversions notify
 * nobody.  All pages that are shared in the kernel become populated.
 *
 * Returns 0 (also if already launched), or -errno of the listener that
 * refused; then nothing has been launched and nobody has anything.
 */
int gmem_state_launch(GmemState *s);

/**
 * gmem_state_unlaunch: the listeners let go of all pages, as before launch
 *
 * What was shared becomes withdrawn.
 *
 * Returns false, with nothing changed, if there are pending jobs.
 */
bool gmem_state_unlaunch(GmemState *s);

/**
 * gmem_state_register_listener: tell @listener what is shared, now and later
 *
 * Returns 0; -EINVAL if the listener's part is empty, not aligned or not
 * inside the block; or the -errno with which it refused during the replay.
 * Then it has been told to discard what it had accepted, and is not
 * registered.
 */
int gmem_state_register_listener(GmemState *s, GmemListener *listener);

/**
 * gmem_state_unregister_listener: it is told to discard all it has
 */
void gmem_state_unregister_listener(GmemState *s, GmemListener *listener);

/**
 * gmem_state_is_populated: is every page of the range shared?
 *
 * Private and withdrawn pages are not.  False for a range that is not inside
 * the block.  The answer may be old as soon as it is given, unless the caller
 * is a listener that is told of changes.
 */
bool gmem_state_is_populated(GmemState *s, uint64_t offset, uint64_t size);

/**
 * gmem_state_mappable: how much of a range may be handed out as plain memory
 *
 * @offset, @size: any bytes; what lies outside of the block is not mappable
 *
 * Returns how many bytes from @offset on lie in pages that are shared; before
 * gmem_state_launch(), in pages that are not private.  A page that is being
 * made private (withdrawn) no longer counts, so that nobody new gets hold of
 * it.
 *
 * Takes no lock: it is on the way of each request to a device, and a lock would
 * not help.  The answer may be old as soon as it is given, as that of
 * gmem_state_is_populated().
 */
uint64_t gmem_state_mappable(GmemState *s, uint64_t offset, uint64_t size);

/**
 * gmem_state_replay: call @fn for each run of pages in a range
 *
 * @populated: true for the runs that are shared, false for those that are not
 * @fn: called in ascending order with the lock held
 *
 * Returns 0, the first non-zero answer of @fn, which ends the walk, or -EINVAL
 * for a range that is not aligned or not inside the block.
 */
int gmem_state_replay(GmemState *s, uint64_t offset, uint64_t size,
                      bool populated,
                      int (*fn)(void *opaque, uint64_t offset, uint64_t size),
                      void *opaque);

/**
 * gmem_state_hold: nothing changes in this block until gmem_state_release()
 *
 * For those who show the pages at a new place, and must give them the right
 * state there.  Conversions, listeners and everybody who asks for a state wait
 * meanwhile.  Only a thread that has the BQL may hold more than one block.
 */
void gmem_state_hold(GmemState *s);
void gmem_state_release(GmemState *s);

/**
 * gmem_state_held_runs: call @fn for each run of pages of one state
 *
 * The caller holds the block with gmem_state_hold(), or is a callback of it.
 * @is_private is what the kernel shall say; runs come in ascending order and
 * leave nothing out.
 *
 * Returns 0, the first non-zero answer of @fn, which ends the walk, or -EINVAL
 * for a range that is not aligned or not inside the block.
 */
int gmem_state_held_runs(GmemState *s, uint64_t offset, uint64_t size,
                         int (*fn)(void *opaque, uint64_t offset,
                                   uint64_t size, bool is_private),
                         void *opaque);

/**
 * gmem_state_counts: bytes in each state; does not scan
 */
void gmem_state_counts(GmemState *s, uint64_t *shared_bytes,
                       uint64_t *private_bytes, uint64_t *withdrawn_bytes);

/**
 * gmem_state_stats: counters since the block was made
 */
void gmem_state_stats(GmemState *s, GmemStateStats *stats);

/**
 * GmemJobLateFn: a job still waits, see gmem_job_on_late()
 *
 * @what: the first pages that it waits for
 * @waited_ns: since the first time it had to
 */
typedef void GmemJobLateFn(void *opaque, const GmemRange *what,
                           int64_t waited_ns);

/**
 * gmem_job_new: a request to convert a range; changes nothing yet
 *
 * @timeout_ns: how long it may wait, counted from the first time it has to;
 *   0 = for ever
 *
 * Never NULL.  For a range that is empty, not aligned or not inside the block
 * the first attempt fails with -EINVAL.
 *
 * A job is used by one thread at a time.  From its first attempt to its end it
 * stands in the block's queue of pending jobs: what it has still to do looks
 * busy to later jobs, in both directions.
 */
GmemJob *gmem_job_new(GmemState *s, uint64_t offset, uint64_t size,
                      bool to_private, int64_t timeout_ns);

/**
 * gmem_job_attempt: work on the job without pausing
 *
 * The first attempt goes over the whole range, in windows with the lock free
 * in between (it ends early if ops->should_stop says so); later ones make at
 * most one failing call.  However many jobs a block has, it sees at most one
 * failing retry call per pause: an attempt that comes too early makes no call
 * at all.
 *
 * Returns
 *   0            done;
 *   -EAGAIN      not yet: call again after gmem_job_pause_ns();
 *   -ETIMEDOUT   as -EAGAIN, and the job's time is over; it may be tried
 *                again, or freed;
 *   other        -errno, failed for good, see gmem_job_error().
 *
 * After 0 and after a failure the job is out of the queue, and another call
 * gives the same answer again.  Pages that were converted stay so, with one
 * exception: if a listener refuses to populate pages that this very attempt
 * made shared, these, and what had not been offered yet, become private again
 * (the listeners in front discard them first).  If that fails too they stay
 * withdrawn, and the message says so.
 */
int gmem_job_attempt(GmemJob *job);

/**
 * gmem_job_pause_ns: how long to wait before the next attempt, from now on
 *
 * 100 us, doubling up to 10 ms; times the number of pending jobs, which take
 * turns; 1 ms for a job that only waits for another one; not beyond the job's
 * deadline.  0 after an attempt that gave way to should_stop.
 */
int64_t gmem_job_pause_ns(GmemJob *job);

/**
 * gmem_job_run: attempts and pauses until the job is done or has to give way
 *
 * ops->should_stop ends the wait; the job stays pending then, and another call
 * goes on with it.  The first attempt is made in any case, so that a thread
 * that is kicked all the time still gets on.  A job that waits makes at most
 * one call and one slice of a pause (1 ms) after should_stop turned true; one
 * that goes over its range for the first time ends where it has got on: behind
 * what it has converted, or behind the busy page that was just named.
 *
 * Returns 0, -ETIMEDOUT or another -errno as gmem_job_attempt() does, or
 * -EINTR if should_stop ended the wait.
 */
int gmem_job_run(GmemJob *job);

/**
 * gmem_job_on_late: have gmem_job_run() say that the job waits
 *
 * @after_ns: how long it has to wait for that; the next time is when it has
 *   waited twice as long as the time before
 * @fn: called by the thread that runs the job, without the block's lock, after
 *   an attempt that did not end it
 *
 * Nothing is called, or looked at, for a job that does not wait.
 */
void gmem_job_on_late(GmemJob *job, int64_t after_ns, GmemJobLateFn *fn,
                      void *opaque);

/**
 * gmem_job_waits_for: what a job that is not done waits for
 *
 * @what: the first pages that it waits for, with those side by side with them
 * @waited_ns: since the first time it had to; optional
 *
 * Returns false if it is done or has failed, or has not had to wait.  To be
 * called by the thread that runs the job.
 */
bool gmem_job_waits_for(GmemJob *job, GmemRange *what, int64_t *waited_ns);

/**
 * gmem_job_error: message of a job that has failed, else NULL
 *
 * Belongs to the job.
 */
const char *gmem_job_error(GmemJob *job);

/**
 * gmem_job_stats: what the job did so far; belongs to the job
 */
const GmemConvertStats *gmem_job_stats(GmemJob *job);

/**
 * gmem_job_free: drop what is left to do and leave the queue
 *
 * Progress is kept.  Pages that the job withdrew and that were not converted
 * go back to shared, with the listeners told; if one refuses they stay
 * withdrawn, and ops->warn says so.
 */
void gmem_job_free(GmemJob *job);

/**
 * gmem_state_convert: convert a range and wait for busy pages
 *
 * @timeout_ns: as for gmem_job_new()
 * @stats: optional, what it took
 * @errp: optional, a message for the caller to g_free(); NULL without one
 *
 * A job, gmem_job_run() and gmem_job_free() in one, for callers that have no
 * use for a job that stays pending.
 *
 * Returns 0; -EAGAIN without a message if pages were busy until the deadline
 * or until should_stop; or another -errno with a message.  In all cases
 * nothing is pending afterwards: see gmem_job_free().
 */
int gmem_state_convert(GmemState *s, uint64_t offset, uint64_t size,
                       bool to_private, int64_t timeout_ns,
                       GmemConvertStats *stats, char **errp);

#endif /* SYSTEM_GMEM_STATE_H */
