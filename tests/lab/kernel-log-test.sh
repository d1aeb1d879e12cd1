#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: kernel-log.sh finds each kind of kernel report, and nothing in
# what a healthy kernel says.
set -eu

CHECK=$(dirname "$0")/kernel-log.sh
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
n=0
bad=0

# try FOUND|CLEAN TITLE LINE
try() {
    n=$((n + 1))
    # Among innocent ones, and with a time stamp, as in a real log.
    printf '[    0.00] Linux version 7.3.4\n[   12.34] %s\n[   13.00] reboot: Power down\n' "$3" >"$tmp"
    verdict=CLEAN
    sh "$CHECK" "$tmp" >"$tmp.out" || verdict=FOUND
    if [ "$verdict" = "$1" ] && { [ "$1" = CLEAN ] || grep -qF -- "$3" "$tmp.out"; }; then
        echo "ok $n - $2"
    else
        bad=1
        echo "not ok $n - $2"
        echo "#   $verdict: $3"
    fi
    rm -f "$tmp.out"
}

try FOUND "WARN" "WARNING: CPU: 1 PID: 77 at virt/kvm/guest_memfd.c:123 kvm_gmem_release+0x1/0x2"
try FOUND "WARN, newer form" "WARNING: virt/kvm/guest_memfd.c:123 at kvm_gmem_release+0x1/0x2, CPU#1: test/77"
try FOUND "BUG" "kernel BUG at mm/filemap.c:123!"
try FOUND "BUG, page fault" "BUG: kernel NULL pointer dereference, address: 000000000000000e"
try FOUND "BUG, sleep in atomic context" "BUG: sleeping function called from invalid context at mm/slab.h:1"
try FOUND "BUG, atomic scheduling" "BUG: scheduling while atomic: test/77/0x00000002"
try FOUND "BUG, page state" "BUG: Bad page state in process test  pfn:12345"
try FOUND "BUG, soft lockup" "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [test:77]"
try FOUND "maple tree" "BUG at mas_validate_gaps:7000 (1)"
try FOUND "maple tree, warning" "WARN at mas_store_gfp:5000 (1)"
try FOUND "KASAN" "BUG: KASAN: slab-use-after-free in kvm_gmem_get_attributes+0x1/0x2"
try FOUND "KASAN, wild access" "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]"
try FOUND "UBSAN" "UBSAN: shift-out-of-bounds in virt/kvm/guest_memfd.c:1:2"
try FOUND "KFENCE" "KFENCE: use-after-free read in test+0x1/0x2"
try FOUND "lockdep, circular" "WARNING: possible circular locking dependency detected"
try FOUND "lockdep, circular, older form" "INFO: possible circular locking dependency detected"
try FOUND "lockdep, recursive" "WARNING: possible recursive locking detected"
try FOUND "lockdep, interrupts" "WARNING: inconsistent lock state"
try FOUND "lockdep, unlock" "WARNING: bad unlock balance detected!"
try FOUND "lockdep, return to user space" "WARNING: lock held when returning to user space!"
try FOUND "lockdep, not registered" "INFO: trying to register non-static key."
try FOUND "lockdep, full" "BUG: MAX_LOCKDEP_ENTRIES too low!"
try FOUND "lockdep, off" "turning off the locking correctness validator."
try FOUND "RCU usage" "WARNING: suspicious RCU usage"
try FOUND "RCU usage, older form" "INFO: suspicious RCU usage"
try FOUND "RCU stall" "rcu: INFO: rcu_preempt self-detected stall on CPU"
try FOUND "hung task" "INFO: task test:77 blocked for more than 120 seconds."
try FOUND "kmemleak" "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"
try FOUND "kmemleak, object" "unreferenced object 0xffff888012345678 (size 64):"
try FOUND "kmemleak, off" "kmemleak: Kernel memory leak detector disabled"
try FOUND "oops" "Oops: Oops: 0000 [#1] SMP KASAN"
try FOUND "general protection fault" "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000001"
try FOUND "list" "list_del corruption. prev->next should be ffff888, but was dead"
try FOUND "reference count" "refcount_t: underflow; use-after-free."
try FOUND "VM_BUG_ON" "page dumped because: VM_BUG_ON_FOLIO(folio_test_locked(folio))"
try FOUND "out of memory" "test invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0"
try FOUND "any stack trace" "Call Trace:"
OOM='test invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0
Call Trace:'
try FOUND "out of memory, somebody was killed" "$OOM
Out of memory: Killed process 77 (test) total-vm:4kB, UID:0 pgtables:4kB oom_score_adj:0"

try CLEAN "boot: lockdep" "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar"
try CLEAN "boot: KASAN" "kasan: KernelAddressSanitizer initialized (generic)"
try CLEAN "boot: kmemleak" "kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)"
try CLEAN "boot: KVM" "kvm_amd: Nested Paging enabled"
try CLEAN "a guest_memfd message" "kvm: gmem_in_place_conversion enabled"
try CLEAN "out of memory, the one to be killed was killed" "$OOM
Out of memory: Killed process 77 (test) total-vm:4kB, UID:0 pgtables:4kB oom_score_adj:1000"
NOBODY='test invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=-1000
Call Trace:
 mem_cgroup_out_of_memory+0x6f/0x88
Out of memory and no killable processes...'
try CLEAN "a memory cgroup at its limit, nobody is to be killed" "$NOBODY"
try FOUND "the machine is out of memory, there is nobody to kill" \
    "$(printf '%s\n' "$NOBODY" | grep -v mem_cgroup)"
try CLEAN "debug, as a part of a word" "DEBUG_LIST: enabled, debugfs is mounted"
echo "1..$n"
exit $bad
