/*
 * RamDiscardManager for guest_memfd RAM blocks
 *
 * Translates between MemoryRegionSection and RamDiscardListener on one side
 * and the offsets of GmemState on the other.  RamBlockAttributes stays the
 * RamDiscardManager that the rest of QEMU sees, and hands its methods on to
 * these functions, for in-place and dual-backed blocks alike.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_RDM_H
#define SYSTEM_GMEM_RDM_H

#include "system/memory.h"
#include "system/gmem-state.h"

typedef struct GmemRdm GmemRdm;

/**
 * gmem_rdm_new: set up the page states of a RAM block
 * @rb: the block; its guest_memfd exists
 *
 * An in-place block starts shared, a dual-backed one in the state that the
 * confidential guest's type wants.  Where memory starts shared, listeners are
 * told nothing before gmem_rdm_launch_all(), but for blocks made after it
 * (memory hotplug), which are launched at once; where it starts private, they
 * are told of every conversion.  For in-place memory that is plugged in see
 * gmem_rdm_before_plug().
 *
 * The caller holds the BQL.
 */
GmemRdm *gmem_rdm_new(RAMBlock *rb);

/*
 * Free @rdm.  No listener may be registered and no conversion may run.  The
 * caller holds the BQL.
 */
void gmem_rdm_free(GmemRdm *rdm);

/*
 * The RamDiscardManagerClass methods; see include/system/memory.h.  All take
 * the block's lock.  Callbacks are called with it held: they must neither
 * convert memory nor take the BQL.
 */
bool gmem_rdm_is_populated(GmemRdm *rdm, const MemoryRegionSection *section);
int gmem_rdm_replay(GmemRdm *rdm, MemoryRegionSection *section, bool populated,
                    ReplayRamDiscardState fn, void *opaque);
bool gmem_rdm_register_listener(GmemRdm *rdm, RamDiscardListener *rdl,
                                MemoryRegionSection *section, Error **errp);
void gmem_rdm_unregister_listener(GmemRdm *rdm, RamDiscardListener *rdl);

/**
 * gmem_rdm_mappable: how much of a range may be mapped for a device
 * @rdm: the block's states
 * @offset: into the block, in bytes
 * @size: bytes; neither need be aligned
 *
 * Takes no lock.  See gmem_state_mappable().
 */
uint64_t gmem_rdm_mappable(GmemRdm *rdm, uint64_t offset, uint64_t size);

/**
 * gmem_rdm_convert: begin to make a section private or shared
 * @rdm: the block's states
 * @section: the part of the block, page aligned
 * @to_private: the wanted state
 * @timeout_ns: how long the job may wait for busy pages; 0 is for ever
 *
 * Returns a job for gmem_job_run() and gmem_job_free(), never NULL.
 */
GmemJob *gmem_rdm_convert(GmemRdm *rdm, const MemoryRegionSection *section,
                          bool to_private, int64_t timeout_ns);

/* What is to be told of pages that a request has to wait for */
typedef enum GmemBusyAction {
    GMEM_BUSY_WAITING,      /* the request goes on waiting */
    GMEM_BUSY_GUEST_RETRY,  /* it ended, the guest may ask again */
    GMEM_BUSY_CONVERTED,    /* it was carried out */
    GMEM_BUSY_DROPPED,      /* nobody wants the answer any more */
    GMEM_BUSY_FAILED,       /* it ended with an error */
} GmemBusyAction;

/**
 * GmemBusyObserver: told of requests that wait, for events
 *
 * @busy: [@offset, @offset + @size) of the region of @section is waited for,
 *   for @waited_ns so far; @action is GMEM_BUSY_WAITING or _GUEST_RETRY
 * @end: all that @busy told of inside of @section is settled, with any other
 *   @action; NULL is all there is
 *
 * Called from any thread, without the block's lock.  @end is called at the end
 * of each request, so it must cost nothing if there was no @busy.
 */
typedef struct GmemBusyObserver {
    void (*busy)(const MemoryRegionSection *section, uint64_t offset,
                 uint64_t size, int64_t waited_ns, GmemBusyAction action);
    void (*end)(const MemoryRegionSection *section, GmemBusyAction action);
} GmemBusyObserver;

/* Set the one observer; before the first vCPU runs. */
void gmem_rdm_set_observer(const GmemBusyObserver *observer);

/* Have events made of what the observer hears; once, before any vCPU runs. */
void guest_memfd_qmp_init(void);

/**
 * gmem_rdm_job_begin: have the observer told if the job has to wait
 * @section: what the job converts; must outlive it
 *
 * gmem_rdm_job_end() or gmem_rdm_job_drop() is to follow.
 */
void gmem_rdm_job_begin(const MemoryRegionSection *section, GmemJob *job);

/**
 * gmem_rdm_job_end: trace how the job of a section ended, tell the observer
 * @ret: what gmem_job_run() returned; not -EINTR
 *
 * To be called before the job is freed.
 */
void gmem_rdm_job_end(const MemoryRegionSection *section, bool to_private,
                      int ret, GmemJob *job);

/* gmem_rdm_job_drop: the same for a job that nobody will run any more */
void gmem_rdm_job_drop(const MemoryRegionSection *section);

/**
 * gmem_rdm_query: what a block is like now, and what happened to it
 *
 * @shared, @private, @withdrawn: bytes in each state, see gmem-state.h
 * @stats: counters since the block was made
 *
 * The four are of one moment, if no conversion is under way.
 */
void gmem_rdm_query(GmemRdm *rdm, uint64_t *shared, uint64_t *private,
                    uint64_t *withdrawn, GmemStateStats *stats);

/**
 * gmem_rdm_report: tell the user why a job has failed
 * @section: what the job is about
 * @job: it has a message
 * @err: -errno with which it ended
 *
 * A shortage (-ENOSPC, -ENOMEM) is told once a second at most for each block:
 * the guest goes on, and may ask again as often as it likes.
 */
void gmem_rdm_report(const MemoryRegionSection *section, GmemJob *job, int err);

/**
 * gmem_rdm_launch_all: tell the listeners of all RAM blocks what is shared
 *
 * To be called with the BQL held and no vCPU running: before the first one
 * does, and after gmem_rdm_withdraw_all().  Does nothing for a block that is
 * launched already.
 *
 * Returns true, or false with @errp set when a listener refused.
 */
bool gmem_rdm_launch_all(Error **errp);

/**
 * gmem_rdm_make_private: make a part of a RAM block private for the launch
 * @rdm: a block that is not launched
 * @offset, @size: bytes, page aligned
 * @errp: where to store the error
 *
 * Waits for busy pages for some seconds.  The caller holds the BQL.
 *
 * Returns true; or false with @errp set, and what was converted stays so.
 */
bool gmem_rdm_make_private(GmemRdm *rdm, uint64_t offset, uint64_t size,
                           Error **errp);

/**
 * gmem_rdm_make_all_private: the same for all that is shared of all RAM blocks
 * @errp: where to store the error
 *
 * Also what no guest address shows at the moment, and blocks that are not in
 * the memory map yet: the state belongs to the page.
 *
 * The caller holds the BQL, and is not in an RCU critical section: this waits
 * for busy pages as gmem_rdm_make_private() does.
 *
 * Returns true; or false with @errp set, and what was converted stays so.
 */
bool gmem_rdm_make_all_private(Error **errp);

/**
 * gmem_rdm_withdraw_all: take all memory from the listeners, as before launch
 *
 * For a reset of a guest whose memory starts private.  To be called with the
 * BQL held, all vCPUs stopped and no request pending.
 */
void gmem_rdm_withdraw_all(void);

/**
 * gmem_rdm_before_plug: give memory that is about to be plugged its first state
 * @rdm: a launched block that is not in the memory map
 * @offset, @size: the part that the guest is going to see, page aligned
 * @to_private: the wanted state
 * @errp: where to store the error
 *
 * A block may have been plugged before, and be in any state.  Listeners are
 * told nothing of it until gmem_rdm_after_plug().  Waits for busy pages for a
 * second.
 *
 * The caller holds the BQL.
 *
 * Returns true; or false with @errp set, and the block is launched as before.
 * What has been converted then stays so.
 */
bool gmem_rdm_before_plug(GmemRdm *rdm, uint64_t offset, uint64_t size,
                          bool to_private, Error **errp);

/**
 * gmem_rdm_after_plug: tell the listeners what is shared of plugged memory
 * @rdm: a block that is in the memory map now, after gmem_rdm_before_plug()
 * @errp: where to store the error
 *
 * The caller holds the BQL.
 *
 * Returns true; or false with @errp set if a listener refused: nobody has
 * anything then, and the memory is to be unplugged again.
 */
bool gmem_rdm_after_plug(GmemRdm *rdm, Error **errp);

/**
 * gmem_rdm_share_all: make all pages of all guest_memfd RAM blocks shared
 *
 * For a reset: the firmware is written through the host mapping again, and the
 * guest starts over with shared memory.  To be called with the BQL held and
 * all vCPUs stopped.
 *
 * Returns 0, or -errno (reported).
 */
int gmem_rdm_share_all(void);

/**
 * gmem_rdm_hold_all: nothing changes in any guest_memfd RAM block until
 * gmem_rdm_release_all(); see gmem_state_hold()
 *
 * The caller holds the BQL from the one to the other.
 */
void gmem_rdm_hold_all(void);
void gmem_rdm_release_all(void);

/* See gmem_state_held_runs(). */
int gmem_rdm_held_runs(GmemRdm *rdm, uint64_t offset, uint64_t size,
                       int (*fn)(void *opaque, uint64_t offset, uint64_t size,
                                 bool is_private), void *opaque);

#endif /* SYSTEM_GMEM_RDM_H */
