#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel's own KVM tests that concern guest_memfd -> build/selftests.
set -eu
. "$(dirname "$0")/lib.sh"

TREE=$BUILD/linux
DIR=$TREE/tools/testing/selftests/kvm
OUT=$BUILD/selftests

# Those of our series are in the list too; the lab tells if one is missing.
TESTS=$(sed -n 's/^\([^# ][^ ]*\).*/\1/p' "$ROOT/tests/lab/selftests.list")

set --
for t in $TESTS; do
    if [ -e "$DIR/$t.c" ]; then
        set -- "$@" "$OUT/$t"
    else
        say "$t: this tree does not have it"
    fi
done
[ $# -gt 0 ] || die "build/linux has none of: $TESTS"
# Their makefile does not know which object includes which header.
rm -rf "$OUT"
mkdir -p "$OUT/x86"
exec make -C "$DIR" OUTPUT="$OUT" CC="ccache gcc" KHDR_INCLUDES="-isystem $BUILD/linux-hdr/include" -j "$JOBS" "$@"
