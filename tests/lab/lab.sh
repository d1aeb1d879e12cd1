#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab.sh: the emulated host.
#
#   lab.sh build               make its root file system (when something changed)
#   lab.sh demo                one guest whose memory is converted in place
#   lab.sh shell               a shell in it, parameter on
#   lab.sh test [core|full|linux|noattr|base|plain|debug] [--stress SECONDS]
#                              selftests and scenarios; TAP, then a summary.
#                              linux: only the kernel's selftests; noattr, debug:
#                              only those in this kernel; SECONDS of stress test
#                              in the debug kernel (600); base: the unpatched
#                              kernel; plain: its calls by our and plain QEMU
#   lab.sh libvirt             domains of libvirt; TAP
#   lab.sh run [--off] [--limit SECONDS] [--param NAME=VALUE]... FILE...
#                              some scenarios, with every request printed; --param:
#                              a parameter of their payload
#   lab.sh qtest [--off]       QEMU's own tests, in it
#
# Environment: BUILD (absolute path of build/), ROOT (checkout), KERNEL (bzImage
# with our series), KERNEL_NOATTR, KERNEL_DEBUG (its variants), KERNEL_BASE
# (without the series), QEMU_BASE (QEMU without our patches).
# QEMU, QTESTS, LAB_BIN, ROMS, SELFTESTS, LIBVIRT_ROOT override what is looked for
# in BUILD.
set -eu

ROOT=${ROOT:-$(cd "$(dirname "$0")/../.." && pwd -P)}
BUILD=${BUILD:-$ROOT/build}
KERNEL=${KERNEL:-$BUILD/linux-build/arch/x86/boot/bzImage}
KERNEL_NOATTR=${KERNEL_NOATTR:-$BUILD/linux-noattr-build/arch/x86/boot/bzImage}
KERNEL_DEBUG=${KERNEL_DEBUG:-$BUILD/linux-debug-build/arch/x86/boot/bzImage}
KERNEL_BASE=${KERNEL_BASE:-$BUILD/linux-base-build/arch/x86/boot/bzImage}
QEMU_BASE=${QEMU_BASE:-$BUILD/qemu-base/qemu-build/qemu-system-x86_64}
STRESS=600
export ROOT BUILD

LAB=$ROOT/tests/lab
INITRD=$BUILD/lab/initramfs.gz
LIBVIRT=$BUILD/lab/libvirt.gz
LOGS=$BUILD/log
PARAMETER=kvm.gmem_in_place_conversion
START=$(date +%s)

say_to_user() { printf '%s\n' "$*" >&2; }

elapsed() {
    now=$(date +%s)
    printf '%d:%02d' $(((now - START) / 60)) $(((now - START) % 60))
}

build() {
    mkdir -p "$BUILD/lab" "$LOGS"
    "$LAB/initramfs.sh" "$INITRD"
}

build_libvirt() {
    "$LAB/libvirt-root.sh" "$LIBVIRT"
}

# boot LOG LIMIT APPEND COMMAND [l1.sh option...]
boot() {
    log=$1 limit=$2 append=$3 command=$4
    shift 4
    "$LAB/l1.sh" --kernel "${BOOT_KERNEL:-$KERNEL}" --initrd "$INITRD" \
        --log "$log" --limit "$limit" --append "$append" "$@" "$command"
}

. "$LAB/rounds.sh"

# --- verbs ----------------------------------------------------------------

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
build)
    build
    ;;
demo)
    build
    boot lab-demo 300 "$PARAMETER=1" "gmem-lab --demo run scenarios/demo.scn"
    ;;
shell)
    build
    "$LAB/l1.sh" --kernel "$KERNEL" --initrd "$INITRD" --shell \
        --append "$PARAMETER=1"
    ;;
test)
    rounds=${1:-core}
    case $rounds in
    core | full | linux | noattr | base | plain | debug) ;;
    *) say_to_user "lab: test takes core, full, linux, noattr, base, plain or debug, not \"$rounds\""; exit 2 ;;
    esac
    if [ "${2:-}" = --stress ]; then
        STRESS=${3:-}
        case $STRESS in
        '' | *[!0-9]*) say_to_user "lab: --stress takes seconds, not \"$STRESS\""; exit 2 ;;
        esac
    fi
    build
    test_all "$rounds"
    ;;
libvirt)
    build
    build_libvirt
    test_libvirt
    ;;
run)
    value=1 limit=900 params=''
    while [ $# -gt 0 ]; do
        case $1 in
        --off) value=0; shift ;;
        --limit) limit=${2:-}; shift 2 ;;
        --param) params="$params --param ${2:-}"; shift 2 ;;
        *) break ;;
        esac
    done
    [ $# -gt 0 ] || {
        say_to_user "usage: lab.sh run [--off] [--limit SECONDS] [--param NAME=VALUE]... FILE..."
        exit 2
    }
    build
    names='' options=''
    for f in "$@"; do
        [ -f "$f" ] || { say_to_user "lab: no scenario at $f"; exit 2; }
        names="$names files/$(basename "$f")"
        options="$options --file $f"
    done
    # shellcheck disable=SC2086 # a list of words, without blanks in them
    boot lab-run "$limit" "$PARAMETER=$value" "gmem-lab -v $params run $names" $options
    ;;
qtest)
    value=1
    [ "${1:-}" != --off ] || value=0
    build
    boot lab-qtest 600 "$PARAMETER=$value" "$QTESTS_HERE"
    ! grep -q '^not ok' "$LOGS/lab-qtest.out"
    ;;
*)
    say_to_user "usage: lab.sh build|demo|shell|qtest|test [core|full|linux|noattr|base|plain|debug]|libvirt|run [OPTION...] FILE..."
    exit 2
    ;;
esac
