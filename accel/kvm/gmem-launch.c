/*
 * guest_memfd in the KVM accelerator: launch, reset, and memory that is plugged
 * in later
 *
 * For memory that starts shared, as all in-place memory does.  Nobody but QEMU
 * knows it then: firmware and ROMs are written through the host mapping.  Once
 * they are there, the type of the confidential guest converts what is private
 * when the guest starts, and only then devices are told what is shared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/boards.h"
#include "hw/resettable.h"
#include "system/confidential-guest-support.h"
#include "system/cpus.h"
#include "system/gmem.h"
#include "system/gmem-rdm.h"
#include "system/kvm.h"
#include "system/ramblock.h"
#include "system/reset.h"
#include "system/runstate.h"

#define TYPE_GMEM_RESET "gmem-reset"
OBJECT_DECLARE_SIMPLE_TYPE(GmemReset, GMEM_RESET)

struct GmemReset {
    Object parent;
    ResettableState reset_state;
};

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(GmemReset, gmem_reset, GMEM_RESET,
                                          OBJECT,
                                          { TYPE_RESETTABLE_INTERFACE }, { })

static bool gmem_launched;

bool kvm_gmem_launch_private(hwaddr start, hwaddr size, Error **errp)
{
    GArray *sections = kvm_gmem_sections(start, size, true);
    bool ok = true;

    if (!sections) {
        error_setg(errp, "guest memory [0x%" HWADDR_PRIx ", 0x%" HWADDR_PRIx
                   ") cannot be made private: it is not aligned to pages, or "
                   "not all of it is RAM; use firmware that fits the machine, "
                   "or give the machine more memory", start, start + size);
        return false;
    }
    for (guint i = 0; ok && i < sections->len; i++) {
        MemoryRegionSection *section =
            &g_array_index(sections, MemoryRegionSection, i);

        ok = gmem_rdm_make_private(section->mr->ram_block->attributes->gmem,
                                   section->offset_within_region,
                                   int128_get64(section->size), errp);
    }
    kvm_gmem_sections_free(sections);
    return ok;
}

bool kvm_gmem_make_all_private(ConfidentialGuestSupport *cgs, Error **errp)
{
    return gmem_rdm_make_all_private(errp);
}

/*
 * Devices get what is shared after the initial conversions: a page that is in
 * their hands could not be made private.
 */
static bool gmem_launch_memory(Error **errp)
{
    ConfidentialGuestSupport *cgs = current_machine->cgs;

    if (cgs->initial_private &&
        !CONFIDENTIAL_GUEST_SUPPORT_GET_CLASS(cgs)->convert_initial_memory(
            cgs, errp)) {
        return false;
    }
    return gmem_rdm_launch_all(errp);
}

/*
 * Low priority, so that the launch steps of the confidential guest, which hang
 * on the same transition, come first.
 */
static void gmem_launch(void *opaque, bool running, RunState state)
{
    Error *err = NULL;

    if (!running || gmem_launched) {
        return;
    }
    gmem_launched = true;
    if (!gmem_launch_memory(&err)) {
        error_reportf_err(err, "cannot launch: ");
        exit(1);
    }
}

/*
 * The enter phase comes before anything is reset: the ROMs are written again
 * later, and a private page would be out of reach.  Pending requests go first:
 * sharing all would wait for them, and they for their vCPU.
 *
 * Where all will be private again, devices must not see it shared meanwhile;
 * and a container with a limit may be unable to map all of the guest.  Nor may
 * they keep a page that is replaced, after an error of the host's memory, when
 * the rest is reset: nobody tells them of the new one, so they map all anew.
 *
 * A guest that wakes up has its memory as it was when it went to sleep.
 *
 * A guest that cannot be reset sees one all the same, before it runs.  TDX has
 * handed its firmware over by then, and sharing that would destroy it.
 */
static void gmem_reset_enter(Object *obj, ResetType type)
{
    if (!cpus_are_resettable()) {
        return;
    }
    kvm_gmem_drop_all();
    if (type == RESET_TYPE_WAKEUP) {
        return;
    }
    if (gmem_launched && (current_machine->cgs->initial_private ||
                          kvm_hwpoisoned_mem())) {
        gmem_rdm_withdraw_all();
    }
    if (gmem_rdm_share_all() < 0) {
        error_report("cannot reset: part of the guest's memory stays private");
        exit(1);
    }
}

/*
 * The exit phase comes after all has been reset and written.  A guest that
 * cannot be reset was left alone by the enter phase, and is here as well.
 */
static void gmem_reset_exit(Object *obj, ResetType type)
{
    Error *err = NULL;

    if (!cpus_are_resettable() || type == RESET_TYPE_WAKEUP ||
        !gmem_launched) {
        return;
    }
    if (!gmem_launch_memory(&err)) {
        error_reportf_err(err, "cannot reset: ");
        exit(1);
    }
}

static ResettableState *gmem_reset_get_state(Object *obj)
{
    return &GMEM_RESET(obj)->reset_state;
}

static void gmem_reset_init(Object *obj)
{
}

static void gmem_reset_finalize(Object *obj)
{
}

static void gmem_reset_class_init(ObjectClass *klass, const void *data)
{
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    rc->get_state = gmem_reset_get_state;
    rc->phases.enter = gmem_reset_enter;
    rc->phases.exit = gmem_reset_exit;
}

/* The in-place block behind a launched guest's region, else NULL */
static GmemRdm *gmem_plug_block(MemoryRegion *mr, uint64_t *offset)
{
    *offset = 0;
    for (; mr->alias; mr = mr->alias) {
        *offset += mr->alias_offset;
    }
    if (!gmem_launched || !mr->ram_block ||
        !ram_block_is_in_place(mr->ram_block)) {
        return NULL;
    }
    return mr->ram_block->attributes->gmem;
}

bool kvm_gmem_before_plug(MemoryRegion *mr, Error **errp)
{
    uint64_t offset;
    GmemRdm *rdm = gmem_plug_block(mr, &offset);

    return !rdm || gmem_rdm_before_plug(rdm, offset, memory_region_size(mr),
                                        current_machine->cgs->initial_private,
                                        errp);
}

bool kvm_gmem_after_plug(MemoryRegion *mr, Error **errp)
{
    uint64_t offset;
    GmemRdm *rdm = gmem_plug_block(mr, &offset);

    return !rdm || gmem_rdm_after_plug(rdm, errp);
}

void kvm_gmem_launch_init(void)
{
    qemu_add_vm_change_state_handler_prio(gmem_launch, NULL, 10);
    qemu_register_resettable(object_new(TYPE_GMEM_RESET));
}
