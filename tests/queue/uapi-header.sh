#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: what patches/qemu adds to linux-headers/linux/kvm.h is what
# patches/linux adds to include/uapi/linux/kvm.h, word for word.
set -eu
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# added TREE FILE: the lines that the queue of TREE adds to FILE
added() {
    while read -r patch; do
        sed -n "\|^diff --git a/$2 |,/^diff --git [^ ]* b\/\(.*\)/{
                \|^diff --git a/$2 |d
                /^diff --git/q
                /^+++/d
                s/^+//p
            }" "patches/$1/$patch" | sed '/^$/d'
    done <"patches/$1/series"
}

added linux include/uapi/linux/kvm.h >"$tmp/linux"
added qemu linux-headers/linux/kvm.h >"$tmp/qemu"
echo "1..2"
rc=0
if grep -q KVM_SET_MEMORY_ATTRIBUTES2 "$tmp/linux"; then
    echo "ok 1 - patches/linux defines the ioctl"
else
    echo "not ok 1 - patches/linux defines the ioctl"
    rc=1
fi
if diff -u "$tmp/linux" "$tmp/qemu" >"$tmp/diff"; then
    echo "ok 2 - both queues add the same to linux/kvm.h"
else
    echo "not ok 2 - both queues add the same to linux/kvm.h"
    sed 's/^/#   /' "$tmp/diff"
    rc=1
fi
exit "$rc"
