#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [NAME...]: is each defect seen by its test?
#
# A mutant is a patch that takes one fix out (unit/R3.patch; the name begins with
# the row of docs/defects.rst).  Each is applied to a copy, and the test that its
# header names must fail there, after it has passed without:
#
#   Fault: what is wrong with the mutant
#   Test: program /path             of build/host/tests/unit, without test-gmem-
#
# Prints TAP; ends with 1 if a mutant survived.
set -eu
ROOT=${ROOT:-$(cd "$(dirname "$0")/../.." && pwd -P)}
. "$ROOT/tests/mutants/lib.sh"

HERE=$ROOT/tests/mutants

# copy_sources: what is in the checkout, edits too, but nothing that is made.
# All get a new time: a file whose mutant was built last must not look old.
copy_sources() {
    mkdir -p "$WORK/src"
    rm -f "$WORK/src.list"
    (cd "$ROOT" && find . -path ./build -prune -o -path ./.git -prune -o -type f -print) >"$WORK/src.list"
    (cd "$ROOT" && tar -cf - -T "$WORK/src.list") | tar -xmf - -C "$WORK/src"
}

names() {
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
    else
        (cd "$HERE/unit" && ls -- *.patch) | sed 's/\.patch$//' | sort -V
    fi
}

# unit_run PROGRAM PATH LOG: 0 passed, 1 failed, 2 no such case.  A case that
# does not come to an end has failed, too: R1 is an endless loop.
unit_run() {
    local code=0
    G_SLICE=always-malloc timeout 60 "$WORK/host/tests/unit/test-gmem-$1" -p "$2" >"$3" 2>&1 || code=$?
    echo "exit code $code" >>"$3"
    if [ "$code" -eq 0 ]; then
        grep -q '^ok' "$3" || return 2
        return 0
    fi
    return 1
}

unit_prepare() {
    copy_sources
    # The clean result first: only what passes can be seen to fail.
    [ -e "$WORK/host/build.ninja" ] ||
        CC="ccache gcc" meson setup "$WORK/host" "$WORK/src" -Dqemu_tree="$BUILD/qemu" >"$WORK/setup.log" 2>&1 ||
        die "the host build of the copy cannot be set up; see $(rel "$WORK/setup.log")"
}

# unit_build PROGRAM...
unit_build() {
    local targets=''
    for program in "$@"; do
        targets="$targets tests/unit/test-gmem-$program"
    done
    # shellcheck disable=SC2086 # a list
    ninja -C "$WORK/host" -j "$JOBS" $targets >"$WORK/build.log" 2>&1
}

unit_one() {
    local name="$1" patch="$HERE/unit/$1.patch" fault program path code=0 log="$WORK/$1.log" clean="$WORK/clean.log"
    fault=$(field "$patch" Fault)
    read -r program path <<INNER
$(field "$patch" Test)
INNER
    unit_run "$program" "$path" "$clean" || code=$?
    if [ "$code" -ne 0 ]; then
        result fail "$name: $program $path does not pass without the mutant ($code)"
        show "$clean"
        return
    fi
    if ! mutate "$WORK/src" "$patch"; then
        result fail "$name: its patch does not apply any more"
        show "$WORK/patch.log"
        rm -rf "$WORK/src"
        copy_sources
        return
    fi
    if ! unit_build "$program"; then
        result fail "$name: it does not compile"
        show "$WORK/build.log"
    else
        unit_run "$program" "$path" "$log" || code=$?
        if [ "$code" -eq 1 ]; then
            result ok "$name taken out ($fault): $program $path fails"
        else
            result fail "$name taken out ($fault): $program $path does not notice"
        fi
    fi
    restore "$WORK/src" "$patch" || die "$(rel "$patch") cannot be taken back; remove $(rel "$WORK") and call again"
}

unit() {
    local programs name
    unit_prepare
    programs=$(names "$@" | while read -r name; do
        [ -e "$HERE/unit/$name.patch" ] || die "there is no mutant $(rel "$HERE/unit/$name.patch")"
        field "$HERE/unit/$name.patch" Test
    done | sed 's/ .*//' | sort -u)
    # shellcheck disable=SC2086 # a list
    unit_build $programs || { show "$WORK/build.log"; die "the copy does not build"; }
    for name in $(names "$@"); do
        # What ran last is a mutant's program: build the clean one again.
        # shellcheck disable=SC2046 # two words
        unit_build $(field "$HERE/unit/$name.patch" Test | sed 's/ .*//') || die "the copy does not build"
        unit_one "$name"
    done
}

mkdir -p "$WORK"
unit "$@"
echo "1..$NUMBER"
[ "$FAILED" -eq 0 ]
