/*
 * RamDiscardManager for in-place guest_memfd RAM blocks
 *
 * Translates between MemoryRegionSection and RamDiscardListener on one side
 * and the offsets of GmemState on the other.  RamBlockAttributes stays the
 * RamDiscardManager that the rest of QEMU sees; for in-place blocks it hands
 * its methods on to these functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_RDM_H
#define SYSTEM_GMEM_RDM_H

#include "system/memory.h"
#include "system/gmem-state.h"

typedef struct GmemRdm GmemRdm;

/**
 * gmem_rdm_new: set up the page states of an in-place RAM block
 * @rb: the block; its guest_memfd exists and is shared as a whole
 *
 * Before gmem_rdm_launch_all() listeners are told nothing; a block made after
 * that (memory hotplug) is launched at once.
 *
 * The caller holds the BQL.
 */
GmemRdm *gmem_rdm_new(RAMBlock *rb);

/* Free @rdm.  No listener may be registered and no conversion may run. */
void gmem_rdm_free(GmemRdm *rdm);

/*
 * The RamDiscardManagerClass methods; see include/system/memory.h.  All take
 * the block's lock.  Callbacks are called with it held: they must neither
 * convert memory nor take the BQL.
 */
bool gmem_rdm_is_populated(GmemRdm *rdm, const MemoryRegionSection *section);
int gmem_rdm_replay(GmemRdm *rdm, MemoryRegionSection *section, bool populated,
                    ReplayRamDiscardState fn, void *opaque);
void gmem_rdm_register_listener(GmemRdm *rdm, RamDiscardListener *rdl,
                                MemoryRegionSection *section);
void gmem_rdm_unregister_listener(GmemRdm *rdm, RamDiscardListener *rdl);

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

/* Trace point: how the job of a section ended, and what it took. */
void gmem_rdm_trace_convert(const MemoryRegionSection *section, bool to_private,
                            int ret, const GmemConvertStats *stats);

/**
 * gmem_rdm_launch_all: tell the listeners of all in-place RAM blocks what is
 * shared
 *
 * To be called once, with the BQL held, before the first vCPU runs.
 *
 * Returns 0, or -errno when a listener refused (reported).
 */
int gmem_rdm_launch_all(void);

/**
 * gmem_rdm_share_all: make all pages of all in-place RAM blocks shared
 *
 * For a reset: the firmware is written through the host mapping again, and the
 * guest starts over with shared memory.  To be called with the BQL held and
 * all vCPUs stopped.
 *
 * Returns 0, or -errno (reported).
 */
int gmem_rdm_share_all(void);

#endif /* SYSTEM_GMEM_RDM_H */
