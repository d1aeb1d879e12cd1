#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel's own KVM tests that concern guest_memfd -> build/selftests.
set -eu
. "$(dirname "$0")/lib.sh"

TREE=$BUILD/linux
DIR=$TREE/tools/testing/selftests/kvm
OUT=$BUILD/selftests

# The last one comes with our series.
TESTS="guest_memfd_test x86/private_mem_conversions_test x86/guest_memfd_conversions_test"

set --
for t in $TESTS; do
    if [ -e "$DIR/$t.c" ]; then
        set -- "$@" "$OUT/$t"
    else
        say "$t: this tree does not have it"
    fi
done
[ $# -gt 0 ] || die "build/linux has none of: $TESTS"
mkdir -p "$OUT/x86"
exec make -C "$DIR" OUTPUT="$OUT" CC="ccache gcc" KHDR_INCLUDES="-isystem $BUILD/linux-hdr/include" -j "$JOBS" "$@"
