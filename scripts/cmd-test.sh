#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run test [--full] [--stress SECONDS]: quick tests first, the lab last.
# ./run test --each: every patch of both queues builds.
# ./run test --linux [--stress SECONDS]: of both what tests the kernel series.
# ./run test --debug-kernel [--stress SECONDS]: one round of the lab only.
# --continue: what has passed already, with all the same files, is not run again.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"
. "$SCRIPTS/test-state.sh"

full=
each=
linux=
debug=
again=
stress=600
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=1 ;;
    --each) each=1 ;;
    --linux) linux=1 ;;
    --debug-kernel) debug=1 ;;
    --continue) again=1 ;;
    --stress)
        stress=${2:-}
        case $stress in
        '' | *[!0-9]*) die "--stress takes seconds, not '$stress'" ;;
        esac
        shift
        ;;
    *) die "usage: ./run test [--full | --each | --linux | --debug-kernel] [--continue] [--stress SECONDS]" ;;
    esac
    shift
done
case $full$each$linux$debug in
11*) die "give one of --full, --each, --linux and --debug-kernel; --linux does what --debug-kernel does, and --full does the lab's part of both" ;;
esac

PASSED=0
FAILED=0
SKIPPED=0
SUMMARY=

# count LOG: passed, failed and skipped among a log's TAP lines.
count() {
    awk '
        /^not ok( |$)/ { failed++; next }
        /^ok( |$)/ { if (toupper($0) ~ /# *SKIP/) skipped++; else passed++; next }
        /^1\.\.0 *# *SKIP/ { skipped++ }
        END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# passed_before NAME TITLE STATE: has it, with the same files?  Its numbers count.
passed_before() {
    local passed skipped date
    [ -n "$again" ] || return 1
    read -r passed skipped date <<EOF
$(known_state "$1" "$3")
EOF
    [ -n "$passed" ] || return 1
    STEP_NO=$((STEP_NO + 1))
    say "[$STEP_NO] $2 ... passed before ($date)"
    account "$2" "$passed" 0 "$skipped" "passed before, $date"
}

# account TITLE PASSED FAILED SKIPPED WORDS: a line of the summary
account() {
    PASSED=$((PASSED + $2))
    FAILED=$((FAILED + $3))
    SKIPPED=$((SKIPPED + $4))
    SUMMARY="$SUMMARY$1: $2 passed, $3 failed, $4 skipped ($5)
"
}

# part NAME TITLE COMMAND...: a step whose output is TAP.  It never ends the
# run: all parts are to be seen in one go.
part() {
    local name="$1" title="$2" rc=0 passed failed skipped state log="$LOG/$1.log"
    shift 2
    state=$(state_hash "$name")
    if passed_before "$name" "$title" "$state"; then return 0; fi
    STEP_KEEP_GOING=1
    step "$name" "$title" tap "$@" || rc=$?
    read -r passed failed skipped <<EOF
$(count "$log")
EOF
    if [ "$failed" -eq 0 ] && { [ "$rc" -ne 0 ] || [ $((passed + skipped)) -eq 0 ]; }; then
        failed=1
        printf '      it ended with code %d and named no failed test; the last lines of %s:\n' "$rc" "$(rel "$log")"
        tail -n 10 "$log" | cut -c1-300 | sed 's/^/  | /'
    elif [ "$failed" -gt 0 ]; then
        grep -A 70 '^not ok' "$log" | grep -E '^(not ok|#)' | cut -c1-300 | sed -n '1,160s/^/  | /p'
        printf '      the whole log: %s\n' "$(rel "$log")"
    else
        note_state "$name" "$state" "$passed" "$skipped"
    fi
    account "$title" "$passed" "$failed" "$skipped" "$(minutes "$STEP_TIME")"
}

# The lab, and its table of kernel selftests: which test, in which kernel.
lab() {
    local table="$LOG/selftest-matrix.txt"
    ensure_lab
    part "test-lab-$1" "lab ($1)" "$ROOT/tests/lab/lab.sh" test "$1" --stress "$stress"
    if [ -s "$table" ]; then
        SUMMARY="$SUMMARY
$(cat "$table")
($(rel "$table"))

"
    fi
}

finish() {
    say
    printf '%s' "$SUMMARY"
    say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ]
}

# Installs what the maple tree's tests and those of each patch need besides.
maple() {
    ensure_packages_each
    part test-maple "the maple tree's own tests" "$ROOT/tests/queue/maple.sh"
}

each_linux() {
    part test-each-linux "every patch of Linux builds" "$SCRIPTS/queue.sh" check linux --each
}

[ -z "$again" ] || git -C "$ROOT" rev-parse -q --verify HEAD >/dev/null ||
    die "--continue needs a git checkout: without one nobody can tell what has changed since"
begin "test${full:+ --full}${each:+ --each}${linux:+ --linux}${debug:+ --debug-kernel}"
# Most files that these compile are there once already, for another configuration: what
# is preprocessed is mostly the same then, the list of headers never.
[ -z "$full$linux" ] || unset CCACHE_DEPEND
ensure_packages
if [ -n "$debug" ]; then
    ensure_linux
    ensure_linux_debug
    ensure_host
    ensure_qemu
    lab debug
    finish
    exit
fi
if [ -n "$each" ]; then
    ensure_packages_each
    ensure_tree linux
    each_linux
    ensure_tree qemu
    part test-each-qemu "every patch of QEMU builds" "$SCRIPTS/queue.sh" check qemu --each
    finish
    exit
fi
if [ -n "$linux" ]; then
    ensure_linux
    ensure_linux_noattr
    ensure_linux_debug
    ensure_host
    ensure_qemu
    part test-kernel-log "check of kernel logs" "$ROOT/tests/lab/kernel-log-test.sh"
    lab linux
    maple
    each_linux
    finish
    exit
fi
part test-lint "shellcheck" "$SCRIPTS/lint.sh"
part test-queue-tools "queue tooling" "$ROOT/tests/queue/roundtrip.sh"
part test-each-tools "check of every patch" "$ROOT/tests/queue/each.sh"
part test-continue "what --continue leaves out" "$ROOT/tests/queue/continue.sh"
part test-beside "a build beside the tests" "$ROOT/tests/queue/beside.sh"
part test-docs "documentation table" "$ROOT/tests/queue/touched-files.sh"
part test-guide "pages for users" "$ROOT/tests/docs/guide.py"
part test-uapi "kernel header" "$ROOT/tests/queue/uapi-header.sh"
part test-kernel-log "check of kernel logs" "$ROOT/tests/lab/kernel-log-test.sh"
part test-kvm-trace "comparison of calls to KVM" "$ROOT/tests/lab/kvm-trace-test.py"

ensure_tree qemu
part test-queue-qemu "queue of QEMU" "$SCRIPTS/queue.sh" check qemu
part test-distribution "queue on a distribution's package" "$ROOT/tests/queue/distribution.sh"
ensure_host
part test-unit "unit tests" "$SCRIPTS/meson-tap.sh" "$BUILD/host"
ensure_host_san
part test-unit-san "unit tests with sanitizers" "$SCRIPTS/meson-tap.sh" "$BUILD/host-san"

ensure_tree linux
part test-queue-linux "queue of Linux" "$SCRIPTS/queue.sh" check linux
ensure_linux
ensure_qemu
part test-qtest "qtest" env QTEST_QEMU_BINARY="$BUILD/qemu-build/qemu-system-x86_64" \
    timeout 300 "$BUILD/qemu-build/tests/qtest/guest-memfd-test" --tap -k
part test-guide-commands "commands of the user guide" "$ROOT/tests/docs/guide.py" --run "$BUILD/qemu-build/qemu-system-x86_64"
if [ -n "$full" ]; then
    # The tests until the lab keep one processor busy, most of the time.
    beside build-rest "$SCRIPTS/build-rest.sh"
    part test-property "unit tests, many random schedules" "$BUILD/host/tests/unit/test-gmem-property" --rounds=200000
    part test-mutants "each defect is seen by its test" "$ROOT/tests/mutants/run.sh"
    ensure_host_tsan
    # One thread plays them: few are enough here
    part test-unit-tsan "unit tests with the sanitizer of threads" \
        env GMEM_PROPERTY_ROUNDS=100 "$SCRIPTS/meson-tap.sh" "$BUILD/host-tsan"
    ensure_host_fuzz
    part test-fuzz "fuzzers" "$SCRIPTS/fuzz.sh" 60
    part test-variants "QEMU builds without KVM, and without TCG" "$ROOT/tests/queue/variants.sh"
    ensure_firmware
    part test-install "QEMU installed" "$ROOT/tests/queue/install.sh"
    maple
    ensure_lab
    part test-mutants-lab "defects put back into QEMU" "$ROOT/tests/mutants/lab.sh"
    part test-bench "benches in the emulated host, once each" "$SCRIPTS/bench-lab.sh" "$BUILD/bench-quick.json" quick
    beside_end "waiting for the builds beside the tests"
    ensure_linux_noattr
    ensure_linux_base
    ensure_linux_debug
    ensure_libvirt
    ensure_qemu_base
    lab full
else
    lab core
fi
finish
