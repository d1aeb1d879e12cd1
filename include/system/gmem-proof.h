/*
 * guest_memfd: see whether this host can convert in place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_PROOF_H
#define SYSTEM_GMEM_PROOF_H

typedef struct KVMState KVMState;

/**
 * kvm_gmem_prove: convert a scratch page to private and back
 * @s: the accelerator; its VM file descriptor is open
 * @ms: the machine
 *
 * What comes out goes before KVM's own word (kvm_gmem_set_proof()).  Nothing is
 * tried, and KVM's word holds, for a machine whose guest needs no guest_memfd,
 * and where KVM does not let such a guest's file start shared: on a host
 * without in-place conversion, which sees no call that it did not see before
 * but one KVM_CHECK_EXTENSION.
 *
 * To be called after KVM_CREATE_VM and before kvm_gmem_probe().  Does not fail.
 */
void kvm_gmem_prove(KVMState *s, MachineState *ms);

#endif /* SYSTEM_GMEM_PROOF_H */
