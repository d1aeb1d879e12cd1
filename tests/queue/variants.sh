#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# QEMU with our queue, built without KVM (x86-64, and a target that has no private
# memory) and without TCG, a warning being an error; prints TAP.  Each program must
# answer query-guest-memfd, and the qtest suite must pass as far as it can run there.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$ROOT/scripts/lib.sh"
. "$SCRIPTS/qemu-lib.sh"

# shellcheck disable=SC2317,SC2329 # result runs it
accelerators() {
    out=$("$1" -accel help)
    printf '%s\n' "$out"
    [ "$(printf '%s\n' "$out" | grep -xE 'kvm|tcg')" = "$2" ]
}

# variant NAME TITLE ACCELERATOR OPTIONS WHY TARGET...: WHY is what query-guest-memfd
# says when it is asked with OPTIONS.
variant() {
    name=$1 title=$2 accelerator=$3 options=$4 why=$5
    shift 5
    result "$title: builds" "$ROOT/scripts/build-qemu.sh" "$name" || return 0
    for target in "$@"; do
        qemu=$BUILD/qemu-$name/qemu-system-$target
        result "$title: qemu-system-$target has $accelerator only" accelerators "$qemu" "$accelerator" || :
        # shellcheck disable=SC2086 # a list of words
        result "$title: qemu-system-$target answers query-guest-memfd" \
            query_guest_memfd "$qemu" "$why" $options || :
    done
    result "$title: qtest" env QTEST_QEMU_BINARY="$BUILD/qemu-$name/qemu-system-x86_64" \
        timeout 300 "$BUILD/qemu-$name/tests/qtest/guest-memfd-test" --tap -k || :
}

variant no-kvm "without KVM" tcg "" "this QEMU has no KVM" x86_64 or1k
# Without TCG and without /dev/kvm no machine starts, not even "none", unless qtest is
# named as the one to fall back to.
variant no-tcg "without TCG" kvm "-accel kvm -accel qtest" "KVM is not in use\|the machine has no confidential guest" x86_64
say "1..$RESULTS"
exit $BAD
