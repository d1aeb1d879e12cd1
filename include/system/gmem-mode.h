/*
 * guest_memfd: which way of tracking private memory a virtual machine gets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the decision alone, from what the user asked for, what KVM
 * offers and what the confidential guest can do.  No KVM is needed for it, so
 * that every row of the table can be tested on any machine.
 */

#ifndef SYSTEM_GMEM_MODE_H
#define SYSTEM_GMEM_MODE_H

/**
 * KvmGmemMode: who tracks private memory on this host
 *
 * @KVM_GMEM_NONE: nobody; there is no private memory
 * @KVM_GMEM_VM_ATTRIBUTES: the VM, by guest address.  Each page is backed
 *   twice ("dual-backed").
 * @KVM_GMEM_IN_PLACE: the guest_memfd, by file offset.  One page serves both
 *   states.
 */
typedef enum KvmGmemMode {
    KVM_GMEM_NONE,
    KVM_GMEM_VM_ATTRIBUTES,
    KVM_GMEM_IN_PLACE,
} KvmGmemMode;

/**
 * KvmGmemProof: what a conversion on a scratch page has shown
 *
 * @KVM_GMEM_UNPROVEN: none was tried: KVM's word is taken
 */
typedef enum KvmGmemProof {
    KVM_GMEM_UNPROVEN,
    KVM_GMEM_PROVEN,
    KVM_GMEM_DISPROVEN,
} KvmGmemProof;

/**
 * GmemWish: the value of one "convert-in-place"
 */
typedef enum GmemWish {
    GMEM_WISH_AUTO,
    GMEM_WISH_ON,
    GMEM_WISH_OFF,
} GmemWish;

/**
 * GmemModeInput: what the decision depends on
 *
 * @type: QOM type of the confidential guest, for messages
 * @has_guest_memfd: its private memory is in guest_memfd at all
 * @can_in_place: its launch and run time can work on in-place memory
 * @object, @machine: wish of the confidential guest object, of the machine
 * @in_place: KVM says that it tracks private memory per guest_memfd, and
 *   offers what an in-place block needs
 * @vm_attributes: KVM says that it tracks private memory per VM
 * @proof: overrules @in_place
 */
typedef struct GmemModeInput {
    const char *type;
    bool has_guest_memfd;
    bool can_in_place;
    GmemWish object;
    GmemWish machine;
    bool in_place;
    bool vm_attributes;
    KvmGmemProof proof;
} GmemModeInput;

/**
 * gmem_choose_mode: choose the mode of a virtual machine
 * @in: what it depends on
 * @why: set to one line that says why, for people; to be freed by the caller
 * @error: set to one line that says what to change if the virtual machine must
 *   not start, to be freed by the caller; else NULL
 *
 * The wish of the object goes before that of the machine.  Without a wish the
 * host decides.
 *
 * Returns the mode; KVM_GMEM_NONE with @error.  KVM_GMEM_NONE without one,
 * where the guest needs private memory, leaves it to whoever asks for the
 * memory to fail.
 */
KvmGmemMode gmem_choose_mode(const GmemModeInput *in, char **why,
                             char **error);

#endif /* SYSTEM_GMEM_MODE_H */
