/*
 * guest_memfd in the KVM accelerator: dual-backed RAM blocks
 *
 * Where KVM tracks private memory per virtual machine, each page is backed
 * twice, and KVM_SET_MEMORY_ATTRIBUTES says by guest address which of the two
 * the guest has.  The page states of a RAM block know nothing of guest
 * addresses; here they are brought there, by conversions and whenever a memory
 * slot shows pages at a new address.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qemu/error-report.h"
#include "system/gmem.h"
#include "system/gmem-places.h"
#include "system/gmem-rdm.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/memory.h"
#include "system/ramblock.h"
#include "trace.h"

/* See gmem-places.h for who may use it. */
static GArray *dual_places;

/* Under the BQL: kvm_gmem_slots_begin() holds all blocks. */
static bool dual_held;

static int dual_ask(hwaddr gpa, uint64_t size, bool to_private)
{
    struct kvm_memory_attributes attrs = {
        .address = gpa,
        .size = size,
        .attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_SET_MEMORY_ATTRIBUTES, &attrs);

    trace_kvm_gmem_set_vm_attributes(gpa, size,
                                     to_private ? "private" : "shared", ret);
    return ret;
}

/* Let KVM have what is on record of a run of pages at @opaque, a GmemPlace. */
static int dual_sync_run(void *opaque, uint64_t offset, uint64_t size,
                         bool is_private)
{
    GmemPlace *place = opaque;

    return dual_ask(place->gpa + (offset - place->offset), size, is_private);
}

static int dual_sync(RAMBlock *rb, GmemPlace *place)
{
    return gmem_rdm_held_runs(rb->attributes->gmem, place->offset, place->size,
                              dual_sync_run, place);
}

/* A request has failed half way; if this fails, too, nothing else tells. */
static void dual_sync_back(RAMBlock *rb, GmemPlace *place)
{
    int ret = dual_sync(rb, place);

    if (ret) {
        error_report("RAM block '%s': KVM has a state of its own for gpa 0x%"
                     HWADDR_PRIx ", size 0x%" PRIx64 ": going back to what "
                     "QEMU knows failed: %s (errno %d); reset the guest",
                     rb->idstr, place->gpa, place->size, strerror(-ret), -ret);
    }
}

/*
 * Pages that no slot has shown yet need no call: they get their states when one
 * does.  Pages that are hidden at the moment have theirs where they were last.
 */
static int dual_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                               bool to_private, uint64_t *error_offset)
{
    RAMBlock *rb = opaque;
    GmemPlace place, done;
    hwaddr gpa;
    int ret;

    *error_offset = GMEM_NO_OFFSET;
    for (gpa = 0; gmem_places_find(dual_places, gpa, rb, offset, size, &place);
         gpa = place.gpa + place.size) {
        ret = dual_ask(place.gpa, place.size, to_private);
        if (ret) {
            /* All or nothing: the first ones back to what is on record. */
            for (gpa = 0; gmem_places_find(dual_places, gpa, rb, offset, size,
                                           &done) && done.gpa < place.gpa;
                 gpa = done.gpa + done.size) {
                dual_sync_back(rb, &done);
            }
            return ret;
        }
    }
    return 0;
}

static int dual_discard(void *opaque, uint64_t offset, uint64_t size,
                        bool to_private)
{
    RAMBlock *rb = opaque;

    if (!to_private) {
        return ram_block_discard_guest_memfd_range(rb, offset, size);
    }
    if (rb->page_size != qemu_real_host_page_size()) {
        /* Shared memory of huge pages was allocated once, and is kept. */
        return 0;
    }
    return ram_block_discard_range(rb, offset, size);
}

const GmemConvertOps *kvm_gmem_dual_ops(void)
{
    static GmemConvertOps ops;

    if (!dual_places) {
        dual_places = gmem_places_new();
        ops = *kvm_gmem_convert_ops();
        ops.set_attributes = dual_set_attributes;
        ops.discard = dual_discard;
        ops.busy = NULL;
    }
    return &ops;
}

void kvm_gmem_dual_forget(RAMBlock *rb)
{
    gmem_rdm_hold_all();
    gmem_places_forget(dual_places, rb);
    gmem_rdm_release_all();
}

void kvm_gmem_slots_begin(KVMMemoryListener *kml)
{
    KVMMemoryUpdate *u;

    if (kvm_gmem_mode() != KVM_GMEM_VM_ATTRIBUTES) {
        return;
    }
    QSIMPLEQ_FOREACH(u, &kml->transaction_add, next) {
        if (memory_region_has_guest_memfd(u->section.mr)) {
            dual_held = true;
        }
    }
    if (dual_held) {
        gmem_rdm_hold_all();
    }
}

int kvm_gmem_slot_added(RAMBlock *rb, uint64_t offset, hwaddr gpa,
                        uint64_t size)
{
    GmemPlace want = {
        .gpa = gpa,
        .size = size,
        .block = rb,
        .offset = offset,
    };
    GmemPlace missing;
    int ret;

    if (kvm_gmem_in_place() || rb->guest_memfd < 0) {
        return 0;
    }
    while (gmem_places_missing(dual_places, &want, &missing)) {
        ret = dual_sync(rb, &missing);
        if (ret) {
            return ret;
        }
        gmem_places_put(dual_places, &missing);
    }
    return 0;
}

void kvm_gmem_slots_end(void)
{
    if (dual_held) {
        gmem_rdm_release_all();
        dual_held = false;
    }
}
