/*
 * guest_memfd in-place conversion: the engine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: one conversion job turns a range of one guest_memfd file
 * private or shared with KVM_SET_MEMORY_ATTRIBUTES2.  The engine knows nothing
 * about RAM blocks, listeners or vCPUs: everything it does to the world goes
 * through GmemConvertOps, so that the same file is linked into QEMU, the unit
 * tests, the fuzzers and the benchmarks.
 *
 * All offsets and sizes are in bytes, offsets are file offsets of the
 * guest_memfd, and both are multiples of the job's page size.
 */

#ifndef SYSTEM_GMEM_CONVERT_H
#define SYSTEM_GMEM_CONVERT_H

/**
 * GmemConvertOps: the effects of the engine
 *
 * @set_attributes: one KVM_SET_MEMORY_ATTRIBUTES2 call on [@offset,
 *   @offset + @size).  Returns 0, or -errno with *@error_offset as the kernel
 *   left it; a call that the kernel did not answer with EAGAIN or ENOMEM
 *   leaves GMEM_NO_OFFSET there.  It zeroes the kernel's structure before each
 *   call and must not retry on its own.
 * @now: monotonic clock in nanoseconds.
 * @pause: sleep for about @ns nanoseconds; may return early.
 * @should_stop: optional; true when the thread is wanted elsewhere (stop,
 *   quit, reset) and must give up its wait.
 * @busy: optional; a page at @offset was found busy, @waited_ns after the
 *   job's first busy answer.  For trace points and events only.
 * @discard: dual-backed blocks only, where each state has a page of its own:
 *   give the pages that [@offset, @offset + @size) no longer uses, the shared
 *   ones if @to_private, back to the host.  Returns 0 or -errno.  The engine
 *   does not call it, gmem-job.c does; the engine takes it as a sign that the
 *   kernel knows no busy pages, and asks for all of a job in one call.
 * @warn: optional; something that the user should read once: an answer of the
 *   kernel that cannot be trusted, or pages that could not be brought back to
 *   a state in which the guest and the listeners agree.  @message is one line
 *   without a newline and is freed by the caller.
 *
 * All are called without the BQL being required; @set_attributes, @busy,
 * @discard and @warn are called with the RAM block's lock held when the job
 * belongs to one.
 */
typedef struct GmemConvertOps {
    int (*set_attributes)(void *opaque, uint64_t offset, uint64_t size,
                          bool to_private, uint64_t *error_offset);
    int64_t (*now)(void *opaque);
    void (*pause)(void *opaque, int64_t ns);
    bool (*should_stop)(void *opaque);
    void (*busy)(void *opaque, uint64_t offset, int64_t waited_ns);
    int (*discard)(void *opaque, uint64_t offset, uint64_t size,
                   bool to_private);
    void (*warn)(void *opaque, const char *message);
} GmemConvertOps;

/* What @set_attributes leaves in *@error_offset when the kernel named none */
#define GMEM_NO_OFFSET UINT64_MAX

/* Pauses between two attempts: the first one, doubling up to the last one */
#define GMEM_PAUSE_MIN_NS (100 * 1000LL)
#define GMEM_PAUSE_MAX_NS (10 * 1000 * 1000LL)

/*
 * The most that one request asks for, in bytes (one page, if that is more).  A
 * request that meets a busy page is lost as a whole: the kernel has scanned all
 * in front of the page, which is to be scanned again, and has zapped the host
 * mappings of everything.  That costs at most this much; a request of this size
 * is long enough for its fixed costs not to matter.
 */
#define GMEM_ASK_MAX (16ULL * 1024 * 1024)

/**
 * GmemRange: [@start, @end) in bytes, never empty inside a set
 */
typedef struct GmemRange {
    uint64_t start;
    uint64_t end;
} GmemRange;

/*
 * A set of bytes: a GArray of GmemRange, sorted, disjoint, neighbours merged.
 */

/**
 * gmem_ranges_new: an empty set.  Free it with g_array_unref().
 */
GArray *gmem_ranges_new(void);

/**
 * gmem_ranges_add: put [@start, @end) into the set; may overlap what is there
 */
void gmem_ranges_add(GArray *set, uint64_t start, uint64_t end);

/**
 * gmem_ranges_remove: take [@start, @end) out of the set
 */
void gmem_ranges_remove(GArray *set, uint64_t start, uint64_t end);

/**
 * gmem_ranges_next: first piece of the set inside [@start, @end)
 *
 * Returns false if there is none; otherwise @out is the piece, clipped to
 * [@start, @end).  O(log n).
 */
bool gmem_ranges_next(const GArray *set, uint64_t start, uint64_t end,
                      GmemRange *out);

/**
 * GmemConvertStats: what one job did
 *
 * @calls: calls of set_attributes, those answered with EINTR included
 * @failed_calls: of these, the ones answered neither with 0 nor with EINTR
 * @pages_asked: pages named in all calls
 * @pages_scanned: pages that the kernel had to look at, as far as its answer
 *   tells: all pages of a call that succeeded, those up to and including
 *   error_offset of a busy answer, all if the offset cannot be trusted
 * @pages_converted: pages in calls that succeeded (a mixed range counts whole)
 * @busy_answers: EAGAIN answers
 * @busy_pages: EAGAIN answers outside of retries, that is, pages that were
 *   found busy when they were asked for first
 * @retries: calls that asked again for what an earlier attempt put aside
 * @distrusted: EAGAIN answers with an error_offset that cannot be right
 * @longest_wait_ns: time from the first busy answer to the latest attempt's end
 */
typedef struct GmemConvertStats {
    uint64_t calls;
    uint64_t failed_calls;
    uint64_t pages_asked;
    uint64_t pages_scanned;
    uint64_t pages_converted;
    uint64_t busy_answers;
    uint64_t busy_pages;
    uint64_t retries;
    uint64_t distrusted;
    int64_t longest_wait_ns;
} GmemConvertStats;

/**
 * GmemConvertJob: one conversion of [@start, @start + @size)
 *
 * @name: RAM block for messages; borrowed, must outlive the job
 * @todo: set of what is not converted yet
 * @fresh: what lies at or behind it was never asked for; what is below and
 *   still in @todo was put aside
 * @cursor: where the next retry begins, so that one page that stays busy
 *   does not starve those behind it
 * @ask: size of the next request of the first pass
 * @ask_max: no request is larger: GMEM_ASK_MAX (dual-backed: @size), less after
 *   ENOMEM
 * @enomem: ENOMEM answers since the last success
 * @cut_short: the latest attempt ended before it had asked for all (ENOMEM,
 *   EINTR); @fresh says where
 * @gave_way: so it did, because should_stop said so
 * @first_busy_ns: ops->now() at the first busy answer, -1 = none yet
 * @pause_ns: next pause, see gmem_convert_pause_ns()
 * @warned: the warning about untrusted offsets was given
 * @err, @error: -errno and message once an attempt has FAILED, else 0 and NULL
 *
 * Callers may read all fields; they may write @warned, and @fresh only upwards
 * and over what they know to be done or to be tried later.
 */
typedef struct GmemConvertJob {
    const GmemConvertOps *ops;
    void *opaque;
    const char *name;
    uint64_t page_size;
    uint64_t start;
    uint64_t size;
    bool to_private;
    GArray *todo;
    uint64_t fresh;
    uint64_t cursor;
    uint64_t ask;
    uint64_t ask_max;
    unsigned enomem;
    bool cut_short;
    bool gave_way;
    int64_t first_busy_ns;
    int64_t pause_ns;
    bool warned;
    GmemConvertStats stats;
    int err;
    char *error;
} GmemConvertJob;

typedef enum GmemConvertResult {
    GMEM_CONVERT_DONE,      /* nothing is left to do in the window */
    GMEM_CONVERT_BUSY,      /* something is left: pause, then try again */
    GMEM_CONVERT_FAILED,    /* see err and error of the job */
} GmemConvertResult;

/**
 * GmemConvertedFn: [@offset, @offset + @size) has been converted
 *
 * Called right after each call that succeeded, in no particular order; each
 * byte of a job is told exactly once.
 */
typedef void GmemConvertedFn(void *opaque, uint64_t offset, uint64_t size);

/**
 * gmem_convert_job_init: begin a job; no call is made
 *
 * @job: memory for the job; contents are overwritten
 * @ops, @opaque, @name: borrowed for the life of the job
 * @page_size: power of two
 * @start, @size: multiples of @page_size, @size > 0, the sum does not wrap
 * @to_private: the target state
 */
void gmem_convert_job_init(GmemConvertJob *job, const GmemConvertOps *ops,
                           void *opaque, const char *name, uint64_t page_size,
                           uint64_t start, uint64_t size, bool to_private);

/**
 * gmem_convert_job_cleanup: free what the job owns; no call is made
 */
void gmem_convert_job_cleanup(GmemConvertJob *job);

/**
 * gmem_convert_attempt: one pass without pauses
 *
 * @window_start, @window_end: the part of the job to work on
 * @converted: told of each range that was converted; may be NULL
 *
 * What was never asked for is converted around its busy pages, however many
 * calls that takes: O(log n) calls per busy page, O(log k) for a run of k.
 * If the window has nothing of that kind, what was put aside is tried again,
 * from the cursor on and around, until the first call fails.  (The pages in
 * front of the one that such a call names are converted at once.  That call
 * can fail only if a page became busy in between.)
 *
 * The caller holds whatever protects @job; jobs of one RAM block are protected
 * by its lock.
 *
 * Returns DONE, BUSY or FAILED.  Progress is kept in all cases.
 */
GmemConvertResult gmem_convert_attempt(GmemConvertJob *job,
                                       uint64_t window_start,
                                       uint64_t window_end,
                                       GmemConvertedFn *converted,
                                       void *cb_opaque);

/**
 * gmem_convert_delayed: note that the job has to wait
 *
 * The first call starts the clock of first_busy_ns.  Attempts do this on their
 * own; it is for callers that hold a job back for reasons of theirs.
 */
void gmem_convert_delayed(GmemConvertJob *job);

/**
 * gmem_convert_pause_ns: the pause to make before the next attempt, in ns
 *
 * GMEM_PAUSE_MIN_NS the first time, then twice the previous one up to
 * GMEM_PAUSE_MAX_NS.  Call it once per pause.
 */
int64_t gmem_convert_pause_ns(GmemConvertJob *job);

#endif /* SYSTEM_GMEM_CONVERT_H */
