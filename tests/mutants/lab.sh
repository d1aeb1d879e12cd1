#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab.sh [NAME...]: do scenarios and QEMU's own tests see each defect?
#
# A mutant is a patch that takes one fix out of QEMU (lab/B1.patch; the name
# begins with the row of docs/defects.rst).  Each is applied to a copy of the
# tree, and what its header names must fail with the QEMU that is built there:
#
#   Fault: what is wrong with the mutant
#   Qtest: case                     of guest-memfd-test, on this machine
#   Lab-qtest: case [off]           the same in the emulated host
#   Scenario: name [off]            of tests/lab/scenarios; off: kernel parameter off
#   Param: name=value               of the scenario's payload
#   Sign: regular expression        what a line of the failure says
#
# That they pass without is what "run test" finds out.  Prints TAP; ends with 1
# if a mutant survived.  Takes some minutes for each.
#
# Environment: ROOT, BUILD, KERNEL as for tests/lab/lab.sh.
set -eu
ROOT=${ROOT:-$(cd "$(dirname "$0")/../.." && pwd -P)}
. "$ROOT/tests/mutants/lib.sh"

HERE=$ROOT/tests/mutants/lab
# Build and emulated host get a BUILD of their own.  The mutant is what emulates
# the host, too: nothing of what is changed is reached there.
COPY=$WORK/lab

# copy: build/qemu and build/qemu-build with their times, so that nothing is
# compiled anew.  The build files name sources relative to the build directory,
# but include directories absolute: a mutant of a header would not be used.
copy() {
    local tree link
    mkdir -p "$COPY"
    for tree in qemu qemu-build; do
        rm -rf "${COPY:?}/$tree"
        mkdir "$COPY/$tree"
        (cd "$BUILD/$tree" && tar -cf - --exclude=./.git .) | tar -xf - -C "$COPY/$tree"
    done
    # Our own files are links to the checkout there.
    (cd "$BUILD/qemu" && find . -path ./.git -prune -o -type l -print) | while read -r link; do
        [ ! -f "$BUILD/qemu/$link" ] ||
            cp -pL --remove-destination "$BUILD/qemu/$link" "$COPY/qemu/$link"
    done
}

# Anew if QEMU was built since, or if a mutant was left behind.
prepare() {
    local qemu="$BUILD/qemu-build/qemu-system-x86_64" stamp
    [ -x "$qemu" ] || die "there is no QEMU; ./run build makes it"
    stamp=$(sha256sum "$qemu" "$BUILD/qemu-build/tests/qtest/guest-memfd-test" | hash_of)
    if [ "$(cat "$COPY/.of" 2>/dev/null)" != "$stamp" ]; then
        copy
        printf '%s\n' "$stamp" >"$COPY/.of"
    fi
}

build() {
    ninja -C "$COPY/qemu-build" -j "$JOBS" qemu-system-x86_64 tests/qtest/guest-memfd-test \
        >"$WORK/build.log" 2>&1
}

# in_lab ARGUMENTS...: of tests/lab/lab.sh
in_lab() {
    env BUILD="$COPY" ROOT="$ROOT" LAB_BIN="$BUILD/host/tests/lab" ROMS="$BUILD/roms" \
        SELFTESTS="$COPY/none" KERNEL="${KERNEL:-$BUILD/linux-build/arch/x86/boot/bzImage}" \
        timeout 900 sh "$ROOT/tests/lab/lab.sh" "$@"
}

# try PATCH: what it is to fail
try() {
    local kind name off params
    for kind in Qtest Lab-qtest Scenario; do
        read -r name off <<INNER
$(field "$1" "$kind")
INNER
        [ -z "$name" ] || break
    done
    params=$(field "$1" Param)
    case $kind in
    # A lock that is not let go makes it wait for ever, and its QEMU deaf.
    Qtest)
        QTEST_QEMU_BINARY="$COPY/qemu-build/qemu-system-x86_64" timeout -s KILL 60 \
            "$COPY/qemu-build/tests/qtest/guest-memfd-test" --tap -p "/x86_64/guest-memfd/$name"
        ;;
    Lab-qtest) in_lab qtest ${off:+--off} ;;
    Scenario)
        in_lab run ${off:+--off} ${params:+--param "$params"} "$ROOT/tests/lab/scenarios/$name.scn"
        ;;
    esac
}

# judge NAME PATCH CODE LOG
judge() {
    local title sign
    title="$1 taken out ($(field "$2" Fault)): $(sed -n '/^--- /q;s/^Qtest: //p;s/^Lab-qtest: //p;s/^Scenario: //p' "$2")"
    sign=$(field "$2" Sign)
    if [ "$3" -eq 0 ]; then
        result fail "$title does not notice"
    elif [ -n "$sign" ] && ! grep -qE "$sign" "$4"; then
        result fail "$title fails, but not with '$sign'"
        show "$4"
    else
        result ok "$title fails"
        [ -z "$sign" ] || grep -E "$sign" "$4" | head -n 2 | cut -c1-200 | sed 's/^/# /'
    fi
}

mutant() {
    local name="$1" patch="$HERE/$1.patch" code=0 log="$WORK/$1.log"
    [ -e "$patch" ] || die "there is no mutant $(rel "$patch")"
    if grep -q '^+++ .*\.h$' "$patch"; then
        result fail "$name: it changes a header, which the copy does not use"
        return
    fi
    # Should this be ended in between, the copy is made again.
    mv "$COPY/.of" "$COPY/.of.kept"
    if ! mutate "$COPY/qemu" "$patch"; then
        result fail "$name: its patch does not apply any more"
        show "$WORK/patch.log"
        copy
    else
        if build; then
            try "$patch" >"$log" 2>&1 || code=$?
            echo "exit code $code" >>"$log"
            judge "$name" "$patch" "$code" "$log"
        else
            result fail "$name: it does not compile"
            show "$WORK/build.log"
        fi
        restore "$COPY/qemu" "$patch" || die "$(rel "$patch") cannot be taken back; call again"
    fi
    mv "$COPY/.of.kept" "$COPY/.of"
}

mkdir -p "$WORK"
prepare
[ $# -gt 0 ] || {
    # shellcheck disable=SC2046 # a list of words
    set -- $(cd "$HERE" && printf '%s\n' *.patch | sed 's/\.patch$//' | sort -V)
}
for name in "$@"; do
    mutant "$name"
done
echo "1..$NUMBER"
[ "$FAILED" -eq 0 ]
