#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab.sh: the emulated host.
#
#   lab.sh build               make its root file system (when something changed)
#   lab.sh demo                one guest whose memory is converted in place
#   lab.sh shell               a shell in it, parameter on
#   lab.sh test [core|full]    selftests and scenarios; TAP, then a summary
#   lab.sh run [--off] FILE... some scenarios, with every request printed
#
# Environment: BUILD (absolute path of build/), ROOT (checkout), KERNEL (bzImage
# with our series), KERNEL_BASE (without it; for "test full").
# QEMU, LAB_BIN, ROMS, SELFTESTS override what is looked for in BUILD.
set -eu

ROOT=${ROOT:-$(cd "$(dirname "$0")/../.." && pwd -P)}
BUILD=${BUILD:-$ROOT/build}
KERNEL=${KERNEL:-$BUILD/linux-build/arch/x86/boot/bzImage}
export ROOT BUILD

LAB=$ROOT/tests/lab
INITRD=$BUILD/lab/initramfs.gz
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

# boot LOG LIMIT APPEND COMMAND [l1.sh option...]
boot() {
    log=$1 limit=$2 append=$3 command=$4
    shift 4
    "$LAB/l1.sh" --kernel "${BOOT_KERNEL:-$KERNEL}" --initrd "$INITRD" \
        --log "$log" --limit "$limit" --append "$append" "$@" "$command"
}

# --- test -----------------------------------------------------------------

PASSED=0 FAILED=0 SKIPPED=0 NUMBER=0

result() {
    verdict=$1
    shift
    NUMBER=$((NUMBER + 1))
    case $verdict in
    ok) PASSED=$((PASSED + 1)); echo "ok $NUMBER - $*" ;;
    skip) SKIPPED=$((SKIPPED + 1)); echo "ok $NUMBER - $1 # SKIP $2" ;;
    *) FAILED=$((FAILED + 1)); echo "not ok $NUMBER - $*" ;;
    esac
}

# In the emulated host: run one kernel selftest.  Every case that it names is a
# result of its own, so that skipped ones are counted with their reason; a test
# without cases is one result.  kselftest's exit code 4 means skipped.
# shellcheck disable=SC2016 # expanded there, not here
SELFTEST='
selftest() {
    t=/lab/selftests/$1
    log=/tmp/$1.log
    if [ ! -x $t ]; then
        echo "ok 0 - selftest $1 # SKIP not built"
        return
    fi
    timeout 120 $t >$log 2>&1
    code=$?
    sed -n -E "s/^(not )?ok [0-9]+ (- )?(.*)/\1ok 0 - selftest $1: \3/p" $log
    cases=$(grep -c -E "^(not )?ok " $log)
    bad=$(grep -E -m 1 "^not ok|Assert|Error" $log)
    why=$(grep -i -m 1 skip $log)
    case $code in
    0) [ $cases -gt 0 ] || echo "ok 0 - selftest $1" ;;
    4) echo "ok 0 - selftest $1 # SKIP ${why:-exit code 4}" ;;
    *) echo "not ok 0 - selftest $1: exit code $code: ${bad:-no message}" ;;
    esac
    sed "s/^/# $1: /" $log
}
'

# take LOG CODE: the results of one boot; what was expected but did not come
# (boot failed half way) is a failure too.
take() {
    log=$1 code=$2
    out=$LOGS/$log.out
    seen=0
    while IFS= read -r line; do
        case $line in
        'ok '* | 'not ok '*) ;;
        *) continue ;;
        esac
        seen=$((seen + 1))
        text=${line#*" - "}
        case $line in
        'not ok '*) result fail "$text" ;;
        *' # SKIP '*) result skip "${text%% # SKIP *}" "${text#* # SKIP }" ;;
        *) result ok "$text" ;;
        esac
    done <"$out"
    if [ "$code" -ge 100 ]; then
        result fail "$log: the emulated host failed with code $code; see build/log/$log.console"
    elif [ "$code" -ne 0 ] && ! grep -q '^not ok' "$out"; then
        result fail "$log: exit code $code; see build/log/$log.out"
    elif [ "$seen" -eq 0 ]; then
        result fail "$log: no result at all; see build/log/$log.out"
    fi
}

# round LOG TITLE PARAMETER-ARGUMENT COMMAND
round() {
    say_to_user "lab: $(elapsed) $2"
    code=0
    boot "$1" 900 "$3" "$4" --quiet || code=$?
    take "$1" "$code"
}

test_all() {
    set_name=$1
    say_to_user "lab: results follow each boot of the emulated host; logs are build/log/lab-*.out"
    sets='--set core'
    [ "$set_name" = core ] || sets=''

    round lab-on "parameter on: selftest and scenarios" "$PARAMETER=1" "$SELFTEST
selftest guest_memfd_conversions_test
gmem-lab $sets --kernel ours --parameter on run scenarios/*.scn"

    round lab-off "parameter off: selftests and scenarios" "$PARAMETER=0" "$SELFTEST
selftest guest_memfd_test
selftest private_mem_conversions_test
selftest guest_memfd_conversions_test
gmem-lab $sets --kernel ours --parameter off run scenarios/*.scn"

    if [ "$set_name" = full ]; then
        if [ -f "${KERNEL_BASE:-}" ]; then
            BOOT_KERNEL=$KERNEL_BASE
            round lab-base "unpatched kernel" '' \
                "gmem-lab --kernel base run scenarios/*.scn"
            BOOT_KERNEL=''
        else
            result fail "unpatched kernel: KERNEL_BASE is not set to a bzImage"
        fi
    fi
    echo "1..$NUMBER"
    say_to_user "lab: $(elapsed) done"
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ]
}

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
    case ${1:-core} in
    core | full) ;;
    *) say_to_user "lab: test takes core or full, not \"$1\""; exit 2 ;;
    esac
    build
    test_all "${1:-core}"
    ;;
run)
    value=1
    if [ "${1:-}" = --off ]; then
        value=0
        shift
    fi
    [ $# -gt 0 ] || { say_to_user "usage: lab.sh run [--off] FILE..."; exit 2; }
    build
    names='' options=''
    for f in "$@"; do
        [ -f "$f" ] || { say_to_user "lab: no scenario at $f"; exit 2; }
        names="$names files/$(basename "$f")"
        options="$options --file $f"
    done
    # shellcheck disable=SC2086 # a list of words, without blanks in them
    boot lab-run 900 "$PARAMETER=$value" "gmem-lab -v run $names" $options
    ;;
*)
    say_to_user "usage: lab.sh build|demo|shell|test [core|full]|run [--off] FILE..."
    exit 2
    ;;
esac
