#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: the maple tree's own tests, in user space with sanitizers, and
# that they notice when one of the fixes in our series is missing.
#
# The tests are built from the tree with the queue on it; what they need of it is
# copied, as they build where their source is.  Prints TAP; takes some minutes.
set -eu
ROOT=${ROOT:-$(cd "$(dirname "$0")/../.." && pwd -P)}
. "$ROOT/scripts/lib.sh"

TREE=$BUILD/linux
DIR=$BUILD/maple
TESTS=$DIR/tools/testing/radix-tree
LIMIT=900
N=0
BAD=0

report() { # report TITLE LOG PASSED
    N=$((N + 1))
    if [ "$3" = yes ]; then
        echo "ok $N - $1"
    else
        BAD=1
        echo "not ok $N - $1"
        tail -n 15 "$2" | cut -c1-200 | sed 's/^/#   /'
    fi
}

# Runs what was built; what it prints is mostly dumps of trees.
run_tests() {
    (cd "$TESTS" && timeout "$LIMIT" ./maple) >"$1" 2>&1
}

# run_quietly LOG: again, up to three times in all, if it was only that readers did
# not get to run while run_check_rcu_slowread() slept for some microseconds, as on a
# busy machine.
run_quietly() {
    local tries=1
    until run_tests "$1"; do
        if [ "$tries" -eq 3 ] || ! grep -q 'run_check_rcu_slowread: Assertion' "$1"; then
            return 1
        fi
        tries=$((tries + 1))
        echo "# run_check_rcu_slowread: its readers came too late; try $tries"
    done
}

# patch_with SUBJECT: the patch of the queue, whatever its number is now.
patch_with() { grep -lF "Subject: [PATCH] $1" "$ROOT"/patches/linux/0*.patch; }

# without SUBJECT: the tests must end in a crash or a report of a sanitizer.
without() {
    local file log="$LOG/maple-without.log" rc=0
    file=$(patch_with "$1") || die "no patch in patches/linux has the subject '$1'"
    patch -d "$DIR" -p1 -R -s <"$file"
    if make -C "$TESTS" -s maple >"$log" 2>&1; then
        run_tests "$log" || rc=$?
        # Out of time proves nothing.
        if [ "$rc" -ne 0 ] && [ "$rc" -ne 124 ]; then
            report "without \"$1\" they fail" "$log" yes
        else
            report "without \"$1\" they fail (code $rc)" "$log" no
        fi
    else
        report "without \"$1\" they build" "$log" no
    fi
    patch -d "$DIR" -p1 -s <"$file"
}

rm -rf "$DIR"
mkdir -p "$DIR" "$LOG"
git -C "$TREE" archive HEAD lib include tools/testing/radix-tree tools/testing/shared tools/include \
    tools/lib tools/scripts tools/arch/x86/include arch/x86/include | tar -x -C "$DIR"
log=$LOG/maple.log
if make -C "$TESTS" -s maple >"$log" 2>&1 && run_quietly "$log" &&
    passed=$(sed -n 's/^maple_tree: \([0-9]*\) of \1 tests passed$/\1/p' "$log") && [ -n "$passed" ]; then
    report "maple tree: $passed checks" "$log" yes
else
    report "maple tree: its own tests" "$log" no
fi
without "maple_tree: Don't follow metadata when freeing a dead tree"
without "maple_tree: Don't clear the metadata of dead nodes"
rm -rf "$DIR"
echo "1..$N"
exit "$BAD"
