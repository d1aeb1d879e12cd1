/*
 * x86-sw-protected-vm: a confidential guest that needs no hardware
 *
 * KVM_X86_SW_PROTECTED_VM keeps private and shared memory apart as SEV-SNP and
 * TDX do, but encrypts nothing: it is for developing and testing.  The guest
 * asks for conversions with KVM_HC_MAP_GPA_RANGE.  Its memory starts shared,
 * or, with initial-state=private, private but for the firmware and the first
 * MiB, where a small guest has what must be shared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include <linux/kvm_para.h>
#include "qapi/error.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/units.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "hw/boards.h"
#include "hw/i386/x86.h"
#include "hw/mem/memory-device.h"
#include "migration/blocker.h"
#include "system/gmem.h"
#include "system/kvm.h"
#include "../confidential-guest.h"
#include "kvm_i386.h"

#define TYPE_X86_SW_PROTECTED_VM "x86-sw-protected-vm"

/* Guest memory below this address starts shared in any case. */
#define SW_PROTECTED_WINDOW (1 * MiB)

OBJECT_DECLARE_SIMPLE_TYPE(X86SwProtectedVm, X86_SW_PROTECTED_VM)

struct X86SwProtectedVm {
    X86ConfidentialGuest parent_obj;
    Error *migration_blocker;
};

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(X86SwProtectedVm,
                                          x86_sw_protected_vm,
                                          X86_SW_PROTECTED_VM,
                                          X86_CONFIDENTIAL_GUEST,
                                          { TYPE_USER_CREATABLE }, { })

static bool sw_protected_convert_devices(Error **errp)
{
    MemoryDeviceInfoList *list = qmp_memory_device_list();
    bool ok = true;

    for (MemoryDeviceInfoList *i = list; i && ok; i = i->next) {
        PCDIMMDeviceInfo *dimm = NULL;

        if (i->value->type == MEMORY_DEVICE_INFO_KIND_DIMM) {
            dimm = i->value->u.dimm.data;
        } else if (i->value->type == MEMORY_DEVICE_INFO_KIND_NVDIMM) {
            dimm = i->value->u.nvdimm.data;
        }
        if (dimm) {
            ok = kvm_gmem_launch_private(dimm->addr, dimm->size, errp);
        }
    }
    qapi_free_MemoryDeviceInfoList(list);
    return ok;
}

/*
 * All is shared until now.  What is busy is waited for as at a launch, whatever
 * the guest's convert-timeout is: the main loop waits here.
 */
static bool sw_protected_convert_initial(ConfidentialGuestSupport *cgs,
                                         Error **errp)
{
    X86MachineState *x86ms = X86_MACHINE(current_machine);
    uint64_t below_4g = x86ms->below_4g_mem_size;

    if (below_4g > SW_PROTECTED_WINDOW &&
        !kvm_gmem_launch_private(SW_PROTECTED_WINDOW,
                                 below_4g - SW_PROTECTED_WINDOW, errp)) {
        return false;
    }
    if (x86ms->above_4g_mem_size &&
        !kvm_gmem_launch_private(x86ms->above_4g_mem_start,
                                 x86ms->above_4g_mem_size, errp)) {
        return false;
    }
    return sw_protected_convert_devices(errp);
}

static int sw_protected_kvm_init(ConfidentialGuestSupport *cgs, Error **errp)
{
    X86SwProtectedVm *vm = X86_SW_PROTECTED_VM(cgs);
    X86MachineState *x86ms =
        (X86MachineState *)object_dynamic_cast(OBJECT(current_machine),
                                               TYPE_X86_MACHINE);

    if (!x86ms) {
        error_setg(errp, "%s needs an x86 machine", TYPE_X86_SW_PROTECTED_VM);
        return -EINVAL;
    }

    /*
     * SMM maps RAM at two addresses; KVM binds a guest_memfd page to one.
     * Exit here: no other accelerator could run the guest, and the caller
     * would bury the reason under a second message.
     */
    if (x86ms->smm == ON_OFF_AUTO_ON) {
        error_report("%s does not support SMM, use -machine smm=off",
                     TYPE_X86_SW_PROTECTED_VM);
        exit(1);
    }
    x86ms->smm = ON_OFF_AUTO_OFF;

    if (!kvm_enable_hypercall(BIT_ULL(KVM_HC_MAP_GPA_RANGE))) {
        error_setg(errp, "%s: KVM does not let QEMU handle "
                   "KVM_HC_MAP_GPA_RANGE", TYPE_X86_SW_PROTECTED_VM);
        return -EOPNOTSUPP;
    }

    error_setg(&vm->migration_blocker,
               "%s: private memory cannot be migrated",
               TYPE_X86_SW_PROTECTED_VM);
    if (migrate_add_blocker(&vm->migration_blocker, errp) < 0) {
        return -EINVAL;
    }

    cgs->ready = true;
    return 0;
}

static int sw_protected_kvm_type(X86ConfidentialGuest *cg)
{
    return KVM_X86_SW_PROTECTED_VM;
}

static int sw_protected_get_initial_state(Object *obj, Error **errp)
{
    return CONFIDENTIAL_GUEST_SUPPORT(obj)->initial_private ?
           X86_SW_PROTECTED_VM_STATE_PRIVATE :
           X86_SW_PROTECTED_VM_STATE_SHARED;
}

static void sw_protected_set_initial_state(Object *obj, int value, Error **errp)
{
    ConfidentialGuestSupport *cgs = CONFIDENTIAL_GUEST_SUPPORT(obj);

    if (cgs->ready) {
        error_setg(errp, "initial-state cannot be changed once the guest is "
                   "set up");
        return;
    }
    cgs->initial_private = value == X86_SW_PROTECTED_VM_STATE_PRIVATE;
}

static void x86_sw_protected_vm_class_init(ObjectClass *oc, const void *data)
{
    ConfidentialGuestSupportClass *klass =
        CONFIDENTIAL_GUEST_SUPPORT_CLASS(oc);
    X86ConfidentialGuestClass *x86_klass = X86_CONFIDENTIAL_GUEST_CLASS(oc);

    klass->kvm_init = sw_protected_kvm_init;
    klass->can_convert_in_place = true;
    klass->memory_starts_shared = true;
    klass->faults_never_convert = true;
    klass->convert_initial_memory = sw_protected_convert_initial;
    x86_klass->kvm_type = sw_protected_kvm_type;

    object_class_property_add_enum(oc, "initial-state",
                                   "X86SwProtectedVmState",
                                   &X86SwProtectedVmState_lookup,
                                   sw_protected_get_initial_state,
                                   sw_protected_set_initial_state);
    object_class_property_set_description(oc, "initial-state",
        "state of the memory when the guest starts");
}

static void x86_sw_protected_vm_init(Object *obj)
{
    ConfidentialGuestSupport *cgs = CONFIDENTIAL_GUEST_SUPPORT(obj);

    cgs->require_guest_memfd = true;
    cgs->convert_timeout = CONVERT_TIMEOUT_MS;
}

static void x86_sw_protected_vm_finalize(Object *obj)
{
    X86SwProtectedVm *vm = X86_SW_PROTECTED_VM(obj);

    migrate_del_blocker(&vm->migration_blocker);
}
